"""Approximate kinds of index on the command line: built whole or not at all, opened without trust, described."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import embeddings, files, index
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record

KINDS = ["hnsw", "ivf-sq8", "ivf-pq"]


def write(path, count, prefix, similarity="cosine"):
    """An embedding of a few clusters, every image of a patient of his own."""
    rng = np.random.default_rng(len(prefix))
    centres = np.random.default_rng(5).standard_normal((8, 24))
    vectors = (centres[rng.integers(8, size=count)] + 0.5 * rng.standard_normal((count, 24))).astype(np.float32)
    records = [
        Record(id=f"{prefix}{i}", path=Path("x"), relative=f"{prefix}{i}.png", labels={}, patient=f"{prefix}{i}")
        for i in range(count)
    ]
    space = embeddings.Space(similarity, "hand", "cnn", [], [], "hand.h5", "f" * 64, {"size": 32}, "ward", "directory")
    table = from_records(records, [f"{prefix}{i:012x}" for i in range(count)], Pseudonyms(b"a key"))
    embeddings.write(str(path), vectors, table, space, history=[])


@pytest.fixture(scope="module")
def ward(tmp_path_factory, good):
    folder = tmp_path_factory.mktemp("kinds")
    write(folder / "emb.h5", 700, "a")
    write(folder / "ask.h5", 9, "bb")
    for kind in ["exact", *KINDS]:
        more = () if kind == "exact" else ("--recall", "0.995", "--seed", "3")
        good("index", "emb.h5", "--kind", kind, *more, "-o", f"{kind}.h5", cwd=folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_of_exact(good, ward, kind):
    for more in (("-k", "5"), ("-k", "700"), ("-k", "3", "--format", "json")):
        wanted = good("query", "exact.h5", "ask.h5", *more, cwd=ward).data
        assert good("query", f"{kind}.h5", "ask.h5", *more, cwd=ward).data == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored(good, ward, kind, tmp_path):
    with files.open_artifact(str(ward / f"{kind}.h5"), index.KIND) as artifact:
        stored = index.read(artifact)
        assert stored.kind == kind and stored.parameters["recall"] == 0.995 and stored.parameters["seed"] == 3
        assert "threads" not in stored.parameters and artifact.history[-1]["parameters"]["recall"] == 0.995
        assert stored.measured["recall@10"] >= 0.995 and stored.measured["sample"] == 140
        assert all(isinstance(values, np.memmap) for name, values in stored.payload.items() if name == "codes")
    with files.open_artifact(str(ward / "exact.h5"), index.KIND) as artifact:
        assert index.read(artifact).measured == {}  # as in files of older versions
    for threads in (1, 3):
        line = ["index", "emb.h5", "--kind", kind, "--recall", "0.995", "--seed", "3", "--threads", threads]
        good(*line, "-o", tmp_path / f"{threads}.h5", cwd=ward)
        assert (tmp_path / f"{threads}.h5").read_bytes() == (ward / f"{kind}.h5").read_bytes()
    good("verify", f"{kind}.h5", cwd=ward)


def test_underscores_name_the_same_kind(good, ward, tmp_path):
    line = ["index", "emb.h5", "--kind", "ivf_sq8", "--recall", "0.995", "--seed", "3", "-o", str(tmp_path / "i.h5")]
    good(*line, cwd=ward)
    assert (tmp_path / "i.h5").read_bytes() == (ward / "ivf-sq8.h5").read_bytes()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["--kind", "exact", "--recall", "0.9"], "--recall does not go with --kind exact"),
        (["--kind", "exact", "--threads", "2"], "--threads does not go with --kind exact"),
        (["--kind", "hnsw", "--recall", "1.5"], "expected a recall above 0 and below 1, found 1.5"),
        (["--kind", "hnsw", "--set", "nprobe=4"], "unknown parameter of index kind hnsw 'nprobe'"),
        (["--kind", "ivf-pq", "--set", "threads=4"], "unknown parameter of index kind ivf-pq 'threads'"),
        (["--kind", "ivf-pq", "--set", "nprobe=-4"], "expected nprobe from 0 to"),
        (
            ["--kind", "milvsu"],
            "unknown index kind 'milvsu': did you mean milvus? known: community, exact, hnsw, ivf-pq, ivf-sq8",
        ),
        (["--kind", "pg"], "known: community, exact, hnsw, ivf-pq, ivf-sq8, milvus, pgvector"),
    ],
)
def test_what_makes_no_sense_is_refused(cbir, ward, tmp_path, line, error):
    ran = cbir("index", "emb.h5", *line, "-o", tmp_path / "x.h5", cwd=ward)
    assert ran.status == 2 and error in ran.error and not list(tmp_path.iterdir())


def test_an_index_without_a_change_is_not_made_again(cbir, ward, tmp_path):
    ran = cbir("index", "hnsw.h5", "-o", tmp_path / "x.h5", cwd=ward)
    assert ran.status == 2 and "hnsw.h5: is an index already; --add, --remove, --compact" in ran.error
    assert not list(tmp_path.iterdir())


def test_ssim_is_for_exact_alone(cbir, tmp_path):
    write(tmp_path / "emb.h5", 20, "a", "ssim")
    ran = cbir("index", "emb.h5", "--kind", "hnsw", "-o", "x.h5", cwd=tmp_path)
    assert ran.status == 2 and "compared by ssim, which --kind hnsw cannot; use --kind exact" in ran.error


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("hnsw", "neighbors", 700),
        ("hnsw", "neighbors", -2),
        ("hnsw", "levels", 200),
        ("hnsw", "entry", 10**9),
        ("hnsw", "range", np.nan),
        ("ivf-sq8", "sizes", 10**12),
        ("ivf-sq8", "rows", 700),
        ("ivf-pq", "books", np.inf),
        ("ivf-pq", "effort", 0),
        ("ivf-pq", "longest", -1.0),
    ],
)
def test_a_damaged_payload_is_one_line(cbir, ward, tmp_path, kind, name, value):
    path = tmp_path / "idx.h5"
    path.write_bytes((ward / f"{kind}.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        values = file[f"uns/index/payload/{name}"]
        values[(0,) * values.ndim] = value
    ran = cbir("query", path, "ask.h5", cwd=ward)
    assert ran.status == 1 and ran.out == "" and ("payload" in ran.error or "longest" in ran.error)


def foreground():
    """A shell's job in the background ignores SIGINT, and hands that down to the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_leaves_nothing(tmp_path, number):
    write(tmp_path / "emb.h5", 12_000, "a")
    line = ["index", "emb.h5", "--kind", "hnsw", "--set", "ef_construction=20000", "-o", "idx.h5", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cbir_cli", *line], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=foreground, env={**os.environ, "SLURM_CPUS_PER_TASK": "1"},
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    time.sleep(1.5)  # well into the graph, which takes a minute
    assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["emb.h5"]


def test_faiss_is_loaded_where_it_is_used_alone(ward):
    code = "import sys; from cbir_cli.cli.main import main; s = main(); print('faiss' in sys.modules); sys.exit(s)"
    for line in (["index", "emb.h5", "-o", "/dev/null"], ["query", "exact.h5", "ask.h5"]):
        done = subprocess.run([sys.executable, "-c", code, *line], cwd=ward, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("False\n")


def test_measured_is_json_for_other_readers(ward):
    with h5py.File(ward / "ivf-pq.h5") as file:
        told = json.loads(file["uns/index/measured"].asstr()[()])
    assert set(told) == {"nlist", "pieces", "nprobe", "rerank", "recall@10", "recall@50", "sample"}
