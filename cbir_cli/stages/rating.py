"""A reading study: queries with catalogues on pages that radiologists rank, and back from what they save.

What a rater sees is blinded: images under opaque codes, each a keyed hash that nobody undoes by trying all names, in an
order that follows from seed, rater and code alone. So neither the order of the cases nor that of the images says
anything about labels, distances or names, and a rater who opens his page twice sees the same order.
"""

import logging
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cbir_cli import splits
from cbir_cli.artifacts import files, pseudonyms, ratings
from cbir_cli.artifacts import split as split_tables
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.artifacts.ratings import Case, Key, Rating
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.records import images
from cbir_cli.reports import rating_page
from cbir_cli.stages import rating_pictures
from cbir_cli.stages.rating_catalogues import Asked, Drawn, contents_of

log = logging.getLogger("cbir")

_LETTERS = "bcdfghjkmnpqrstvwxz"  # no vowels, so no words; no digits, so a spreadsheet takes no code for a number


def raters_of(text: str) -> list[str]:
    """Parse names of raters, separated by commas.

    Raises
    ------
    UsageError
        If one cannot be a file's name, or is given twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        try:
            ratings.check_rater(name)
        except ValueError as error:
            raise UsageError(f"--raters {text}: {error}") from None
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(f"--raters {text}: a rater is named twice")
    return names


def key_of(drawn: Drawn, contents: Mapping[str, str], label: str, seed: int) -> Key:
    """Give every case and image its code.

    Parameters
    ----------
    drawn : Drawn
    contents : mapping of str to str
        Content hash of each image, with the role before its id: other images make another study.
    label : str
    seed : int
        Of the order that raters see.
    """
    secret = pseudonyms.from_environment()
    told = [
        str((*one, contents[f"query {one[2]}"], [contents[f"catalogue {name}"] for name in one[3]]))
        for one in drawn.sets
    ]
    study = _code(secret, "study", label, seed, *told)
    codes: dict[str, str] = {}
    for name in sorted(contents):
        code = next(c for n in range(100) if (c := _code(secret, study, name, n)) not in codes.values())
        codes[name] = code
    cases = {}
    for one, (number, place, query, catalogue) in zip(told, drawn.sets, strict=True):
        code = _code(secret, study, one)
        named = {codes[f"catalogue {name}"]: name for name in catalogue}
        cases[code] = Case(code, number, place, (codes[f"query {query}"], query), named)
    if len(cases) < len(drawn.sets):
        raise SourceError("split table: the same query and catalogue are there twice")
    return Key(study, label, cases)


def _code(secret: Pseudonyms, *parts: object) -> str:
    """Return eight letters that stand for something, and do not tell it without the key."""
    number = int(secret("\0".join(map(str, ("rate", *parts)))), 16)
    letters = []
    for _ in range(8):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "".join(letters)


def shown(key: Key, rater: str, seed: int) -> list[rating_page.Case]:
    """Return the cases in the order that a rater sees: by the SHA-256 of seed, rater and codes."""
    order = sorted(key.cases.values(), key=lambda case: splits.digest(seed, "case", rater, case.code))
    return [
        rating_page.Case(
            case.code,
            case.query[0],
            sorted(case.images, key=lambda code: splits.digest(seed, "image", rater, case.code, code)),
        )
        for case in order
    ]


def study(
    index: Index,
    asked: Asked,
    drawn: Drawn,
    raters: Sequence[str],
    *,
    label: str,
    seed: int = 0,
    root: str | None = None,
    size: int = 512,
    window: tuple[float, float] | None = None,
    times: bool = False,
    workers: int = 1,
) -> tuple[Key, list[tuple[str, str]]]:
    """Return the key of a study, and the page of each rater.

    Parameters
    ----------
    index : Index
    asked : Asked
    drawn : Drawn
    raters : sequence of str
    label : str
        Asked for; empty for none.
    seed : int
        Of the order that raters see.
    root, size, window, workers
        As for ``rating_pictures.pictures_of``.
    times : bool
        Record the seconds that each case took.
    """
    key = key_of(drawn, contents_of(index, asked, drawn), label, seed)
    shown_as = rating_pictures.pictures_of(
        index, asked.items, asked.paths, key, root, size=size, window=window, workers=workers
    )
    pages = [
        (
            rater,
            rating_page.page(
                study=key.study,
                rater=rater,
                label=label,
                cases=shown(key, rater, seed),
                pictures=shown_as,
                times=times,
            ),
        )
        for rater in raters
    ]
    return key, pages


def write(folder: str, drawn: Drawn, key: Key, pages: Sequence[tuple[str, str]]) -> None:
    """Write the split table, the key and a page for each rater into a folder.

    A new folder appears whole. In one that is there pages of other raters stay, and what they sent back.

    Raises
    ------
    CbirError
        If the folder cannot be written, or holds another study: its key would be lost, and with it what its raters
        have done. Or if it holds another split table: queries may be ranked by it.
    """
    path, table = (os.path.join(folder, name) for name in ("key.tsv", "split.tsv"))
    split = "".join(split_tables.split_tsv(drawn.rows))
    if os.path.exists(path):
        if ratings.read_key(path) != key:
            raise CbirError(f"{folder}: holds another study, whose key would be lost; name another folder with -o")
    elif os.path.exists(table) and Path(table).read_bytes() != split.encode():
        raise CbirError(f"{table}: is another split table, which would be lost; name another folder with -o")
    os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
    most = max(len(case.images) for case in key.cases.values())
    with files.replacing_files(folder) as made:
        (made / "key.tsv").write_text("".join(ratings.key_tsv(key)), "utf-8")
        (made / "split.tsv").write_text(split, "utf-8")
        for rater, html in pages:
            (made / f"{rater}.html").write_text(html, "utf-8")
    for rater, html in pages:
        page = os.path.join(folder, f"{rater}.html")
        log.info("%s: %d queries of up to %s, %.1f MB", page, len(key.cases), images(most), len(html) / 1e6)
    log.info("send each rater one page and nothing else; %s tells what its codes stand for", path)


def joined(key: Key, exports: Iterable[Sequence[Rating]]) -> list[Rating]:
    """Return the finished ratings of several files, each once, and say how many each rater has finished.

    Raises
    ------
    SourceError
        If a rater finished the same case twice and differently, or nothing is finished.
    """
    done: dict[tuple[str, str], Rating] = {}
    raters: dict[str, list[Rating]] = {}
    for rating in (rating for export in exports for rating in export):
        finished = raters.setdefault(rating.rater, [])
        if not rating.finished:
            continue
        before = done.setdefault((rating.rater, rating.case), rating)
        if before is rating:
            finished.append(rating)
        elif before != rating:
            raise SourceError(
                f"{rating.place}: rater {rating.rater} finished case {rating.case} otherwise in {before.place}; give "
                "the file that counts"
            )
    for rater, finished in sorted(raters.items()):
        times = [rating.seconds for rating in finished if rating.seconds is not None]
        took = f", median {statistics.median(times):g} s a query" if times else ""
        left = "" if len(finished) == len(key.cases) else "; the others are left out"
        log.info("%s: %d of %d queries finished%s%s", rater, len(finished), len(key.cases), took, left)
    if not done:
        raise SourceError("no query is finished: raters confirm the order of each, and then save the file")
    return list(done.values())
