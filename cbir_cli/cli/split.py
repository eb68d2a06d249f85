"""``cbir split``: draw patient-safe queries, catalogues and training sets."""

from typing import Annotated

import typer

from cbir_cli.cli import options

_CLASSES = {"positive": 1, "negative": 0, "any": None}


def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="Images, or an artifact that lists them; $CBIR_DATA by default.", show_default=False
        ),
    ] = None,
    catalogue: Annotated[int | None, typer.Option("--catalogue", min=1, help="Images in each catalogue.")] = None,
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries (each with a catalogue) per seed.")] = 1,
    seeds: Annotated[str, typer.Option("--seeds", help="One draw for each, such as 42,1,27,57,77.")] = "0",
    stratify: Annotated[bool, typer.Option("--stratify", help="Keep the class proportion in each catalogue.")] = False,
    positives: Annotated[
        int | None, typer.Option("--positives", min=0, help="Positive images in each catalogue.")
    ] = None,
    query_class: Annotated[
        options.QueryClass, typer.Option("--query-class", help="Class of the query images.")
    ] = options.QueryClass.positive,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Task that says which label and views count.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label that makes the classes, instead of a task's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="FILE", help="Leave out every patient that this model has seen."),
    ] = None,
    validation: Annotated[
        float, typer.Option("--validation", min=0, max=1, help="Share of validation patients.")
    ] = 0.1,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of test patients.")] = 0.0,
    patient: options.Patient = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> None:
    """Draw patient-safe queries, catalogues and training sets.

    With --catalogue, draws queries and a catalogue for each, as the interpretability-guided retrieval papers do; no
    patient is both. Without it, gives each image its set (train, validation, test) from patient and seed. The table has
    the columns seed, set, role and id.
    """
    from cbir_cli import splits
    from cbir_cli.artifacts import pseudonyms
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources
    from cbir_cli.records import Flow
    from cbir_cli.stages import split as splitting

    numbers = options.integers("--seeds", seeds)
    if source is not None and sources.is_hdf5(source):
        records, check = splitting.records_of_artifact(source)
        flow, hide = Flow(read=len(records)), None
    else:
        images = sources.read_images(source, patient=patient, null=null, flow_follows=True)
        records, flow = images.records, images.flow
        hide = pseudonyms.from_environment(keep=keep_ids)
        check = hide.check
    if model:
        records = splitting.without_seen(records, model, hide, check, flow)
    pool = splitting.pool_of(records, flow, task=task, label=label)
    sources.say_flow(flow)
    if catalogue is None:
        rows = splitting.sets(pool, numbers, validation=validation, test=test)
    else:
        rows = splits.catalogues(
            pool.ids,
            pool.labels,
            pool.patients,
            catalogue=catalogue,
            queries=queries,
            seeds=numbers,
            stratify=stratify,
            positives=positives,
            query_label=_CLASSES[query_class.value],
        )
    asking.write_lines(split_tables.split_tsv(rows))
