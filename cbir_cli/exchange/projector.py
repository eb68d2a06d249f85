"""The TensorBoard projector: a folder with vectors, what is known of each image, and a sprite of small images.

``tensorboard --logdir FOLDER`` shows it; https://projector.tensorflow.org takes ``tensors.tsv`` and ``metadata.tsv``.
"""

from pathlib import Path

import numpy as np

from cbir_cli.exchange import Columns

CONFIG, SPRITE = "projector_config.pbtxt", "sprite.png"
FILES = ("tensors.tsv", "metadata.tsv", SPRITE, CONFIG)
SPRITE_SIDE = 8192
"""Pixels that a sprite may have each way: what a browser draws."""


def write(folder: Path, vectors: np.ndarray, columns: Columns, thumbnails: np.ndarray | None = None) -> None:
    """Write a projector's files into a folder that exists.

    Parameters
    ----------
    folder : Path
    vectors : ndarray (N, D), float32
    columns : mapping of str to sequence of str
        Cells (N,) by column. Columns that are empty everywhere are left out.
    thumbnails : ndarray (N, S, S) or (N, S, S, 3), uint8, optional
        A small image of each; a sprite holds at most (8192 / S)**2 of them.
    """
    with (folder / "tensors.tsv").open("w", encoding="ascii") as file:
        np.savetxt(file, np.asarray(vectors, np.float32), fmt="%.9g", delimiter="\t")
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    with (folder / "metadata.tsv").open("w", encoding="utf-8") as file:
        if len(shown) > 1:  # of a single column the projector expects no header
            file.write("\t".join(map(_plain, shown)) + "\n")
        for row in zip(*shown.values(), strict=True):
            file.write("\t".join(map(_plain, row)) + "\n")
    lines = [
        'tensor_name: "embedding"',
        f"tensor_shape: {len(vectors)}",
        f"tensor_shape: {vectors.shape[1]}",
        'tensor_path: "tensors.tsv"',
        'metadata_path: "metadata.tsv"',
    ]
    if thumbnails is not None:
        side = thumbnails.shape[1]
        _sprite(folder / SPRITE, thumbnails)
        lines += ["sprite {", f'  image_path: "{SPRITE}"']
        lines += [f"  single_image_dim: {side}", f"  single_image_dim: {side}", "}"]
    body = "\n".join(f"  {line}" for line in lines)
    (folder / CONFIG).write_text(f"embeddings {{\n{body}\n}}\n", encoding="ascii")


def _sprite(path: Path, thumbnails: np.ndarray) -> None:
    """Write images side by side in a square, row by row, as the projector reads them."""
    from PIL import Image

    count, side = thumbnails.shape[:2]
    across = int(np.ceil(np.sqrt(count)))
    canvas = np.zeros((across * side, across * side, *thumbnails.shape[3:]), np.uint8)
    for number, image in enumerate(thumbnails):
        top, left = side * (number // across), side * (number % across)
        canvas[top : top + side, left : left + side] = image
    Image.fromarray(canvas).save(path)


def _plain(text: str) -> str:
    return " ".join(text.split()) if text.split() else "-"  # an empty line would be no row
