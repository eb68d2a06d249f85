"""Small images of an embedding, from the files that it was made from."""

import logging

import numpy as np

from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.errors import CbirError
from cbir_cli.images import InputSpec
from cbir_cli.stages.pictures import Pictures, paths

log = logging.getLogger("cbir")

SIDE = 64
"""Pixels each way."""


def of(stored: Embedding, root: str | None, *, most: int) -> np.ndarray | None:
    """Return the images of an embedding, as its network saw them but small.

    Parameters
    ----------
    stored : Embedding
    root : str, optional
        Where the images are; else the source as it was typed. Named, they have to be there.
    most : int
        Images at most.

    Returns
    -------
    ndarray (N, 64, 64) or (N, 64, 64, 3), uint8, or None
        None, which is said, if there are more images, or no root was named and they are not to be found.

    Raises
    ------
    CbirError
        If ``root`` was named and an image is not there, or cannot be read.
    """
    if stored.items.count > most:
        log.info("no small images: %d are more than the %d that a sprite holds", stored.items.count, most)
        return None
    spec = {**stored.space.input, "size": SIDE}
    try:
        where = paths(stored.items.ids, stored.items["path"], root, stored.space.source)
        made = InputSpec.from_dict(spec) if stored.space.input else InputSpec(size=SIDE)
        pixels = Pictures(made, where, {}).load(where, stored.items)
    except CbirError as error:
        if root is not None:
            raise
        log.info("no small images: %s", error)
        return None
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
