"""Deep Taylor maps of DenseNet-121: ours against a plain zennit loop and against one forward and backward pass.

The three take turns on the same images, and the figures are ratios within one round: a busy machine slows all of them.
Two comparisons: the rule alone, in one batch on one core (CPU time), and whole loops over images on all cores (wall
time): ours runs one image on each core, the others batches that share the cores, which is torch's default.

    python benchmarks/deep_taylor.py --images 8 --rounds 5
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch import nn
from zennit.core import Composite
from zennit.rules import Pass, ZPlus

from cbir_cli import engines, mappers, registry
from cbir_cli.saliency.deep_taylor import explain


def network():
    torch.manual_seed(0)
    module = registry.load("models", "densenet121").build(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.3, 0.3)
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


def zennit(module, pixels):
    def rule(_context, _name, layer):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return ZPlus(stabilizer=lambda z: torch.where(z == 0, 1e-7, z), zero_params="bias")
        return Pass() if isinstance(layer, nn.BatchNorm2d) else None

    with Composite(module_map=rule).context(module):
        pixels = pixels.clone().requires_grad_()
        logits = module(pixels)
        return torch.autograd.grad(logits, pixels, torch.sigmoid(logits.detach()))[0]


def forward_backward(module, pixels):
    pixels = pixels.clone().requires_grad_()
    return torch.autograd.grad(module(pixels).sum(), pixels)[0]


def table(title, unit, ways, rounds, clock):
    """Print the median time of each way, and the median over rounds of its ratio to the first."""
    seconds = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, run in ways.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    print(f"\n{title}")
    first = next(iter(ways))
    for name in ways:
        times = seconds[name][1:]  # the first round warms up
        ratios = [t / s for t, s in zip(times, seconds[first][1:], strict=True)]
        print(
            f"  {name:<18}{1000 * statistics.median(times) / unit:8.0f} ms an image"
            f"   {statistics.median(ratios):5.2f} times ours [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=engines.cpu_threads())
    options = parser.parse_args()
    module = network()
    images = np.random.default_rng(0).normal(size=(options.images, 3, options.size, options.size)).astype(np.float32)
    pixels = torch.from_numpy(images)
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    mapper = mappers.saliency_mapper("densenet121", weights, explain, device="cpu", threads=options.threads)

    expected = zennit(module, pixels[:1])
    difference = (explain(module, pixels[:1]) - expected).abs().max() / expected.max()
    print(f"largest difference from zennit's map: {difference:.1e} of its maximum")

    torch.set_num_threads(1)
    batch = pixels[: options.batch]
    ways = {
        "ours": lambda: explain(module, batch),
        "zennit": lambda: zennit(module, batch),
        "forward+backward": lambda: forward_backward(module, batch),
    }
    table(f"One batch of {len(batch)}, one core, CPU time", len(batch), ways, options.rounds, time.process_time)

    torch.set_num_threads(options.threads)
    parts = pixels.split(options.batch)
    ways = {
        "ours": lambda: mapper(images),
        "zennit": lambda: [zennit(module, part) for part in parts],
        "forward+backward": lambda: [forward_backward(module, part) for part in parts],
    }
    title = f"{options.images} images, {options.threads} cores, wall time (ours with the map finished)"
    table(title, options.images, ways, options.rounds, time.perf_counter)


if __name__ == "__main__":
    main()
