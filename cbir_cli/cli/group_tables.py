"""Tables of the scores of groups of queries, for a person at a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cbir_cli.reports.tables import Table
    from cbir_cli.scores import Score

LOWEST = " *"
_NOTE = f"mean [smallest, largest];{LOWEST} lowest mean of its kind of group"


def of(scores: "Sequence[Score]") -> "list[Table]":
    """Return a table for each metric: a row for each group, a column for each file, the lowest of each kind marked."""
    from cbir_cli import groups
    from cbir_cli.reports import tables
    from cbir_cli.scores import metric_names

    files = list(dict.fromkeys(score.method for score in scores))
    stems = [Path(name).stem for name in files]
    shown = stems if len(set(stems)) == len(stems) else files
    lowest = {id(score) for score in groups.lowest(scores)}
    called = metric_names((score.metric, score.against) for score in scores)
    found = []
    for metric in dict.fromkeys(called):
        of_metric = [score for score, name in zip(scores, called, strict=True) if name == metric]
        rows = []
        for group in dict.fromkeys(score.group for score in of_metric):
            its = {score.method: score for score in of_metric if score.group == group}
            counts = sorted({score.n for score in its.values()})
            random = sorted({f"{s.random:.2f}" for s in its.values() if s.random is not None})
            cells = [tables.NONE] * len(files)
            for place, name in enumerate(files):
                if (one := its.get(name)) is not None:
                    mark = LOWEST if id(one) in lowest else " " * len(LOWEST)
                    cells[place] = tables.spell(one.mean, one.minimum, one.maximum, digits=2) + mark
            rows.append((group or "all", _range(list(map(str, counts))), *cells, _range(random) or tables.NONE))
        found.append(tables.Table(metric, ("group", "n", *shown, "random"), rows, _NOTE))
    return found


def _range(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}" if texts else ""
