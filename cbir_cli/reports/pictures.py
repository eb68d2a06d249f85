"""The distinct pictures of a page: each is stored once, however often it is shown."""

import hashlib
from dataclasses import dataclass

import numpy as np

from cbir_cli.reports import overlay
from cbir_cli.reports.overlay import Scale, compact, data_uri, heat, lossless, ramp, shrink

LONGEST = 512  # px of a picture's longer side; more is not seen in a gallery
MAP_PIXELS = 40_000_000  # of all maps together, 10 to 33 MB of the page: beyond, they are stored with fewer
UNIT_PIXELS = 8_000_000  # 160 CT images of 224 px, about 15 MB of the page: beyond, they are stored with fewer
LOSSLESS_PIXELS = 6_000_000  # 120 images of 224 px, 4 MB as PNG; beyond, JPEG takes a third of that and maps are halved


@dataclass(frozen=True)
class Place:
    """Where a picture is: the name of its element, and its size in px."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Bar:
    """A colour bar: its picture, what stands at its ends, and whether values below zero occur."""

    picture: Place
    low: str
    high: str
    signed: bool


class Pictures:
    """The pictures of a page, in order of first use."""

    def __init__(self) -> None:
        self._units: dict[str, np.ndarray] = {}
        self._images: dict[bytes, tuple[Place, np.ndarray]] = {}
        self._overlays: dict[bytes, tuple[Place, np.ndarray, Scale]] = {}

    @property
    def lossless(self) -> bool:
        """Whether images are stored exactly; many images are not, lest the page grow past what mail carries."""
        return sum(pixels.shape[0] * pixels.shape[1] for _, pixels in self._images.values()) <= LOSSLESS_PIXELS

    @property
    def part(self) -> int:
        """By how much the sides of maps are divided: 1 beside exact images, else 2, and 3 or 4 if there are many."""
        pixels = sum(place.width * place.height for place, _, _ in self._overlays.values())
        return 1 if self.lossless else next(part for part in (2, 3, 4) if part == 4 or pixels <= MAP_PIXELS * part**2)

    def image(self, pixels: np.ndarray, hounsfield: np.ndarray | None = None) -> Place:
        """Return the place of an image, (H, W) or (H, W, 3) uint8, and keep its Hounsfield units (H, W) int16."""
        key = _digest(pixels)
        if key not in self._images:
            small = shrink(pixels, LONGEST)
            self._images[key] = (Place(f"i{len(self._images)}", small.shape[1], small.shape[0]), small)
        if hounsfield is not None:
            self._units.setdefault(self._images[key][0].name, hounsfield)
        return self._images[key][0]

    @property
    def depth_part(self) -> int:
        """By how much the sides of images in Hounsfield units are divided, lest the page grow too large."""
        pixels = sum(units.size for units in self._units.values())
        return next(part for part in (1, 2, 3, 4) if part == 4 or pixels <= UNIT_PIXELS * part**2)

    def units(self) -> dict[str, str]:
        """Return for each image whose Hounsfield units are known a picture of them, by the name of its place."""
        part = self.depth_part
        return {name: data_uri(overlay.two_bytes(units, part)) for name, units in self._units.items()}

    def over(self, image: Place, values: np.ndarray, scale: Scale | None) -> Place:
        """Return the place of a map (h, w), float, stretched over an image; one without a scale is clear."""
        return self._map(values, scale or Scale(0.0, False, False), image.width, image.height)

    def bar(self, scale: Scale | None) -> Bar | None:
        """Return the colour bar of a scale; None without one."""
        if scale is None:
            return None
        return Bar(self._map(*ramp(scale), 120, 12), *scale.ends, scale.signed)

    def encoded(self) -> list[tuple[Place, str]]:
        """Every picture with its data; where images are not exact, maps have fewer pixels (see ``part``)."""
        write, part = lossless if self.lossless else compact, self.part
        files = [(place, write(pixels)) for place, pixels in self._images.values()]
        for place, values, scale in self._overlays.values():
            size = (max(1, place.height // part), max(1, place.width // part))
            files.append((place, heat(values, scale, size)))
        return [(place, data_uri(data)) for place, data in files]

    def _map(self, values: np.ndarray, scale: Scale, width: int, height: int) -> Place:
        key = _digest(values) + f"{scale} {width} {height}".encode()
        if key not in self._overlays:
            self._overlays[key] = (Place(f"m{len(self._overlays)}", width, height), values, scale)
        return self._overlays[key][0]


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(f"{values.shape} {values.dtype}".encode() + np.ascontiguousarray(values).tobytes()).digest()
