"""The map of an embedding: every image a point, classes apart, and the images nearest to the centre of each class.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022, Fig. 1: t-SNE of the latent space, and
for each class the image that is closest to its centroid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.drawing import INK, LINE, MUTED, Drawing, plain, wrapped

COLOURS = ("#0b4f8a", "#d9822b", "#3a7d44", "#8a3fa0", "#b5243c", "#2aa1b3", "#7a5c2e", "#4a4f57")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<")
OTHER = "other or not known"
_THUMBNAIL = 0.95
"""Inches."""


@dataclass(frozen=True, eq=False)
class Group:
    """The images of one class.

    Parameters
    ----------
    name : str
    rows : ndarray (M,), int
        Which points they are.
    nearest : sequence of int
        Points nearest to the centroid of the class, the nearest first; that one has a star.
    pictures : sequence of ndarray (H, W) or (H, W, 3), uint8
        Of the nearest; none where the images are not at hand.
    """

    name: str
    rows: np.ndarray
    nearest: Sequence[int] = ()
    pictures: Sequence[np.ndarray] = ()


def embedding_map(points: np.ndarray, groups: Sequence[Group], *, axes_name: str = "t-SNE") -> Drawing:
    """Draw points of several classes, and beside them the images nearest to the centroid of each class.

    Parameters
    ----------
    points : ndarray (N, 2), float
        Finite.
    groups : sequence of Group
        At most ``len(COLOURS)``; points of none of them are small and grey.
    axes_name : str
        What made the points.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If points are not finite and (N, 2), there are too many classes, or a row is none of the points.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ShapeError(f"expected finite points (N, 2), found {points.shape}")
    if len(groups) > len(COLOURS):
        raise ShapeError(f"expected at most {len(COLOURS)} classes, found {len(groups)}")
    if any(not 0 <= row < len(points) for group in groups for row in (*group.rows.tolist(), *group.nearest)):
        raise ShapeError(f"a class has points beyond the {len(points)} that there are")
    shown = [group for group in groups if group.pictures]
    most = max((len(group.pictures) for group in shown), default=0)
    size = 22 if len(points) <= 300 else 10 if len(points) <= 2000 else 5
    height = max(4.2, 0.5 + (_THUMBNAIL + 0.3) * len(shown))

    def draw(figure: Any) -> None:
        if shown:
            left, right = figure.subfigures(1, 2, width_ratios=(5.0, 0.2 + most * (_THUMBNAIL + 0.1)))
            _thumbnails(right, shown, groups, most)
        else:
            left = figure
        axes = left.subplots()
        rest = np.setdiff1d(np.arange(len(points)), np.concatenate([[], *(g.rows for g in groups)]).astype(int))
        if len(rest):
            axes.scatter(*points[rest].T, s=size / 2, c=LINE, marker=".", label=f"{OTHER} ({len(rest):,})", zorder=1)
        for i, group in enumerate(groups):
            axes.scatter(
                *points[group.rows].T, s=size, c=COLOURS[i], marker=MARKERS[i], linewidths=0.3, edgecolors="white",
                alpha=0.85, label=f"{plain(group.name)} ({len(group.rows):,})", zorder=2,
            )  # fmt: skip
        for i, group in enumerate(groups):
            if len(group.nearest):
                star = {"marker": "*", "s": 230, "c": COLOURS[i], "edgecolors": INK, "linewidths": 1.2}
                axes.scatter(*points[[group.nearest[0]]].T, zorder=3, **star)
        axes.set(xticks=[], yticks=[], xlabel=f"{axes_name} 1", ylabel=f"{axes_name} 2")
        axes.grid(False)
        axes.margins(0.04)
        columns = 2 if len(groups) + bool(len(rest)) > 1 else 1
        left.legend(loc="outside lower center", ncols=columns, fontsize=8, markerscale=1.5, handletextpad=0.3)

    return Drawing(draw, (5.2 + (0.2 + most * (_THUMBNAIL + 0.1) if shown else 0), height))


def _thumbnails(figure: Any, shown: Sequence[Group], groups: Sequence[Group], most: int) -> None:
    """Draw the nearest images of each class in a row, in a frame of its colour."""
    panels = figure.subplots(len(shown), most, squeeze=False)
    for row, group in zip(panels, shown, strict=True):
        i = next(place for place, one in enumerate(groups) if one is group)
        for place, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            if place >= len(group.pictures):
                axes.set_axis_off()
                continue
            picture = group.pictures[place]
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
            for spine in axes.spines.values():
                spine.set(visible=True, color=COLOURS[i], linewidth=2.2 if place == 0 else 1.2)
        row[0].set_title(wrapped(group.name, 15 * most), fontsize=8, loc="left", color=INK, pad=3)
        star = {"marker": "*", "markersize": 9, "color": COLOURS[i], "markeredgecolor": "white", "zorder": 4}
        row[0].plot(0.09, 0.91, transform=row[0].transAxes, **star)
    figure.supxlabel(wrapped("nearest to centroid; star in map", 16 * most), fontsize=7.5, color=MUTED)
