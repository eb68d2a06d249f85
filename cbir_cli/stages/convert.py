"""Embeddings and results to the files of other programs, and vectors of other programs to embeddings.

The library behind ``cbir convert``: what becomes of which file.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from cbir_cli.artifacts import embeddings, files, index
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.exchange import sqlite
from cbir_cli.stages import exporting, importing, results_database


def convert(
    names: Sequence[str],
    output: str,
    *,
    table: str | None = None,
    space: str | None = None,
    similarity: str | None = None,
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
    similarity : str, optional
        How foreign vectors are compared: ``cosine``, the default, or ``l2``.
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
    given = {
        "--items": table,
        "--space": space,
        "--similarity": similarity,
        "--vectors": vectors,
        "--root": root,
        "--keep-ids": keep_ids,
    }
    unfit = {option for option, value in given.items() if value}
    if ending in sqlite.ENDINGS and not folder:
        _refuse(unfit, names[0], output)
        results_database.write(names, output)
        return
    if len(names) != 1:
        raise UsageError(f"{len(names)} files: only a database ({', '.join(sqlite.ENDINGS)}) is made of several")
    name = names[0]
    if name == files.STDIO or files.is_artifact(Path(name)):
        _refuse(unfit - ({"--root"} if folder else set()), name, output)
        if not folder:
            files.check_output(output, name)  # an index over itself would lose its search and calibration
        with files.open_artifact(name, embeddings.KIND, index.KIND) as artifact:
            stored = embeddings.read(artifact)
            if folder:
                exporting.write_projector(stored, output, root)
            else:
                exporting.write(stored, output)
    elif not Path(name).exists():
        raise SourceError(f"{name}: no such file")
    elif Path(name).suffix.lower() in importing.ENDINGS:
        if ending not in exporting.OWN or folder:
            raise UsageError(
                f"-o {output}: vectors of other programs become an embedding: name a file that ends in .h5"
            )
        _refuse(unfit & {"--root"}, name, output)
        importing.write(
            name,
            output,
            space=space,
            similarity=similarity or "cosine",
            table=table,
            vectors=vectors,
            keep_ids=keep_ids,
        )
    else:
        raise UsageError(f"{name}: expected an embedding or index artifact, or .npy, .parquet or .h5ad")


def _refuse(options: Collection[str], name: str, output: str) -> None:
    if options:
        raise UsageError(f"{', '.join(sorted(options))} does not go with {files.spelt(name)} and -o {output}")
