"""``cbir saliency``: write one saliency map per image."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    source: options.ImageSource = None,
    model: options.ModelOption = None,
    output: options.Output = "-",
    method: Annotated[str, typer.Option("--method", help="How maps are made; a module of saliency/.")] = "deep-taylor",
    settings: options.Set = None,
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
    """Write one saliency map per image.

    A map says how much each pixel speaks for the model's answer. Maps are stored as 16-bit floats divided by their
    largest magnitude, with that magnitude beside them.
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.artifacts import model as models
    from cbir_cli.cli import sources
    from cbir_cli.stages import encoders, streaming
    from cbir_cli.stages import saliency as mapping

    files.check_output(output)
    part = options.shard_of(shard)
    explain = registry.load("saliency", method).explain
    parameters = registry.settings(settings or [], registry.parameters(explain), f"saliency method {method}")
    network = models.read(options.network_path(model))
    hide = pseudonyms.from_environment(keep=keep_ids)
    images = sources.read_images(source, patient=patient, null=null)
    sources.warn_of_other_key(network, hide.check)
    mapper = encoders.Mapper(network, method, parameters, encoders.Settings("torch", device.value, threads))
    job = streaming.Job(
        output=output,
        header={"command": "saliency", "space": mapper.space(), "keep_ids": keep_ids},
        batch=batch_size,
        workers=options.cores(workers),
        shard=part,
        resume=resume,
        fail=on_error is options.OnError.fail,
        description="saliency",
    )
    unreadable = mapping.map_images(
        mapper, images.records, job, hide, source=sources.stored_source(images), reader=images.reader
    )
    return sources.status_for(unreadable, on_error.value)
