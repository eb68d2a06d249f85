"""Vectors of other programs to embeddings: the part of ``cbir convert`` that reads them."""

import csv
import hashlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cbir_cli import data, registry
from cbir_cli.artifacts import embeddings, files, history
from cbir_cli.artifacts.items import Items, from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms, from_environment
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.exchange import h5ad, npy, parquet
from cbir_cli.records import Flow
from cbir_cli.stages.exporting import HASHES, KEY

log = logging.getLogger("cbir")

ENDINGS = (*npy.ENDINGS, *parquet.ENDINGS, *h5ad.ENDINGS)

_SIMILARITIES = ("cosine", "l2")

_KEPT = (*HASHES, "seen")
"""Columns that only this program writes: they are taken back where a table says whose stand-ins its patients are."""


def write(
    name: str,
    output: str,
    *,
    space: str | None,
    similarity: str,
    table: str | None,
    vectors: str | None,
    keep_ids: bool,
) -> None:
    """Write an embedding of a file of vectors.

    Parameters
    ----------
    name : str
        File whose ending is one of ``ENDINGS``.
    output, space, similarity, table, vectors, keep_ids
        As ``convert.convert`` has them.

    Raises
    ------
    UsageError
        If options do not go together with the file.
    SourceError
        If the file holds no vectors, or not one for each image of its table.
    CbirError
        If a package is not there, or the output cannot be written.
    """
    if not space:
        raise UsageError("which model made the vectors? name it with --space; queries have to come from the same")
    if similarity not in _SIMILARITIES:
        raise registry.unknown("similarity", similarity, _SIMILARITIES)
    if space in ("ssim", "imagenet"):
        raise UsageError(f"--space {space}: is a built-in model's name")
    files.check_output(output, name)
    values, items = _read(name, table, vectors or "", keep_ids=keep_ids)
    order = np.argsort(items.ids, kind="stable")
    kept = np.asarray(values[order], np.float32)
    if not np.isfinite(kept).all():
        raise SourceError(f"{name}: the vector of {items.ids[order][~np.isfinite(kept).all(axis=1)][0]} is not finite")
    digest = hashlib.sha256(f"imported\n{space}\n{values.shape[1]}\n{similarity}".encode()).hexdigest()
    # Of several labels none is the one that the model is about.
    targets = items.label_names if len(items.label_names) == 1 else []
    meaning = embeddings.Space(similarity, digest, space, model_name=space, targets=targets)
    told = {"space": space, "similarity": similarity, "vectors": vectors or "", "file": name}
    embeddings.write(output, kept, items.take(order), meaning, history=[history.entry("convert", told)])


def _read(name: str, table: str | None, vectors: str, *, keep_ids: bool) -> tuple[np.ndarray, Items]:
    """Return the vectors of a file (N, D), and the table of their images."""
    path = Path(name)
    ending = path.suffix.lower()
    if ending in npy.ENDINGS:
        if vectors:
            raise UsageError("--vectors: a .npy file holds one array")
        values = npy.read(path)
        listed = Path(table) if table else npy.table_of(path)
        if not listed.exists():
            raise SourceError(f"{listed}: no such table; --items TABLE says which image each row of {name} is of")
        items = _items(listed, keep_ids=keep_ids)
    else:
        if table:
            raise UsageError(f"--items is for .npy files; {name} holds its own table")
        values, columns = (parquet if ending in parquet.ENDINGS else h5ad).read(path, vectors)
        items = _items_of(columns, name, keep_ids=keep_ids)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.shape[1]:
        raise SourceError(f"{name}: expected vectors (N, D) of numbers, found {values.dtype} {values.shape}")
    if len(values) != items.count:
        raise SourceError(f"{name}: {len(values):,} vectors, but the table lists {items.count:,} images")
    return values, items


def _items_of(columns: Mapping[str, Sequence[str]], name: str, *, keep_ids: bool) -> Items:
    """Return the item table of a foreign table, by way of a manifest: one place says what columns mean."""
    columns = dict(columns)
    if "path" not in columns:
        if "id" not in columns:
            raise SourceError(f"{name}: expected a column id or path; columns there: {', '.join(columns) or 'none'}")
        columns["path"] = columns["id"]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "table.csv")
        npy.write_table(listed, columns)
        try:
            return _items(listed, keep_ids=keep_ids)
        except SourceError as error:
            raise SourceError(str(error).replace(str(listed), name)) from error


def _items(listed: Path, *, keep_ids: bool) -> Items:
    """Return the item table of a manifest, row by row.

    A table that this program wrote says with which key its patients were hidden: they are stand-ins, and stay.
    """
    with listed.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file)) if listed.suffix.lower() == ".csv" else []
    hidden = {row.get(KEY) or "" for row in rows}
    if len(hidden) == 1 and (key := hidden.pop()):
        records = data.read_table(listed, flow=Flow())
        table = from_records(records, [""] * len(records), Pseudonyms(None))
        told = {name: np.array([row[name] for row in rows], np.str_) for name in _KEPT if name in rows[0]}
        columns = {name: table[name] for name in table if name not in told}
        return Items(table.ids, {**columns, **told}, key)
    hide = from_environment(keep=keep_ids)
    flow = Flow()
    records = data.read_table(listed, flow=flow, hide=None if keep_ids else hide)
    for note in flow.notes:
        log.info("%s", note)
    return from_records(records, [""] * len(records), hide)
