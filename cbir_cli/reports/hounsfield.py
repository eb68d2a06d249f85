"""CT in Hounsfield units: one slice seen through several windows, and where the units of an organ lie.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022, Figs. 2 and 3.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.drawing import DASHES, INK, SERIES, Drawing, plain, wrapped

Windows = Mapping[str, tuple[float, float]]
"""LOW and HIGH in Hounsfield units, by name."""

_BINS = 120


def panels(values: np.ndarray, windows: Windows) -> Drawing:
    """Draw a slice as it is, and through each window.

    Parameters
    ----------
    values : ndarray (H, W), float
        Hounsfield units.
    windows : mapping of str to (float, float)

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If the slice is not finite and (H, W).
    """
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ShapeError(f"expected a slice (H, W) of finite Hounsfield units, found {values.shape}")
    whole = (float(values.min()), float(max(values.max(), values.min() + 1)))
    shown = {"no window": whole, **windows}

    def draw(figure: Any) -> None:
        for axes, (name, (low, high)) in zip(
            figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True
        ):
            axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="none")
            axes.set_title(f"{wrapped(name, 22)}\n{_units(low)} to {_units(high)} HU", fontsize=8.5)
            axes.set_axis_off()

    return Drawing(draw, (2.2 * len(shown), 2.2 * min(2.0, values.shape[0] / values.shape[1]) + 0.6))


def histogram(counts: np.ndarray, edges: np.ndarray, windows: Windows, *, of: str = "voxels") -> Drawing:
    """Draw how many voxels have which Hounsfield units, with windows marked.

    Parameters
    ----------
    counts : ndarray (B,), int
        Voxels in each bin.
    edges : ndarray (B + 1,), float
        Of the bins, in Hounsfield units, evenly spaced.
    windows : mapping of str to (float, float)
    of : str
        What the voxels are.

    Returns
    -------
    Drawing
        From the 0.1th to the 99.9th percentile of the voxels, or to the ends of the windows where they are farther out.

    Raises
    ------
    ShapeError
        If there is no voxel, or edges do not fit the counts.
    """
    total = int(counts.sum()) if len(counts) else 0
    if not total or len(edges) != len(counts) + 1:
        raise ShapeError(f"a histogram needs at least one voxel and {len(counts) + 1} edges, found {len(edges)}")
    share = counts.cumsum() / total
    ends = edges[int(np.searchsorted(share, 0.001))], edges[int(np.searchsorted(share, 0.999)) + 1]
    low = min([float(ends[0]), *(window[0] for window in windows.values())])
    high = max([float(ends[1]), *(window[1] for window in windows.values())])
    pad = 0.04 * (high - low)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        heights, places = _coarser(counts, edges, low - pad, high + pad)
        axes.stairs(
            heights / total / np.diff(places) * 100, places, fill=True, color="#b9c2cc", edgecolor=INK, linewidth=0.8
        )
        axes.set_ylim(0, None)
        top = axes.get_ylim()[1]
        for i, (name, (start, end)) in enumerate(windows.items()):
            inside = within(counts, edges, (start, end))
            style = {"color": SERIES[i % len(SERIES)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.6}
            label = f"{plain(name)}: {_units(start)} to {_units(end)} HU, {100 * inside:.0f} % of the voxels"
            axes.vlines((start, end), 0, top, label=label, **style)
            axes.fill_between((start, end), 0, top, color=style["color"], alpha=0.10, linewidth=0, zorder=0)
        axes.set(xlim=(low - pad, high + pad), ylim=(0, top))
        axes.set_xlabel("Hounsfield units")
        axes.set_ylabel(f"% of {plain(of)} per HU")
        figure.legend(loc="outside lower center", ncols=1, fontsize=8)

    return Drawing(draw, (5.2, 3.1 + 0.18 * len(windows)))


def within(counts: np.ndarray, edges: np.ndarray, window: tuple[float, float]) -> float:
    """Return the share of voxels whose bin lies inside a window."""
    middle = (edges[:-1] + edges[1:]) / 2
    inside = (middle >= window[0]) & (middle <= window[1])
    return float(counts[inside].sum() / max(counts.sum(), 1))


def _coarser(counts: np.ndarray, edges: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bins between two ends, several of them as one where they are too many to be seen."""
    first = max(int(np.searchsorted(edges, low)) - 1, 0)
    last = min(int(np.searchsorted(edges, high)), len(counts))
    step = max(1, (last - first) // _BINS)
    last -= (last - first) % step
    return counts[first:last].reshape(-1, step).sum(axis=1), edges[first : last + 1 : step]


def _units(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
