"""Community search against a plain twin of the published equations, and what its promises mean."""

import logging

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_modularity import plain

from cbir_cli.allowed import Allowed
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.index import community, exact

pytest.importorskip("networkit")


def data(seed, count=36, features=6, positive=True):
    """A few clusters; with ``positive`` all cosines are above zero."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, features))
    vectors = centres[rng.integers(0, 4, count)] + 0.4 * rng.standard_normal((count, features))
    return (np.exp(vectors) if positive else vectors).astype(np.float32)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b) / lengths if lengths else 0.0


def with_query(weights, edges):
    """The graph with the query as its last node."""
    n = len(weights)
    more = np.zeros((n + 1, n + 1))
    more[:n, :n] = weights
    more[n, :n] = more[:n, n] = edges
    return more


def partition(groups, count):
    """Labels of nodes 0 to count - 1; a node in no group is alone."""
    labels = [None] * count
    for name, group in enumerate(groups):
        for node in group:
            labels[node] = name
    return labels


def twin_literal(vectors, labels, query, k, allowed):
    """Algorithm 1, line by line, every modularity summed afresh. Returns R without the query, and whether it hangs."""
    n = len(vectors)
    weights = np.array([[cosine(a, b) if i != j else 0 for j, b in enumerate(vectors)] for i, a in enumerate(vectors)])
    graph = with_query(weights, [cosine(query, v) for v in vectors])  # line 2
    clusters = [set(np.flatnonzero(labels == c).tolist()) for c in range(labels.max() + 1)]
    region = [n]  # line 3
    while len(region) < k:  # line 4
        values = []
        for c, _ in enumerate(clusters):  # line 5
            groups = [one - set(region) for one in clusters]
            groups[c] |= set(region)
            values.append(round(plain(graph, partition(groups, n + 1)), 12))
        c = int(np.argmax(values))
        before = len(region)
        for _ in range(min(len(clusters[c]), k)):  # line 6
            alone = plain(graph, [None] * (n + 1))
            gains = {j: plain(graph, partition([{n, j}], n + 1)) - alone for j in clusters[c] & allowed - set(region)}
            if gains:
                region.append(max(sorted(gains), key=gains.get))  # lines 7 and 8
        if len(region) == before:
            return region[1:], True
    return region[1:], False


def twin_repaired(vectors, labels, stored, query, k, *, entries, across, reserve, neighbours, threshold, allowed):
    """The repaired algorithm, every modularity summed afresh. Returns the region and all that were looked at."""
    n = len(vectors)
    cosines = np.array([cosine(query, v) for v in vectors])
    far = np.float32(1 - cosines)
    sums = [
        sum(v / np.linalg.norm(v) for v in vectors[labels == c].astype(np.float64)) for c in range(labels.max() + 1)
    ]
    order = sorted(range(len(sums)), key=lambda c: -cosine(query, sums[c]))
    opened = set(order[:entries])
    seen = {j for j in allowed if labels[j] in opened or labels[j] < 0}
    while True:
        near = sorted(seen, key=lambda j: (far[j], j))[: max(k + reserve, neighbours)]
        edges = np.zeros(n)
        likeness = 1 - far[near].astype(np.float64)
        edges[near] = np.where(likeness >= threshold, np.maximum(likeness, 0), 0)
        graph = with_query(stored, edges)
        alone = plain(graph, [None] * (n + 1))
        gains = {j: plain(graph, partition([{n, j}], n + 1)) - alone for j in near}
        region = sorted(near, key=lambda j: (edges[j] == 0, -round(gains[j], 13), far[j], j))[: k + reserve]
        beyond = {j for j in allowed if j not in seen and stored[region][:, j].any()}
        closed = [c for c in order if c not in opened]
        if across and beyond:
            seen |= beyond
        elif len(region) < k and closed:
            values = {}
            for c in sorted(closed):
                # Images that R can no longer have count for nothing, but for their degrees.
                members = set(np.flatnonzero(labels == c).tolist())
                left = np.array([j in allowed and j not in seen and j in members for j in range(n)] + [False])
                k_all = graph.sum(axis=0)
                between = graph[[*region, n]][:, left].sum()
                expected = k_all[[*region, n]].sum() * stored.sum(axis=0)[list(members)].sum() / graph.sum()
                values[c] = 2 * (between - expected) / graph.sum()
                if left[:n].sum() == len(members) and not set(region) & members:
                    joined = plain(graph, partition([{n, *region, *members}], n + 1))
                    assert values[c] == pytest.approx(
                        joined - plain(graph, partition([{n, *region}, members], n + 1)), abs=1e-12
                    )
            best = max(sorted(closed), key=values.get)
            opened.add(best if values[best] > 0 else closed[0])
            seen |= {j for j in allowed if labels[j] in opened}
        else:
            return region, seen


def rows_of(found):
    return [row[row >= 0].tolist() for row in found]


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6), st.integers(1, 24), st.integers(2, 5), st.booleans())
def test_literal_is_the_printed_algorithm(seed, k, neighbours, filtered):
    vectors, queries = data(seed, 24), data(seed + 1, 3)
    payload = community.build(vectors, metric="cosine", neighbours=neighbours)
    searcher = community.open(vectors, payload, metric="cosine", algorithm="literal")
    kept = np.flatnonzero(np.random.default_rng(seed).random(24) < 0.7) if filtered else np.arange(24)
    distances, rows = searcher.search(queries, k, allowed=lambda _: Allowed(kept) if filtered else None)
    for query, found, far in zip(queries, rows_of(rows), distances, strict=True):
        region, _ = twin_literal(vectors, payload["labels"], query, k, set(kept.tolist()))
        nearest = sorted(region, key=lambda j: (np.float32(1 - cosine(query, vectors[j])), j))[:k]
        assert found == nearest
        np.testing.assert_allclose(far[: len(found)], [1 - cosine(query, vectors[j]) for j in found], atol=1e-6)


def test_literal_shows_the_defects_that_are_repaired(caplog):
    counts, endless = {}, 0
    for seed in range(6):
        vectors, queries = data(seed, 24), data(seed + 50, 4)
        payload = community.build(vectors, metric="cosine", neighbours=3)
        searcher = community.open(vectors, payload, metric="cosine", algorithm="literal")
        for k in (1, 5, 9, 15):
            caplog.clear()
            with caplog.at_level(logging.WARNING, logger="cbir"):
                _, rows = searcher.search(queries, k)
            twins = [twin_literal(vectors, payload["labels"], query, k, set(range(24))) for query in queries]
            hang = sum(stuck for _, stuck in twins)
            endless += hang
            assert (f"of 4 queries {hang} would never end" in caplog.text) == (hang > 0)
            counts.setdefault(k, []).extend(len(found) for found in rows_of(rows))
            assert counts[k][-4:] == [min(k, len(region)) for region, _ in twins]
    assert set(counts[1]) == {0}  # the query is counted
    assert endless > 0 and min(counts[15]) < 15


# Where each term of the gain decides what is found.
@example(0, 1, 2, True, 0, 3, "knn", False, True)
@example(2, 4, 2, True, 0, 14, "knn", False, False)
@example(2, 8, 2, True, 0, 14, "knn", False, False)
@example(4, 4, 2, True, 0, 14, "knn", False, True)
@example(6, 8, 2, True, 0, 14, "threshold", False, True)
@example(12, 12, 2, True, 0, 14, "knn", False, False)
@example(13, 4, 2, True, 0, 14, "knn", False, False)
@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([0, 0, 4]),
    st.sampled_from([3, 14]),
    st.sampled_from(["knn", "threshold"]),
    st.booleans(),
    st.booleans(),
)
def test_repaired_is_its_plain_twin(seed, k, entries, across, reserve, neighbours, graph, filtered, positive):
    vectors, queries = data(seed, 30, positive=positive), data(seed + 1, 3, positive=positive)
    limits = {"entries": entries, "across": across, "reserve": reserve, "neighbours": neighbours}
    limits |= {"graph": graph, "threshold": 0.7}
    payload = community.build(vectors, metric="cosine", **limits)
    stored = np.zeros((30, 30))
    for i in range(30):
        part = slice(payload["graph_starts"][i], payload["graph_starts"][i + 1])
        stored[i, payload["graph_others"][part]] = payload["graph_weights"][part]
    searcher = community.open(vectors, payload, metric="cosine", **limits)
    kept = np.flatnonzero(np.random.default_rng(seed).random(30) < 0.5) if filtered else np.arange(30)
    distances, rows = searcher.search(queries, k, allowed=lambda _: Allowed(kept) if filtered else None)
    limits["threshold"] = 0.7 if limits.pop("graph") == "threshold" else 0
    for q, (query, found) in enumerate(zip(queries, rows_of(rows), strict=True)):
        region, seen = twin_repaired(vectors, payload["labels"], stored, query, k, **limits, allowed=kept.tolist())
        nearest = sorted(region, key=lambda j: (np.float32(1 - cosine(query, vectors[j])), j))[:k]
        assert found == nearest and len(found) == min(k, len(kept))
        np.testing.assert_allclose(
            distances[q, : len(found)], [1 - cosine(query, vectors[j]) for j in found], atol=1e-6
        )
        assert searcher.looked_at[q] == len(seen)


@pytest.fixture(scope="module")
def large():
    """2,000 images in 60 clusters, 100 queries, and the payload."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((60, 24))
    every = centres[rng.integers(0, 60, 2100)] + 0.8 * rng.standard_normal((2100, 24))
    vectors, queries = every[:2000].astype(np.float32), every[2000:].astype(np.float32)
    return vectors, queries, community.build(vectors, metric="cosine")


def truth(vectors, queries, k):
    return exact.open(vectors, exact.build(vectors, metric="cosine"), metric="cosine").search(queries, k)


def overlap(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])


def test_finds_the_nearest_and_looks_at_few(large):
    vectors, queries, payload = large
    searcher = community.open(vectors, payload, metric="cosine")
    distances, rows = searcher.search(queries, 20)
    true_distances, true_rows = truth(vectors, queries, 20)
    assert overlap(rows, true_rows) >= 0.97
    assert searcher.looked_at.shape == (100,) and searcher.looked_at.dtype == np.int64
    assert 0.05 < searcher.looked_at.mean() / 2000 < 0.35
    confined = community.open(vectors, payload, metric="cosine", across=False, reserve=0)
    less = overlap(confined.search(queries, 20)[1], true_rows)
    assert less < 0.97 and confined.looked_at.mean() < searcher.looked_at.mean()
    sizes = set(np.diff(payload["starts"]).tolist())
    assert set(confined.looked_at.tolist()) <= sizes  # one community each, all being larger than 20
    assert (distances >= true_distances - 1e-6).all()


def test_all_communities_are_the_exact_search(large):
    vectors, queries, payload = large
    entries = len(payload["sums"])
    searcher = community.open(vectors, payload, metric="cosine", entries=entries, reserve=1980)
    distances, rows = searcher.search(queries, 20)
    true_distances, true_rows = truth(vectors, queries, 20)
    np.testing.assert_array_equal(rows, true_rows)
    np.testing.assert_allclose(distances, true_distances, rtol=1e-5, atol=1e-7)
    assert (searcher.looked_at == 2000).all()


def test_a_query_does_not_depend_on_the_others_and_changes_nothing(large):
    vectors, queries, payload = large
    copies = {name: values.copy() for name, values in payload.items()}
    searcher = community.open(vectors, payload, metric="cosine")
    together = searcher.search(queries, 7)
    looked_at = searcher.looked_at
    for q in (0, 41, 99):
        alone = searcher.search(queries[q : q + 1], 7)
        assert (alone[0][0] == together[0][q]).all() and (alone[1][0] == together[1][q]).all()
        assert searcher.looked_at[0] == looked_at[q]
    assert all((payload[name] == values).all() for name, values in copies.items())
    assert searcher.search(queries[:0], 7)[1].shape == (0, 7)


def test_images_that_came_or_went_since(large):
    vectors, queries, payload = large
    gone, kept = np.arange(0, 2000, 3), np.flatnonzero(np.arange(2000) % 3)
    new = queries[:10]  # so that each is the nearest to itself
    now = np.empty((len(kept) + 10, vectors.shape[1]), np.float32)
    places = np.delete(np.arange(len(now)), np.arange(0, 1000, 100))  # the new ones lie in between
    now[places], now[0:1000:100] = vectors[kept], new
    rows = np.full(2000, -1, np.int64)
    rows[kept] = places
    searcher = community.open(now, {**payload, "rows": rows}, metric="cosine")
    distances, found = searcher.search(queries, 20)
    assert found[:10, 0].tolist() == list(range(0, 1000, 100)) and (distances[:10, 0] < 1e-6).all()
    assert overlap(found, truth(now, queries, 20)[1]) >= 0.95
    assert (searcher.looked_at >= 10).all()
    assert len(gone) + len(now) == 2010
    nothing = community.open(new, {**payload, "rows": np.full(2000, -1)}, metric="cosine")
    assert sorted(nothing.search(queries[:1], 20)[1][0].tolist())[-10:] == list(range(10))


def test_k_are_given_wherever_they_exist(large):
    vectors, queries, payload = large
    for changed in ({}, {"across": False, "reserve": 0}):
        searcher = community.open(vectors, payload, metric="cosine", **changed)
        assert (searcher.search(queries[:3], 2000)[1] >= 0).all()
        few = np.arange(11, 2000, 300)
        rows = searcher.search(queries[:5], 10, allowed=([Allowed(few)] * 5).__getitem__)[1]
        assert all(sorted(row[row >= 0].tolist()) == few.tolist() for row in rows)
        near = np.sort(truth(vectors, queries[:1], 50)[1][0])
        assert (searcher.search(queries[:1], 1950, allowed=[Allowed(without=near)].__getitem__)[1] >= 0).all()


def test_odd_vectors():
    vectors = data(1, 60, positive=False)
    vectors[5] = vectors[6] = vectors[7]  # equal images
    vectors[20] = 0
    vectors[30] *= np.float32(1e-25)
    vectors[31] *= np.float32(1e17)
    queries = np.stack([vectors[7], np.zeros(6, np.float32), vectors[30], -vectors[7]])
    searcher = community.open(vectors, community.build(vectors, metric="cosine"), metric="cosine")
    distances, rows = searcher.search(queries, 60)
    np.testing.assert_array_equal(rows, truth(vectors, queries, 60)[1])
    np.testing.assert_allclose(distances, truth(vectors, queries, 60)[0], rtol=1e-5, atol=1e-6)
    assert rows[0, :3].tolist() == [5, 6, 7] and distances[0, 2] == 0
    assert (distances[1] == 1).all()
    same = np.ones((9, 3), np.float32)
    found = community.open(same, community.build(same, metric="cosine"), metric="cosine").search(same[:1], 4)
    assert found[1].tolist() == [[0, 1, 2, 3]] and not found[0].any()
    for count in (0, 1, 2):
        few = data(2, 5)[:count]
        found = community.open(few, community.build(few, metric="cosine"), metric="cosine").search(data(3, 1), 3)
        assert sorted(found[1][0].tolist()) == sorted([-1] * (3 - count) + list(range(count)))


@pytest.mark.parametrize("changed", [{"graph": "threshold", "threshold": 0.95}, {"clustering": "louvain"}])
def test_other_graphs_and_clusterings(large, changed):
    vectors, queries, _ = large
    payload = community.build(vectors, metric="cosine", **changed)
    searcher = community.open(vectors, payload, metric="cosine", **changed)
    assert overlap(searcher.search(queries, 20)[1], truth(vectors, queries, 20)[1]) >= 0.9


def test_malformed(large):
    vectors, _, payload = large
    with pytest.raises(UsageError, match="unknown metric 'l2': known: cosine"):
        community.build(vectors, metric="l2")
    for changed in ({"algorithm": "printed"}, {"entries": 0}, {"reserve": -1}):
        with pytest.raises(UsageError):
            community.build(vectors[:20], metric="cosine", **changed)
    with pytest.raises(UsageError, match="modularity has no meaning"):
        community.open(vectors, payload, metric="cosine", algorithm="literal")
    for name, values in payload.items():
        if name not in ("modularity", "graph_weights"):
            with pytest.raises(ShapeError, match=r"communities do not belong|of the payload: expected"):
                community.open(vectors, {**payload, name: values[:-1]}, metric="cosine")
    with pytest.raises(ShapeError, match="of 1500 vectors"):
        community.open(vectors[:1500], payload, metric="cosine")
