"""Figures as SVG text: box plots of scores, and training curves.

Text stays text (it can be searched and read aloud), nothing carries a date, and equal input gives equal bytes whatever
the reader's own matplotlib settings are.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Figs. 1 and 3.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError

INK, MUTED, LINE = "#1b1f24", "#57606a", "#d0d7de"
SERIES = ("#0b4f8a", "#b3541e", "#4d7c3a", "#6b4c9a")  # told apart in greyscale by the dash pattern and the marker
LONGEST_NAME = 32  # characters
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
_STYLE = {
    "svg.hashsalt": "cbir",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],  # the first comes with matplotlib: same layout anywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def box_plot(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    random: Mapping[str, float] | None = None,
    *,
    ylabel: str = "nDCG",
) -> str:
    """Box plots of scores by method, a panel for each cut-off, every score shown as a point.

    Boxes span the quartiles, whiskers reach the farthest score within 1.5 times their distance, the line is the median.

    Parameters
    ----------
    values : mapping
        ``values[panel][method]`` are scores, one per query or seed; for instance panel ``Top-4``. Scores that are not
        finite are left out.
    random : mapping, optional
        For each panel the mean score of a random ranking, drawn as a dashed line.
    ylabel : str
        What the scores are.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
        for axes, (panel, by_method) in zip(panels, values.items(), strict=True):
            scores = [_finite(by_method[method]) for method in by_method]
            _boxes(axes, scores)
            axes.set_title(plain(panel) + _baseline(axes, (random or {}).get(panel, math.nan)), fontsize=9)
            axes.set_xticks(range(1, len(scores) + 1), [plain(m) for m in by_method], **turn)
            axes.set_xlim(0.4, len(scores) + 0.6)
        panels[0].set_ylabel(plain(ylabel))

    if not values:
        raise ShapeError("a box plot needs at least one panel of scores")
    # Room for the names, in inches: long ones stand upright, and a panel is at least as wide as its title.
    longest = max((len(plain(method)) for by_method in values.values() for method in by_method), default=0)
    turn = {"rotation": 30, "ha": "right"} if longest <= 12 else {"rotation": 90}
    width = sum(max(1.3, 0.62 * len(by_method), 0.085 * len(plain(panel))) for panel, by_method in values.items())
    return drawn(draw, (1.0 + width, 2.9 + (0.045 if longest <= 12 else 0.085) * longest))


def history(curves: Mapping[str, Mapping[str, Sequence[float]]], *, best: int | None = None) -> str:
    """Training curves, a panel for each quantity.

    Parameters
    ----------
    curves : mapping
        ``curves[quantity][set]`` has a value per epoch, from epoch 1 on; for instance ``curves["loss"]["train"]``.
        A value that is not finite leaves a gap.
    best : int, optional
        Epoch that was kept, from 1; marked by a vertical line.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    if not curves:
        raise ShapeError("training curves need at least one quantity")
    names = list(dict.fromkeys(name for by_set in curves.values() for name in by_set))

    def draw(figure: Any) -> None:
        keys: dict[str, Any] = {}
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (quantity, by_set) in zip(panels, curves.items(), strict=True):
            for name, series in by_set.items():
                i = names.index(name) % len(SERIES)
                line = np.asarray(series, dtype=np.float64)
                line = np.where(np.isfinite(line), line, np.nan)
                style = {"color": SERIES[i], "linestyle": DASHES[i], "marker": MARKERS[i], "markersize": 3.5}
                keys[plain(name)] = axes.plot(np.arange(1, len(line) + 1), line, linewidth=1.4, **style)[0]
            if best is not None:
                keys[f"epoch {best}, kept"] = axes.axvline(best, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
            axes.set_title(plain(quantity), fontsize=9)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.margins(y=0.08)
        figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=max(1, len(keys)), fontsize=8)

    return drawn(draw, (3.1 * len(curves), 3.0))


def _boxes(axes: Any, scores: list[list[float]]) -> None:
    line = {"color": INK, "linewidth": 1.0}
    axes.boxplot(
        scores,
        widths=0.55,
        showfliers=False,  # every score is drawn as a point anyway
        patch_artist=True,
        boxprops={"facecolor": "#e6eef6", "edgecolor": INK, "linewidth": 1.0},
        medianprops={"color": INK, "linewidth": 2.0},
        whiskerprops=line,
        capprops=line,
    )
    for place, points in enumerate(scores, start=1):
        axes.plot(_swarm(points, place), sorted(points), "o", markersize=3.6, markerfacecolor=SERIES[1],
                  markeredgecolor="white", markeredgewidth=0.4, zorder=3)  # fmt: skip


def _swarm(points: Sequence[float], place: float) -> np.ndarray:
    """Positions of sorted points beside one another, spread by their order, so that none hides and none is random."""
    turn = np.arange(len(points)) % 5
    return place + (np.array([0, 1, -1, 2, -2])[turn] * 0.07 if len(points) > 1 else np.zeros(len(points)))


def _baseline(axes: Any, value: float) -> str:
    """Draw the line of a random ranking; return the words for it, which would hide points if they stood beside it."""
    if not math.isfinite(value):
        return ""
    axes.axhline(value, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
    return f"\nrandom (dashed) {value:.2f}"


def _finite(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)]


def plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics, that XML can hold, and that leaves room for the figure."""
    text = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return text.replace("$", r"\$")


def drawn(draw: Callable[[Any], None], inches: tuple[float, float]) -> str:
    """Return the SVG of what a function draws on a figure of a size, in the style of all figures of this folder."""
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]), io.StringIO() as buffer:
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        text = buffer.getvalue()
    return text[text.index("<svg") :]  # without the XML declaration and its document type, which a page cannot hold
