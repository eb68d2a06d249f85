"""``cbir rate``: write a page on which radiologists rank images, and read back what they saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbir_cli.cli import options

if TYPE_CHECKING:
    from cbir_cli.artifacts.index import Index
    from cbir_cli.splits import SplitRow
    from cbir_cli.stages.rating_catalogues import Asked


def run(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IDX QUERY | --decode STUDY EXPORT...",
            help="Index artifact, and the query images or an embedding artifact of them; with --decode the files that "
            "raters saved.",
            show_default=False,
        ),
    ],
    catalogue: Annotated[
        int | None,
        typer.Option("--catalogue", min=2, max=50, help="Images to rank for each query; 10 by default."),
    ] = None,
    split: options.SplitFile = None,
    raters: Annotated[
        str | None,
        typer.Option("--raters", metavar="NAME,...", help="One page for each; R1 by default.", show_default=False),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            help="Label that raters are asked for, and whose proportion catalogues keep; the task's by default, '' for "
            "none.",
            show_default=False,
        ),
    ] = None,
    where: options.Where = None,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="DIR", help="Where the index's images are; else the source as it was typed."),
    ] = None,
    size: Annotated[
        int, typer.Option("--size", min=64, max=4096, help="Longer side of the images on the page, in pixels.")
    ] = 512,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="NAME|LOW,HIGH",
            help="Hounsfield units that become black and white; the model's by default, else the file's own.",
            show_default=False,
        ),
    ] = None,
    times: Annotated[bool, typer.Option("--times", help="Record the seconds that each query took.")] = False,
    seed: options.Seed = 0,
    decode: Annotated[
        str | None,
        typer.Option("--decode", metavar="STUDY", help="Print the rank table of what raters of this study saved."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder of the study, study by default; with --decode the rank table, standard output by default.",
            show_default=False,
        ),
    ] = None,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> None:
    """Write a page on which radiologists rank images, and read back what they saved.

    Each query has a catalogue, which is drawn from the index as cbir split draws it: from other patients, in the
    proportion of the classes; or is that of a split table. A page for each rater shows them blinded and shuffled; it
    opens from disk without a server or a network. The rater drags the images into their order of similarity to the
    query in disease and severity, gives severity and label, and saves a small file to send back.

    The folder also gets split.tsv, with which cbir query ranks the same catalogues, and key.tsv, which tells what the
    codes on the pages stand for: it stays with whoever runs the study.

    With --decode the files that came back are joined to a rank table, which cbir evaluate --raters and cbir report
    --raters read. Only queries whose order was confirmed count.
    """
    from contextlib import ExitStack

    from cbir_cli import windows
    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import index as indexes
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import rating
    from cbir_cli.stages import rating_catalogues as catalogues

    if decode is not None:
        making = {"--catalogue": catalogue, "--split": split, "--label": label, "--where": where, "--root": root}
        making |= {"--raters": raters, "--window": window, "--times": times or None}
        asking.check_conflicts(*((name, value is not None, "--decode", True) for name, value in making.items()))
        _decode(decode, inputs, output or files.STDIO)
        return
    if len(inputs) != 2:
        raise UsageError(f"expected IDX and QUERY, found {' '.join(inputs)}; --decode STUDY reads what was saved")
    index, query = inputs
    asking.check_conflicts(("--catalogue", catalogue is not None, "--split", split is not None))
    asking.check_one_stdin(index, query, split or "")
    folder = "study" if output is None else output
    if folder in ("", files.STDIO):
        raise UsageError("-o: expected the name of a folder")
    names = rating.raters_of("R1" if raters is None else raters)
    units = windows.parse(window) if window else None
    table = split_tables.read_split(split) if split else None
    with ExitStack() as stack:
        stored = indexes.read(stack.enter_context(files.open_artifact(index, indexes.KIND)))
        asks = catalogues.label_of(stored, label)
        reading = {"patient": patient, "frame": frame, "null": null}
        asked = stack.enter_context(_asked(query, stored, table, root, keep_ids=keep_ids, **reading))
        drawn = catalogues.draw(
            stored, asked, label=asks, catalogue=catalogue or 10, seed=seed, split=table, where=where
        )
        made = rating.study(
            stored,
            asked,
            drawn,
            names,
            label=asks,
            seed=seed,
            root=root,
            size=size,
            window=units,
            times=times,
            workers=options.cores(None),
        )
        rating.write(folder, drawn, *made)


@contextmanager
def _asked(
    query: str, stored: "Index", table: "list[SplitRow] | None", root: str | None, *, keep_ids: bool, **reading: Any
) -> "Iterator[Asked]":
    """Yield the query images of an embedding, which stays open, or of a source."""
    from cbir_cli.artifacts import embeddings, files, index, pseudonyms
    from cbir_cli.cli import sources
    from cbir_cli.stages import rating_catalogues as catalogues

    if sources.is_hdf5(query):
        with files.open_artifact(query, embeddings.KIND, index.KIND) as artifact:
            yield catalogues.asked_of_embedding(embeddings.read(artifact), root, table)
    else:
        hide = pseudonyms.from_environment(keep=keep_ids or stored.embedding.items.pseudonyms == "kept")
        source = sources.read_images(query, hide=hide, **reading)
        yield catalogues.asked_of(sources.present(source), hide, source.stored(hide), table)


def _decode(study: str, exports: list[str], target: str) -> None:
    """Write the rank table of what raters of a study saved."""
    from cbir_cli.artifacts import files, ranks, ratings
    from cbir_cli.cli import asking
    from cbir_cli.stages import rating

    files.check_output(target, *exports, text=True)
    asking.check_one_stdin(*exports)
    key = ratings.read_key(f"{study.rstrip('/')}/key.tsv")
    found = rating.joined(key, [ratings.read_export(path, key) for path in exports])
    files.write_text(target, "".join(ranks.csv_lines(ratings.ranks_of(key, found))))
