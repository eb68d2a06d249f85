"""DICOM files to pixels as they are meant to be seen, or to Hounsfield units in a window.

The order is that of the standard: stored values, modality LUT or rescale, values of interest (VOI: a LUT or a window),
and MONOCHROME1 turned round once and last. Every transfer syntax is decoded that pydicom decodes with pylibjpeg,
openjpeg, its RLE codec and GDCM. Of a file of several frames one is read, and where the frames have values of their own
(enhanced CT and MR), those of that frame count.

Where there is neither VOI LUT nor window, the range of the stored bits becomes 0 to 1, as for PNG; but the values of
CT, MR, XA and RF and signed pixels have no such scale, and a file of theirs without a window is refused. Where there
are several, the first counts, unless the caller asks for another. A window of no width is no window.

A window in Hounsfield units is for CT alone, and there it takes the place of the file's own window and of MONOCHROME1:
dense tissue is always bright.

Not used: overlays in separate elements, shutters, padding values, presentation states, colour profiles, the aspect
ratio of pixels, and PresentationLUTShape, which most MONOCHROME1 radiographs lack.

Differs from pydicom
--------------------
``pixel_array``, ``apply_color_lut`` and the conversion to RGB are used as they are. Rescale, LUTs and windows are
worked out here, for what pydicom 3.0 does with them: ``apply_windowing`` turns the image round where the rescale slope
is negative; ``apply_voi`` counts the entries of a LUT in the type of its output, so that an 8-bit table of 4,096
entries wraps round; ``apply_modality_lut`` counts them in the type of the pixels; and all three look for their values
at the top of a file only, where enhanced CT and MR do not have them.
"""

import logging
import sys
import warnings
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MODALITIES = ("", "CR", "CT", "DG", "DMS", "DX", "ES", "GM", "IO", "MR", "OP", "OT", "PX", "RF", "RG", "US", "XA", "XC")
"""Modalities whose pixels can be shown without further knowledge; files that state none are taken for OT."""
_NAMES = {
    "ECG": "electrocardiogram",
    "KO": "list of key images",
    "MG": "mammography",
    "NM": "nuclear medicine",
    "PR": "presentation state",
    "PT": "positron emission tomography",
    "SEG": "segmentation",
    "SM": "slide microscopy",
    "SR": "structured report",
}
_RADIOTHERAPY = ("RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT")
_UNSCALED = ("CT", "MR", "RF", "XA")
"""Modalities whose values seldom fill their bits, so that without a window nearly all would be black."""
_PLAIN = frozenset(("AS", "CS", "DA", "IS", "LO", "SH", "UI"))
"""Types of text whose values end at a backslash and are ASCII, or in the character set of the file."""
_PHOTOMETRIC = ("ARGB", "CMYK", "HSV", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_PARTIAL_420", "YBR_RCT")
_MOST_PIXELS = 2**28
_LARGE = 2**26
_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split())


def is_dicom(start: bytes) -> bool:
    """Say whether a file begins as DICOM, from its first 132 bytes; one may come without the preamble."""
    if start[128:132] == b"DICM":
        return True
    if start[:2] not in (b"\x02\0", b"\x08\0") or start[3:4] != b"\0":
        return False
    # An early element of the first groups: a VR, or a length in four bytes that is no novel.
    return start[4:6] in _VRS or 0 < int.from_bytes(start[4:8], "little") <= 128


@lru_cache(maxsize=1)
def pydicom() -> Any:
    """Return pydicom, quiet about values that no one here looks at."""
    # GDCM asks for the old module dl, and any folder of that name in the working directory would do.
    absent = sys.modules.setdefault("dl", None) is None  # type: ignore[arg-type]
    try:
        import pydicom as library
        import pydicom.pixels as _  # noqa: F401
    finally:
        if absent:
            sys.modules.pop("dl", None)
    library.config.settings.reading_validation_mode = library.config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        import gdcm  # type: ignore[import-untyped]
    except ImportError:
        return library
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    return library


def refusal(header: "Dataset") -> str | None:
    """Return why a file has no image that can be read, or None where it has one.

    Parameters
    ----------
    header : Dataset
        Modality, SOPClassUID, NumberOfFrames, PresentationIntentType and the image's own elements suffice.
    """
    modality = text(header, "Modality").upper()
    if modality not in MODALITIES:
        name = _NAMES.get(modality, "radiotherapy" if modality.startswith("RT") else "")
        # Anything else may be what somebody typed.
        known = modality if len(modality) == 2 or modality in (*_NAMES, *_RADIOTHERAPY) else "of this file"
        return f"modality {known}{f' ({name})' if name else ''} is not supported"
    if not all(_is_given(header, name) for name in ("Rows", "Columns", "BitsAllocated")):
        kind = getattr(header.get("SOPClassUID"), "name", "")
        return f"holds no image{f' ({kind})' if kind else ''}"
    if modality == "US" and frames(header) > 1:
        return "ultrasound clips are not supported"
    if text(header, "PresentationIntentType").upper() == "FOR PROCESSING":
        return "raw detector values (FOR PROCESSING) are not supported"
    return None


def frames(header: "Dataset") -> int:
    """Return how many frames a file has; 1 where it does not say."""
    try:
        return max(1, int(text(header, "NumberOfFrames") or 1))
    except (TypeError, ValueError):
        raise ImageError("NumberOfFrames is no number") from None


def _is_given(header: "Dataset", name: str) -> bool:
    """Say whether a whole number is there and not zero."""
    raw = header.get_item(_tag(name))
    if raw is not None and raw.is_raw and isinstance(raw.value, bytes) and len(raw.value) == 2:
        return any(raw.value)
    return bool(header.get(name))


def numbers(header: "Dataset", name: str) -> list[float]:
    """Return the values of an element of decimal numbers, none where it is not there."""
    raw = header.get_item(_tag(name))
    if raw is not None and raw.is_raw and raw.VR == "DS" and isinstance(raw.value, bytes):
        return [float(value) for value in raw.value.strip(b" \0").split(b"\\") if value.strip()]
    return [float(value) for value in header.get(name) or []]


@lru_cache(maxsize=256)
def _tag(name: str) -> Any:
    return pydicom().tag.Tag(name)


def text(header: "Dataset", name: str) -> str:
    """Return the first value of an element as text, empty where there is none; what cannot be printed is ``?``."""
    raw = header.get_item(_tag(name))
    if raw is None:
        return ""
    # Most of the time that the tags of a file take goes into making values of them, so plain text is taken as it is.
    if raw.is_raw and raw.VR in _PLAIN and isinstance(raw.value, bytes) and raw.value.isascii():
        plain = raw.value.partition(b"\\")[0].decode().strip(" \0")
        if plain.isprintable():
            return plain
    value = header.get(name)
    if value is not None and not isinstance(value, str | bytes) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    found = "" if value is None else str(value).strip()
    return found if found.isprintable() else "".join(c if c.isprintable() else "?" for c in found)


def pixels(
    file: IO[bytes], *, part: int | None = None, window: tuple[float, float] | None = None, voi: int = 0
) -> ndarray:
    """Pixels of one image of a DICOM file.

    Parameters
    ----------
    file : binary file
        At its beginning.
    part : int, optional
        Frame, from 0; only a file of several needs it.
    window : tuple of float, optional
        LOW and HIGH in Hounsfield units, for CT.
    voi : int
        Which of the file's windows or VOI LUTs to use where it has several.

    Returns
    -------
    ndarray (H, W) or (H, W, 3), float32
        In [0, 1]; grey, or RGB where the file is colour.

    Raises
    ------
    ImageError
        If the file holds no image, one of a kind that is not supported, or values without a scale.
    """
    library = pydicom()
    header = _opened(library, file)
    if reason := refusal(header):
        raise ImageError(reason)
    if header.Rows * header.Columns > _MOST_PIXELS:
        raise ImageError(f"too large: {header.Columns} x {header.Rows} pixels")
    count = frames(header)
    if part is None and count > 1:
        raise ImageError(f"holds {count} frames, expected one image or the number of a frame")
    if part is not None and not 0 <= part < count:
        raise ImageError(f"has no frame {part}: there are {count}")
    stored = _stored(library, file, header, part or 0)
    photometric = text(header, "PhotometricInterpretation").upper()
    if stored.ndim == 3 or photometric == "PALETTE COLOR":
        if window:
            raise ImageError("colour pixels have no Hounsfield units, which the model's window asks for")
        return _colour(library, stored, header, photometric)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        known = photometric if photometric in _PHOTOMETRIC else "unknown" if photometric else "missing"
        raise ImageError(f"photometric interpretation {known} of one channel is not supported")
    values = _grey(stored, _of_frame(header, part or 0), window, voi)
    return 1 - values if photometric == "MONOCHROME1" and not window else values


def hounsfield(file: IO[bytes], *, part: int | None = None) -> ndarray:
    """Hounsfield units (H, W), float32, of one CT image.

    Raises
    ------
    ImageError
        If it is none.
    """
    library = pydicom()
    header = _opened(library, file)
    if reason := refusal(header) or _no_units(_of_frame(header, part or 0)):
        raise ImageError(reason)
    values, _ = _modality(_stored(library, file, header, part or 0), _of_frame(header, part or 0))
    return values.astype(np.float32)


def _opened(library: Any, file: IO[bytes]) -> "Dataset":
    """Return a file, without its pixels if it is large: it may be of a kind that is refused, or have many frames."""
    large = file.seek(0, 2) > _LARGE
    file.seek(0)
    return cast("Dataset", library.dcmread(file, stop_before_pixels=large, force=True))


def _stored(library: Any, file: IO[bytes], header: "Dataset", part: int) -> ndarray:
    """Return the stored values of one frame (H, W), or its RGB (H, W, 3); of a long file only that frame is read."""
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    whole = header
    if "PixelData" not in header:
        file.seek(0)
        if frames(header) > 1 and syntax and not syntax.is_deflated:
            return np.asarray(library.pixels.pixel_array(file, index=part))
        whole = library.dcmread(file, force=True)
    if "PixelData" not in whole:
        raise ImageError("holds no image: the pixel data is missing")
    if syntax:
        return np.asarray(library.pixels.pixel_array(whole, index=part))
    implicit, little = (bool(value) for value in whole.original_encoding)
    names = {(True, True): "ImplicitVRLittleEndian", (False, True): "ExplicitVRLittleEndian"}
    whole.file_meta.TransferSyntaxUID = getattr(library.uid, names.get((implicit, little), "ExplicitVRBigEndian"))
    return np.asarray(library.pixels.pixel_array(whole, index=part))


def _colour(library: Any, stored: ndarray, header: "Dataset", photometric: str) -> ndarray:
    if photometric == "PALETTE COLOR":
        entries = header.RedPaletteColorLookupTableDescriptor[0] or 2**16
        stored = library.pixels.apply_color_lut(stored, header)[..., :3]
        if stored.dtype == np.uint8 and entries > 256:
            raise ImageError("a palette of 8 bits with more than 256 entries is not supported")
        bits = 8 * stored.dtype.itemsize
    elif stored.shape[2] not in (3, 4) or header.get("PixelRepresentation"):
        raise ImageError(f"colour pixels of {stored.shape[2]} channels or with signs are not supported")
    else:
        stored, bits = stored[..., :3], int(header.get("BitsStored") or header.BitsAllocated)
    return np.divide(stored, 2**bits - 1).astype(np.float32)


def _of_frame(header: "Dataset", part: int) -> "Dataset":
    """Return the header with the values that only this frame has, as enhanced CT and MR state them."""
    groups = [
        *(header.get("SharedFunctionalGroupsSequence") or [])[:1],
        *(header.get("PerFrameFunctionalGroupsSequence") or [])[part : part + 1],
    ]
    if not groups:
        return header
    own = pydicom().dataset.Dataset()
    own.update({element.tag: element for element in header if element.VR != "SQ" or "LUT" in element.keyword})
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(name) or [])[:1]:
                own.update({element.tag: element for element in item})
    return own


def _grey(stored: ndarray, header: "Dataset", window: tuple[float, float] | None, voi: int) -> ndarray:
    if window:
        if reason := _no_units(header):
            raise ImageError(f"{reason}, which the model's window asks for")
        values, _ = _modality(stored, header)
        return within(values, *window)
    values, (low, high) = _modality(stored, header)
    tables, centres, widths = (_list(header, n) for n in ("VOILUTSequence", "WindowCenter", "WindowWidth"))
    known = len(tables) or min(len(centres), len(widths))
    if voi and voi >= known:
        raise ImageError(f"has no window {voi}: there are {known}")
    if tables:
        table, first, bits = _table(tables[voi], header)
        return np.divide(_look_up(values, table, first), 2**bits - 1).astype(np.float32)
    if known:
        shown = _windowed(values, float(centres[voi]), float(widths[voi]), text(header, "VOILUTFunction").upper())
        if shown is not None:
            return shown
    modality = text(header, "Modality").upper()
    if modality in _UNSCALED:
        hint = "; name one for the model, as --set window=LOW,HIGH" if modality == "CT" else ""
        raise ImageError(f"{modality} without a window: its values have no stated scale{hint}")
    if header.get("PixelRepresentation"):
        raise ImageError("signed pixels without a window have no stated scale")
    return within(values, low, high)


def within(values: ndarray, low: float, high: float) -> ndarray:
    """Return (H, W) float32 in [0, 1]: 0 up to ``low``, 1 from ``high``, and a straight line between."""
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def _windowed(values: ndarray, centre: float, width: float, function: str) -> ndarray | None:
    """Return the window of PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to [0, 1]; None if it has no width."""
    if function == "SIGMOID" and width > 0:
        # The exponent is cut where a float32 is 0 or 1 anyway.
        return (1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -80, 80)))).astype(np.float32)
    if function == "LINEAR_EXACT" and width > 0:
        return within(values, centre - width / 2, centre + width / 2)
    if function in ("", "LINEAR") and width > 1:
        return within(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    if function in ("", "LINEAR") and width == 1:
        return (values > centre - 0.5).astype(np.float32)
    if function not in ("", "LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError("its VOI LUT function is not supported")
    return None


def _modality(stored: ndarray, header: "Dataset") -> tuple[ndarray, tuple[float, float]]:
    """Return values after the modality LUT or rescale (H, W), float64, and the range that the stored bits can have."""
    bits, signed = int(header.get("BitsStored") or header.BitsAllocated), bool(header.get("PixelRepresentation"))
    if tables := _list(header, "ModalityLUTSequence"):
        table, first, depth = _table(tables[0], header)
        return _look_up(stored, table, first).astype(np.float64), (0, 2**depth - 1)
    slope, intercept = _number(header, "RescaleSlope", 1), _number(header, "RescaleIntercept", 0)
    if not slope or not np.isfinite([slope, intercept]).all():
        raise ImageError(f"rescale slope {slope:g} and intercept {intercept:g} make no sense")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return stored.astype(np.float64) * slope + intercept, (ends[0], ends[1])


def _table(item: "Dataset", header: "Dataset") -> tuple[ndarray, int, int]:
    """Return a LUT's entries, the value of its first, and its bits."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        _, little = header.original_encoding if header.original_encoding[1] is not None else (None, True)
        data = np.frombuffer(data, "<u2" if little else ">u2")
    table = np.atleast_1d(np.asarray(data, np.int64))[: count or 2**16]
    if not len(table) or not 8 <= bits <= 16 or table.max() >= 2**bits:
        raise ImageError(f"a LUT of {len(table)} entries of {bits} bits is not supported")
    signed = bool(header.get("PixelRepresentation"))
    return table, first - 2**16 if signed and first >= 2**15 else first, bits


def _look_up(values: ndarray, table: ndarray, first: int) -> ndarray:
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _no_units(header: "Dataset") -> str | None:
    """Return why the values are not Hounsfield units, or None where they are."""
    if text(header, "Modality").upper() != "CT":
        modality = text(header, "Modality").upper()
        return f"modality {modality if modality in MODALITIES else ''} has no Hounsfield units".replace(
            "  ", " missing "
        )
    if "RescaleIntercept" not in header:
        return "CT without a rescale to Hounsfield units"
    if (kind := text(header, "RescaleType").upper()) not in ("", "HU"):
        known = kind if kind in ("OD", "US", "MGML", "Z_EFF", "ED", "EDW", "PCT") else "other units"
        return f"CT rescaled to {known} instead of Hounsfield units"
    return None


def _list(header: "Dataset", name: str) -> list[Any]:
    value = header.get(name)
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _number(header: "Dataset", name: str, default: float) -> float:
    values = _list(header, name)
    return float(values[0]) if values else default
