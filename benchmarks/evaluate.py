"""Scoring a run of many queries, beside a plain loop and ranx: ``python benchmarks/evaluate.py``.

A run of QUERIES x RESULTS is made, with an index of as many images as queries. First whole processes are measured:
``cbir evaluate`` of the run as TSV and as TREC, with and without the index, with groups; seconds, the least of ROUNDS,
and peak memory. Then the same work inside one process, read the run and compute precision@5, recall@5 and reciprocal
rank: here, by a plain loop over lines and dicts, and by ranx if it is installed (compiled before). They take turns, and
the ratios are medians over rounds, so that a busy machine slows all alike.
"""

import argparse
import importlib
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.artifacts.qrels import read_qrels
from cbir_cli.artifacts.run import WRITERS, RunRow, read_lists
from cbir_cli.evaluation import score
from cbir_cli.qrel_truth import QrelTruth
from cbir_cli.records import Record

METRICS = ["precision@5", "recall@5", "reciprocal-rank@50"]


def make(folder: Path, queries: int, results: int) -> None:
    """Write an index-like embedding, the run as TSV and TREC, and qrels of it."""
    rng = np.random.default_rng(0)
    positive = rng.random(queries) < 0.3
    records = [
        Record(
            id=f"patient{i // 2:05d}/study{i % 2}/view1_frontal_{i:05d}",
            path=Path(f"{i}.png"),
            relative=f"{i}.png",
            labels={"Effusion": int(positive[i])},
            patient=f"p{i // 2}",
            view=("AP", "PA")[i % 2],
            sex="FM"[i % 3 % 2],
            age=20 + i % 75,
            source=f"hospital {i % 3}",
        )
        for i in range(queries)
    ]
    table = from_records(records, [f"{i:016x}" for i in range(queries)], Pseudonyms(b"benchmark"))
    space = embeddings.Space("l2", "0" * 64, "cnn", ["Effusion"], ["Effusion"], source="made")
    embeddings.write(str(folder / "emb.h5"), rng.normal(size=(queries, 8)).astype(np.float32), table, space, history=[])
    rows = []
    judged = []
    for i, query in enumerate(records):
        drawn = rng.choice(queries - 2, results, replace=False)
        drawn = drawn + 2 * (drawn >= i // 2 * 2)  # not the patient himself
        for rank, (place, far) in enumerate(zip(drawn.tolist(), np.sort(rng.random(results)), strict=True), start=1):
            rows.append(RunRow(query.id, rank, records[place].id, far, query.labels, records[place].labels))
            if positive[place] == positive[i]:
                judged.append(f"{query.id} 0 {records[place].id} 1\n")
    for name in ("tsv", "trec"):
        (folder / f"run.{name}").write_text("".join(WRITERS[name](rows)))
    (folder / "run.qrels").write_text("".join(judged))


def processes(folder: Path, rounds: int) -> None:
    """Print the seconds of whole processes."""
    items = ["--items", "emb.h5"]
    for words in (
        ["run.tsv"],
        ["run.trec", *items],
        ["run.tsv", *items],
        ["run.tsv", *items, "--by", "class,view,source,sex,age"],
        ["run.tsv", *items, "--by", "class,view,source,sex,age", "--ties", "average"],
        ["run.trec", "--qrels", "run.qrels"],
    ):
        command = [sys.executable, "-m", "cbir_cli", "evaluate", *words, "-q"]
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
        print(f"{min(seconds):6.2f} s  cbir evaluate {' '.join(words)}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")


def here(folder: Path) -> list[float]:
    """Score the run as the command does."""
    truth = QrelTruth(read_lists(folder / "run.trec"), read_qrels(folder / "run.qrels"), "run.qrels")
    return [one.mean or 0.0 for one in score(truth, METRICS)]


def plain(folder: Path) -> list[float]:
    """Score it by loops over lines and dicts."""
    judged: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "run.qrels").read_text().splitlines():
        query, _, image, _ = line.split()
        judged[query].add(image)
    lists: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in (folder / "run.trec").read_text().splitlines():
        query, _, image, rank, _, _ = line.split()
        lists[query].append((int(rank), image))
    values: list[list[float]] = [[], [], []]
    for query, found in lists.items():
        relevant = judged.get(query)
        if relevant is None:
            continue
        hits = [image in relevant for _, image in sorted(found)]
        values[0].append(sum(hits[:5]) / 5)
        values[1].append(sum(hits[:5]) / len(relevant))
        values[2].append(1 / (hits.index(True) + 1) if True in hits else 0.0)
    return [statistics.fmean(one) for one in values]


def by_ranx(folder: Path) -> list[float]:
    """Score it with ranx, which takes queries without results in qrels for zeros, so that they must be the same."""
    ranx = importlib.import_module("ranx")
    qrels = ranx.Qrels.from_file(str(folder / "run.qrels"), kind="trec")
    run = ranx.Run.from_file(str(folder / "run.trec"), kind="trec")
    found = ranx.evaluate(qrels, run, ["precision@5", "recall@5", "mrr@50"], make_comparable=True)
    return [float(value) for value in found.values()]


def ratios(folder: Path, rounds: int) -> None:
    """Print how much longer others take."""
    ways: dict[str, Callable[[Path], list[float]]] = {"here": here, "plain loop": plain}
    if importlib.util.find_spec("ranx"):
        ways["ranx"] = by_ranx
    values = {name: way(folder) for name, way in ways.items()}  # also compiles
    for name, found in values.items():
        assert np.allclose(found, values["here"], atol=1e-9), (name, found, values["here"])
    seconds: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            ways[name](folder)
            seconds[name].append(time.perf_counter() - start)
    for name, each in seconds.items():
        ratio = statistics.median(one / mine for one, mine in zip(each, seconds["here"], strict=True))
        print(f"{min(each):6.2f} s  {name}: {ratio:.2f} x")


def main() -> None:
    """Make the run, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--results", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.queries, given.results)
        print(f"{given.queries} queries x {given.results} results")
        processes(Path(folder), given.rounds)
        ratios(Path(folder), given.rounds)


if __name__ == "__main__":
    main()
