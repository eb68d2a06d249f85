"""``cbir embed``: write one vector per image."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Images, or a maps artifact from cbir saliency; with --audit any artifact. $CBIR_DATA by default.",
            show_default=False,
        ),
    ] = None,
    model: options.ModelOption = None,
    output: options.Output = "-",
    task: options.TaskOption = None,
    settings: options.Set = None,
    image_size: options.ImageSize = None,
    engine: options.Engine = options.EngineName.auto,
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
    audit: Annotated[
        bool, typer.Option("--audit", help="Embed nothing: print what an artifact holds of each patient.")
    ] = False,
    format: options.FormatOption = None,
) -> int:
    """Write one vector per image.

    The model is a cbir model, ssim (the structural-similarity baseline) or imagenet (DenseNet-121 as torchvision
    ships it, or with --set architecture=resnet50 another network). A model from finetune-ig turns each image into its
    saliency map and the map into the vector. With a maps artifact as SOURCE, the model is fed with the maps: those of a
    CNN give CNN(IG).

    ssim and imagenet take CT with --set window=liver-wide, another window by name, or LOW,HIGH in Hounsfield units. A
    cbir model has the window that it was trained with.

    With --set compat=silva2020 maps are fed 255 times smaller, as the script of the 2020 paper feeds its query by a
    slip. Such vectors are queries to an index that was made without it; cbir index refuses them.

    cbir embed --audit FILE prints a row for each patient of an artifact of any kind (images, studies, set in training,
    what is filled in) and one for each field, with what looks like an identifier. Names of files that may tell a
    patient are hidden in artifacts and messages: cbir embed --audit --keep-ids FOLDER prints the file behind each.
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.artifacts import model as models
    from cbir_cli.cli import sources
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import embed as embedding
    from cbir_cli.stages import encoders, encoding, networks, streaming, together

    if audit:
        return _audit(source, keep_ids, format, output)
    if format:
        raise UsageError("--format is that of the table of --audit")
    files.check_output(output, source, model)
    name = model if model in encoders.BUILT_IN else options.model_path(model)
    given = registry.settings(settings or [], encoders.known_settings(name), "cbir embed")
    compat = given.pop("compat", "none")
    where = encoding.Settings(engine.value, device.value, threads, compat)
    if source is not None and sources.is_hdf5(source):
        if image_size or shard or resume or name in encoders.BUILT_IN:
            raise UsageError("a maps artifact goes with a cbir model, without --image-size, --shard and --resume")
        network = models.read(name)
        with sources.open_maps(source) as maps:
            fed = networks.Network(network, where, saliency=maps.space)
            labels = options.task_labels(task, network.task)
            embedding.embed_maps(fed, maps, output, labels=labels, batch=batch_size)
        return 0
    hide = pseudonyms.from_environment(keep=keep_ids)
    encoder = encoders.open_encoder(name, where, image_size=image_size, **given)
    images = sources.read_images(source, patient=patient, frame=frame, null=null, output=output, hide=hide)
    if isinstance(encoder, networks.Network):
        sources.warn_of_other_key(encoder.model, hide.check)
    with together.shares(output, options.shard_of(shard), device=device.value) as share:
        job = streaming.Job(
            output=share.output,
            header={"command": "embed", "space": encoder.space.fingerprint, "compat": compat, "keep_ids": keep_ids},
            batch=batch_size,
            workers=options.cores(workers),
            shard=share.shard,
            resume=resume,
            fail=on_error is options.OnError.fail,
            description="embed",
        )
        share.unreadable = embedding.embed_images(
            encoder,
            images.records,
            job,
            hide,
            labels=options.task_labels(task, encoder.task),
            source=images.stored(hide),
            reader=images.reader,
        )
    return sources.status_for(share.unreadable, on_error.value)


def _audit(source: str | None, keep_ids: bool, format: options.TableFormat | None, output: str) -> int:
    import json

    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.cli import sources, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import audit

    if source is None:
        raise UsageError("--audit: which artifact? give FILE")
    chosen = options.table_format(format, output)
    if chosen == "table" and output != files.STDIO:
        raise UsageError("--format table is for a terminal; a file takes tsv or json")
    files.check_output(output, source, text=True)
    if sources.is_hdf5(source):
        rows = audit.rows_of(source)
        header, cells = audit.COLUMNS, [audit.cells(row) for row in rows]
        lines = audit.json_lines(rows)
    elif keep_ids:
        header = ["hidden", "file"]
        cells = [list(pair) for pair in audit.files_behind(source, pseudonyms.from_environment())]
        lines = (json.dumps(dict(zip(header, pair, strict=True))) + "\n" for pair in cells)
    else:
        raise UsageError("--audit: expected an artifact; with --keep-ids a folder, whose names are then printed")
    if chosen == "table":
        terminal.show_table(header, cells)
    else:
        files.write_text(output, "".join(lines if chosen == "json" else audit.tsv(header, cells)))
    return 0
