"""``cbir finetune-ig``: continue training on saliency maps."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    maps: Annotated[
        str, typer.Argument(metavar="MAPS", help="Maps that cbir saliency made with this model; - for a pipe.")
    ],
    model: options.ModelOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", metavar="IG", help="Start the second network from this cbir model instead of -m's weights."
        ),
    ] = None,
    epochs: options.Epochs = None,
    output: options.Output = "model.h5",
    settings: options.Set = None,
    batch_size: options.TrainBatchSize = None,
    seed: options.Seed = 0,
    device: options.DeviceOption = options.Device.auto,
    workers: options.Workers = None,
    threads: options.Threads = None,
    resume: options.Resume = False,
) -> int:
    """Continue training on saliency maps.

    The second network starts from the first and learns the same task from the first one's maps, on the first one's
    patients. The result is an interpretability-guided (IG) model: it holds both networks, and one file embeds an image.
    """
    from cbir_cli import distributed, engines
    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import model as models
    from cbir_cli.cli import sources
    from cbir_cli.stages import fitting, network_maps, train

    path = options.network_path(model)
    files.check_output(output, path, maps, init)
    network = models.read(path)
    task = train.inherited_task(network, settings or [], epochs=epochs, batch_size=batch_size)
    cores = options.cores(workers)
    with distributed.joined(engines.choose_device(device.value)) as ranks, sources.open_maps(maps) as stored:
        run = fitting.Run(output, seed, device.value, threads, cores, resume=resume, ranks=ranks)
        network_maps.check_explains(network, stored.method)
        train.finetune_network(task, network, stored, models.read(init) if init else network, run)
    return 0
