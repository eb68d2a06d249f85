"""The average image and the average map of each class, of queries that are explained with themselves."""

import logging
from collections.abc import Sequence

import numpy as np

from cbir_cli import classes
from cbir_cli.artifacts.explanation import Classes
from cbir_cli.stages.pairs import Pairs

log = logging.getLogger("cbir")


class Averages:
    """Adds up the images and the maps of each class."""

    def __init__(self, pairs: Pairs, targets: Sequence[str]) -> None:
        items = pairs.queries
        labels = classes.labels_of(items, targets)
        self._classes = [classes.of(items.stated(row, labels), labels) for row in range(len(items.ids))]
        self._names = [name for name in classes.names(labels) if any(name in own for own in self._classes)]
        if not self._names:
            log.info("no query states a label of the task: the average is that of all images")
            self._names, self._classes = [classes.ALL], [[classes.ALL]] * len(items.ids)
        self._pixels = pairs.result_pixels
        self._images = np.zeros((len(self._names), *self._pixels.shape[1:]))
        self._maps = np.zeros((len(self._names), *self._pixels.shape[1:3]))
        self._count = np.zeros(len(self._names), np.int32)

    def add(self, row: int, image_map: np.ndarray) -> None:
        """Count one image with its map."""
        for name in self._classes[row]:
            place = self._names.index(name)
            self._images[place] += self._pixels[row]
            self._maps[place] += image_map
            self._count[place] += 1

    def classes(self) -> Classes:
        """Return the averages."""
        images, maps = (sums / self._count.reshape(-1, *[1] * (sums.ndim - 1)) for sums in (self._images, self._maps))
        return Classes(self._names, np.rint(images * 255).astype(np.uint8), maps.astype(np.float32), self._count)
