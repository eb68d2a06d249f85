"""``cbir embed``: write one vector per image."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Images, or a maps artifact from cbir saliency; $CBIR_DATA by default.",
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
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> int:
    """Write one vector per image.

    The model is a cbir model, ssim (the structural-similarity baseline) or imagenet (DenseNet-121 as torchvision
    ships it). A model from finetune-ig turns each image into its saliency map and the map into the vector. With a maps
    artifact as SOURCE, the model is fed with the maps: those of a CNN give CNN(IG).

    With --set compat=silva2020 maps are fed 255 times smaller, as the script of the 2020 paper feeds its query by a
    slip. Such vectors are queries to an index that was made without it; cbir index refuses them.
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.artifacts import model as models
    from cbir_cli.cli import sources
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import embed as embedding
    from cbir_cli.stages import encoders, streaming

    files.check_output(output, source, model)
    part = options.shard_of(shard)
    compat = registry.settings(settings or [], {"compat": "none"}, "cbir embed").get("compat", "none")
    where = encoders.Settings(engine.value, device.value, threads, compat)
    name = model if model in encoders.BUILT_IN else options.model_path(model)
    if source is not None and sources.is_hdf5(source):
        if image_size or shard or resume or name in encoders.BUILT_IN:
            raise UsageError("a maps artifact goes with a cbir model, without --image-size, --shard and --resume")
        network = models.read(name)
        with sources.open_maps(source) as maps:
            fed = encoders.Network(network, where, saliency=maps.space)
            labels = options.task_labels(task, network.task)
            embedding.embed_maps(fed, maps, output, labels=labels, batch=batch_size)
        return 0
    hide = pseudonyms.from_environment(keep=keep_ids)
    encoder = encoders.open_encoder(name, where, image_size=image_size)
    images = sources.read_images(source, patient=patient, null=null, output=output)
    if isinstance(encoder, encoders.Network):
        sources.warn_of_other_key(encoder.model, hide.check)
    job = streaming.Job(
        output=output,
        header={"command": "embed", "space": encoder.space.fingerprint, "compat": compat, "keep_ids": keep_ids},
        batch=batch_size,
        workers=options.cores(workers),
        shard=part,
        resume=resume,
        fail=on_error is options.OnError.fail,
        description="embed",
    )
    unreadable = embedding.embed_images(
        encoder,
        images.records,
        job,
        hide,
        labels=options.task_labels(task, encoder.task),
        source=sources.stored_source(images),
        reader=images.reader,
    )
    return sources.status_for(unreadable, on_error.value)
