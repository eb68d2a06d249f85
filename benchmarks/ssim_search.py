"""Exact search by SSIM against scikit-image in a loop, in turns: ``python benchmarks/ssim_search.py``."""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

from cbir_cli.index import exact


def fastest(*calls: Callable[[], object], rounds: int) -> list[float]:
    """Least seconds of each call; the calls take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def ssim(rounds: int) -> None:
    from skimage.metrics import structural_similarity

    print("side  images  exact ms/pair  skimage ms/pair  skimage/exact  largest difference")
    for side, count in ((64, 400), (112, 200), (224, 60)):
        images = np.random.default_rng(2).integers(0, 256, (count, side, side), dtype=np.uint8)
        vectors = images.reshape(count, -1).astype(np.float32)
        searcher = exact.open(vectors, exact.build(vectors, metric="ssim"), metric="ssim")

        def loop(images: np.ndarray = images) -> list[float]:
            return [1 - structural_similarity(images[0], image) for image in images]

        ours, theirs = fastest(
            lambda s=searcher, v=vectors: s.search(v[:1], len(v)),  # type: ignore[misc]
            loop,
            rounds=rounds,
        )
        distances, rows = searcher.search(vectors[:1], count)
        difference = np.abs(distances[0] - np.array(loop())[rows[0]]).max()
        print(
            f"{side:>4}  {count:>6}  {ours / count * 1e3:>13.3f}  {theirs / count * 1e3:>15.3f}"
            f"  {theirs / ours:>13.1f}  {difference:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}")
    ssim(options.rounds)


if __name__ == "__main__":
    main()
