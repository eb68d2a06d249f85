"""Windows of Hounsfield units: which of them become black, white and what lies between."""

import math

from cbir_cli.errors import UsageError

PRESETS = {
    "liver-wide": (-200.0, 300.0),
    "liver-narrow": (50.0, 150.0),
    "lung": (-1350.0, 150.0),
    "mediastinum": (-160.0, 240.0),
}
"""LOW and HIGH in Hounsfield units: the two of the liver are those of the CT-liver paper, lung is a width of 1500 at a
level of -600, mediastinum 400 at 40."""


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
