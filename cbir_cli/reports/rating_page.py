"""The page on which a radiologist ranks the catalogue of each query.

A single file that opens from disk and needs no network (see ``offline``). It knows images by opaque codes alone. What
is done on it is kept in the browser's storage and saved as a small table (see ``artifacts.ratings``).
"""

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli.reports import offline
from cbir_cli.reports.overlay import data_uri

_SCRIPTS = ("rate.js", "rate_page.js", "rate_drag.js", "rate_file.js", "rate_viewer.js")
QUALITY = 92  # of JPEG: no blocks are seen at several times the size; 512 px of a radiograph take about 50 kB


@dataclass(frozen=True)
class Case:
    """A query and the images of its catalogue, as codes in the order in which they are first shown."""

    code: str
    query: str
    images: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """An image of the page: an address that holds it, and its height divided by its width."""

    address: str
    aspect: float


def encoded(pixels: np.ndarray) -> Picture:
    """Return an image (H, W) or (H, W, 3) uint8 for the page: a JPEG that holds nothing but pixels."""
    from PIL import Image

    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    with io.BytesIO() as buffer:
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            buffer, "JPEG", quality=QUALITY, optimize=True, subsampling=0
        )
        return Picture(data_uri(buffer.getvalue()), pixels.shape[0] / pixels.shape[1])


def page(
    *, study: str, rater: str, label: str, cases: Sequence[Case], pictures: Mapping[str, Picture], times: bool = False
) -> str:
    """Write a rater's page.

    Parameters
    ----------
    study : str
        Code of the study.
    rater : str
        What the rater is called in the table that the page saves.
    label : str
        Label that is asked for; empty for none.
    cases : sequence of Case
        In the order in which the rater sees them.
    pictures : mapping of str to Picture
        Of each code.
    times : bool
        Record the seconds that each case took.

    Returns
    -------
    str
        HTML, the same for the same input.
    """
    used = {code: pictures[code] for code in sorted({code for case in cases for code in (case.query, *case.images)})}
    aspect = statistics.median(picture.aspect for picture in used.values())
    told = {
        "study": study,
        "rater": rater,
        "label": label,
        "times": times,
        "cases": [{"code": case.code, "query": case.query, "images": list(case.images)} for case in cases],
        "aspect": round(min(1.4, max(0.6, aspect)), 3),
        "pictures": {code: picture.address for code, picture in used.items()},
    }
    return offline.render(
        "rate.html.j2",
        styles=("rate.css",),
        scripts=_SCRIPTS,
        title=f"Reading study, rater {rater}",
        told=told,
        rater=rater,
        label=label,
        times=times,
    )
