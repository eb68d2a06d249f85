"""``cbir split``: draw patient-safe queries, catalogues and training sets."""

from enum import StrEnum
from typing import Annotated

import typer

from cbir_cli.cli import options


class By(StrEnum):
    """What sets keep whole."""

    patient = "patient"
    study = "study"
    source = "source"


_CLASSES = {"positive": 1, "negative": 0, "any": None}


def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="Images, or an artifact that lists them; $CBIR_DATA by default.", show_default=False
        ),
    ] = None,
    catalogue: Annotated[int | None, typer.Option("--catalogue", min=1, help="Images in each catalogue.")] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=1,
            help="Queries (each with a catalogue) per seed; 1 by default, with the preset x-mir all images.",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", help="One draw for each, such as 42,1,27,57,77; 0, or the preset's, by default."),
    ] = None,
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Keep the class proportion in each catalogue, or in each set.")
    ] = False,
    positives: Annotated[
        int | None, typer.Option("--positives", min=0, help="Positive images in each catalogue.")
    ] = None,
    query_class: Annotated[
        options.QueryClass | None,
        typer.Option("--query-class", help="Class of the query images; positive by default."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Queries and catalogues of a paper: ig-cbir, ig-cbir-code, silva, x-mir or wickstrom.",
        ),
    ] = None,
    per_class: Annotated[
        int | None, typer.Option("--per-class", min=1, help="Images of each class, for the preset x-mir.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Task that says which label and views count.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label that makes the classes, instead of a task's or of several.")
    ] = None,
    settings: options.Set = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="FILE", help="Leave out every patient that this model has seen."),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            "--validation",
            min=0,
            max=1,
            help="Share of validation patients; 0.1 by default, with --official 0 if there is such a set.",
        ),
    ] = None,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of test patients.")] = 0.0,
    by: Annotated[By, typer.Option("--by", help="What train, validation and test sets keep whole.")] = By.patient,
    official: Annotated[
        bool, typer.Option("--official", help="Keep the data set's own sets; draw catalogues from its test images.")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="TABLE", help="Draw nothing: say what leaks between the sets of this table."),
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Warn where a patient or an image is on two sides, and go on.")
    ] = False,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> None:
    """Draw patient-safe queries, catalogues and training sets.

    With --catalogue, draws queries and a catalogue for each, as the interpretability-guided retrieval papers do; no
    patient is both. With --preset, draws the queries and catalogues of a paper. Otherwise gives each image its set
    (train, validation, test) from patient and seed. The table has the columns seed, set, role and id.

    No table is written where a patient, or the same image under two names, is on two sides (--allow-leaks). With
    --check the sets of a table are compared, whoever made it: the images are read, and those that look nearly the same
    are listed too. The patients of a model (-m) are then compared with the held-out sets.
    """
    from cbir_cli import splits
    from cbir_cli.artifacts import pseudonyms
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources
    from cbir_cli.errors import UsageError
    from cbir_cli.records import Flow
    from cbir_cli.stages import leaks
    from cbir_cli.stages import split as splitting

    drawing: dict[str, object] = {"--preset": preset, "--catalogue": catalogue}
    apart: dict[str, dict[str, object]] = {
        "--check": drawing if check else {},
        "--by": drawing if by is not By.patient else {},
        "--preset": {
            "--stratify": stratify or None,
            "--positives": positives,
            "--query-class": query_class,
            "--validation": validation,
            "--test": test or None,
        }
        if preset
        else {},
    }
    for option, others in apart.items():
        if given := [other for other, value in others.items() if value is not None]:
            raise UsageError(f"{given[0]} does not go with {option}")
    if per_class and not preset:
        raise UsageError("--per-class goes with --preset x-mir")
    numbers = options.integers("--seeds", seeds) if seeds else []
    asking.check_one_stdin(source or "", check or "")
    if source is not None and sources.is_hdf5(source):
        records, key, known = splitting.records_of_artifact(source)
        flow, hide = Flow(read=len(records)), None
    else:
        hide = pseudonyms.from_environment(keep=keep_ids)
        images = sources.read_images(source, patient=patient, frame=frame, null=null, flow_follows=True, hide=hide)
        records, flow = sources.present(images), images.flow
        key = hide.check
        known = leaks.of_records(records, hide)
    if check:
        rows = split_tables.read_split(check)
        if hide:
            there = {row.id for row in rows}
            known = leaks.read([r for r in records if r.id in there], hide, workers=options.cores(None))
        found = splitting.check(rows, known, model, key)
        asking.write_lines(leaks.tsv(found))
        leaks.guard(found, allow=allow_leaks)
        return
    if model:
        records = splitting.without_seen(records, model, hide, key, flow)
    classed = bool(preset or catalogue or stratify)
    pool = splitting.pool_of(records, flow, task=task, label=label, settings=settings or [], classes=classed)
    sources.say_flow(flow)
    if official and (preset or catalogue):
        pool = splitting.held_out(pool)
    if preset:
        rows = splitting.preset(
            preset, pool, task=task, seeds=numbers, catalogue=catalogue, queries=queries, per_class=per_class
        )
    elif catalogue is None:
        rows = splitting.sets(
            pool,
            numbers or [0],
            validation=validation,
            test=test,
            by=by.value,
            stratify=stratify,
            keep=official,
        )
    else:
        rows = splits.catalogues(
            pool.ids,
            pool.labels,
            pool.patients,
            catalogue=catalogue,
            queries=queries or 1,
            seeds=numbers or [0],
            stratify=stratify,
            positives=positives,
            query_label=_CLASSES[query_class.value if query_class else "positive"],
        )
    leaks.guard(leaks.of_split(rows, known), allow=allow_leaks)
    asking.write_lines(split_tables.split_tsv(rows))
