"""Figures of explanations: mean curves, randomised networks, and average maps of classes.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022, Figs. 3 and 6.
J. Adebayo et al. Sanity Checks for Saliency Maps. NeurIPS 2018, Fig. 4: rank correlation by randomised layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports import overlay
from cbir_cli.reports.curves import LINES
from cbir_cli.reports.drawing import DASHES, INK, LINE, MARKERS, MUTED, SERIES, Drawing, plain, wrapped

_LINE_STYLES = dict(zip(LINES, ((SERIES[0], "-"), (MUTED, "--"), (SERIES[1], ":")), strict=True))


def mean_curves(
    curves: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], fractions: Mapping[str, np.ndarray]
) -> Drawing:
    """Mean insertion and deletion curves, a column for each explainer and a row for each of the two.

    Parameters
    ----------
    curves : mapping
        ``curves[explainer][kind][line]`` are curves (N, T), float, from 0 to 1; kinds and lines as in
        ``reports.curves``. The mean of the maps stands in a band from the lower to the upper quartile.
    fractions : mapping of str to ndarray (T,)
        For each explainer the share of pixels changed.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    kinds = list(dict.fromkeys(kind for by_kind in curves.values() for kind in by_kind))
    if not kinds:
        raise ShapeError("mean curves need at least one curve")

    def draw(figure: Any) -> None:
        keys: dict[str, Any] = {}
        panels = figure.subplots(len(kinds), len(curves), sharex=True, sharey=True, squeeze=False)
        for column, (name, by_kind) in enumerate(curves.items()):
            for row, kind in enumerate(kinds):
                axes = panels[row, column]
                for line, values in by_kind.get(kind, {}).items():
                    colour, dash = _LINE_STYLES[line]
                    if line == LINES[0]:
                        low, high = np.percentile(values, (25, 75), axis=0)
                        axes.fill_between(fractions[name], low, high, color=colour, alpha=0.15, linewidth=0)
                    mean = values.mean(axis=0)
                    keys[line] = axes.plot(fractions[name], mean, color=colour, linestyle=dash, linewidth=1.6)[0]
                axes.set(xlim=(0, 1), ylim=(0, 1.02))
                if row == 0:
                    axes.set_title(plain(name), fontsize=9)
                if row == len(kinds) - 1:
                    axes.set_xlabel("share of pixels changed")
                if column == 0:
                    axes.set_ylabel(f"{kind}: similarity")
        figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=len(keys), fontsize=8)

    return Drawing(draw, (max(3.9, 0.7 + 2.3 * len(curves)), 0.8 + 1.9 * len(kinds)))  # room for the key


def randomisation(
    correlations: Mapping[str, Mapping[str, np.ndarray]], layers: Mapping[str, Sequence[str]], *, ylabel: str
) -> Drawing:
    """Rank correlation of maps with those of networks that lost their layers, a panel for each explainer.

    Parameters
    ----------
    correlations : mapping
        ``correlations[explainer][way]`` are (N, L), from -1 to 1, NaN where a map has no ranks; ways are ``cascade``
        and ``independent``. The mean stands in a band from the lower to the upper quartile.
    layers : mapping of str to sequence of str
        For each explainer the L layers, the one nearest to the output first.
    ylabel : str
        What the correlation is of.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    if not any(by_way for by_way in correlations.values()):
        raise ShapeError("a figure of randomisation needs at least one correlation")

    def draw(figure: Any) -> None:
        keys: dict[str, Any] = {}
        panels = figure.subplots(1, len(correlations), sharey=True, squeeze=False)[0]
        for axes, (name, by_way) in zip(panels, correlations.items(), strict=True):
            places = np.arange(len(layers[name]))
            for i, (way, values) in enumerate(by_way.items()):
                known = np.isfinite(values).any(axis=0)
                mean, low, high = (np.full(len(places), np.nan) for _ in range(3))
                mean[known] = np.nanmean(values[:, known], axis=0)
                low[known], high[known] = np.nanpercentile(values[:, known], (25, 75), axis=0)
                axes.fill_between(places, low, high, color=SERIES[i], alpha=0.15, linewidth=0)
                style = {"linestyle": DASHES[i], "marker": MARKERS[i], "markersize": 3.5, "linewidth": 1.4}
                keys[way] = axes.plot(places, mean, color=SERIES[i], **style)[0]
            axes.axhline(0, color=MUTED, linewidth=0.8)
            axes.set_title(plain(name), fontsize=9)
            axes.set_xticks(places, [plain(layer) for layer in layers[name]], rotation=90)
            axes.set_ylim(-1.05, 1.05)
        panels[0].set_ylabel(plain(ylabel))
        figure.legend(keys.values(), keys.keys(), loc="outside upper center", ncols=len(keys), fontsize=8)

    longest = max((len(plain(layer)) for names in layers.values() for layer in names), default=0)
    most = max((len(names) for names in layers.values()), default=0)
    return Drawing(draw, (0.7 + len(correlations) * max(1.9, 0.22 * most), 2.5 + 0.075 * longest))


def classes(
    names: Sequence[str], images: np.ndarray, maps: np.ndarray, counts: Sequence[int], *, reference: int = 0
) -> Drawing:
    """Average images and maps of classes, and how the maps differ from those of one class.

    The third row has the other classes' maps less that of the reference; of three classes, the difference of the two
    others stands under the reference itself.

    Parameters
    ----------
    names : sequence of str
        C of them, at least one.
    images : ndarray (C, H, W) or (C, H, W, 3), uint8
    maps : ndarray (C, h, w), float
        Finite; those of all classes share one scale, and so do all differences.
    counts : sequence of int
        Images of each class.
    reference : int
        The class that others are compared with.

    Returns
    -------
    Drawing
        With the pictures inside.

    Raises
    ------
    ShapeError
        If there is no class, or the arrays do not fit together.
    """
    if not names or not len(names) == len(images) == len(maps) == len(counts) or not 0 <= reference < len(names):
        raise ShapeError(f"{len(names)} classes with {len(images)} images, {len(maps)} maps, {len(counts)} counts")
    if not np.isfinite(maps).all():
        raise ShapeError("the average map of a class is not finite")
    wide = maps.astype(np.float64)
    others = [i for i in range(len(names)) if i != reference]
    pairs = {i: (i, reference) for i in others}
    if len(others) == 2:
        pairs[reference] = (others[1], others[0])
    differences = {place: wide[i] - wide[j] for place, (i, j) in pairs.items()}
    extent = (0, images.shape[2], images.shape[1], 0)

    def draw(figure: Any) -> None:
        rows = 3 if pairs else 2
        panels = figure.subplots(rows, len(names) + 1, squeeze=False, width_ratios=[1] * len(names) + [0.05])
        for axes in panels.flat:
            axes.set_axis_off()
        for i, name in enumerate(names):
            panels[0, i].imshow(images[i], cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none")
            panels[0, i].set_title(f"{wrapped(name, 17)}\n{counts[i]} image{'s' if counts[i] != 1 else ''}", fontsize=8)
        _row(figure, panels[1], dict(enumerate(wide)), extent, "average map")
        if pairs:
            _row(figure, panels[2], differences, extent, "difference", signed=True)
            for place, (i, j) in pairs.items():
                panels[2, place].set_title(f"{wrapped(names[i], 17)} −\n{wrapped(names[j], 17)}", fontsize=8)

    return Drawing(draw, (1.3 + 1.55 * len(names), 0.4 + 1.75 * (3 if pairs else 2)))


def _row(
    figure: Any, panels: Any, maps: Mapping[int, np.ndarray], extent: tuple[int, ...], label: str, signed: bool = False
) -> None:
    """Draw maps on one scale beside one another, its colour bar in the last panel."""
    span = overlay.scale(maps.values()) or overlay.Scale(0.0, False, False)
    signed, limit = signed or span.signed, span.limit or 1.0
    colours = {"cmap": overlay.colours(signed), "vmin": -limit if signed else 0.0, "vmax": limit}
    shown = [
        panels[place].imshow(values, extent=extent, interpolation="none", **colours) for place, values in maps.items()
    ]
    beyond = "neither" if not span.clipped else "both" if signed else "max"
    panels[-1].set_axis_on()
    bar = figure.colorbar(shown[0], cax=panels[-1], extend=beyond)
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_edgecolor(LINE)
