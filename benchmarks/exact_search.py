"""Exact search against what one would write without it, in one run: ``python benchmarks/exact_search.py``.

Vectors against a float32 product with argpartition (which does not give right distances of near-duplicates, nor
refuse, filter or block); SSIM against scikit-image in a loop. Times are minima over rounds in which both take turns,
on a memory map in the page cache; the last line is a whole process, from the start of Python to the answer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cbir_cli.index import exact

FEATURES, K = 1024, 10


def fastest(*calls: Callable[[], object], rounds: int) -> list[float]:
    """Least seconds of each call; the calls take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def plain(vectors: np.ndarray, norms: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        scores = norms - 2 * (queries @ vectors.T)
    else:
        scores = -(queries @ vectors.T) / np.sqrt(norms)
    near = np.argpartition(scores, K, axis=1)[:, :K]
    return np.take_along_axis(near, np.argsort(np.take_along_axis(scores, near, axis=1), axis=1), axis=1)


def products(folder: Path, counts: list[int], rounds: int) -> None:
    rng = np.random.default_rng(1)
    print("vectors  metric  queries  exact ms  plain ms  exact/plain  build ms")
    for count in counts:
        vectors = np.memmap(folder / f"{count}.f32", dtype=np.float32, mode="w+", shape=(count, FEATURES))
        for start in range(0, count, 10_000):  # rectified noise, as pooled features are at least 0
            part = vectors[start : start + 10_000]
            part[:] = np.maximum(rng.standard_normal(part.shape, dtype=np.float32), 0)
        queries = np.maximum(rng.standard_normal((100, FEATURES), dtype=np.float32), 0)
        bare = np.asarray(vectors)
        for metric in ("l2", "cosine"):
            start_of_build = time.perf_counter()
            payload = exact.build(vectors, metric=metric)
            built = time.perf_counter() - start_of_build
            searcher = exact.open(vectors, payload, metric=metric)
            norms = payload["squared_norms"].astype(np.float32)
            for asked in (queries[:1], queries):
                ours, theirs = fastest(
                    lambda s=searcher, q=asked: s.search(q, K),  # type: ignore[misc]
                    lambda q=asked, m=metric, n=norms, v=bare: plain(v, n, q, m),  # type: ignore[misc]
                    rounds=rounds,
                )
                agree = (searcher.search(asked, K)[1] == plain(bare, norms, asked, metric)).mean()
                print(
                    f"{count:>7}  {metric:<6}  {len(asked):>7}  {ours * 1e3:>8.2f}  {theirs * 1e3:>8.2f}"
                    f"  {ours / theirs:>11.2f}  {built * 1e3:>8.0f}"
                    + ("" if agree == 1 else f"  rows agree {agree:.4f}")
                )


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


def cold(folder: Path, rounds: int) -> None:
    shape = (10_000, FEATURES)
    vectors = np.memmap(folder / "cold.f32", dtype=np.float32, mode="w+", shape=shape)
    vectors[:] = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    np.save(folder / "norms.npy", exact.build(vectors, metric="cosine")["squared_norms"])
    code = (
        "import numpy as np; from cbir_cli.index import exact;"
        f"x = np.memmap({str(folder / 'cold.f32')!r}, dtype=np.float32, mode='r', shape={shape});"
        f"p = {{'squared_norms': np.load({str(folder / 'norms.npy')!r})}};"
        "exact.open(x, p, metric='cosine').search(np.array(x[5:6]), 10)"
    )
    seconds = fastest(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=rounds)[0]
    print(f"one query of 10,000 x {FEATURES}, whole process: {seconds * 1e3:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="10000,100000", help="numbers of vectors, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        products(Path(folder), [int(c) for c in options.counts.split(",")], options.rounds)
        ssim(options.rounds)
        cold(Path(folder), options.rounds)


if __name__ == "__main__":
    main()
