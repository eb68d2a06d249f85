"""A payload that is damaged in any way is refused or searched: the interpreter never dies of it."""

import subprocess
import sys

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.index import hnsw

ROUNDS = """
import sys
import numpy as np
from cbir_cli import registry
from cbir_cli.allowed import Allowed
from cbir_cli.errors import CbirError
from cbir_cli.index import _grown

kind, metric, seed = sys.argv[1:]
rng = np.random.default_rng(int(seed))
vectors = rng.standard_normal((900, 24), dtype=np.float32)
queries = rng.standard_normal((3, 24), dtype=np.float32)
backend = registry.load("index", kind)
whole = backend.build(vectors, metric=metric, **({} if kind == "community" else {"sample": 20}))
_grown._DIRECT = 0
refused = 0
for round in range(400):
    payload = {name: values.copy() for name, values in whole.items()}
    name = list(whole)[rng.integers(len(whole))]
    raw = bytearray(payload[name].tobytes())
    how = rng.integers(9)
    if how < 4:
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            raw[place] = rng.integers(256) if how else 255 - raw[place]
        payload[name] = np.frombuffer(bytes(raw), whole[name].dtype).reshape(whole[name].shape)
    elif how == 4:
        payload[name] = whole[name][: rng.integers(0, len(whole[name]) + 1)].copy()
    elif how == 5:
        payload[name] = rng.integers(0, 256, whole[name].nbytes, dtype=np.uint8).view(whole[name].dtype).reshape(
            whole[name].shape)
    elif how == 6:
        payload[name] = np.concatenate([whole[name], whole[name]])
    elif how == 7:
        payload[name] = rng.permutation(whole[name].ravel()).reshape(whole[name].shape)
    elif rng.integers(2):
        del payload[name]
    else:
        payload[name] = payload[name].astype([np.float64, np.int64, np.int8, np.uint8][rng.integers(4)])
    try:
        searcher = backend.open(vectors, payload, metric=metric)
        for allowed in (None, lambda q: Allowed(np.arange(q, 900, 2)), lambda q: Allowed(without=np.arange(500))):
            distances, rows = searcher.search(queries, 7, allowed=allowed)
            assert (rows >= 0).all() and (rows < 900).all() and np.isfinite(distances).all()
            assert all(len(set(found)) == 7 for found in rows.tolist())
    except CbirError as error:
        assert str(error) and "\\n" not in str(error)
        refused += 1
print(refused)
"""


CASES = [("hnsw", "l2"), ("ivf-sq8", "l2"), ("ivf-pq", "l2"), ("community", "cosine")]


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_no_damage_ends_the_interpreter(kind, metric):
    if kind == "community":
        pytest.importorskip("networkit")
    line = [sys.executable, "-W", "ignore", "-c", ROUNDS, kind, metric, "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 100 < int(done.stdout) < 400  # some damage is found, and some only costs recall


def test_links_of_a_graph_that_lead_out_of_it_are_refused():
    vectors = np.random.default_rng(1).standard_normal((900, 8), dtype=np.float32)
    payload = hnsw.build(vectors, metric="l2", sample=20)
    levels, links = payload["levels"].astype(int), payload["entry"][1]
    ends = np.cumsum(2 * links + (levels - 1) * links)
    higher, lower = np.flatnonzero(levels > 1)[0], np.flatnonzero(levels == 1)[0]
    wrong = payload["neighbors"].copy()
    wrong[ends[higher] - links] = lower
    longer = np.append(payload["neighbors"], np.int32(0))
    entry = np.array([lower, links])
    for name, values, why in (
        ("neighbors", wrong, "not in its layer"),
        ("neighbors", longer, "expected"),
        ("entry", entry, "highest layer"),
    ):
        with pytest.raises(ShapeError, match=why):
            hnsw.open(vectors, {**payload, name: values}, metric="l2")
    hnsw.open(vectors, payload, metric="l2")
