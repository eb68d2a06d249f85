"""Images that raters label otherwise than the data set does: ``cbir evaluate --conflicts``."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from cbir_cli import raters
from cbir_cli.artifacts.ranks import read_ranks
from cbir_cli.artifacts.run import read_lists
from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.raters import PANEL, Disagreement
from cbir_cli.records import MISSING
from cbir_cli.stages.known_items import Known

log = logging.getLogger("cbir")

COLUMNS = ("query", "id", "rater", "label", "expert", "dataset", "by")


def conflicts(
    names: Sequence[str],
    table: str,
    *,
    known: Known | None = None,
    rater: str | None = None,
    label: str | None = None,
    paths: Mapping[str, str] | None = None,
) -> list[Disagreement]:
    """List the images that raters label otherwise than the data set does, and say how many.

    Parameters
    ----------
    names : sequence of str
        Runs, which state the data set's labels.
    table : str
        Rank table with the columns ``labels``, ``query_labels`` or severities.
    known : Known, optional
        The index.
    rater, label : str, optional
        Only those.
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Disagreement
        In the order of the table.

    Raises
    ------
    UsageError
        If nothing says what the data set's labels are, if the raters state none of them, or if a rater or label is
        unknown.
    """
    if not names and not known:
        raise UsageError("--conflicts compares raters with the data set's labels: give a run or --items IDX")
    ranks = read_ranks(table)
    if rater is not None and raters.reference(ranks, rater) == PANEL:
        raise UsageError("--conflicts: a panel gives no labels")
    runs = [read_lists((paths or {}).get(name, name), name) for name in names]
    said = dataset_labels({image for row in ranks for image in (row.query, row.id)}, runs, known)
    stated = {name for codes in said.values() for name in codes}
    own = {name for row in ranks for name in (*row.labels, *row.query_labels)}
    if label is not None and label not in stated:
        raise UsageError(f"no image of the data set has the label {label!r}; there are: {', '.join(sorted(stated))}")
    if label is None and not own & stated:
        graded = any(row.severity is not None for row in ranks)
        hint = "; severities count for the label that --label names" if graded else ""
        raise UsageError(
            f"the raters' labels are {', '.join(sorted(own)) or 'none'}, those of the data set "
            f"{', '.join(sorted(stated)) or 'none'}: nothing to compare{hint}"
        )
    if label is None and (strange := sorted(own - stated)):
        log.warning("the data set does not have the raters' label %s", ", ".join(strange))
    found = [one for every in raters.disagreements(ranks, said, rater=rater, label=label).values() for one in every]
    order = {(row.key, row.rater): at for at, row in reversed(list(enumerate(ranks)))}
    found.sort(key=lambda one: order[one.key, one.rater])
    counts = Counter(one.rater for one in found)
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    images = len({one.id for one in found})
    log.info(
        "%d labels of raters contradict the data set, of %d images%s", len(found), images, f": {told}" * bool(told)
    )
    return found


def cells(found: Sequence[Disagreement]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and cells of a table of conflicts; seed and set only if there are any."""
    sets = any(one.key[0] is not None for one in found)
    rows = [
        (one.key[2], one.id, one.rater, one.label, str(one.expert), str(one.dataset), one.by)
        + ((str(one.key[0]), str(one.key[1])) if sets else ())
        for one in found
    ]
    return COLUMNS + ("seed", "set") * sets, [tuple(" ".join(cell.split()) for cell in row) for row in rows]


def facts(found: Sequence[Disagreement]) -> Iterator[dict[str, object]]:
    """Yield conflicts as objects of JSON."""
    for one in found:
        seed, number, query = one.key
        yield {"seed": seed, "set": number, "query": query} | {k: v for k, v in asdict(one).items() if k != "key"}


def dataset_labels(
    images: Iterable[str], runs: Iterable[RankedLists], known: Known | None, *, complete: bool = False
) -> dict[str, dict[str, int]]:
    """Return what the data set says of images: as runs have it, else the index.

    With ``complete`` nothing is returned where an image is in no run nor in the index: it would be taken for one
    without label.
    """
    stated: dict[str, Mapping[str, int]] = {}
    for lists in runs:
        stated |= {lists.names[n]: lists.cells[c] for n, c in zip(lists.results, lists.result_cells, strict=True)}
        stated |= {query: lists.cells[c] for query, c in zip(lists.queries, lists.query_cells, strict=True)}
    wanted = set(images)
    if complete and any(image not in stated and (known is None or image not in known.places) for image in wanted):
        return {}
    found: dict[str, dict[str, int]] = {image: dict(stated.get(image, {})) for image in wanted}
    for name, codes in known.labels.items() if known else ():
        for image in wanted:
            if (code := codes.get(image, MISSING)) != MISSING:
                found[image].setdefault(name, code)
    return found
