"""From CT to windows and histograms of Hounsfield units: the part of ``cbir report`` that looks at images themselves.

Shown is the slice whose mask is largest. Counted are the voxels inside the masks that the source states, as those of
the Decathlon's livers, over all of its slices; where it states none, all voxels.
"""

import logging
from collections.abc import Sequence

import numpy as np

from cbir_cli import images, windows
from cbir_cli.errors import ImageError, SourceError, UsageError
from cbir_cli.progress import track
from cbir_cli.records import Record
from cbir_cli.reports import hounsfield
from cbir_cli.reports.page import Section
from cbir_cli.stages import lesions

WINDOWS = "liver-narrow/liver-wide"
_RANGE = (-32768.0, 32767.0)
"""All that a CT can store: seen through this window, units are kept."""
_EDGES = np.arange(-1024.5, 3072, 1.0)
"""Bins of one unit; what is beyond counts to the first or the last."""

_NAMED = 5
"""Images that are left out and named."""

log = logging.getLogger("cbir")


def parse(text: str) -> dict[str, tuple[float, float]]:
    """Return windows by name, of ``liver-narrow/liver-wide`` or ``50,150/-200,300``.

    Raises
    ------
    UsageError
        If one of them is no window.
    """
    found = {name.strip(): windows.parse(name) for name in text.split("/")}
    made = {name: window for name, window in found.items() if window is not None}
    if len(made) < len(found):
        raise UsageError(f"--windows {text!r}: expected windows separated by slashes, as {WINDOWS}")
    return made


def section_of(records: Sequence[Record], shown: dict[str, tuple[float, float]]) -> Section:
    """Return the part of a page with a slice through several windows, and a histogram.

    Parameters
    ----------
    records : sequence of Record
        Slices of CT.
    shown : dict of str to (float, float)
        Windows, as ``parse`` returns them.

    Raises
    ------
    SourceError
        If no image can be read in Hounsfield units.
    """
    masked = any(record.mask for record in records)
    counts = np.zeros(len(_EDGES) - 1, np.int64)
    best: tuple[int, Record, np.ndarray] | None = None
    read = 0
    left_out: list[str] = []
    for record in track(records, len(records), "Hounsfield units"):
        if masked and (record.mask is None):
            continue
        try:
            values = images.decode(record.path, part=record.part, window=_RANGE) * (_RANGE[1] - _RANGE[0]) + _RANGE[0]
            values = np.rint(values)  # the window has rounded by less than a hundredth of a unit
            inside = lesions.read(record, "") if masked else np.ones(values.shape, bool)
        except ImageError as error:
            left_out.append(record.of_file(error))
            continue
        if inside.shape != values.shape:
            left_out.append(f"{record.place}: its mask has another size")
            continue
        if not inside.any():
            continue
        read += 1
        counts += np.histogram(np.clip(values[inside], -1024, 3071), _EDGES)[0]
        size = int(inside.sum()) if masked else -abs(read - len(records) // 2)
        if best is None or size > best[0]:
            best = size, record, values
    if best is None or not counts.sum():
        reason = f": {left_out[0]}" if left_out else " with a mask that is not empty"
        raise SourceError(f"no image in Hounsfield units{reason}")
    for reason in left_out[:_NAMED]:
        log.warning("left out: %s", reason)
    of = "voxels inside the masks" if masked else "voxels"
    without = f", {len(left_out)} could not be read" if left_out else ""
    drawn = [
        (
            f"Windows of Hounsfield units: slice {best[1].id}",
            hounsfield.panels(best[2], shown),
        ),
        (
            f"Histogram of Hounsfield units: {int(counts.sum()):,} {of}, of {read:,} slices{without}",
            hounsfield.histogram(counts, _EDGES, shown, of=of),
        ),
    ]
    return Section("hounsfield", "Hounsfield units", (), drawn)
