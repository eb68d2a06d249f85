"""Several indexes together: against a plain loop over ids, with images that are not in all of them."""

import numpy as np
import pytest

from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.index import exact
from cbir_cli.records import MISSING
from cbir_cli.splits import SplitRow
from cbir_cli.stages import fusion
from cbir_cli.stages.guards import Filters
from cbir_cli.stages.query import Part, Queries, Wanted

TEXT = ("path", "patient", "study", "view", "source", "split", "sex", "content", "seen")
NAMES = [f"n{n:02d}" for n in range(12)]


def table(ids, labels=None):
    columns = {name: np.array([""] * len(ids), dtype="U8") for name in TEXT}
    columns["patient"] = np.array([f"p{key}" for key in ids])
    columns["age"] = np.full(len(ids), 50, np.int16)
    for name, codes in (labels or {}).items():
        columns[f"label:{name}"] = np.array(codes, np.int8)
    return Items(np.array(ids), columns, "key")


def index_of(ids, vectors, labels=None, targets=()):
    space = Space("l2", "space", "cnn", targets=list(targets))
    payload = exact.build(vectors, metric="l2")
    embedding = Embedding(vectors, table(ids, labels), space, None, {}, "", [], "idx")
    return Index(embedding, "exact", {"metric": "l2"}, payload)


@pytest.fixture
def two():
    """Two indexes of other widths, and one image in each that the other does not have."""
    draw = np.random.default_rng(4)
    first, second = draw.normal(size=(11, 3)).astype(np.float32), draw.normal(size=(11, 5)).astype(np.float32)
    labels = {"Effusion": [1] * 11}
    one = index_of(NAMES[:-1], first, labels, ["Effusion"])
    other = index_of(NAMES[1:], second, {"Effusion": [0] * 11, "Edema": [1] * 11}, ["Effusion", "Edema"])
    asked = table(["q0", "q1"])
    q = draw.normal(size=(2, 3)).astype(np.float32), draw.normal(size=(2, 5)).astype(np.float32)
    return [Part(one, Queries(q[0], asked)), Part(other, Queries(q[1], asked))]


def plain(parts, query, weights, smoothing=60):
    """Ids of all images by reciprocal rank, one loop after the other."""
    scores = {}
    for part, weight in zip(parts, weights, strict=True):
        vectors = part.index.embedding.vectors.astype(float)
        distances = np.linalg.norm(vectors - part.queries.vectors[query], axis=1)
        for rank, row in enumerate(np.argsort(distances), start=1):
            key = str(part.index.embedding.items.ids[row])
            if key not in part.index.embedding.items.ids[list(part.judged)]:
                scores[key] = scores.get(key, 0) + weight / (smoothing + rank)
    return sorted(scores, key=lambda key: (-scores[key], key))


def how(count=2, **values):
    known = fusion.defaults("rrf", count)
    return fusion.chosen("rrf", count, {**known, **values})


def test_images_are_matched_by_id(two):
    found = fusion.search_all(two, how(weights=(1.0, 2.0)), 12, Wanted())
    for query in range(2):
        ids = found.items.ids[found.answers[query].rows].tolist()
        assert ids == plain(two, query, (1, 2)) and len(ids) == 12


def test_what_is_known_is_that_of_the_first_index_that_has_it(two):
    found = fusion.search_all(two, how(), 12, Wanted())
    assert found.items.ids.tolist() == NAMES
    assert found.targets == ["Effusion", "Edema"]
    assert found.items.label("Effusion").tolist() == [1] * 11 + [0]
    assert found.items.label("Edema").tolist() == [MISSING] + [1] * 11


def test_only_so_many_of_each_are_considered(two):
    found = fusion.search_all(two, how(depth=1), 12, Wanted())
    assert all(1 <= len(answer.rows) <= 2 for answer in found.answers)


def test_filters_hold_in_each_index_and_the_distance_is_that_of_the_list(two):
    whole = fusion.search_all(two, how(), 12, Wanted()).answers[0]
    near = fusion.search_all(two, how(), 12, Wanted(Filters("id < 'n06'"), max_distance=0.2))
    ids = near.items.ids[near.answers[0].rows].tolist()
    assert ids and max(ids) < "n06" and near.answers[0].distances.max() <= 0.2 < whole.distances.max()


def test_k_of_the_list_are_given(two):
    assert [len(answer.rows) for answer in fusion.search_all(two, how(), 5, Wanted()).answers] == [5, 5]
    assert [len(answer.rows) for answer in fusion.search_all(two, how(), None, Wanted()).answers] == [12, 12]


def test_within_the_catalogues_of_a_split(two):
    split = [SplitRow(1, 2, "query", "q1"), *(SplitRow(1, 2, "catalogue", name) for name in NAMES[3:6])]
    found = fusion.search_all(two, how(), None, Wanted(), split)
    [answer] = found.answers
    assert (answer.seed, answer.set, answer.query) == (1, 2, 1)
    inside = [key for key in plain(two, 1, (1, 1)) if key in NAMES[3:6]]
    assert set(found.items.ids[answer.rows].tolist()) == set(inside)


def test_queries_come_in_the_order_of_the_first():
    queries = Queries(np.arange(3, dtype=np.float32)[:, None], table(["c", "a", "b"]))
    first = Queries(np.zeros((2, 1), np.float32), table(["a", "c"]))
    assert fusion.aligned(queries, first, "emb.h5").vectors[:, 0].tolist() == [1, 0]
    with pytest.raises(ArtifactError, match=r"^emb.h5: 1 of 3 queries are not there, such as 'b'"):
        fusion.aligned(first, queries, "emb.h5")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weights": (1.0,)}, "weights: expected 2 numbers above 0, one for each index, found 1"),
        ({"weights": (1.0, 0.0)}, "weights: expected 2 numbers above 0"),
        ({"depth": 0}, "depth=0: expected at least 1"),
    ],
)
def test_what_cannot_be_fused(values, said):
    with pytest.raises(UsageError, match=said):
        how(**values)
