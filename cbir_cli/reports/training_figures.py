"""Curves against epochs: of one model, and of several trainings of several methods.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022, Figs. 6 and 7: mean and standard deviation over five runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.drawing import DASHES, MARKERS, MUTED, SERIES, Drawing, plain

_OF_ONE, _ACROSS = 4, 3
"""Panels in a row, of one model and of several trainings."""


def history(curves: Mapping[str, Mapping[str, Sequence[float]]], *, best: int | None = None) -> Drawing:
    """Training curves of one model, a panel for each quantity.

    Parameters
    ----------
    curves : mapping
        ``curves[quantity][set]`` has a value per epoch, from epoch 1 on; for instance ``curves["loss"]["train"]``.
        A value that is not finite leaves a gap.
    best : int, optional
        Epoch that was kept, from 1; marked by a vertical line.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    if not curves:
        raise ShapeError("training curves need at least one quantity")
    names = list(dict.fromkeys(name for by_set in curves.values() for name in by_set))
    across = min(len(curves), _OF_ONE)
    down = -(-len(curves) // across)

    def draw(figure: Any) -> None:
        keys: dict[str, Any] = {}
        panels = figure.subplots(down, across, squeeze=False).flat
        for axes, (quantity, by_set) in zip(panels, curves.items(), strict=False):
            for name, series in by_set.items():
                i = names.index(name) % len(SERIES)
                line = np.asarray(series, dtype=np.float64)
                line = np.where(np.isfinite(line), line, np.nan)
                style = {"color": SERIES[i], "linestyle": DASHES[i], "marker": MARKERS[i], "markersize": 3.5}
                keys[plain(name)] = axes.plot(np.arange(1, len(line) + 1), line, linewidth=1.4, **style)[0]
            if best is not None:
                keys[f"epoch {best}, kept"] = axes.axvline(best, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
            _epochs(axes, quantity)
        for axes in list(figure.axes)[len(curves) :]:
            axes.set_axis_off()
        figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=max(1, len(keys)), fontsize=8)

    return Drawing(draw, (max(3.1 * across, 4.4), 0.4 + 2.6 * down))


def over_runs(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Drawing:
    """Mean of a score over trainings, epoch by epoch, in a band of one standard deviation; a panel for each score.

    Parameters
    ----------
    curves : mapping
        ``curves[score][method]`` has a sequence for each training, with a value an epoch, from epoch 1 on. They may
        differ in length; a value that is not finite is left out. The standard deviation has the denominator n - 1;
        there is no band where an epoch has a single value.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    if not any(runs for by_method in curves.values() for runs in by_method.values()):
        raise ShapeError("curves over trainings need at least one training")
    methods = list(dict.fromkeys(name for by_method in curves.values() for name in by_method))
    across = min(len(curves), _ACROSS)
    down = -(-len(curves) // across)

    def draw(figure: Any) -> None:
        keys: dict[str, Any] = {}
        for place, (score, by_method) in enumerate(curves.items(), start=1):
            axes = figure.add_subplot(down, across, place)
            for method, runs in by_method.items():
                i = methods.index(method) % len(SERIES)
                mean, sd = spread(runs)
                epochs = np.arange(1, len(mean) + 1)
                axes.fill_between(epochs, mean - sd, mean + sd, color=SERIES[i], alpha=0.18, linewidth=0)
                style = {"linestyle": DASHES[i], "marker": MARKERS[i], "markersize": 3.5, "linewidth": 1.4}
                every = max(1, len(epochs) // 8)  # markers tell lines apart; one an epoch would hide them
                (line,) = axes.plot(epochs, mean, color=SERIES[i], markevery=(i * every // 4, every), **style)
                keys[f"{plain(method)} ({len(runs)} run{'s' if len(runs) != 1 else ''})"] = line
            _epochs(axes, score)
        columns = max(1, min(len(keys), int(width / 2)))
        figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=columns, fontsize=8)

    width = max(3.1 * across, 4.4)
    return Drawing(draw, (width, 0.4 + 2.5 * down + 0.2 * len(methods)))


def spread(runs: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (E,) of every epoch, NaN where no or only one training has a value."""
    longest = max((len(run) for run in runs), default=0)
    table = np.full((len(runs), longest), np.nan)
    for row, run in enumerate(runs):
        table[row, : len(run)] = run
    table[~np.isfinite(table)] = np.nan
    known = np.isfinite(table).sum(axis=0)
    mean, sd = np.full(longest, np.nan), np.full(longest, np.nan)
    mean[known > 0] = np.nanmean(table[:, known > 0], axis=0)
    sd[known > 1] = np.nanstd(table[:, known > 1], axis=0, ddof=1)
    return mean, sd


def _epochs(axes: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(plain(title), fontsize=9)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.08)
