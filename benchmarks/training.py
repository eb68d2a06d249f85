"""Speed and memory of the training loop beside a plain PyTorch loop: same network, images, recipe and workers.

    python benchmarks/training.py --size 112 --count 96 --rounds 3

Both loops run in turn, each in a process of its own that trains one epoch to warm up and times the next ones, decoding
and augmentation included. CPU time is the steadier figure on a machine that others use too. The plain loop is the usual
one: a DataLoader over a Dataset, contiguous memory order.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=112, help="side of the network's input, pixels")
    parser.add_argument("--count", type=int, default=96, help="training images")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each loop")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        print(json.dumps(measure(arguments)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in LOOPS}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), arguments.count)
        for _ in range(arguments.rounds):
            for name, runs in results.items():
                command = [sys.executable, __file__, *sys.argv[1:], "--loop", name, "--folder", folder]
                runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"{arguments.count} images of {arguments.size} px, {arguments.workers} workers, {arguments.threads} threads")
    print("loop\timages/s\timages/s of CPU time\tpeak MB of the main process")
    for name, runs in results.items():
        print(name, *(f"{statistics.median(run[key] for run in runs):.1f}" for key in FIGURES), sep="\t")
    for key in FIGURES[:2]:
        ratios = [ours[key] / plain[key] for ours, plain in zip(results["cbir"], results["plain"], strict=True)]
        print(f"cbir / plain, {key}: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


def write_images(folder: Path, count: int) -> None:
    import numpy as np
    from PIL import Image, ImageFilter

    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 256, (320, 390), dtype=np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3)).save(folder / f"{i:05}.jpg", quality=90)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    import torch

    from cbir_cli.batches import Images
    from cbir_cli.images import InputSpec
    from cbir_cli.models import densenet121
    from cbir_cli.recipe import Recipe
    from cbir_cli.records import Record

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    paths = sorted(arguments.folder.glob("*.jpg"))
    records = [Record(id=path.stem, path=path, relative=path.name) for path in paths]
    data = Images(records, [i % 2 for i in range(len(records))], InputSpec(size=arguments.size))
    ends = [clocks()]
    recipe = Recipe(epochs=3, selection="last")
    LOOPS[arguments.loop](densenet121.build(1), data, recipe, arguments.workers, lambda *_: ends.append(clocks()))
    wall, cpu = (min(ends[i + 1][c] - ends[i][c] for i in (1, 2)) for c in (0, 1))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the plain loop has worker processes besides
    return dict(zip(FIGURES, (len(data) / wall, len(data) / cpu, kilobytes / 1024), strict=True))


def usages():
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def clocks():
    return time.monotonic(), sum(usage.ru_utime + usage.ru_stime for usage in usages())


def cbir(module, data, recipe, workers, on_epoch):
    from cbir_cli import training
    from cbir_cli.models import densenet121
    from cbir_cli.objectives import binary
    from cbir_cli.passes import Aim

    aim = Aim(binary, densenet121.HEAD, densenet121.FEATURES)
    training.train(module, data, recipe, aim=aim, workers=workers, on_epoch=on_epoch)


def plain(module, data, recipe, workers, on_epoch):
    import torch
    from torch.utils.data import DataLoader, Dataset

    from cbir_cli.augmentation import augment

    class Pictures(Dataset):
        def __len__(self):
            return len(data)

        def __getitem__(self, i):
            amounts = {"rotation": recipe.rotation, "shift": recipe.shift}
            pixels = augment(data.pixels([i]), [i], **amounts, seed=0, epoch=1)
            return torch.from_numpy(data.spec.prepare(pixels)[0]), data.targets[i]

    loader = DataLoader(Pictures(), batch_size=recipe.batch_size, shuffle=True, num_workers=workers)
    optimizer = torch.optim.Adadelta(module.parameters(), lr=recipe.lr, rho=recipe.rho, eps=recipe.eps)
    criterion = torch.nn.BCEWithLogitsLoss()
    for _ in range(recipe.epochs):
        module.train()
        for images, targets in loader:
            optimizer.zero_grad()
            loss = criterion(module(images)[:, 0], targets.float())
            loss.backward()
            optimizer.step()
        best = {name: value.clone() for name, value in module.state_dict().items()}  # as any loop that keeps an epoch
        on_epoch(best)


FIGURES = ("images/s", "images/s of CPU time", "peak MB")
LOOPS = {"cbir": cbir, "plain": plain}

if __name__ == "__main__":
    main()
