"""Embeddings to the files of other programs: the part of ``cbir convert`` that writes them."""

import logging
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import embeddings, files, history
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.exchange import h5ad, npy, parquet, projector, sqlite
from cbir_cli.records import MISSING, images
from cbir_cli.stages import thumbnails

log = logging.getLogger("cbir")

OWN = (".h5", ".hdf5", *h5ad.ENDINGS)
"""Endings of an embedding artifact, which is an AnnData file."""

HASHES = ("content", "phash")
"""Columns that nobody but this program reads."""

KEY = "pseudonyms"
"""The column that says with which key patients were hidden."""

SIDE = 64
"""Pixels of a small image of the projector, each way."""


def write(stored: Embedding, output: str) -> None:
    """Write an embedding as the ending of the output says.

    Raises
    ------
    UsageError
        If the ending is none that is known.
    CbirError
        If the output cannot be written, or a package is not there.
    """
    ending = Path(output).suffix.lower()
    if ending in OWN:
        _artifact(stored, output)
    elif ending in npy.ENDINGS:
        files.check_output(output)
        beside = npy.table_of(Path(output))
        with files.replacing(str(beside)) as table, files.replacing(output) as vectors:  # both are whole, or neither
            npy.write_table(Path(table), cells_of(stored.items))
            npy.write(Path(vectors), stored.vectors)
        log.info("%s: what is known of the image in each row", beside.name)
    elif ending in parquet.ENDINGS:
        files.check_output(output)
        with files.replacing(output) as temporary:
            parquet.write(Path(temporary), stored.vectors, cells_of(stored.items))
    else:
        known = ", ".join((*OWN, *npy.ENDINGS, *parquet.ENDINGS, *sqlite.ENDINGS))
        raise UsageError(f"-o {output}: expected a name that ends in {known}, or in / for the projector's folder")


def write_projector(stored: Embedding, output: str, root: str | None) -> None:
    """Write a folder for the TensorBoard projector.

    Parameters
    ----------
    stored : Embedding
    output : str
    root : str, optional
        Where the images for the sprite are; else the source as it was typed.

    Raises
    ------
    CbirError
        If the folder holds other files or cannot be written, or an image is not below ``root``.
    """
    folder = Path(output)
    strange = sorted({path.name for path in folder.iterdir()} - {*projector.FILES}) if folder.is_dir() else []
    if strange:
        raise CbirError(f"{output}: holds other files, such as {strange[0]}; name an empty folder")
    small = _sprite(stored, output, root)
    columns = {name: cells for name, cells in cells_of(stored.items).items() if name not in (*HASHES, KEY)}
    with files.replacing_files(output, last=projector.CONFIG) as made:
        projector.write(made, stored.vectors, columns, small)
    if small is None:
        (folder / projector.SPRITE).unlink(missing_ok=True)  # that of another projection
    log.info("tensorboard --logdir %s", output)


def _artifact(stored: Embedding, output: str) -> None:
    past = [*stored.history, history.entry("convert", {}, inputs={"embedding": stored.fingerprint})]
    embeddings.write(
        output,
        stored.vectors,
        stored.items,
        stored.space,
        logits=stored.logits,
        unreadable=stored.unreadable,
        history=past,
    )


def _sprite(stored: Embedding, output: str, root: str | None) -> np.ndarray | None:
    most = (projector.SPRITE_SIDE // SIDE) ** 2
    if stored.items.count > most:
        log.info("%s: no sprite: it holds %s, and there are %d", output, images(most), stored.items.count)
        return None
    return thumbnails.of(stored, stored.items, root, side=SIDE, without=f"{output}: no sprite")


def cells_of(table: Items) -> dict[str, list[str]]:
    """Return an item table as text: labels, numbers and text that are not known are empty."""
    columns = {"id": table.ids.tolist()}
    for name in table:
        cells = table[name]
        if cells.dtype.kind == "U":
            columns[name] = cells.tolist()
        else:
            unknown = (cells == MISSING) | ((cells < 0) & (not name.startswith("label:")))
            columns[name] = ["" if gone else str(cell) for cell, gone in zip(cells.tolist(), unknown, strict=True)]
    if table.pseudonyms:
        columns[KEY] = [table.pseudonyms] * table.count
    return columns
