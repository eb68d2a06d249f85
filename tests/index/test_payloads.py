"""What the arrays of a payload mean, read plainly, without faiss."""

import numpy as np
import pytest

from cbir_cli import registry


@pytest.fixture(scope="module", params=["l2", "cosine"])
def made(request):
    """Vectors, and what is compared: divided by the longest, or each by its own length."""
    rng = np.random.default_rng(7)
    vectors = (rng.standard_normal((600, 20)) * rng.uniform(0.1, 3, (600, 1))).astype(np.float32)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    divisor = lengths[:, None] if request.param == "cosine" else lengths.max()
    return request.param, vectors, vectors / divisor, lengths.max()


def build(kind, made):
    payload = registry.load("index", kind).build(made[1], metric=made[0])
    assert sorted(payload["rows"]) == list(range(600)) and payload["longest"] == pytest.approx(made[3])
    return payload


def decoded(payload):
    lowest, span = payload["range"]
    return lowest + span * (payload["codes"] + 0.5) / 255, span / 255


def lists(payload):
    return np.repeat(np.arange(len(payload["sizes"])), payload["sizes"])


def test_hnsw(made):
    payload = build("hnsw", made)
    values, step = decoded(payload)
    assert (np.abs(values - made[2][payload["rows"]]) <= 1.001 * step).all()
    levels, (entry, links) = payload["levels"].astype(int), payload["entry"]
    assert levels[entry] == levels.max() > 1 and levels.min() == 1
    assert payload["neighbors"].size == (2 * links + (levels - 1) * links).sum()
    # In the lowest layer there is a way from the entry to all, and vectors are linked to near ones.
    ends = np.cumsum(2 * links + (levels - 1) * links)
    near = [
        payload["neighbors"][stop - 2 * links - (top - 1) * links :][: 2 * links]
        for stop, top in zip(ends, levels, strict=True)
    ]
    met, border = {int(entry)}, [int(entry)]
    while border:
        border = [int(n) for node in border for n in near[node] if n >= 0 and n not in met and not met.add(int(n))]
    assert len(met) == 600
    ordered = made[2][payload["rows"]]
    linked = np.mean([np.linalg.norm(ordered[node] - ordered[n[n >= 0]], axis=1).mean() for node, n in enumerate(near)])
    assert linked < 0.9 * np.linalg.norm(ordered[:300] - ordered[300:], axis=1).mean()


def test_ivf_sq8(made):
    payload = build("ivf-sq8", made)
    values, step = decoded(payload)
    ordered, near = made[2][payload["rows"]], lists(payload)
    assert (np.abs(values + payload["centroids"][near] - ordered) <= 1.001 * step).all()
    assert_lists(payload, ordered, near)


def test_ivf_pq(made):
    payload = build("ivf-pq", made)
    pieces, entries, width = payload["books"].shape
    assert (pieces, entries, width) == (8, 256, 3)
    ordered = np.pad(made[2], ((0, 0), (0, 4)))[payload["rows"]]
    parts = ordered.reshape(600, pieces, 1, width)
    squares = np.square(parts - payload["books"]).sum(axis=3)  # (600, m, 256)
    chosen = np.take_along_axis(squares, payload["codes"][:, :, None].astype(int), axis=2)[:, :, 0]
    np.testing.assert_allclose(chosen, squares.min(axis=2), atol=1e-6)
    assert_lists(payload, ordered, lists(payload))


def assert_lists(payload, ordered, near):
    """Each vector is in the list of its nearest centroid, and centroids are means."""
    squares = np.square(ordered[:, None] - payload["centroids"]).sum(axis=2)
    np.testing.assert_allclose(squares[np.arange(600), near], squares.min(axis=1), atol=1e-6)
    assert all((np.diff(payload["rows"][near == number]) > 0).all() for number in set(near))
    means = np.array([ordered[near == number].mean(axis=0) for number in set(near)])
    assert np.abs(means - payload["centroids"][sorted(set(near))]).max() < 0.1
