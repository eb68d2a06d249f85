"""``cbir saliency``: write one saliency map per image."""

from enum import StrEnum
from typing import Annotated

import typer

from cbir_cli.cli import options


class Way(StrEnum):
    """Which layers lose their weights."""

    cascade = "cascade"
    independent = "independent"


def run(
    source: options.ImageSource = None,
    model: options.ModelOption = None,
    output: options.Output = "-",
    method: Annotated[str, typer.Option("--method", help="How maps are made; a module of saliency/.")] = "deep-taylor",
    settings: options.Set = None,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit",
            metavar="SOURCE",
            help="Images that a fitted method learns from; those of SOURCE that the model trained on by default.",
        ),
    ] = None,
    preview: Annotated[
        str | None,
        typer.Option("--preview", metavar="DIR", help="Also write a picture of each image beside its map into DIR."),
    ] = None,
    randomize: Annotated[
        Way | None,
        typer.Option(
            "--randomize",
            help="Print instead how maps change when layers lose their weights, from the output down or one at a time.",
            show_default=False,
        ),
    ] = None,
    format: options.FormatOption = None,
    seed: options.Seed = 0,
    device: options.DeviceOption = options.Device.auto,
    batch_size: options.BatchSize = 16,
    workers: options.Workers = None,
    threads: options.Threads = None,
    shard: options.Shard = None,
    resume: options.Resume = False,
    on_error: options.OnErrorOption = options.OnError.report,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> int:
    """Write one saliency map per image.

    A map says how much each pixel speaks for the model's answer. Maps are stored as 16-bit floats divided by their
    largest magnitude, with that magnitude beside them.

    --set reaches the parameters of the method, and with every method input: what of the relevance is stored, and fed to
    the network that learns from the maps. sum-repeat, the default, is the sum over channels, fed as three copies;
    positive is the same without what speaks against the answer; rgb keeps the three channels of a method that has them.

    A method that is fitted to images before it explains any takes at most --set fit_images=512 of them. --seed is that
    of a method that draws and of --randomize; nothing else depends on it.

    --randomize is a sanity check. It prints a table with a row a layer: the mean rank correlation of the network's maps
    with those of the network whose layer has been drawn anew (cascade: with all layers above it). A method whose maps
    hardly change does not show what the network has learnt.
    """
    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.artifacts import model as models
    from cbir_cli.cli import asking, sources, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import encoding, randomisation, streaming, together
    from cbir_cli.stages import preview as previews
    from cbir_cli.stages import saliency as mapping

    if randomize and (preview is not None or shard or resume):
        raise UsageError("--randomize prints a table; it does not go with --preview, --shard and --resume")
    if format and not randomize:
        raise UsageError("--format is that of the table of --randomize")
    if format is options.TableFormat.table and output != "-":
        raise UsageError("--format table is for a terminal; a file takes tsv or json")
    files.check_output(output, source, model, fit, text=randomize is not None)
    part, fail = options.shard_of(shard), on_error is options.OnError.fail
    asking.check_one_stdin(source or "", fit or "")
    choice = mapping.choose(method, settings or [], seed=seed)
    if fit is not None and not choice.fit_images:
        raise UsageError(f"--fit {fit}: saliency method {method} is not fitted to images")
    network = models.read(options.network_path(model))
    hide = pseudonyms.from_environment(keep=keep_ids)
    images = sources.read_images(source, patient=patient, frame=frame, null=null, output=output, hide=hide)
    sources.warn_of_other_key(network, hide.check)
    given = images if fit is None else sources.read_images(fit, frame=frame, null=null, hide=hide)
    fitted_to = (
        mapping.trained_on(network, images.records, hide) if choice.fit_images and fit is None else given.records
    )
    cores = options.cores(workers)
    place = encoding.Settings("torch", device.value, threads)

    def learn(model: models.Model) -> mapping.Learnt:
        source = given.stored(hide)
        return mapping.learn(choice, model, fitted_to, source=source, workers=cores, fail=fail)

    if randomize:
        rows, unreadable = randomisation.randomise(
            lambda model: mapping.mapper(choice, model, learn(model), place),
            network,
            images.records,
            randomize.value,
            seed=seed,
            batch=batch_size,
            workers=cores,
            fail=fail,
        )
        chosen = options.table_format(format, output)
        if chosen == "table":
            terminal.show_table(randomisation.COLUMNS, [randomisation.cells(row) for row in rows])
        else:
            spell = randomisation.json_lines if chosen == "json" else randomisation.tsv
            files.write_text(output, spell(rows))
        return sources.status_for(unreadable, on_error.value)
    if preview is not None:
        previews.check(preview, [record.id for record in images.records])
    learnt = learn(network)
    mapper = mapping.mapper(choice, network, learnt, place)
    with together.shares(output, part, device=device.value) as share:
        job = streaming.Job(
            output=share.output,
            header={"command": "saliency", "space": mapper.space(), "keep_ids": keep_ids},
            batch=batch_size,
            workers=cores,
            shard=share.shard,
            resume=resume,
            fail=fail,
            description="saliency",
        )
        share.unreadable = mapping.map_images(
            mapper,
            images.records,
            job,
            hide,
            source=images.stored(hide),
            reader=images.reader,
            learnt=learnt,
            preview=preview,
        )
    return sources.status_for({**learnt.unreadable, **share.unreadable}, on_error.value)
