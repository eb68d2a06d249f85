"""Images of an embedding as its network saw them, from the files that it was made from."""

import logging
from dataclasses import replace

import numpy as np

from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import CbirError
from cbir_cli.images import InputSpec
from cbir_cli.stages.pictures import Pictures, paths

log = logging.getLogger("cbir")


def of(stored: Embedding, items: Items, root: str | None, *, without: str, side: int = 0) -> np.ndarray | None:
    """Return some images of an embedding.

    Parameters
    ----------
    stored : Embedding
        Of vectors that were made elsewhere nobody knows what the network saw: images are grey then.
    items : Items
        Which of its images.
    root : str, optional
        Where the images are; else the source as it was typed. Named, they have to be there.
    without : str
        Said, with the reason, where there are none.
    side : int
        Pixels each way; 0 for as many as the network saw.

    Returns
    -------
    ndarray (N, S, S) or (N, S, S, 3), uint8, or None
        None if no root was named and they are not to be found or cannot be read.

    Raises
    ------
    CbirError
        If ``root`` was named and an image is not there, or cannot be read.
    """
    try:
        spec = InputSpec.from_dict(dict(stored.space.input)) if stored.space.input else InputSpec()
        where = paths(items.ids, items["path"], root, stored.space.source)
        pixels = Pictures(replace(spec, size=side or spec.size), where, {}).load(where, items)
    except CbirError as error:
        if root is not None:
            raise
        log.warning("%s: %s", without, error)
        return None
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
