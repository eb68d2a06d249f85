"""RELAX beside the authors' package and a batched loop on our own engine: equal maps, and ratios of CPU and wall time.

    python benchmarks/relax.py [--size 224] [--masks 64] [--images 2] [--rounds 3] [--architecture densenet121]

``package`` is relax-xai 0.0.5 (``pip install --no-deps relax-xai``) on eager PyTorch; where it is not installed, the
same loop written out: all masks of a batch in full, an image at a time, running sums mask by mask. ``loop`` is what one
would write on the engine of ``cbir embed``: for each image, batches of masks, and sums of full masks. ``tiles`` is that
``cbir explain`` with one query and as many results as images asks for a map of each image of a pair. All take turns
within a round; the figure to quote is the median ratio within a round. ``forward`` is the share of our time that the
network takes.
"""

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from cbir_cli import random_masks, registry, vectors
from cbir_cli.artifacts.model import Model
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.similarity import relax as of_pairs
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

try:
    import relax_xai.relax as package
except ImportError:
    package = None


class Clock:
    """An encoder whose time is counted."""

    def __init__(self, encoder):
        self._encoder, self.input, self.spent = encoder, encoder.input, np.zeros(2)

    def encode(self, pixels):
        """Return vectors, and count the time."""
        before = now()
        vectors = self._encoder.encode(pixels)
        self.spent += now() - before
        return vectors


def now():
    return np.array([time.process_time(), time.perf_counter()])


def model_of(architecture, size):
    """A model artifact with fresh weights, and its network without the last layer."""
    kind = registry.load("models", architecture)
    module = _weights.fresh(architecture, 1, seed=0).eval()
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    model = Model(
        architecture, weights, ["a"], {}, "binary", f"{kind.HEAD}.input", kind.FEATURES, InputSpec(size), name="m"
    )
    module.set_submodule(kind.HEAD, torch.nn.Identity())
    return model, module


def eager(module, images, count, batch, masks=None):
    """Return importance of prepared images (N, 3, S, S) under masks drawn anew for each, or under those given."""
    found = []
    with torch.no_grad():
        for image in images:
            side, given = image.shape[1], None
            if masks is not None:
                given = iter(torch.from_numpy(masks)[:, None].split(batch))
            if package:
                own = package.mask_generator
                if given:
                    package.mask_generator = lambda *_, given=given: [next(given)]
                try:
                    work = package.RELAX(image[None], module, batch, count // batch)
                    work()
                finally:
                    package.mask_generator = own
                found.append(work.importance.numpy())
                continue
            whole = module(image[None])
            kept, importance = torch.full((side, side), 1e-10), torch.zeros(side, side)
            for _ in range(count // batch):
                some = next(given) if given else made(batch, side)
                scores = torch.cosine_similarity(whole, module(image * some))
                for score, mask in zip(scores, some[:, 0], strict=True):
                    kept += mask
                    importance += mask * (score - importance) / kept
            found.append(importance.numpy())
    return np.stack(found)


def made(count, side, cells=7):
    """Return masks in full, as the package makes them."""
    grid = (torch.rand(count, 1, cells, cells) < 0.5).float()
    large = F.pad(F.interpolate(grid, (side, side), mode="bilinear"), [cells // 2] * 4, mode="reflect")
    shifts = torch.randint(0, cells, (count, 2))
    return torch.stack([m[:, y : y + side, x : x + side] for m, (y, x) in zip(large, shifts, strict=True)])


def loop(encoder, pixels, drawn, batch):
    """Return importance on our engine: an image at a time, masks in full a batch at a time."""
    found = []
    for image in pixels:
        whole, kept, total = encoder.encode(image[None])[0], 0.0, 0.0
        for start in range(0, len(drawn), batch):
            masks = drawn.block(start, min(start + batch, len(drawn)))
            colour = np.array(encoder.input.mean, np.float32)
            hidden = image[None, ..., None] * masks[..., None] + colour * (1 - masks[..., None])
            scores = 1 - vectors.cosine_distances(whole, encoder.encode(hidden))
            kept = kept + masks.sum(axis=0, dtype=np.float64)
            total = total + np.tensordot(scores, masks.astype(np.float64), 1)
        found.append(total / kept)
    return np.stack(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--architecture", default="densenet121")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, module = model_of(options.architecture, options.size)
    encoder = Clock(Network(model, Settings(device="cpu", threads=options.threads)))
    pixels = np.random.default_rng(0).random((options.images + 1, options.size, options.size), np.float32)
    prepared = torch.from_numpy(model.input.prepare(pixels))
    masks, batch = options.masks // options.batch * options.batch, options.batch
    drawn = random_masks.draw("relax", (options.size,) * 2, masks, cells=7, probability=0.5, seed=0)
    some = pixels[: options.images]

    def ours(queries, results):
        return of_pairs.explain(encoder, queries, results, masks=masks, batch=batch, shifted=False)

    first = ours(some, some)[0]
    other = loop(encoder, some, drawn, batch)
    slow = eager(module, prepared[: options.images], masks, batch, drawn.block(0, masks))
    spread = np.ptp(first, axis=(1, 2)).min()
    print(f"largest difference over the range of a map: loop {np.abs(first - other).max() / spread:.1e}, "
          f"{'package' if package else 'eager loop'} {np.abs(first - slow).max() / spread:.1e}")  # fmt: skip

    runs = {
        "ours": lambda: ours(some, some),
        "package" if package else "eager": lambda: eager(module, prepared[: options.images], masks, batch),
        "loop": lambda: loop(encoder, some, drawn, batch),
        "call": lambda: ours(pixels[[-1] * options.images], some),
        "tiles": lambda: loop(encoder, np.concatenate([pixels[[-1] * options.images], some]), drawn, batch),
    }
    seconds, forward = {name: [] for name in runs}, []
    for _ in range(options.rounds):
        for name, run in runs.items():
            encoder.spent[:] = 0
            before = now()
            run()
            seconds[name].append(now() - before)
            if name == "ours":
                forward.append(encoder.spent / seconds[name][-1])
    print("| against | CPU | wall |\n| --- | --- | --- |")
    for name, base in (("package" if package else "eager", "ours"), ("loop", "ours"), ("tiles", "call")):
        ratios = np.array(seconds[name]) / np.array(seconds[base])
        print(f"| {name} | {statistics.median(ratios[:, 0]):.2f} | {statistics.median(ratios[:, 1]):.2f} |")
    each = np.array(seconds["ours"]).min(axis=0) / (options.images * masks) * 1000
    print(f"forward {np.median(forward, axis=0)[0]:.3f} of CPU time; {each[0]:.1f} ms CPU, {each[1]:.1f} ms a mask")


if __name__ == "__main__":
    main()
