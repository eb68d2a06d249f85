"""Community search beside the exact one: ``python benchmarks/community.py --nodes 10000,224000``.

Times of the graph, the communities and the queries, the peak memory, how much of the index a query is compared with,
and what the results are worth: overlap with the exact ones, and precision, ACG and ACG_p of made-up labels at 50.

Two kinds of vectors of 1,024 features, rectified as pooled features are: 500 overlapping Gaussian clusters in 64
dimensions whose sizes follow Zipf's law, and a continuum without clusters, a sphere in 12 dimensions. Thirteen labels:
a cluster has its own set, of which each image has some otherwise; on the continuum a label is a cap of the sphere.
Queries are further vectors of the same kind. Each kind runs in a process of its own; its memory counts the pages of the
vectors that are mapped.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cbir_cli import registry, shared_labels
from cbir_cli.index import _clustering, _graph, community, exact
from cbir_cli.metrics.ranking import _gain

FEATURES, LABELS, CLUSTERS, K = 1024, 13, 500, 50
METRICS = ("precision-any", "precision-exact", "acg", "acg-p-total", "acg-p-query", "acg-p-union")
VARIANTS = {
    "repaired": {},
    "repaired, reserve=0": {"reserve": 0},
    "repaired, across=false, reserve=0": {"across": False, "reserve": 0},
    "literal": {"algorithm": "literal"},
}


def make(kind: str, count: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write vectors (count, FEATURES) and return them as a map, with their labels (count, LABELS)."""
    rng = np.random.default_rng(1)
    vectors = np.memmap(path, dtype=np.float32, mode="w+", shape=(count, FEATURES))
    labels = np.empty((count, LABELS), dtype=np.int64)
    size = 64 if kind == "clusters" else 12
    mix = rng.standard_normal((size, FEATURES), dtype=np.float32) / np.float32(size**0.5)
    centres = rng.standard_normal((CLUSTERS, size), dtype=np.float32)
    own = rng.random((CLUSTERS, LABELS)) < 0.2
    share = 1 / np.arange(1, CLUSTERS + 1)
    caps = rng.standard_normal((size, LABELS), dtype=np.float32)
    for start in range(0, count, 8192):
        part = slice(start, min(start + 8192, count))
        many = part.stop - start
        if kind == "clusters":
            cluster = rng.choice(CLUSTERS, many, p=share / share.sum())
            latent = centres[cluster] + np.float32(0.5) * rng.standard_normal((many, size), dtype=np.float32)
            labels[part] = own[cluster] ^ (rng.random((many, LABELS)) < 0.05)
        else:
            latent = rng.standard_normal((many, size), dtype=np.float32)
            latent *= np.float32(size**0.5) / np.linalg.norm(latent, axis=1, keepdims=True)
            labels[part] = latent @ caps > 0.85 * np.linalg.norm(caps, axis=0)
        noise = np.float32(0.05) * rng.standard_normal((many, FEATURES), dtype=np.float32)
        vectors[part] = np.maximum(latent @ mix + np.float32(0.5) + noise, 0)
    return vectors, labels


def peak() -> float:
    """Largest resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(module: object, name: str, seconds: dict[str, float]) -> None:
    """Have the seconds of one function kept."""
    function = getattr(module, name)
    what = "graph" if module is _graph else "communities"

    def call(*values: object, **settings: object) -> object:
        start, worked = time.perf_counter(), time.process_time()
        found = function(*values, **settings)
        seconds[what] = time.perf_counter() - start
        seconds[f"{what} CPU"] = time.process_time() - worked
        print(
            f"  { ({name: round(value, 1) for name, value in seconds.items()}) }, peak {peak():.0f} MiB",
            file=sys.stderr,
            flush=True,
        )
        return found

    setattr(module, name, call)


def worth(rows: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Means of METRICS at K; a list that is too short counts what it lacks as 0."""
    values = []
    for name in METRICS:
        kind = registry.load("metrics/ranking", name).RELEVANCE
        kept = shared_labels.defined(kind, wanted)
        grades = shared_labels.relevance(kind, wanted[kept], labels[rows[kept]]) * (rows[kept] >= 0)
        values.append(float(_gain.mean(grades, K).mean()))
    return values


def chance(labels: np.ndarray, wanted: np.ndarray) -> list[float]:
    patterns, counts = np.unique(labels, axis=0, return_counts=True)
    values = []
    for name in METRICS:
        kind = registry.load("metrics/ranking", name).RELEVANCE
        kept = shared_labels.defined(kind, wanted)
        totals = [float(shared_labels.relevance(kind, one[None], patterns[None])[0] @ counts) for one in wanted[kept]]
        values.append(float(_gain.expected(totals, np.full(len(totals), len(labels)), K).mean()))
    return values


def overlap(rows: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(rows.tolist(), true.tolist(), strict=True)]))


def one(kind: str, nodes: int, queries: int, clustering: str, folder: Path) -> None:
    every, labels = make(kind, nodes + queries, folder / "x.f32")
    vectors, asked, wanted = every[:nodes], np.array(every[nodes:]), labels[nodes:]
    labels = labels[:nodes]
    seconds: dict[str, float] = {}
    timed(_graph, "build", seconds)
    timed(_clustering, "communities", seconds)
    start = time.perf_counter()
    payload = community.build(vectors, metric="cosine", clustering=clustering)
    whole = time.perf_counter() - start
    sizes = np.diff(payload["starts"])
    size = sum(values.nbytes for values in payload.values()) / 2**20
    print(f"\n{kind}, {nodes:,} images: {len(payload['graph_others']) // 2:,} edges, {len(sizes)} communities of")
    print(f"{sizes.min()} to {sizes.max()} images ({clustering}), modularity {payload['modularity'][0]:.4f}")
    print(
        f"graph {seconds['graph']:.1f} s ({seconds['graph CPU']:.1f} of CPU), communities {seconds['communities']:.1f} "
        f"s ({seconds['communities CPU']:.1f} of CPU), build {whole:.1f} s in all, "
        f"payload {size:.0f} MiB, peak {peak():.0f} MiB"
    )
    print("| " + " | ".join(("search", "ms a query", "one at a time", "looked at", "overlap", *METRICS)) + " |")
    print("|" + " --- |" * (5 + len(METRICS)))
    searcher = exact.open(vectors, exact.build(vectors, metric="cosine"), metric="cosine")
    start = time.perf_counter()
    true = searcher.search(asked, K)[1]
    each = (time.perf_counter() - start) / queries
    line("exact", each, single(searcher, asked), 1.0, 1.0, worth(true, labels, wanted))
    for name, changed in VARIANTS.items():
        few = 200 if name == "literal" else queries
        found = community.open(vectors, payload, metric="cosine", **changed)
        start = time.perf_counter()
        rows = found.search(asked[:few], K)[1]
        each = (time.perf_counter() - start) / few
        share, same = float(found.looked_at.mean()) / nodes, overlap(rows, true[:few])
        line(name, each, single(found, asked), share, same, worth(rows, labels, wanted[:few]))
    random = " | ".join(f"{value:.3f}" for value in chance(labels, wanted))
    print(f"| chance | | | | {K / nodes:.4f} | {random} |")
    print(f"peak {peak():.0f} MiB", flush=True)


def single(searcher: object, asked: np.ndarray) -> float:
    """Median seconds of a query that is asked alone."""
    taken = []
    for number in range(20):
        start = time.perf_counter()
        searcher.search(asked[number : number + 1], K)  # type: ignore[attr-defined]
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def line(name: str, each: float, alone: float, share: float, same: float, values: list[float]) -> None:
    rest = " | ".join(f"{value:.3f}" for value in values)
    print(f"| {name} | {each * 1e3:.1f} | {alone * 1e3:.1f} | {share:.2%} | {same:.4f} | {rest} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="10000", help="sizes, between commas")
    parser.add_argument("--kinds", default="clusters,continuum")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--clustering", default="leiden", choices=_clustering.CLUSTERINGS)
    parser.add_argument("--folder", help="where vectors are written; a temporary one by default")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for nodes in given.nodes.split(","):
        for kind in given.kinds.split(","):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                if given.alone:
                    one(kind, int(nodes), given.queries, given.clustering, Path(folder))
                    continue
                command = [sys.executable, __file__, "--alone", "--nodes", nodes, "--kinds", kind]
                command += ["--queries", str(given.queries), "--clustering", given.clustering, "--folder", folder]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
