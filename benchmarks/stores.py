"""How fast an engine takes vectors in and answers, and how many of the nearest it finds.

Writes clustered vectors, loads them by ``cbir index --uri``, asks for the 10 nearest of 200 others, and compares with
an exact search of the same vectors. One line of JSON for each URI; the collection ``bench`` is removed at the end.

    python benchmarks/stores.py /tmp/bench.db http://127.0.0.1:19530 postgresql://cbir@127.0.0.1/postgres
    python benchmarks/stores.py --set index=hnsw http://127.0.0.1:19530
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts.items import Items
from cbir_cli.index import exact
from cbir_cli.records import MISSING
from cbir_cli.stages import stores

K = 10


def _catalogue(path: Path, count: int, width: int) -> np.ndarray:
    draw = np.random.default_rng(7)
    centres = draw.standard_normal((max(2, count // 200), 64))
    latent = centres[draw.integers(0, len(centres), count + 200)] + 0.5 * draw.standard_normal((count + 200, 64))
    vectors = latent @ draw.standard_normal((64, width)) + 0.1 * draw.standard_normal((count + 200, width))
    vectors = vectors.astype(np.float32)
    empty = np.full(count, "")
    columns = {name: empty for name in ("path", "study", "source", "split", "sex", "seen")}
    columns["patient"] = np.array([f"p{i // 3}" for i in range(count)])
    columns["view"] = draw.choice(["PA", "AP"], count)
    columns["content"] = np.array([f"{i:016x}" for i in range(count)])
    columns["age"] = np.full(count, MISSING, np.int16)
    columns["label:Effusion"] = draw.integers(0, 2, count).astype(np.int8)
    table = Items(np.array([f"i{i:08d}" for i in range(count)]), columns, "checked")
    space = embeddings.Space("cosine", "f" * 64, "cnn", [], [], "cnn.h5")
    embeddings.write(str(path), vectors[:count], table, space, history=[])
    return vectors[count:]


def _ask(store, queries: np.ndarray) -> tuple[list[float], list[list[str]]]:
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        ((ids, near, _),) = store.search(query[None], K + 16, None)
        order = np.argsort(ids)
        near = np.ascontiguousarray(near[order])
        searcher = exact.open(near, exact.build(near, metric="cosine"), metric="cosine")
        _, rows = searcher.search(query[None], K)
        times.append(1000 * (time.perf_counter() - start))
        found.append([ids[order[row]] for row in rows[0]])
    return times, found


def main() -> None:
    """Print a line of figures for each URI."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uris", nargs="+")
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--set", action="append", default=[])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "emb.h5")
        queries = _catalogue(path, chosen.n, chosen.width)
        with files.open_artifact(str(path)) as artifact:
            stored = embeddings.read(artifact)
            vectors = np.asarray(stored.vectors)
            _, truth = exact.open(vectors, exact.build(vectors, metric="cosine"), metric="cosine").search(queries, K)
            for uri in chosen.uris:
                backend = registry.load("stores", stores.kind_of(uri))
                known = registry.parameters(backend.Store.create)
                parameters = {**known, **registry.settings(chosen.set, known, uri), "metric": "cosine"}
                store = stores.connect(uri, "bench", make=True)
                start = time.perf_counter()
                stores.load(store, stored, [], parameters, replace=True)
                loaded = time.perf_counter() - start
                _ask(store, queries[:5])
                times, found = _ask(store, queries)
                hits = [len(set(f) & set(stored.items.ids[t].tolist())) for f, t in zip(found, truth, strict=True)]
                said = {
                    "engine": stores.kind_of(uri) if "://" in uri else "milvus lite",
                    "index": parameters["index"],
                    "n": chosen.n,
                    "width": chosen.width,
                    "load_s": round(loaded, 1),
                    "vectors_per_s": round(chosen.n / loaded),
                    "query_ms_median": round(statistics.median(times), 1),
                    "query_ms_p90": round(statistics.quantiles(times, n=10)[-1], 1),
                    "recall@10": round(sum(hits) / (K * len(hits)), 4),
                }
                print(json.dumps(said), flush=True)
                store.drop()
                store.close()


if __name__ == "__main__":
    main()
