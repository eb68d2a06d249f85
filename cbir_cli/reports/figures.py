"""Box plots of scores.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 3.
Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports 2022, Figs. 5, 7
and 9: raters beside the methods, and two conditions beside each other.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.drawing import INK, MUTED, SERIES, Drawing, plain

POINTS = 200
"""Scores of a box that are all drawn; of more, those beyond the whiskers, and at most so many of them."""


def box_plot(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    random: Mapping[str, float] | None = None,
    *,
    ylabel: str = "nDCG",
    raters: Collection[str] = (),
) -> Drawing:
    """Box plots of scores by method, a panel for each cut-off, every score shown as a point.

    Boxes span the quartiles, whiskers reach the farthest score within 1.5 times their distance, the line is the median.
    Of a box of more than ``POINTS`` scores only those beyond its whiskers are drawn.

    Parameters
    ----------
    values : mapping
        ``values[panel][method]`` are scores, one per query or seed; for instance panel ``Top-4``. Scores that are not
        finite are left out.
    random : mapping, optional
        For each panel the mean score of a random ranking, drawn as a dashed line.
    ylabel : str
        What the scores are.
    raters : collection of str
        Those of the methods that are people; their boxes are hatched.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, (panel, by_method) in zip(panels, values.items(), strict=True):
            scores = [_finite(by_method[method]) for method in by_method]
            _boxes(axes, scores, [method in raters for method in by_method], near)
            axes.set_title(plain(panel) + _baseline(axes, (random or {}).get(panel, math.nan)), fontsize=9)
            axes.set_xticks(range(1, len(scores) + 1), [plain(m) for m in by_method], **turn)
            axes.set_xlim(0.4, len(scores) + 0.6)
        panels[0].set_ylabel(plain(ylabel))

    if not values:
        raise ShapeError("a box plot needs at least one panel of scores")
    every = [score for by_method in values.values() for scores in by_method.values() for score in _finite(scores)]
    near = 0.022 * (max(every) - min(every)) if every else 0.0
    # Room for the names, in inches: long ones stand upright, and a panel is at least as wide as its title.
    longest = max((len(plain(method)) for by_method in values.values() for method in by_method), default=0)
    turn = {"rotation": 30, "ha": "right"} if longest <= 12 else {"rotation": 90}
    titles = {panel: max(len(plain(panel)), 20 if panel in (random or {}) else 0) for panel in values}
    widths = [max(1.3, 0.62 * len(by_method), 0.085 * titles[panel]) for panel, by_method in values.items()]
    return Drawing(draw, (1.0 + sum(widths), 2.9 + (0.045 if longest <= 12 else 0.085) * longest))


def _boxes(axes: Any, scores: list[list[float]], raters: Sequence[bool], near: float) -> None:
    line = {"color": INK, "linewidth": 1.0}
    drawn = axes.boxplot(
        scores,
        widths=0.55,
        whis=1.5,
        showfliers=False,  # they are drawn as points, as others are
        patch_artist=True,
        boxprops={"facecolor": "#e6eef6", "edgecolor": INK, "linewidth": 1.0},
        medianprops={"color": INK, "linewidth": 1.8, "zorder": 3.2},
        whiskerprops=line,
        capprops=line,
    )
    for box, is_rater in zip(drawn["boxes"], raters, strict=True):
        if is_rater:
            box.set(hatch="////", facecolor="white", edgecolor=MUTED)
    for place, points in enumerate(scores, start=1):
        shown = _shown(points)
        axes.plot(_swarm(shown, place, near), shown, "o", markersize=3.6, markerfacecolor=SERIES[1],
                  markeredgecolor="white", markeredgewidth=0.4, zorder=3)  # fmt: skip


def _shown(points: Sequence[float]) -> list[float]:
    """Return the scores that are drawn as points, sorted: all, or those beyond the whiskers of a box of many."""
    ordered = sorted(points)
    if len(ordered) <= POINTS:
        return ordered
    low, high = np.percentile(ordered, (25, 75))
    reach = 1.5 * (high - low)
    beyond = [value for value in ordered if not low - reach <= value <= high + reach]
    if len(beyond) > POINTS:
        beyond = [beyond[i] for i in np.linspace(0, len(beyond) - 1, POINTS).astype(int)]
    return beyond


def _swarm(points: Sequence[float], place: float, near: float) -> np.ndarray:
    """Positions of sorted points: those of nearly one height beside one another, so that none hides and none is random.

    ``near`` is the height of a point. Where there is no room for all, they overlap evenly.
    """
    heights = np.floor(np.asarray(points) / near) if near > 0 else np.zeros(len(points))
    beside = np.zeros(len(points))
    for height in np.unique(heights):
        rows = np.flatnonzero(heights == height)
        turn = np.arange(len(rows))
        outward = (turn + 1) // 2 * np.where(turn % 2, 1, -1)  # 0, 1, -1, 2, -2, ...
        beside[rows] = outward * min(0.085, 0.5 / max(1, len(rows) - 1))
    return place + beside


def _baseline(axes: Any, value: float) -> str:
    """Draw the line of a random ranking; return the words for it, which would hide points if they stood beside it."""
    if not math.isfinite(value):
        return ""
    axes.axhline(value, color=MUTED, linestyle="--", linewidth=1.2, zorder=2.5)
    return f"\nrandom (dashed) {value:.2f}"


def _finite(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)]
