"""Whole-process speed and memory of ``cbir embed`` beside a plain PyTorch loop over the same network and images.

    python benchmarks/embed.py IMAGES [--count 500] [--size 224] [--rounds 3] [--ig] [--memory 5000]

Both are started from nothing, in turn, decode included; the figure to quote is the ratio within a round. The plain loop
is what one would write: Pillow, torchvision's DenseNet-121, batches of 16, ``inference_mode``. With ``--ig`` it is a
zennit loop: Deep Taylor maps with zennit's own rules, then the second network on the maps. ``--memory N`` compares the
peak memory for N images (those there are, linked under new names) with that for ``--count``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PLAIN = """
import sys, json
import numpy as np, torch
from PIL import Image
from torchvision.models import densenet121
weights, size, out, *paths = json.load(sys.stdin)
torch.set_num_threads({threads})
model = densenet121(num_classes=1)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
mean = torch.tensor([.485, .456, .406]).view(3, 1, 1)
std = torch.tensor([.229, .224, .225]).view(3, 1, 1)

def load(path):
    image = Image.open(path).convert("L").convert("F").resize((size, size), Image.Resampling.BILINEAR)
    return (torch.from_numpy(np.array(image)) / 255).expand(3, size, size)

def features(batch):
    with torch.inference_mode():
        return torch.nn.functional.relu(model.features(batch)).mean((2, 3))
{ig}
found = []
for i in range(0, len(paths), 16):
    batch = torch.stack([(load(p) - mean) / std for p in paths[i:i + 16]])
    found.append(step(batch).numpy())
np.save(out, np.concatenate(found))
"""

CNN = "step = features"
IG = """
from zennit.composites import LayerMapComposite
from zennit.rules import Pass, ZPlus
rule = lambda: ZPlus(zero_params="bias", stabilizer=1e-7)
composite = LayerMapComposite([(torch.nn.Conv2d, rule()), (torch.nn.Linear, rule()), (torch.nn.BatchNorm2d, Pass())])

def step(batch):
    batch = batch.clone().requires_grad_()
    with composite.context(model) as explained:
        logit = explained(batch)
        relevance, = torch.autograd.grad(logit, batch, torch.sigmoid(logit.detach()))
    maps = relevance.sum(1)
    maps = maps / maps.abs().amax((1, 2), keepdim=True)
    return features((maps[:, None].expand(-1, 3, -1, -1) - mean) / std).detach()
"""


def timed(command: list[str], stdin: bytes | None = None, **options: object) -> tuple[float, float, float]:
    """Run a process; return wall seconds, CPU seconds, and peak memory in MiB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE if stdin else None, **options)  # type: ignore[call-overload]
    if stdin:
        process.stdin.write(stdin)
        process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command[:4])}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make_models(folder: Path, size: int) -> None:
    """Write a DenseNet-121 with random weights and batch-norm statistics: as a model, an IG model, and for PyTorch."""
    import torch

    from cbir_cli.artifacts.model import Model, Saliency, write
    from cbir_cli.images import InputSpec
    from cbir_cli.models import _weights, densenet121

    module = _weights.fresh("densenet121", 1, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
                layer.weight.uniform_(0.5, 1.5, generator=generator)
    torch.save(module.state_dict(), folder / "weights.pth")
    model = Model(
        architecture="densenet121",
        weights={name: tensor.numpy() for name, tensor in module.state_dict().items()},
        outputs=["finding"],
        task={},
        objective="binary",
        feature_layer=f"{densenet121.HEAD}.input",
        feature_width=densenet121.FEATURES,
        input=InputSpec(size=size),
        name="model.h5",
    )
    write(str(folder / "model.h5"), model)
    stage = Saliency(model, "deep-taylor", {"dialect": "innvestigate-1.0.9", "start": "probability"})
    write(str(folder / "ig.h5"), Model(**{**model.__dict__, "saliency": stage}))


def main() -> None:
    """Compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ig", action="store_true")
    parser.add_argument("--memory", type=int)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    paths = sorted(p for p in options.images.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text("0" * 32)
        make_models(folder, options.size)
        environment = {**os.environ, "CBIR_KEY": str(folder / "key")}

        def linked(count: int) -> Path:
            target = folder / f"images-{count}"
            target.mkdir()
            for i in range(count):
                path = paths[i % len(paths)]
                (target / f"{i:06d}{path.suffix}").symlink_to(path.resolve())
            return target

        def ours(source: Path, out: Path) -> tuple[float, float, float]:
            model = folder / ("ig.h5" if options.ig else "model.h5")
            command = [sys.executable, "-m", "cbir_cli", "embed", "-m", str(model), str(source), "-q", "-o", str(out)]
            return timed(command, env=environment)

        source = linked(min(options.count, len(paths)))
        chosen = sorted(map(str, source.iterdir()))
        code = PLAIN.format(threads=threads, ig=IG if options.ig else CNN)
        request = json.dumps([str(folder / "weights.pth"), options.size, str(folder / "plain.npy"), *chosen]).encode()
        rows = []
        for number in range(1, options.rounds + 1):
            a = ours(source, folder / "ours.h5")
            b = timed([sys.executable, "-c", code], request)
            rows.append((a, b))
            print(
                f"round {number}: cbir {len(chosen) / a[0]:.1f} images/s ({a[1]:.0f} CPU s, {a[2]:.0f} MiB), "
                f"plain {len(chosen) / b[0]:.1f} images/s ({b[1]:.0f} CPU s, {b[2]:.0f} MiB): "
                f"wall ratio {b[0] / a[0]:.2f}, CPU ratio {b[1] / a[1]:.2f}",
                flush=True,
            )
        print(f"median wall ratio {statistics.median(b[0] / a[0] for a, b in rows):.2f}")
        import h5py

        with h5py.File(folder / "ours.h5") as file:
            vectors, ids = file["X"][()], file["obs/_index"][()].astype("U")
        plain = np.load(folder / "plain.npy")[np.argsort(np.argsort(ids, kind="stable"), kind="stable")]
        print(f"largest difference of a feature {np.abs(vectors - plain).max():.1e} of {np.abs(plain).max():.2f}")
        if options.memory:
            small = ours(source, folder / "small.h5")[2]
            large = ours(linked(options.memory), folder / "large.h5")[2]
            print(f"peak memory: {len(chosen)} images {small:.0f} MiB, {options.memory} images {large:.0f} MiB")


if __name__ == "__main__":
    main()
