"""The images of a reading study, as a reader is to see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.ratings import Key
from cbir_cli.images import InputSpec, decode
from cbir_cli.records import Record
from cbir_cli.reports import rating_page
from cbir_cli.stages import pictures


@dataclass(frozen=True)
class Whole(InputSpec):
    """How images are shown to a reader: as they are, the longer side at most ``size`` pixels."""

    def load_here(self, record: Record) -> np.ndarray:
        """Pixels (H, W) or (H, W, 3), float32 in [0, 1], proportions kept; never enlarged."""
        from PIL import Image

        pixels = decode(record.path, part=record.part, window=self.window, minimum=self.size)
        height, width = pixels.shape[:2]
        share = self.size / max(height, width)
        if share >= 1:
            return pixels
        size = max(1, round(width * share)), max(1, round(height * share))
        planes = [pixels] if pixels.ndim == 2 else [pixels[..., c] for c in range(3)]
        small = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)).clip(0, 1) for p in planes]
        return small[0] if pixels.ndim == 2 else np.stack(small, axis=-1)


def pictures_of(
    index: Index,
    queries: Items,
    paths: Mapping[str, Path],
    key: Key,
    root: str | None,
    *,
    size: int,
    window: tuple[float, float] | None,
    workers: int,
) -> dict[str, rating_page.Picture]:
    """Return the picture of each code.

    Parameters
    ----------
    index : Index
    queries : Items
    paths : mapping of str to Path
        The file of each query.
    key : Key
    root : str or None
        Where the index's images are; else the source as it was typed.
    size : int
        Longer side in pixels; smaller images are not enlarged.
    window : tuple of float, optional
        LOW and HIGH in Hounsfield units; without it the model's, and without that the file's own.
    workers : int
        Threads that decode.

    Raises
    ------
    SourceError, ImageError
        If an image is not there, is not the one that was embedded, or cannot be decoded.
    """
    stored = index.embedding.space.input.get("window")
    spec = Whole(size=size, window=window or (tuple(stored) if stored else None))
    found: dict[str, rating_page.Picture] = {}
    asked = {case.query[1]: case.query[0] for case in key.cases.values()}
    ranked = {name: code for case in key.cases.values() for code, name in case.images.items()}
    loader = pictures.Pictures(spec, pictures.paths_of_index(index, root), paths, workers)
    for table, files, codes in (
        (queries, loader.queries, asked),
        (index.embedding.items, loader.results, ranked),
    ):
        taken = table.take(np.flatnonzero([name in codes for name in table.ids.tolist()]))
        names = iter(taken.ids.tolist())
        for some in loader.batches(files, taken):
            for pixels in some:
                found[codes[next(names)]] = rating_page.encoded(np.rint(pixels * 255).astype(np.uint8))
    return found
