"""Embeddings and results to the files of other programs, and vectors of other programs to embeddings.

The library behind ``cbir convert``.
"""

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
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.exchange import h5ad, npy, parquet, projector, sqlite
from cbir_cli.records import MISSING, Flow
from cbir_cli.stages import results_database, thumbnails

log = logging.getLogger("cbir")

OWN = (".h5", ".hdf5", *h5ad.ENDINGS)
"""Endings of an embedding artifact, which is an AnnData file."""

KEPT = ("content", "phash", "seen")
"""Columns that only this program writes: they are taken back where a table says whose stand-ins its patients are."""

_KEY = "pseudonyms"


def convert(
    names: Sequence[str],
    output: str,
    *,
    table: str | None = None,
    space: str | None = None,
    similarity: str = "cosine",
    vectors: str | None = None,
    root: str | None = None,
    keep_ids: bool = False,
) -> None:
    """Write ``output`` from files, by its ending.

    Parameters
    ----------
    names : sequence of str
        One embedding or index; or one ``.npy``, ``.parquet`` or ``.h5ad`` file; for a database any number of
        embeddings, runs, score tables and rank tables.
    output : str
        ``.npy`` (with a ``.csv`` beside it), ``.parquet``, ``.h5`` or ``.h5ad``, ``.sqlite``; or a folder, for the
        TensorBoard projector.
    table : str, optional
        Manifest with a row for each row of a ``.npy`` file; the ``.csv`` beside it by default.
    space : str, optional
        What made foreign vectors, such as ``biomedclip-v1``: queries have to come from the same.
    similarity : str
        How foreign vectors are compared: ``cosine`` or ``l2``.
    vectors : str, optional
        Column of a Parquet file, or ``X`` or a key of ``obsm``, that holds the vectors.
    root : str, optional
        Where the images are, for the projector's sprite; else the source as it was typed.
    keep_ids : bool
        Store the patients of a foreign table as they are.

    Raises
    ------
    UsageError
        If ending, files and options do not go together.
    CbirError
        If a file is not what its ending says, or a package is not there.
    """
    ending = Path(output).suffix.lower()
    folder = output.endswith("/") or Path(output).is_dir()
    if ending in sqlite.ENDINGS and not folder:
        _only(locals(), ())
        results_database.write(names, output)
        return
    if len(names) != 1:
        raise UsageError(f"{len(names)} files: only a database ({', '.join(sqlite.ENDINGS)}) is made of several")
    name = names[0]
    if name == files.STDIO or files.is_artifact(Path(name)):
        _only(locals(), ("root",) if folder else ())
        _out(name, output, "projector" if folder else ending, root)
    elif not Path(name).exists():
        raise SourceError(f"{name}: no such file")
    elif Path(name).suffix.lower() in (*npy.ENDINGS, *parquet.ENDINGS, *h5ad.ENDINGS):
        if ending not in OWN or folder:
            raise UsageError(
                f"-o {output}: vectors of other programs become an embedding: name a file that ends in .h5"
            )
        _only(locals(), ("table", "space", "vectors", "keep_ids"))
        _in(name, output, table, space, similarity, vectors or "", keep_ids=keep_ids)
    else:
        raise UsageError(f"{name}: expected an embedding or index artifact, or .npy, .parquet or .h5ad")


def _only(given: Mapping[str, object], fitting: Sequence[str]) -> None:
    options = {
        "table": "--items",
        "space": "--space",
        "vectors": "--vectors",
        "root": "--root",
        "keep_ids": "--keep-ids",
    }
    for name, option in options.items():
        if given[name] and name not in fitting:
            raise UsageError(f"{option} does not go with {given['names'][0]} and -o {given['output']}")  # type: ignore[index]


def _out(name: str, output: str, ending: str, root: str | None) -> None:
    if ending in OWN:
        files.check_output(output, name)  # an index over itself would lose its search and calibration
    with files.open_artifact(name, embeddings.KIND, "cbir-index") as artifact:
        stored = embeddings.read(artifact)
        if ending in OWN:
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
        elif ending in npy.ENDINGS:
            files.check_output(output)
            beside = npy.table_of(Path(output))
            with files.replacing(str(beside)) as temporary:
                npy.write_table(Path(temporary), cells_of(stored.items))
            with files.replacing(output) as temporary:
                npy.write(Path(temporary), stored.vectors)
            log.info("%s: what is known of the image in each row", beside.name)
        elif ending in parquet.ENDINGS:
            files.check_output(output)
            with files.replacing(output) as temporary:
                parquet.write(Path(temporary), stored.vectors, cells_of(stored.items))
        elif ending == "projector":
            _projector(stored, output, root)
        else:
            known = ", ".join((*OWN, *npy.ENDINGS, *parquet.ENDINGS, *sqlite.ENDINGS))
            raise UsageError(f"-o {output}: expected a name that ends in {known}, or in / for the projector's folder")


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
        columns[_KEY] = [table.pseudonyms] * table.count
    return columns


def _projector(stored: embeddings.Embedding, output: str, root: str | None) -> None:
    folder = Path(output)
    strange = sorted({path.name for path in folder.iterdir()} - {*projector.FILES}) if folder.is_dir() else []
    if strange:
        raise CbirError(f"{output}: holds other files, such as {strange[0]}; name an empty folder")
    images = thumbnails.of(stored, root, most=(projector.SPRITE_SIDE // thumbnails.SIDE) ** 2)
    columns = {name: cells for name, cells in cells_of(stored.items).items() if name not in (*KEPT[:2], _KEY)}
    try:
        folder.mkdir(exist_ok=True)
        # What was there would be half of another projection while this is written.
        for old in projector.FILES:
            (folder / old).unlink(missing_ok=True)
        projector.write(folder, stored.vectors, columns, images)
    except OSError as error:
        raise CbirError(f"{output}: {error.strerror}") from error
    log.info("tensorboard --logdir %s", output)


def _in(
    name: str, output: str, table: str | None, space: str | None, similarity: str, vectors: str, *, keep_ids: bool
) -> None:
    if not space:
        raise UsageError("which model made the vectors? name it with --space; queries have to come from the same")
    if similarity not in ("cosine", "l2"):
        raise registry.unknown("similarity", similarity, ("cosine", "l2"))
    if space in ("ssim", "imagenet"):
        raise UsageError(f"--space {space}: is a built-in model's name")
    files.check_output(output, name)
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
    order = np.argsort(items.ids, kind="stable")
    kept = np.asarray(values[order], np.float32)
    if not np.isfinite(kept).all():
        raise SourceError(f"{name}: the vector of {items.ids[order][~np.isfinite(kept).all(axis=1)][0]} is not finite")
    digest = hashlib.sha256(f"imported\n{space}\n{values.shape[1]}\n{similarity}".encode()).hexdigest()
    # Of several labels none is the one that the model is about.
    targets = items.label_names if len(items.label_names) == 1 else []
    meaning = embeddings.Space(similarity, digest, space, model_name=space, targets=targets)
    past = history.entry("convert", {"space": space, "similarity": similarity, "vectors": vectors, "file": name})
    embeddings.write(output, kept, items.take(order), meaning, history=[past])


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
    hidden = {row.get(_KEY) or "" for row in rows}
    if len(hidden) == 1 and (key := hidden.pop()):
        records = data.read_table(listed, flow=Flow())
        table = from_records(records, [""] * len(records), Pseudonyms(None))
        told = {name: np.array([row[name] for row in rows], np.str_) for name in KEPT if name in rows[0]}
        columns = {name: table[name] for name in table if name not in told}
        return Items(table.ids, {**columns, **told}, key)
    hide = from_environment(keep=keep_ids)
    flow = Flow()
    records = data.read_table(listed, flow=flow, hide=None if keep_ids else hide)
    for note in flow.notes:
        log.info("%s", note)
    return from_records(records, [""] * len(records), hide)
