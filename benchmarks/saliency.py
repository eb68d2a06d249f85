"""Every saliency method on DenseNet-121: CPU time of a map in forward passes, and in forward + backward passes.

One image on one core. The methods take turns with the forward pass, and the figures are medians of the ratios within a
round: a busy machine slows both.

    python benchmarks/saliency.py --rounds 3
"""

import argparse
import statistics
import time

import torch
from deep_taylor import forward_backward, network

from cbir_cli import mappers, registry


def options_of(method, module, pixels):
    """Return what a method needs beside model and images."""
    given = {}
    if mappers.takes(method.explain, "generator"):
        given["generator"] = torch.Generator().manual_seed(0)
    if mappers.takes(method.explain, "masks"):
        given["masks"] = 30  # of thousands; time grows with them
    if hasattr(method, "fit"):
        given["fitted"] = method.fit(module, [pixels])
    return given


def seconds(run):
    start = time.process_time()
    run()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    module = network()
    pixels = torch.rand(1, 3, options.size, options.size, generator=torch.Generator().manual_seed(0)) * 3 - 1.5

    def forward():
        with torch.inference_mode():
            module(pixels)

    print("| method | forward passes | of forward + backward |\n| --- | --- | --- |")
    for name in registry.names("saliency"):
        method = registry.load("saliency", name)
        given = options_of(method, module, pixels)
        ratios = []
        for _ in range(options.rounds + 1):
            one = seconds(forward)
            both = seconds(lambda: forward_backward(module, pixels))
            taken = seconds(lambda method=method, given=given: method.explain(module, pixels, **given))
            ratios.append((taken / one, taken / both))
        first, second = (statistics.median(column) for column in zip(*ratios[1:], strict=True))  # one to warm up
        print(f"| `{name}` | {first:.1f} | {second:.2f} |", flush=True)


if __name__ == "__main__":
    main()
