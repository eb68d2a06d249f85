"""How names are written in TREC's files, which blanks take apart: what runs and qrels share."""

import re
from urllib.parse import quote, unquote

from cbir_cli.artifacts import _text
from cbir_cli.errors import ArtifactError
from cbir_cli.ranked_lists import Key

_SETS = re.compile(r"([0-9]+):([0-9]+):(.+)")


def name(text: str) -> str:
    """Return an id with blanks and percent signs as in URLs.

    Raises
    ------
    ArtifactError
        If it is empty or not valid Unicode.
    """
    if not text:
        raise ArtifactError("an empty name cannot be written to a TREC run")
    # A leading brace would pass for JSON, a leading byte order mark would be dropped.
    return re.sub(r"[\s%\x00-\x1f]|^[{\ufeff]", lambda blank: quote(blank[0], safe=""), _text.unicode(text))


def query(key: Key) -> str:
    """Return a query, as ``seed:set:query`` where it has them; ArtifactError as ``name``."""
    seed, number, text = key[0], key[1], name(key[2])
    if seed is not None:
        return f"{seed}:{number}:{text}"
    return text.replace(":", "%3A", 1) if _SETS.match(text) else text


def key(text: str) -> Key:
    """Read a query."""
    sets = _SETS.match(text)
    return (int(sets[1]), int(sets[2]), unquote(sets[3])) if sets else (None, None, unquote(text))
