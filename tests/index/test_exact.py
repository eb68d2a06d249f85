"""Exact search against a plain float64 loop, and what its promises of order, filters and memory mean."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cbir_cli.allowed import Allowed
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.index import _candidates, _distances, _products, _reduced, _scores, exact


def plain_distance(query, row, metric):
    """One pair, plainly, in float64."""
    query, row = query.astype(np.float64), row.astype(np.float64)
    if metric == "l2":
        return np.sqrt(np.sum((query - row) ** 2))
    lengths = np.linalg.norm(query), np.linalg.norm(row)
    if 0 in lengths:
        return 1.0
    return np.sum((query / lengths[0] - row / lengths[1]) ** 2) / 2


def plain_search(vectors, queries, k, metric, allowed=None):
    distances = np.full((len(queries), k), np.inf, np.float32)
    rows = np.full((len(queries), k), -1)
    for q, query in enumerate(queries):
        mask = np.ones(len(vectors), bool) if allowed is None else allowed(q)
        found = [(np.float32(plain_distance(query, v, metric)), r) for r, v in enumerate(vectors) if mask[r]]
        for place, (distance, row) in enumerate(sorted(found)[:k]):
            distances[q, place], rows[q, place] = distance, row
    return distances, rows


def allowing(mask):
    """Both ways of saying it: the rows that may, and of those some that may not; or all but those that may not."""
    if mask is None:
        return None
    rows = np.flatnonzero(mask)
    if mask[0]:
        return Allowed(without=np.flatnonzero(~mask))
    return Allowed(np.union1d(rows, np.flatnonzero(~mask)[::2]), np.flatnonzero(~mask))


def search(vectors, queries, k, metric, allowed=None):
    payload = exact.build(vectors, metric=metric)
    rows = None if allowed is None else lambda q: allowing(allowed(q))
    return exact.open(vectors, payload, metric=metric).search(queries, k, allowed=rows)


def assert_same_order(found, truth, vectors, queries, metric):
    """Rows agree, but for pairs whose distances agree to the last bit or two of the plain loop's float32."""
    np.testing.assert_allclose(found[0], truth[0], rtol=3e-7, atol=1e-30)
    for q, place in np.argwhere(found[1] != truth[1]):
        one, other = (plain_distance(queries[q], vectors[rows[q, place]], metric) for rows in (found[1], truth[1]))
        assert one == pytest.approx(other, rel=3e-7, abs=1e-30)


@pytest.fixture(autouse=True, params=["one pass", "two passes"])
def passes(request, monkeypatch):
    """All holds with and without the first pass, which the data here are too small for."""
    if request.param == "two passes":
        monkeypatch.setattr(_reduced, "_LEAST", 0)
        monkeypatch.setattr(_reduced, "_SHARE", 1)
        monkeypatch.setattr(_reduced, "_TOO_MANY", 1)
        monkeypatch.setattr(_products, "_HEAD", 5)
    return request.param


@pytest.fixture
def small_blocks(monkeypatch):
    """So that tiny data cross the borders of every block."""
    monkeypatch.setattr(_products, "_SCORES", 21)
    monkeypatch.setattr(_distances, "_WORK", 40)
    monkeypatch.setattr(_products, "_PICKED", 12)
    monkeypatch.setattr(_products, "_HELD", 10)
    monkeypatch.setattr(_candidates, "_HEAD", 2)
    monkeypatch.setattr(exact, "_QUERIES", 3)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("k", [1, 5, 60])
def test_plain_loop(metric, k, small_blocks):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((40, 9), dtype=np.float32)
    queries = rng.standard_normal((8, 9), dtype=np.float32)
    found = search(vectors, queries, k, metric)
    truth = plain_search(vectors, queries, k, metric)
    np.testing.assert_array_equal(found[1], truth[1])
    np.testing.assert_allclose(found[0], truth[0], rtol=2e-7)
    assert found[0].dtype == np.float32 and found[1].dtype == np.int64


values = st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, 1e-3, 1000.0, 1000.001, 1e-20, -1e-42])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), metric=st.sampled_from(["l2", "cosine"]), size=st.integers(1, 5), k=st.integers(1, 12))
def test_ties_duplicates_filters_and_padding(data, metric, size, k):
    table = data.draw(hnp.arrays(np.float32, (data.draw(st.integers(1, 5)), size), elements=values))
    picks = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=14))
    vectors = table[picks]  # duplicates on purpose
    queries = data.draw(hnp.arrays(np.float32, (3, size), elements=values))
    masks = data.draw(hnp.arrays(bool, (3, len(vectors))))
    found = search(vectors, queries, k, metric, lambda q: masks[q])
    truth = plain_search(vectors, queries, k, metric, lambda q: masks[q])
    assert_same_order(found, truth, vectors, queries, metric)
    for q in range(3):
        rows, distances = found[1][q], found[0][q]
        real = rows[rows >= 0]
        assert len(real) == min(k, masks[q].sum()) and masks[q][real].all() and len(set(real)) == len(real)
        assert (rows[len(real) :] == -1).all() and np.isinf(distances[len(real) :]).all()
        assert np.isfinite(distances[: len(real)]).all()
        order = list(zip(distances[: len(real)], real, strict=True))
        assert order == sorted(order)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("spread", [1e-5, 1e-4, 1e-2])
def test_near_duplicates_far_from_the_origin(metric, spread):
    """In float32 the expansion of the square is nothing but rounding here; the order still is that of the truth."""
    rng = np.random.default_rng(2)
    vectors = (100 + spread * rng.standard_normal((300, 64))).astype(np.float32)
    queries = (100 + spread * rng.standard_normal((5, 64))).astype(np.float32)
    queries[0] = vectors[17]
    products, squares = queries @ vectors.T, np.square(vectors).sum(axis=1)
    expansion = squares - 2 * products if metric == "l2" else -products / np.sqrt(squares)
    found = search(vectors, queries, 10, metric)
    assert_same_order(found, plain_search(vectors, queries, 10, metric), vectors, queries, metric)
    assert (found[0][0, 0], found[1][0, 0]) == (0, np.flatnonzero((vectors == vectors[17]).all(axis=1))[0])
    if spread < 1e-2:
        assert (
            np.argsort(expansion, axis=1, kind="stable")[:, :10] != found[1]
        ).any()  # what is guarded against does happen


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_scores_are_within_the_bound_and_any_error_within_it_changes_nothing(metric, monkeypatch):
    rng = np.random.default_rng(3)
    vectors = (2 + rng.standard_normal((500, 200))).astype(np.float32) * rng.uniform(0.5, 2, (500, 1)).astype(
        np.float32
    )
    queries = (2 + rng.standard_normal((6, 200))).astype(np.float32)
    truth = search(vectors, queries, 20, metric)
    scores, seen = _scores.Scores.of, []
    directions = [v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (queries, vectors)]

    def wrong(self, probes, lengths, block):
        if probes.shape[1] != 200 or self._rounded:  # of the first pass
            return scores(self, probes, lengths, block)
        right, bound = scores(self, probes, lengths, block)
        if metric == "cosine":
            exact_score = -directions[0] @ directions[1][block.place].T
        else:
            exact_score = (
                np.square(queries[:, None].astype(np.float64) - vectors[None, block.place].astype(np.float64)).sum(
                    axis=2
                )
                - lengths[:, None] ** 2
            )
        seen.append((np.abs(right - exact_score) / bound[:, None]).max())
        sign = np.where(rng.random(exact_score.shape) < 0.5, -1, 1)  # the worst that the bound admits, either way
        return (exact_score + 0.999 * sign * bound[:, None]).astype(np.float32), bound

    monkeypatch.setattr(_scores.Scores, "of", wrong)
    monkeypatch.setattr(_products, "_SCORES", 6 * 128)
    monkeypatch.setattr(_candidates, "_HEAD", 50)
    found = search(vectors, queries, 20, metric)
    assert max(seen) < 1
    np.testing.assert_array_equal(found[0], truth[0])
    np.testing.assert_array_equal(found[1], truth[1])


@pytest.mark.parametrize("metric", ["l2", "cosine", "ssim"])
def test_batches_do_not_matter(metric):
    rng = np.random.default_rng(4)
    vectors = rng.integers(0, 256, (150, 121)).astype(np.float32)
    queries = np.concatenate([vectors[:20], rng.integers(0, 256, (130, 121)).astype(np.float32)])
    searcher = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric)
    distances, rows = searcher.search(queries, 7)
    for q in range(len(queries)):
        one = searcher.search(queries[q : q + 1], 7)
        assert one[0].tobytes() == distances[q].tobytes() and one[1].tobytes() == rows[q].tobytes()
        # Nor does what else is measured at the same time: one row, or all.
        alone = searcher.search(queries[q : q + 1], 7, allowed=lambda _, row=rows[q, 1:2]: Allowed(row))
        assert alone[0][0, 0] == distances[q, 1] and alone[1][0, 0] == rows[q, 1]
    assert (distances[:20, 0] == 0).all() and (rows[:20, 0] == np.arange(20)).all()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("size", [1, 3, 1024, 20_000])
def test_an_identical_vector_is_at_exactly_zero(metric, size):
    vectors = np.random.default_rng(5).standard_normal((12, size), dtype=np.float32)
    distances, rows = search(vectors, vectors, 1, metric)
    assert (distances == 0).all()
    if size > 1:
        assert (rows[:, 0] == np.arange(12)).all()


def test_distances_of_known_vectors():
    vectors = np.array([[3, 4], [0, 0], [-3, -4], [4, -3]], np.float32)
    distances, rows = search(vectors, np.array([[6, 8], [0, 0]], np.float32), 4, "cosine")
    np.testing.assert_allclose(distances, [[0, 1, 1, 2], [1, 1, 1, 1]], atol=1e-15)
    np.testing.assert_array_equal(rows, [[0, 1, 3, 2], [0, 1, 2, 3]])
    distances, rows = search(vectors, np.array([[0, 0]], np.float32), 4, "l2")
    np.testing.assert_array_equal(distances, [[0, 5, 5, 5]])
    np.testing.assert_array_equal(rows, [[1, 0, 2, 3]])


@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-33, 1e-38, 1e-44, 1e17])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_lengths_at_the_ends_of_float32(scale, k):
    small = np.array([[3, 4], [0, 8], [-3, -4], [5, 0]]) * scale
    vectors = np.concatenate([np.array([[9, 3], [1, 1]]), small]).astype(np.float32)
    queries = np.concatenate([np.array([[3, 4]]), np.array([[3, 4], [1, 0], [0, 0]]) * scale]).astype(np.float32)
    for metric in ("l2", "cosine"):
        found, truth = search(vectors, queries, k, metric), plain_search(vectors, queries, k, metric)
        assert np.isfinite(found[0]).all()
        assert_same_order(found, truth, vectors, queries, metric)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_filters_follow_queries_and_rows_through_all_blocks(metric, small_blocks):
    rng = np.random.default_rng(7)
    vectors, queries = (rng.standard_normal((n, 4), dtype=np.float32) for n in (30, 11))
    masks = rng.random((11, 30)) < 0.4
    found = search(vectors, queries, 6, metric, lambda q: masks[q])
    np.testing.assert_array_equal(found[1], plain_search(vectors, queries, 6, metric, lambda q: masks[q])[1])


def test_all_rows_alike_come_in_row_order():
    vectors = np.full((20_000, 3), 0.1, np.float32)
    for metric in ("l2", "cosine"):
        distances, rows = search(vectors, vectors[:2], 5, metric)
        np.testing.assert_array_equal(rows, [[0, 1, 2, 3, 4]] * 2)
        assert (distances == 0).all()


def test_a_filter_gives_k_rows_and_may_be_none():
    vectors = np.arange(20, dtype=np.float32)[:, None]
    asked = []

    def allowed(q):
        asked.append(q)
        return None if q == 1 else np.arange(20) % 2 == 1

    _, rows = search(vectors, np.zeros((2, 1), np.float32), 3, "l2", allowed)
    np.testing.assert_array_equal(rows, [[1, 3, 5], [0, 1, 2]])
    assert asked == [0, 1]


def test_no_rows_and_no_queries():
    for metric in ("l2", "cosine"):
        distances, rows = search(np.zeros((0, 4), np.float32), np.ones((2, 4), np.float32), 3, metric)
        assert np.isinf(distances).all() and (rows == -1).all() and rows.shape == (2, 3)
        assert search(np.ones((2, 4), np.float32), np.zeros((0, 4), np.float32), 3, metric)[1].shape == (0, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_values_that_give_no_distance_are_refused(bad, metric):
    vectors = np.ones((300, 4), np.float32)
    good = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric)
    vectors = vectors.copy()
    vectors[260, 2] = bad
    with pytest.raises(ShapeError, match="row 260 is not finite"):
        exact.build(vectors, metric=metric)
    with pytest.raises(ShapeError, match="query 260 is not finite"):
        good.search(vectors, 1)


def test_malformed_calls():
    vectors = np.ones((3, 4), np.float32)
    payload = exact.build(vectors, metric="l2")
    searcher = exact.open(vectors, payload, metric="l2")
    for wrong in (vectors.astype(np.float64), vectors[0], vectors[:, :0], vectors.astype(np.int32)):
        with pytest.raises(ShapeError):
            exact.build(wrong, metric="l2")
    for wrong in (vectors[:, :3], vectors[0], vectors.astype(np.float64)):
        with pytest.raises(ShapeError):
            searcher.search(wrong, 1)
    with pytest.raises(ShapeError):
        exact.open(vectors[:2], payload, metric="l2")
    with pytest.raises(ShapeError):
        exact.open(vectors, {"squared_norms": np.array([1, np.nan, 1])}, metric="l2")
    for wrong in (
        np.ones(3, bool),
        np.array([0, 3]),
        np.array([-1, 0]),
        np.array([1, 0]),
        np.array([1, 1]),
        np.ones((1, 1), int),
    ):
        for rows in (Allowed(wrong), Allowed(without=wrong)):
            with pytest.raises(ShapeError, match="rows"):
                searcher.search(vectors[:1], 1, allowed=lambda _, rows=rows: rows)
    with pytest.raises(UsageError, match="k of at least 1"):
        searcher.search(vectors, 0)
    with pytest.raises(UsageError, match="did you mean cosine"):
        exact.build(vectors, metric="cosin")


def test_a_memory_map_is_searched_in_bounded_memory(tmp_path):
    """Peak beside the vectors does not follow their number; a copy of the map would."""
    peaks = []
    for count in (20_000, 100_000):
        vectors = np.memmap(tmp_path / f"{count}", dtype=np.float32, mode="w+", shape=(count, 64))
        rng = np.random.default_rng(6)
        for start in range(0, count, 20_000):
            vectors[start : start + 20_000] = rng.standard_normal((20_000, 64), dtype=np.float32)
        payload = exact.build(vectors, metric="l2")
        queries = np.array(vectors[:100])
        tracemalloc.start()
        exact.open(vectors, payload, metric="l2").search(queries, 10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 80_000 * 8 * 2  # norms, and the square roots of them
    assert peaks[1] < 32 * 2**20


def low_dimensional(rng, count, width=48, rank=5, noise=0.02):
    values = rng.standard_normal((count, rank)) @ rng.standard_normal((rank, width))
    return (values + noise * rng.standard_normal((count, width))).astype(np.float32)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("k", [1, 10, 400])
def test_vectors_near_few_directions(metric, k, passes, monkeypatch):
    """Where the first pass does its work: few rows are read, and the answer is that of the plain loop."""
    rng = np.random.default_rng(8)
    vectors, queries = low_dimensional(rng, 400), low_dimensional(rng, 7)
    queries[0] = vectors[3]
    monkeypatch.setattr(_products, "_SCORES", 7 * 90)
    monkeypatch.setattr(_reduced, "_SHARE", 4)
    pairs, measured = [], _distances.of_pairs

    def counted(vectors, queries, asked, rows, **metric):
        pairs.append(len(rows))
        return measured(vectors, queries, asked, rows, **metric)

    monkeypatch.setattr(_distances, "of_pairs", counted)
    found = search(vectors, queries, k, metric)
    assert_same_order(found, plain_search(vectors, queries, k, metric), vectors, queries, metric)
    if k < 400:
        assert sum(pairs) < 7 * (60 + 8 * k)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_first_pass_bounds_from_below(metric, monkeypatch):
    rng = np.random.default_rng(9)
    monkeypatch.setattr(_reduced, "_LEAST", 0)
    monkeypatch.setattr(_reduced, "_SHARE", 4)
    monkeypatch.setattr(_reduced, "_TOO_MANY", 1)
    vectors = np.concatenate([low_dimensional(rng, 200), np.zeros((1, 48), np.float32)]) * np.float32(3)
    queries = np.concatenate([rng.standard_normal((5, 48)), vectors[:2], np.zeros((1, 48))]).astype(np.float32)
    payload = exact.build(vectors, metric=metric)
    truth = np.array([[plain_distance(q, v, metric) for v in vectors] for q in queries])
    reduced = payload["reduced"].astype(np.float64)
    assert reduced.shape == (201, 12)
    units = [
        v / (np.linalg.norm(v, axis=1, keepdims=True) + (v == 0).all(axis=1, keepdims=True)) for v in (queries, vectors)
    ]
    asked = _reduced.reduce(np.float64(queries if metric == "l2" else units[0]), payload["basis"])
    lengths = np.linalg.norm(vectors if metric == "l2" else units[1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), lengths, rtol=1e-6)  # a(x) is as long as x
    apart = np.square(asked[:, None] - reduced[None]).sum(axis=2)
    bound = np.sqrt(apart) if metric == "l2" else apart / 2
    alone = (queries == 0).all(axis=1)[:, None] | (vectors == 0).all(axis=1)[None]
    assert (bound <= truth * (1 + 1e-6) + 1e-5)[~alone].all()
    assert (bound > 0.5 * truth)[:2].mean() > 0.5  # and it says something


def test_directions_that_say_nothing_are_not_kept(monkeypatch):
    monkeypatch.setattr(_reduced, "_LEAST", 0)
    monkeypatch.setattr(_reduced, "_TOO_MANY", 1 / 64)
    monkeypatch.setattr(_reduced, "_SHARE", 4)
    noise = np.random.default_rng(10).standard_normal((3000, 64), dtype=np.float32)
    assert set(exact.build(noise, metric="l2")) == {"squared_norms"}
    near = low_dimensional(np.random.default_rng(10), 3000, 64)
    assert set(exact.build(near, metric="l2")) == {"squared_norms", "basis", "reduced"}
    assert set(exact.build(near, metric="l2", coordinates=0)) == {"squared_norms"}


def test_directions_are_orthogonal_where_many_are_as_large(monkeypatch):
    monkeypatch.setattr(_reduced, "_LEAST", 0)
    monkeypatch.setattr(_reduced, "_SHARE", 1)
    monkeypatch.setattr(_reduced, "_TOO_MANY", 1)
    vectors = np.array([[2, 0, -1e-42, 1e-3, 2]], np.float32)
    basis = exact.build(vectors, metric="l2")["basis"]
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-14)
    assert search(vectors, vectors, 1, "l2")[0] == 0


def test_a_first_pass_of_other_vectors_is_refused(monkeypatch):
    monkeypatch.setattr(_reduced, "_LEAST", 0)
    monkeypatch.setattr(_reduced, "_SHARE", 4)
    vectors = low_dimensional(np.random.default_rng(11), 2000)
    payload = exact.build(vectors, metric="l2")
    for change in (
        {"basis": payload["basis"] * 1.01},
        {"basis": payload["basis"][:, :5]},
        {"basis": payload["basis"][:40]},
        {"basis": np.full_like(payload["basis"], np.nan)},
        {"reduced": payload["reduced"][:-1]},
        {"reduced": payload["reduced"].astype(np.float64)},
    ):
        with pytest.raises(ShapeError, match="reduced vectors do not belong"):
            exact.open(vectors, payload | change, metric="l2")


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_query_of_a_small_group_reads_few_rows(metric, passes, monkeypatch):
    """All rows at the head of the index lie far from it, so that they say nothing of how near its nearest are."""
    rng = np.random.default_rng(12)
    vectors = low_dimensional(rng, 4000)
    vectors[3000:3040] = low_dimensional(rng, 1) * 4 + 0.05 * rng.standard_normal((40, 48), dtype=np.float32)
    monkeypatch.setattr(_reduced, "_SHARE", 4)
    monkeypatch.setattr(_products, "_HEAD", 100)
    blocks, scores = [], _scores.Scores.of

    def counted(self, probes, lengths, block):
        blocks.append(probes.shape[1])
        return scores(self, probes, lengths, block)

    monkeypatch.setattr(_scores.Scores, "of", counted)
    found = search(vectors, vectors[3010:3011], 10, metric)
    assert_same_order(found, plain_search(vectors, vectors[3010:3011], 10, metric), vectors, vectors[3010:3011], metric)
    assert blocks == ([12] if passes == "two passes" else [48])
