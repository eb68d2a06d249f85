"""How all figures are drawn: one style, text that stays text, and the same bytes for the same input.

A figure is SVG text, which a page holds as it is, and is drawn again as PNG for those who want pixels. Nothing carries
a date, and the reader's own matplotlib settings do not matter. Series are told apart without colour, by dash pattern,
marker or hatching; the colours are told apart by the colour-blind, too. No text is smaller than ``SMALLEST`` points at
the figure's own size.
"""

import io
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1b1f24", "#57606a", "#d0d7de"
SERIES = ("#0b4f8a", "#b3541e", "#4d7c3a", "#6b4c9a")  # told apart in greyscale by the dash pattern and the marker
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
LONGEST_NAME = 32  # characters
SMALLEST = 7.0
DPI = 300  # of PNG files: what journals ask for
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
    "hatch.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


class Drawing(str):
    """SVG text of a figure, which can be drawn again as pixels.

    Parameters
    ----------
    draw : callable
        Draws on an empty figure; called again for pixels.
    inches : tuple of float
        Width and height.
    """

    _draw: Callable[[Any], None]
    _inches: tuple[float, float]

    def __new__(cls, draw: Callable[[Any], None], inches: tuple[float, float]) -> "Drawing":
        """Draw the figure."""
        from matplotlib import style
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        with style.context(["default", _STYLE]), io.StringIO() as buffer:
            canvas = FigureCanvasSVG(_figure(draw, inches))
            canvas.print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
            text = buffer.getvalue()
        # Without the XML declaration and its document type, which a page cannot hold.
        drawn = super().__new__(cls, _numbered(text[text.index("<svg") :]))
        drawn._draw, drawn._inches = draw, inches
        return drawn

    def figure(self) -> "Figure":
        """Draw the figure on a matplotlib ``Figure``, for whoever wants its numbers."""
        from matplotlib import style

        with style.context(["default", _STYLE]):
            return _figure(self._draw, self._inches)

    def png(self) -> bytes:
        """Draw the figure as a PNG of ``DPI`` dots an inch, without date or name of a program."""
        from matplotlib import style
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with style.context(["default", _STYLE]), io.BytesIO() as buffer:
            figure = _figure(self._draw, self._inches)
            FigureCanvasAgg(figure)
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
            return buffer.getvalue()


def _numbered(svg: str) -> str:
    """Name clips by their order.

    Matplotlib names them by a hash of where they are, and layouts of one figure differ in the last bit: the solver goes
    by memory addresses.
    """
    names = dict.fromkeys(re.findall(r'<clipPath id="(\w+)">', svg))
    numbers = {name: f"clip{number}" for number, name in enumerate(names, 1)}
    return re.sub(r'(<clipPath id="|"url\(#)(\w+)', lambda found: found[1] + numbers.get(found[2], found[2]), svg)


def _figure(draw: Callable[[Any], None], inches: tuple[float, float]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    draw(figure)
    return figure


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """Text that matplotlib does not read as mathematics, that XML can hold, and that leaves room for the figure."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return text.replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """Plain text in lines of at most so many characters, for places that are narrower than a name may be.

    Words also end at underscores.
    """
    lines = textwrap.wrap(plain(text).replace("_", "_ "), width)
    return "\n".join(line.replace("_ ", "_") for line in lines)
