"""How fast and how exact an index is on this machine: the library behind ``cbir info --benchmark``.

Queries are drawn from the stored vectors with a fixed seed, and leave themselves out. Times are those of a machine that
may be doing other work: the memory bandwidth of the same minute is given beside them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.allowed import Allowed
from cbir_cli.artifacts import embeddings, files, index
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import ArtifactError, CbirError
from cbir_cli.stages import searchers

_QUERIES = 100
_CUTOFFS = (10, 50)
_PATIENCE = 5.0
"""Seconds that queries are asked alone for, five of them at the least; and that a batch may take if it is no faster."""
_BLOCK = (65536, 1024)
"""float32 numbers read to measure bandwidth: 256 MiB, more than any cache holds."""


def benchmark(artifact: files.Artifact) -> dict[str, Any]:
    """Measure an index.

    Parameters
    ----------
    artifact : files.Artifact
        Just opened: what has been read of it could not be put out of memory.

    Returns
    -------
    dict
        ``process``: milliseconds of a whole ``cbir query`` of one stored vector with the index on disk, ``disk-ms``
        (not where the system cannot drop a file from memory), and in memory, ``memory-ms``; its ``peak-bytes``, pages
        of the index included. ``latency-ms``: ``median`` and ``p95`` over ``queries`` asked one at a time for 10
        results. ``batch``: how many ``queries`` at once, and how many ``per-second``. ``recall``: ``@10`` and ``@50``
        against exact search, 1 for an exact index. ``bandwidth-gb/s``: of reading memory.

    Raises
    ------
    ArtifactError
        If it is no index, or one of fewer than two vectors.
    CbirError
        If the query fails.
    """
    if artifact.kind != index.KIND:
        raise ArtifactError(f"{artifact.name}: --benchmark: expected a {index.KIND} artifact, found {artifact.kind}")
    if artifact.file["X"].shape[0] < 2:
        raise ArtifactError(f"{artifact.name}: --benchmark: expected at least two vectors")
    known: dict[str, Any] = {"process": _processes(artifact)}
    stored = index.read(artifact)
    rows = np.random.default_rng(1).permutation(len(stored.embedding.vectors))[:_QUERIES]
    known |= {**_times(stored, rows), "recall": _recall(stored, rows)}
    known["bandwidth-gb/s"] = round(bandwidth() / 1e9, 1)
    return known


def bandwidth() -> float:
    """Bytes of memory that a matrix product reads in a second, on all threads that it uses: the best of five."""
    matrix, vector = np.ones(_BLOCK, np.float32), np.ones(_BLOCK[1], np.float32)
    return matrix.nbytes / min(_seconds(lambda: matrix @ vector) for _ in range(5))


def recall(distances: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true nearest that were found, by distance, so that it does not matter which of several ties it was.

    Parameters
    ----------
    distances, truth : ndarray (Q, k), float32
        Ascending; inf where there are fewer.

    Returns
    -------
    float
        From 0 to 1.
    """
    there = np.isfinite(truth)
    farthest = np.where(there, truth, -np.inf).max(axis=1, keepdims=True)
    # A distance may be summed in another order than the true one.
    found = (distances <= farthest * np.float32(1 + 1e-6)) & np.isfinite(distances)
    return float(found.sum() / there.sum())


def _times(stored: Index, rows: np.ndarray) -> dict[str, Any]:
    search = _search(stored, searchers.searcher(stored))
    search(rows[:1], 10)
    alone: list[float] = []
    for place in range(len(rows)):
        alone.append(_seconds(lambda at=place: search(rows[at : at + 1], 10)))  # type: ignore[misc]
        if len(alone) >= 5 and sum(alone) > _PATIENCE:
            break
    median = float(np.median(alone))
    batch = rows[: max(5, int(_PATIENCE / median))]
    whole = min(_seconds(lambda: search(batch, 10)) for _ in range(2))
    return {
        "latency-ms": {
            "median": round(1e3 * median, 3),
            "p95": round(1e3 * float(np.quantile(alone, 0.95)), 3),
            "queries": len(alone),
        },
        "batch": {"queries": len(batch), "per-second": round(len(batch) / whole, 1)},
    }


def _recall(stored: Index, rows: np.ndarray) -> dict[str, float]:
    if stored.kind == "exact":
        return {f"@{k}": 1.0 for k in _CUTOFFS}
    search = _search(stored, searchers.searcher(stored))
    exact = searchers.exactly(stored.embedding.vectors, stored.embedding.space.similarity)
    truth = _search(stored, exact)(rows, max(_CUTOFFS))
    return {f"@{k}": round(recall(search(rows, k), truth[:, :k]), 4) for k in _CUTOFFS}


def _search(stored: Index, searcher: Any) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a search for the vectors of some rows, which leaves these out and returns distances."""
    vectors = stored.embedding.vectors

    def search(rows: np.ndarray, k: int) -> np.ndarray:
        queries = np.ascontiguousarray(vectors[rows])
        return np.asarray(searcher.search(queries, k, allowed=lambda i: Allowed(without=rows[i : i + 1]))[0])

    return search


def _processes(artifact: files.Artifact) -> dict[str, Any]:
    """Time whole processes that answer one stored vector, with the index on disk and with it in memory."""
    path = str(artifact.file.filename)
    with tempfile.TemporaryDirectory(prefix="cbir-") as folder:
        query = str(Path(folder) / "query.h5")
        stored = embeddings.read(artifact)
        embeddings.write(query, np.array(stored.vectors[:1]), stored.items.take([0]), stored.space, history=[])
        known: dict[str, Any] = {}
        if _drop(path):
            known["disk-ms"] = round(1e3 * _ask(path, query)[0], 1)
        seconds, peak = min(_ask(path, query) for _ in range(3))
        return {**known, "memory-ms": round(1e3 * seconds, 1), "peak-bytes": peak}


def _ask(path: str, query: str) -> tuple[float, int]:
    """Run ``cbir query``; return its seconds and the most memory that it held, in bytes."""
    line = [sys.executable, "-m", "cbir_cli", "query", path, query, "-q", "-k", "10"]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise CbirError(f"the query that was to be measured failed: {said.read().decode(errors='replace').strip()}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _drop(path: str) -> bool:
    """Ask the system to forget what it holds of a file in memory; say whether it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return True


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
