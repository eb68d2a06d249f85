"""From scores of every query to box plots, as the papers show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbir_cli.reports import figures
from cbir_cli.reports.drawing import Drawing
from cbir_cli.scores import RATER
from cbir_cli.stages import report_names

_BOXES = (
    "; boxes span the quartiles with a line at the median, whiskers reach the farthest score within 1.5 times the "
    "distance of the quartiles (1.5 IQR)"
)


def figures_of(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, Drawing]]:
    """Return box plots where there is the value of every query: of nDCG, and of all other scores.

    Parameters
    ----------
    scores : sequence of mapping
        As ``score_tables`` reads them.

    Returns
    -------
    list of (str, Drawing)
        What is said below each, and the figure: a panel for each metric, methods and then raters beside one another.
    """
    panels: dict[str, dict[str, list[float]]] = {}
    random: dict[str, float] = {}
    for row in scores:
        if row.get("queries"):
            panels.setdefault(row["metric"], {})[row["file"]] = [q["value"] for q in row["queries"]]
            if row.get("random") is not None:
                random[row["metric"]] = row["random"]
    panels = {
        metric: dict(sorted(v.items(), key=lambda one: report_names.place(one[0]))) for metric, v in panels.items()
    }
    graded = {metric: values for metric, values in panels.items() if metric.startswith("ndcg")}
    other = {metric: values for metric, values in panels.items() if metric not in graded}
    made = []
    for some, ylabel, said in (
        (graded, "nDCG", "nDCG of each query by method"),
        (other, "score", "Class agreement of each query by method"),
    ):
        if some:
            people = [name for values in some.values() for name in values if name.startswith(RATER)]
            drawn = figures.box_plot(some, random, ylabel=ylabel, raters=people)
            made.append((said + _BOXES + _points(some) + ("; raters are hatched" if people else ""), drawn))
    return made


def _points(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    most = max(len(points) for values in panels.values() for points in values.values())
    if most <= figures.POINTS:
        return "; every point is a query"
    return f"; points are queries, of more than {figures.POINTS} only those beyond the whiskers"
