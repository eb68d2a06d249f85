"""Every kind of index at several sizes, beside numpy and faiss used directly: ``python benchmarks/index.py``.

Vectors are synthetic (see ``_vectors``); 1,000 more ask. For each size and kind, one row: seconds to build, by ``cbir
index``, and its peak memory; bytes of the file beside its vectors; recall of the 10 and 50 nearest, counted by
distance; milliseconds of ``cbir query`` for one stored vector as a whole process, with the file in the page cache and
without; milliseconds of one query and queries a second in batches of 100 where the index is open; peak memory of the
query.

The rows ``numpy`` (a product with argpartition on a memory map) and ``faiss-flat`` answer the same queries, and their
process is the shortest script that does so. Times of kinds that are compared with each other are least values over
rounds in which they take turns. ``GB/s`` is the rate at which the same cores read the same vectors (a product with one
vector); an exact search that read all of them could not be faster than that.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import _vectors
import numpy as np

from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.stages.searchers import searcher

K, BATCH, ASKED = 10, 100, 1000

MINIMAL = """
import sys, h5py, numpy as np
with h5py.File(sys.argv[1]) as file, h5py.File(sys.argv[2]) as asked:
    x, q = np.memmap(sys.argv[1], np.float32, "r", file["X"].id.get_offset(), file["X"].shape), asked["X"][0]
    scores = -(x @ q)
    near = np.argpartition(scores, 10)[:10]
    for row in near[np.argsort(scores[near])]:
        print(file["obs/_index"][row].decode(), 1 + scores[row], sep="\\t")
"""

FLAT = """
import sys, h5py, numpy as np, faiss
with h5py.File(sys.argv[1]) as file, h5py.File(sys.argv[2]) as asked:
    x, q = file["X"][:], asked["X"][:1]
    flat = faiss.IndexFlatIP(x.shape[1]); flat.add(x)
    distances, rows = flat.search(q, 10)
    for row, distance in zip(rows[0], distances[0]):
        print(file["obs/_index"][row].decode(), 1 - distance, sep="\\t")
"""


@dataclass
class Row:
    """What was measured of one kind; None where it does not apply."""

    kind: str
    build: float | None = None
    build_memory: float | None = None
    extra: float | None = None
    recall: dict[int, float] = field(default_factory=dict)
    warm_process: float = 0.0
    cold_process: float = 0.0
    one: float = 0.0
    batch: float = 0.0
    memory: float = 0.0


def fastest(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least seconds of each call; the calls take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def run(*words: object) -> tuple[float, float]:
    """Run a process; return its seconds and its peak memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words_of_error = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(words_of_error.decode())
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


def forget(*paths: Path) -> None:
    """Take files out of the page cache."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def processes(row: Row, rounds: int, paths: list[Path], *words: object) -> None:
    """Time a whole process that answers one query, with the files in the page cache and without."""
    run(*words)
    warm = [run(*words) for _ in range(rounds)]
    row.warm_process, row.memory = min(seconds for seconds, _ in warm), max(memory for _, memory in warm)
    cold = []
    for _ in range(max(1, rounds // 2)):
        forget(*paths)
        cold.append(run(*words)[0])
    row.cold_process = min(cold)


def plain(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    scores = -(queries @ vectors.T)
    near = np.argpartition(scores, K, axis=1)[:, :K]
    return np.take_along_axis(near, np.argsort(np.take_along_axis(scores, near, axis=1), axis=1), axis=1)


def recall(found: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Share of the k nearest that are found: those not farther than the k-th, so that ties do not hurt."""
    return float((found[:, :k] <= truth[:, k - 1 : k] * (1 + 1e-6)).mean())


def measure(count: int, kinds: list[str], folder: Path, rounds: int) -> tuple[list[Row], float]:
    vectors = _vectors.clustered(count + ASKED)
    emb, one, many = folder / "emb.h5", folder / "one.h5", folder / "many.h5"
    _vectors.write(emb, vectors[:count])
    _vectors.write(one, vectors[count : count + 1], count)
    _vectors.write(many, vectors[count:], count)
    queries = vectors[count:].copy()
    del vectors

    # Processes first: pages that are mapped here could not be taken out of the cache.
    rows = [Row(kind) for kind in kinds]
    for row in rows:
        path = folder / f"{row.kind}.h5"
        row.build, row.build_memory = run("-m", "cbir_cli", "index", emb, "--kind", row.kind, "-o", path)
        row.extra = (path.stat().st_size - emb.stat().st_size) / 1e6
        processes(row, rounds, [path], "-m", "cbir_cli", "query", path, one, "-k", K, "--include-same")
    for name, script in (("numpy", MINIMAL), ("faiss-flat", FLAT)):
        row = Row(name, recall={10: 1.0, 50: 1.0})
        processes(row, rounds, [folder / "exact.h5"], "-c", script, folder / "exact.h5", one)
        rows.append(row)

    import faiss

    calls: dict[str, Callable[[], object]] = {}
    batches: dict[str, Callable[[], object]] = {}
    with contextlib.ExitStack() as stack:
        truth = np.empty(0)
        for row in rows[: len(kinds)]:
            artifact = stack.enter_context(files.open_artifact(str(folder / f"{row.kind}.h5"), indexes.KIND))
            index = indexes.read(artifact)
            search = searcher(index).search
            distances = search(queries, 50)[0]
            if row.kind == "exact":
                truth, bare = distances, np.asarray(index.embedding.vectors)
            row.recall = {k: recall(distances, truth, k) for k in (10, 50)}
            calls[row.kind] = lambda search=search: search(queries[:1], K)  # type: ignore[misc]
            batches[row.kind] = lambda search=search: search(queries[:BATCH], K)  # type: ignore[misc]
        flat = faiss.IndexFlatIP(_vectors.WIDTH)
        flat.add(bare)
        calls |= {"numpy": lambda: plain(bare, queries[:1]), "faiss-flat": lambda: flat.search(queries[:1], K)}
        batches |= {
            "numpy": lambda: plain(bare, queries[:BATCH]),
            "faiss-flat": lambda: flat.search(queries[:BATCH], K),
        }
        read = fastest({"read": lambda: bare @ queries[0]}, 3 * rounds)["read"]
        ones, hundreds = fastest(calls, 20 * rounds), fastest(batches, rounds)
    for row in rows:
        row.one, row.batch = ones[row.kind], BATCH / hundreds[row.kind]
    return rows, count * _vectors.WIDTH * 4 / read / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,100000", help="numbers of vectors, with commas (paper: 377110)")
    parser.add_argument("--kinds", default="exact,hnsw,ivf-sq8,ivf-pq")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where files of 5 KB a vector and kind may lie for a while")
    options = parser.parse_args()
    for count in map(int, options.counts.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows, rate = measure(count, options.kinds.split(","), Path(folder), options.rounds)
        machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, read {rate:.1f} GB/s"
        print(f"\n{count:,} x {_vectors.WIDTH}, {machine}")
        print("kind\tbuild s\tGB\textra MB\trecall@10\t@50\tprocess ms\tcold ms\tquery ms\tqueries/s\tGB")
        for row in rows:
            values = [row.build, row.build_memory, row.extra, row.recall[10], row.recall[50]]
            values += [row.warm_process * 1e3, row.cold_process * 1e3, row.one * 1e3, row.batch, row.memory]
            digits = (1, 2, 1, 4, 4, 0, 0, 2, 0, 2)
            print(row.kind, *("" if v is None else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)), sep="\t")
        by = {row.kind: row for row in rows}
        seconds = count * _vectors.WIDTH * 4 / rate / 1e9
        print(
            f"exact, one query: {seconds / by['exact'].one:.2f} of the rate at which all vectors can be read, "
            f"{by['faiss-flat'].one / by['exact'].one:.1f} times faiss-flat, {by['numpy'].one / by['exact'].one:.1f} "
            f"times numpy; batch of {BATCH}: {by['exact'].batch / by['numpy'].batch:.1f} times numpy; process: "
            f"{by['exact'].warm_process / by['numpy'].warm_process:.2f} of numpy's, "
            f"{by['exact'].cold_process / by['numpy'].cold_process:.2f} cold",
            flush=True,
        )


if __name__ == "__main__":
    main()
