"""``cbir train``: fit an encoder to a task."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    source: options.ImageSource = None,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="NAME",
            help="Preset (pleural, pneumonia, chexpert, covid, isic, liver), or path of a task file.",
        ),
    ] = "",
    init: Annotated[
        str,
        typer.Option(
            "--init",
            metavar="WEIGHTS",
            help="Initial weights: imagenet, none (random), a cbir model, or a .pth, .pth.tar or .safetensors file.",
        ),
    ] = "imagenet",
    epochs: options.Epochs = None,
    output: options.Output = "model.h5",
    settings: options.Set = None,
    image_size: options.ImageSize = None,
    batch_size: options.TrainBatchSize = None,
    seed: options.Seed = 0,
    device: options.DeviceOption = options.Device.auto,
    workers: options.Workers = None,
    threads: options.Threads = None,
    resume: options.Resume = False,
    on_error: options.OnErrorOption = options.OnError.report,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Warn where an image is in two sets under two names, and go on.")
    ] = False,
    tensorboard: Annotated[
        str | None,
        typer.Option("--tensorboard", metavar="DIR", help="Also write each epoch's figures there for TensorBoard."),
    ] = None,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> int:
    """Fit an encoder to a task.

    A task says which label, which views, which network and which recipe; --set changes any value of it. Validation
    patients are drawn by patient and seed, and the epoch with the best validation score is kept. No network is trained
    where the same image is in two sets under the names of two patients (--allow-leaks).
    """
    from cbir_cli import distributed, engines, tasks
    from cbir_cli.artifacts import files, pseudonyms
    from cbir_cli.cli import sources
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import fitting, train

    if not task:
        raise UsageError(f"no task: give --task NAME ({', '.join(tasks.names())}) or the path of a task file")
    files.check_output(output, init)
    chosen = train.resolve_task(task, settings or [], epochs=epochs, image_size=image_size, batch_size=batch_size)
    hide = pseudonyms.from_environment(keep=keep_ids)
    images = sources.read_images(
        source, patient=patient, frame=frame, null=null, flow_follows=True, output=output, hide=hide
    )
    with distributed.joined(engines.choose_device(device.value)) as ranks:
        run = fitting.Run(
            output=output,
            seed=seed,
            device=device.value,
            threads=threads,
            workers=options.cores(workers),
            resume=resume,
            fail=on_error is options.OnError.fail,
            allow_leaks=allow_leaks,
            log_folder=tensorboard,
            ranks=ranks,
        )
        unreadable = train.train_network(chosen, images, init, run, hide)
    return sources.status_for(unreadable if ranks.first else {}, on_error.value)
