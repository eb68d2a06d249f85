"""What made an artifact: one entry a stage, without clock time, host name or absolute path."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cbir_cli import __version__

Entry = dict[str, Any]


def entry(
    command: str,
    parameters: Mapping[str, Any],
    *,
    inputs: Mapping[str, str] | None = None,
    seed: int | None = None,
    libraries: Iterable[str] = (),
) -> Entry:
    """Describe one stage.

    Parameters
    ----------
    command : str
        Subcommand.
    parameters : mapping
        As resolved, defaults included. A text that is an absolute path loses its folder.
    inputs : mapping of str to str
        Fingerprint of each input artifact by its role.
    seed : int, optional
    libraries : iterable of str
        Distributions whose version matters to the result.
    """
    from importlib.metadata import version  # slow to import; reading a history needs none

    made: Entry = {
        "command": command,
        "parameters": {key: _public(value) for key, value in sorted(parameters.items())},
        "inputs": dict(sorted((inputs or {}).items())),
        "libraries": {"cbir": __version__, **{name: version(name) for name in libraries}},
    }
    if seed is not None:
        made["seed"] = seed
    return made


def join(*histories: Iterable[Entry]) -> list[Entry]:
    """Return all entries in order, those that several inputs share once."""
    joined: list[Entry] = []
    for history in histories:
        joined += [e for e in history if e not in joined]
    return joined


def public_path(text: str) -> str:
    """Drop the folder of an absolute path, also behind a reader's name; keep any other text."""
    reader, colon, rest = text.partition(":")
    if colon and os.path.isabs(rest):
        return f"{reader}:{os.path.basename(os.path.normpath(rest))}"
    return os.path.basename(os.path.normpath(text)) if os.path.isabs(text) else text


def public_paths(texts: Sequence[str]) -> list[str]:
    """Drop the folders of absolute paths as ``public_path`` does, but for those that tell two of the paths apart.

    Of ``/a/b/1/run.tsv`` and ``/a/b/2/run.tsv`` ``1/run.tsv`` and ``2/run.tsv`` are left. Any other text is kept.
    """
    absolute = {text: os.path.normpath(text).lstrip(os.sep).split(os.sep) for text in texts if os.path.isabs(text)}
    public = {text: public_path(text) for text in texts}
    for length in range(2, max(map(len, absolute.values()), default=0) + 1):
        shown = list(public.values())
        for text, parts in absolute.items():
            if shown.count(public[text]) > 1:
                public[text] = "/".join(parts[-length:])
    return [public[text] for text in texts]


def _public(value: Any) -> Any:
    if isinstance(value, str):
        return public_path(value)
    if isinstance(value, os.PathLike):
        return public_path(os.fspath(value))
    if isinstance(value, tuple | list):
        return [_public(v) for v in value]
    return value
