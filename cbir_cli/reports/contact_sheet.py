"""Contact sheets: queries and what was found for them, as the papers print them.

A line has a name on the left and images in frames; numbers above an image are its place in an expert's order, words
below it say more. Frames differ by colour and by pattern. A map is laid over its image; those of one sheet and one
explainer share a scale.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 4.
Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports 2022, Figs. 1 to
3, 6 and 8.
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022, Figs. 4 and 5.
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022, Figs. 8 to 12.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports import overlay
from cbir_cli.reports.drawing import INK, LINE, MUTED, Drawing, plain, wrapped

QUERY, SAME, OTHER, UNKNOWN, DISPUTED = (
    "query",
    "same label",
    "other label",
    "label not known",
    "rater and label differ",
)
FRAMES = {
    QUERY: ("#1f5fbf", "-", 3.2),
    SAME: ("#2a7f3f", "-", 2.0),
    OTHER: ("#c22f2f", (0, (4, 2)), 2.0),
    DISPUTED: ("#e08a00", (0, (6, 1.5, 1, 1.5)), 2.6),
    UNKNOWN: (MUTED, (0, (1, 1.5)), 1.6),
}
"""Colour, pattern and width, in the order of the key."""
_SIDE, _NAMES = 0.98, 1.15
"""Inches of an image, and of the names."""
_LETTERS = 15
"""That have room beside or above an image."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One image of a sheet.

    Parameters
    ----------
    image : ndarray (H, W) or (H, W, 3), uint8, or None
        None where no picture is at hand.
    frame : str
        One of ``FRAMES``.
    above, below : str
        Said above and below the image.
    map : ndarray (h, w), float, or None
        Laid over the image.
    explainer : str
        What made the map: maps of one explainer share a scale.
    """

    image: np.ndarray | None
    frame: str = UNKNOWN
    above: str = ""
    below: str = ""
    map: np.ndarray | None = None
    explainer: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """Images beside one another.

    Parameters
    ----------
    name : str
        Said on the left.
    cells : sequence of Cell or None
        None leaves a place free.
    ruled : bool
        Whether a rule stands above the line.
    """

    name: str
    cells: Sequence[Cell | None]
    ruled: bool = False


def contact_sheet(lines: Sequence[Line], heads: Sequence[str] = (), *, note: str = "") -> Drawing:
    """Draw lines of images below one another.

    Parameters
    ----------
    lines : sequence of Line
    heads : sequence of str
        Said above the columns.
    note : str
        Said at the foot, under the key.

    Returns
    -------
    Drawing
        As wide as its longest line.

    Raises
    ------
    ShapeError
        If there is no image place, or a frame is none of ``FRAMES``.
    """
    across = max((len(line.cells) for line in lines), default=0)
    cells = [cell for line in lines for cell in line.cells if cell is not None]
    if not cells:
        raise ShapeError("a contact sheet needs at least one image")
    if unknown := {cell.frame for cell in cells} - FRAMES.keys():
        raise ShapeError(f"expected frames {', '.join(FRAMES)}, found {', '.join(sorted(unknown))}")
    scales = _scales(cells)
    heights = [_SIDE + 0.17 * _spoken(line, "above") + 0.15 * _spoken(line, "below") + 0.05 for line in lines]
    top = 0.24 if any(heads) else 0.04
    width = max(_NAMES + across * (_SIDE + 0.1), 4.6)
    said = textwrap.wrap(note, int(width * 17))
    foot = 0.3 + 0.14 * len(said)
    height = top + sum(heights) + foot

    def draw(figure: Any) -> None:
        figure.set_layout_engine("none")  # every place is known: nothing has to give way
        for column, head in enumerate(heads):
            x = (_NAMES + (column + 0.5) * (_SIDE + 0.1)) / width
            figure.text(x, 1 - 0.05 / height, plain(head, _LETTERS), fontsize=8, ha="center", va="top")
        y = top
        for line, tall in zip(lines, heights, strict=True):
            if line.ruled:
                figure.add_artist(_rule(figure, 1 - (y - 0.01) / height))
            upper = y + 0.17 * _spoken(line, "above")
            middle = 1 - (upper + _SIDE / 2) / height
            figure.text(0.06 / width, middle, wrapped(line.name, _LETTERS), fontsize=8, ha="left", va="center")
            for column, cell in enumerate(line.cells):
                if cell is not None:
                    left = _NAMES + column * (_SIDE + 0.1)
                    box = (left / width, 1 - (upper + _SIDE) / height, _SIDE / width, _SIDE / height)
                    _cell(figure.add_axes(box), cell, scales)
            y += tall
        _key(figure, {cell.frame for cell in cells}, 0.14 * len(said) / height)
        text = "\n".join(said).replace("$", r"\$")
        figure.text(0.5, 0.04 / height, text, fontsize=7, ha="center", va="bottom", color=MUTED, linespacing=1.2)

    return Drawing(draw, (width, height))


def _scales(cells: Sequence[Cell]) -> dict[str, overlay.Scale]:
    maps: dict[str, list[np.ndarray]] = {}
    for cell in cells:
        if cell.map is not None:
            maps.setdefault(cell.explainer, []).append(cell.map)
    found = {name: overlay.scale(values) for name, values in maps.items()}
    return {name: scale for name, scale in found.items() if scale is not None}


def _spoken(line: Line, where: str) -> bool:
    return any(cell is not None and getattr(cell, where) for cell in line.cells)


def _cell(axes: Any, cell: Cell, scales: Mapping[str, overlay.Scale]) -> None:
    from PIL import Image

    colour, pattern, wide = FRAMES[cell.frame]
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    if cell.image is None:
        axes.text(0.5, 0.5, "no image", fontsize=7, color=MUTED, ha="center", va="center", transform=axes.transAxes)
    else:
        extent = (0, cell.image.shape[1], cell.image.shape[0], 0)
        axes.imshow(cell.image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none", aspect="auto")
        if cell.map is not None:
            heat = overlay.heat(cell.map, scales[cell.explainer], cell.image.shape[:2])
            over = np.asarray(Image.open(io.BytesIO(heat)).convert("RGBA"))
            axes.imshow(over, extent=extent, interpolation="none", aspect="auto")
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linestyle=pattern, linewidth=wide)
    if cell.above:
        axes.set_title(plain(cell.above, _LETTERS), fontsize=8, pad=3, color=INK)
    if cell.below:
        axes.set_xlabel(plain(cell.below, _LETTERS), fontsize=7, labelpad=2.5, color=INK)


def _rule(figure: Any, y: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D((0, 1), (y, y), color=LINE, linewidth=0.8, transform=figure.transFigure)


def _key(figure: Any, used: set[str], bottom: float) -> None:
    from matplotlib.patches import Patch

    shown = {name: style for name, style in FRAMES.items() if name in used}
    handles = [
        Patch(facecolor="none", edgecolor=colour, linestyle=pattern, linewidth=min(wide, 2.2), label=name)
        for name, (colour, pattern, wide) in shown.items()
    ]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, bottom), ncols=len(handles), fontsize=7.5,
        handlelength=1.6, handleheight=1.2, columnspacing=1.4, borderaxespad=0.15,
    )  # fmt: skip
