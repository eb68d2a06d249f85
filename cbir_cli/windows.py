"""Windows of Hounsfield units: which of them become black, white and what lies between."""

import math
from dataclasses import dataclass

from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown

PRESETS = {
    "liver-wide": (-200.0, 300.0),
    "liver-narrow": (50.0, 150.0),
    "lung": (-1350.0, 150.0),
    "mediastinum": (-160.0, 240.0),
}
"""LOW and HIGH in Hounsfield units: the two of the liver are those of the CT-liver paper, lung is a width of 1500 at a
level of -600, mediastinum 400 at 40."""

WHOLE = (-1024.0, 3071.0)
"""All Hounsfield units that 12 bits hold: what images are cut to where they are kept for other windows."""

SCALINGS = ("shared", "own")


@dataclass(frozen=True)
class View:
    """One of the pictures that a network is shown of an image.

    Attributes
    ----------
    window : tuple of 2 floats, or None
        LOW and HIGH in Hounsfield units, to which values are cut; None for images that are no CT.
    low, high : float
        What LOW and HIGH become.
    """

    window: tuple[float, float] | None
    low: float = 0.0
    high: float = 1.0


def parse(text: str) -> tuple[float, float] | None:
    """Window in Hounsfield units from what a user typed.

    Parameters
    ----------
    text : str
        Name of a preset, ``LOW,HIGH``, or nothing.

    Returns
    -------
    tuple of float, or None
        LOW and HIGH in Hounsfield units; None for no window.

    Raises
    ------
    UsageError
        If it is neither, or LOW is not below HIGH.
    """
    name = text.strip()
    if not name:
        return None
    if name in PRESETS:
        return PRESETS[name]
    try:
        low, high = (float(part) for part in name.split(","))
    except ValueError:
        raise UsageError(f"window {text!r}: expected {', '.join(PRESETS)} or LOW,HIGH in Hounsfield units") from None
    return check((low, high))


def check(window: tuple[float, float]) -> tuple[float, float]:
    """Return a window that makes sense.

    Raises
    ------
    UsageError
        If a bound is not finite or LOW is not below HIGH.
    """
    low, high = window
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"window {low:g},{high:g}: expected LOW below HIGH, both finite")
    return low, high


def views(text: str, scaling: str, window: tuple[float, float] | None) -> tuple[View, View]:
    """Return the two views of an image for an objective that compares views.

    With two windows the first view has the first and the second the second, always: Wickstrøm et al. show a wide and a
    narrow one.

    Parameters
    ----------
    text : str
        Two windows with a slash between them, as ``liver-wide/liver-narrow`` or ``-200,300/50,150``; nothing for two
        views through the same window.
    scaling : str
        ``shared``: a Hounsfield unit has the same grey in both, that of the first window. Of the authors' code: 50 to
        150 becomes 0.5 to 0.7. ``own``: each window becomes 0 to 1.
    window : tuple of 2 floats, or None
        The window where ``text`` names none.

    Raises
    ------
    UsageError
        If there are not two windows, one makes no sense, there is no such scaling, or the greys are shared and the
        second window is not within the first.
    """
    if scaling not in SCALINGS:
        raise unknown("view_scaling", scaling, SCALINGS)
    if not text.strip():
        return View(window), View(window)
    parts = [parse(part) for part in text.split("/")]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        raise UsageError(f"view_windows {text!r}: expected two windows, as liver-wide/liver-narrow")
    first, second = parts[0], parts[1]
    if scaling == "own":
        return View(first), View(second)
    if not first[0] <= second[0] < second[1] <= first[1]:
        raise UsageError(f"view_windows {text!r}: with view_scaling=shared the second is expected within the first")
    low, high = ((bound - first[0]) / (first[1] - first[0]) for bound in second)
    return View(first), View(second, low, high)
