"""``cbir convert``: carry embeddings and results to other programs and back."""

from enum import StrEnum
from typing import Annotated

import typer

from cbir_cli.cli import options


class Compared(StrEnum):
    """How foreign vectors are compared."""

    cosine = "cosine"
    l2 = "l2"


def run(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="An embedding or index, .npy, .parquet or .h5ad; for a database embeddings, runs, scores and ranks.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Its ending says what is written: .npy .parquet .h5 .h5ad .sqlite, or DIR/ for the projector.",
        ),
    ],
    items: Annotated[
        str | None,
        typer.Option(
            "--items", metavar="TABLE", help="Manifest with a row for each row of a .npy file; its .csv by default."
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME", help="What made foreign vectors, such as biomedclip-v1."),
    ] = None,
    similarity: Annotated[
        Compared | None,
        typer.Option("--similarity", help="How foreign vectors are compared; cosine by default.", show_default=False),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors", metavar="NAME", help="Column of .parquet, X or key of obsm of .h5ad; vector and X by default."
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="DIR", help="Where the images for the sprite are; else the source as typed."),
    ] = None,
    keep_ids: options.KeepIds = False,
) -> None:
    """Carry embeddings and results to other programs and back.

    Out: an embedding or index becomes a NumPy array with a table of its images beside it (.npy and .csv), a Parquet
    table, an AnnData file (.h5ad), or a folder for the TensorBoard projector: vectors, what is known of the images, and
    a sprite of small images where they are to be found.

    In: vectors that another model made become an embedding, which index, query and evaluate take. --space names that
    model: queries have to come from the same. The table of a .npy file is a manifest, a row a vector: id or path,
    patient, view, label:NAME and so on. Patients are replaced by stand-ins, as everywhere.

    Results: runs, score tables (best as JSON, which has every query), rank tables and the items of embeddings become
    tables of an SQLite database, whose view results_and_ranks has results beside the experts' ranks.
    """
    from cbir_cli.stages import convert as converting

    converting.convert(
        files,
        output,
        table=items,
        space=space,
        similarity=similarity.value if similarity else None,
        vectors=vectors,
        root=root,
        keep_ids=keep_ids,
    )
