"""Image files to arrays: decode, luma, resize, normalise.

Between stages a grey image is (S, S) float32 in [0, 1] and a batch of network input is (N, 3, S, S) float32.

What decodes, and how far
-------------------------
DICOM (see ``dicom``), slices of NIfTI volumes (see ``volumes``), and PNG, JPEG, TIFF and BMP, as Pillow reads them; the
content decides, not the ending. What follows is about the latter. Grey of 1, 2, 4, 8 and 16 bits keeps all its bits and
is divided by the largest value that they can hold (TIFF of 12 bits: 4095). Pillow keeps the upper 8 of 16 bits of
*colour* and of grey with alpha, so those are right to 1/255 only. Palettes and CMYK become RGB; alpha is dropped, not
blended, because the radiographs that carry it are grey and opaque. EXIF and TIFF orientation is applied. Colour
profiles and gamma are not. Signed pixels, 32-bit integers, floats outside [0, 1] and files of several pages have no one
right reading and are refused.

A window in Hounsfield units is for CT, from DICOM or a volume: with it, any other image is refused, since its pixels
have been through a window that no one recorded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from cbir_cli import decoders, dicom, npz, volumes, windows
from cbir_cli.errors import ArtifactError, ImageError, ShapeError, UsageError
from cbir_cli.records import Record

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BUFFER = 2**18
"""Bytes read at once: most radiographs in one go, where Pillow would ask for dozens of small pieces."""
_START = 2**12
"""Bytes that tell what a file is; a compressed volume needs some hundred to show its header."""
_ZIP = b"PK\x03\x04"


def decode(
    path: str | Path,
    *,
    part: int | None = None,
    window: tuple[float, float] | None = None,
    minimum: int | None = None,
) -> ndarray:
    """Pixels of an image file.

    Parameters
    ----------
    path : path
        DICOM, NIfTI, PNG, JPEG, TIFF or BMP; the content decides, not the ending.
    part : int, optional
        Frame or slice, from 0, of a file that holds several.
    window : tuple of float, optional
        LOW and HIGH in Hounsfield units, which become 0 and 1. Without it a DICOM file is shown in its own window.
    minimum : int, optional
        Side in pixels that the image will be reduced to. A JPEG of at least four times that is then decoded at a half,
        quarter or eighth of its size, never below twice ``minimum`` on either side. After `resize` the difference is
        about 1/255.

    Returns
    -------
    ndarray (H, W) or (H, W, 3), float32
        Grey, or RGB where the file is colour, in [0, 1].

    Raises
    ------
    ImageError
        If the file is missing, empty, no image, damaged, too large, or has pixels whose scale is not known. One line
        that starts with the file's name.
    """
    return _decode(Path(path), part, window, minimum, luma=False)


def _decode(
    path: Path, part: int | None, window: tuple[float, float] | None, minimum: int | None, *, luma: bool
) -> ndarray:
    name = path.name if path.name.isprintable() else ascii(path.name)
    dicom_file = False
    try:
        if not path.is_file() and path.exists():
            raise ImageError("not a regular file")  # a named pipe would block for ever
        with path.open("rb", buffering=_BUFFER) as file:
            start = file.read(_START)
            file.seek(0)
            if not start:
                raise ImageError("empty file")
            dicom_file = dicom.is_dicom(start)
            if dicom_file:
                values = dicom.pixels(file, part=part, window=window)
                return grey(values) if luma else values
            if volumes.is_volume(start):
                return volumes.pixels(path, part, window)
            if start[:4] == _ZIP:
                values = npz.decode(path, part)
                values = grey(values) if luma else values
            elif part is not None:
                raise ImageError(f"is one image, it has no part {part}")
            else:
                values = _pixels(file, minimum, luma)
            if window:
                raise ImageError("no Hounsfield units, which the model's window asks for; give DICOM or NIfTI")
            return values
    except ImageError as error:
        reason = str(error).removeprefix(f"{path.name}: ")
        raise ImageError(f"{name}: {reason}") from error
    except Exception as error:  # on a damaged file Pillow raises nearly anything: OSError, SyntaxError, struct.error...
        strerror = error.strerror if isinstance(error, OSError) else None
        said = str(error)
        if dicom_file:  # pydicom quotes what the tags hold
            said = "fewer bytes than its pixels need" if "less than expected" in said else ""
        reason = strerror or f"damaged image: {next(iter(said.splitlines()), type(error).__name__)}"
        raise ImageError(f"{name}: {reason}") from error
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        # The RLE codec is written in Rust and panics on some damaged files, past every except Exception.
        raise ImageError(f"{name}: damaged image: its RLE segments cannot be decoded") from error


def _pixels(file: IO[bytes], minimum: int | None, luma: bool) -> ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Naming the formats keeps Pillow from trying forty others, some of which start an outside program.
        image = Image.open(file, formats=("PNG", "JPEG", "TIFF", "BMP"))
    except UnidentifiedImageError:
        raise ImageError("not a DICOM, NIfTI, PNG, JPEG, TIFF or BMP image") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise ImageError(f"too large: {image.width} x {image.height} pixels")
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        raise ImageError("holds several pages, expected one image")
    if minimum:
        image.draft(None, (2 * minimum, 2 * minimum))
    ImageOps.exif_transpose(image, in_place=True)
    return _unit(image, luma)


def _unit(image: "ImageFile", luma: bool) -> ndarray:
    """Scale a loaded image to [0, 1] by what its pixels can hold; colour as RGB or, on demand, as its luma."""
    from PIL import ImageChops

    tags = _tiff_tags(image) if image.format == "TIFF" else {}
    if tags.get("sample_format", 1) == 2:
        raise ImageError("signed pixels have no stated scale")
    # Bytes of transparency would make Pillow warn on conversion; alpha is dropped either way.
    image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        values = np.divide(np.asarray(image), 2 ** tags.get("bits", 16) - 1, dtype=np.float32)
    elif image.mode == "F":
        values = np.array(image, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ImageError("holds NaN or infinite pixels")
        if values.min() < 0 or values.max() > 1:
            raise ImageError("float pixels outside 0..1 have no stated scale")
    elif image.mode in ("1", "L", "LA", "La"):
        values = np.divide(np.asarray(image.convert("L")), 255, dtype=np.float32)
    elif image.mode in ("RGB", "RGBA", "RGBX", "P", "PA", "YCbCr", "CMYK"):
        pixels = image
        if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
            # Pillow takes every JPEG of four inks for an inverted one, as Adobe writes them and marks them.
            pixels = ImageChops.invert(image)  # type: ignore[assignment]
        colour = pixels.convert("RGB")
        # Pillow's F is the luma of `grey`, not rounded to 8 bits, in one pass over the bytes.
        values = np.divide(np.asarray(colour.convert("F") if luma else colour), 255, dtype=np.float32)
    else:
        raise ImageError(f"pixels of mode {image.mode} are not supported")
    if tags.get("photometric") == 0 and (image.mode == "F" or image.mode.startswith("I;16")):
        values = 1 - values  # 0 is white; Pillow has seen to it for 8 bits and fewer only
    return values


def _tiff_tags(image: Any) -> dict[str, int]:
    from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

    tags = image.tag_v2
    return {
        "photometric": tags.get(PHOTOMETRIC_INTERPRETATION, 0),
        "sample_format": max(tags.get(SAMPLEFORMAT, (1,))),
        "bits": max(tags.get(BITSPERSAMPLE, (1,))),
    }


def grey(pixels: ndarray) -> ndarray:
    """ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B; grey pixels come back as they are.

    Parameters
    ----------
    pixels : ndarray (H, W), (H, W, 3) or (H, W, 4), float
        In [0, 1]; a fourth channel is ignored.

    Returns
    -------
    ndarray (H, W), float32
        In [0, 1]; where R = G = B exactly that value, so a grey image saved as colour stays the same image.
    """
    if pixels.ndim == 2:
        return np.asarray(pixels, np.float32)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ShapeError(f"expected pixels (H, W), (H, W, 3) or (H, W, 4), found {pixels.shape}")
    red, green, blue = (np.asarray(pixels[..., c], np.float32) for c in range(3))
    return np.clip(green + 0.299 * (red - green) + 0.114 * (blue - green), 0, 1)


def resize(pixels: ndarray, size: int) -> ndarray:
    """Bilinear resampling to a square, with antialiasing; the aspect ratio is not kept.

    The triangle's support grows with the reduction (Pillow's BILINEAR on float pixels, torchvision's
    ``antialias=True``). Stretching to a square is what ig-cbir-2020 and silva-2022 do.

    Parameters
    ----------
    pixels : ndarray (H, W) or (H, W, C), float
    size : int
        Side of the result in pixels.

    Returns
    -------
    ndarray (size, size) or (size, size, C), float32
    """
    from PIL import Image

    if pixels.ndim == 3:
        return np.stack([resize(pixels[..., c], size) for c in range(pixels.shape[2])], axis=-1)
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ShapeError(f"expected pixels (H, W) or (H, W, C), found {pixels.shape}")
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR))


COLOURS = ("grey", "rgb")


@dataclass(frozen=True)
class InputSpec:
    """How an image file becomes the input of a network; stored with the model and read back by every later stage.

    Attributes
    ----------
    size : int
        Side in pixels.
    mean, std : tuple of 3 floats
        Per channel, in units of [0, 1] pixels; the defaults are those of ImageNet.
    colour : str
        ``"grey"`` (one channel, copied to three) or ``"rgb"``.
    window : tuple of 2 floats, or None
        LOW and HIGH in Hounsfield units, which become 0 and 1; None for images that are no CT.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    colour: str = "grey"
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise UsageError(f"image size: expected a positive whole number, found {self.size!r}")
        if self.colour not in COLOURS:
            raise UsageError(f"image colour: expected {' or '.join(COLOURS)}, found {self.colour!r}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise UsageError(f"expected a mean and a std of 3 numbers, found {self.mean} and {self.std}")
        if not np.isfinite([self.mean, self.std]).all() or min(self.std) <= 0:
            raise UsageError(f"expected finite means and positive stds, found {self.mean} and {self.std}")
        if self.window is not None:
            windows.check(self.window)

    def load(self, record: Record) -> ndarray:
        """Pixels of an image at this size: (S, S), or (S, S, 3) for ``rgb``, float32 in [0, 1].

        Raises
        ------
        ImageError
            If the file cannot be decoded.
        """
        try:
            return decoders.load(self, record) if decoders.is_risky(record.path) else self.load_here(record)
        except ImageError as error:
            raise ImageError(record.of_file(error)) from error

    def load_here(self, record: Record) -> ndarray:
        """Pixels as ``load`` gives them, decoded in this thread; an error has the file's own name."""
        pixels = _decode(record.path, record.part, self.window, self.size, luma=self.colour == "grey")
        pixels = resize(pixels, self.size)
        return pixels if pixels.ndim == 3 or self.colour == "grey" else np.repeat(pixels[..., None], 3, axis=2)

    def prepare(self, pixels: ndarray) -> ndarray:
        """Network input from loaded pixels.

        Parameters
        ----------
        pixels : ndarray (N, H, W) or (N, H, W, 3), float
            In [0, 1]. Grey pixels are copied to three channels.

        Returns
        -------
        ndarray (N, 3, H, W), float32, C-contiguous
            ``(pixels - mean) / std`` per channel.

        Raises
        ------
        ShapeError
            If ``pixels`` has another shape.
        """
        if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
            raise ShapeError(f"expected pixels (N, H, W) or (N, H, W, 3), found {pixels.shape}")
        result = np.empty((pixels.shape[0], 3, *pixels.shape[1:3]), np.float32)
        for channel in range(3):
            values = pixels if pixels.ndim == 3 else pixels[..., channel]
            np.subtract(values, np.float32(self.mean[channel]), out=result[:, channel])
            result[:, channel] /= np.float32(self.std[channel])
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, text and lists, as an artifact stores them."""
        stored = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        window = stored.pop("window")
        # Left out where there is none, so that a model without keeps the fingerprint that it had before windows.
        return stored if window is None else {**stored, "window": list(window)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "InputSpec":
        """Read back what `to_dict` wrote.

        Raises
        ------
        ArtifactError
            If a field is missing, unknown, or has a value that cannot be.
        """
        names = [f.name for f in fields(cls)]
        if sorted({"window": None, **stored}) != sorted(names):
            raise ArtifactError(f"image input: expected {', '.join(names)}, found {', '.join(stored) or 'nothing'}")
        try:
            mean, std = (tuple(float(v) for v in stored[key]) for key in ("mean", "std"))
            window = None if stored.get("window") is None else tuple(float(v) for v in stored["window"])
            return cls(int(stored["size"]), mean, std, str(stored["colour"]), window)  # type: ignore[arg-type]
        except (TypeError, ValueError, UsageError) as error:
            raise ArtifactError(f"image input: {error}") from error
