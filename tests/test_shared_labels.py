"""Relevance by sets of labels against the words of their definitions, said with Python's sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from cbir_cli import shared_labels
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.records import MISSING, UNCERTAIN

codes = st.lists(st.sampled_from([1, 0, 0, UNCERTAIN, MISSING]), min_size=5, max_size=5)


def plain(kind, query, result):
    """None where the relevance has no meaning for the query."""
    of_query = {i for i, code in enumerate(query) if code in (0, 1)}
    positive = {i for i, code in enumerate(query) if code == 1}
    theirs = {i for i in of_query if result[i] == 1}
    alike = {i for i in of_query if result[i] == query[i]}
    if kind in ("agreement", "exact"):
        return None if not of_query else len(alike) / len(of_query) if kind == "agreement" else float(alike == of_query)
    if not positive:
        return None
    common = positive & theirs
    return {
        "any": float(bool(common)),
        "positives-in-common": len(common),
        "positives-of-total": len(common) / len(of_query),
        "positives-of-query": len(common) / len(positive),
        "positives-of-union": len(common) / len(positive | theirs),
    }[kind]


@pytest.mark.parametrize("kind", shared_labels.WORDS)
@given(codes, st.lists(codes, min_size=1, max_size=4))
def test_is_what_its_words_say(kind, query, results):
    wanted = [plain(kind, query, result) for result in results]
    assert shared_labels.defined(kind, [query])[0] == (wanted[0] is not None)
    if wanted[0] is not None:
        assert shared_labels.relevance(kind, [query], [results])[0].tolist() == pytest.approx(wanted)
    else:
        with pytest.raises(ShapeError, match="without labels that count"):
            shared_labels.relevance(kind, [query], [results])


@given(
    st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6), st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6)
)
def test_union_is_the_jaccard_index(query, result):
    if any(query):
        found = shared_labels.relevance("positives-of-union", [query], [[result]])[0, 0]
        assert found == pytest.approx(jaccard_score(query, result))


def test_the_readings_differ():
    query, result = [[1, 1, 0, 0]], [[[1, 0, 1, 0]]]
    found = {kind: shared_labels.relevance(kind, query, result)[0, 0] for kind in shared_labels.WORDS}
    assert found == {
        "agreement": 0.5,
        "exact": 0.0,
        "positives-of-total": 0.25,
        "positives-of-query": 0.5,
        "positives-of-union": pytest.approx(1 / 3),
        "positives-in-common": 1.0,
        "any": 1.0,
    }


def test_malformed():
    for query, results in (([1, 0], [[1, 0]]), ([[1, 0]], [[[1, 0, 1]]]), ([[1.0]], [[[1]]]), ([[1]], [[[1]], [[1]]])):
        with pytest.raises(ShapeError, match="labels: expected"):
            shared_labels.relevance("any", query, results)
    with pytest.raises(UsageError, match="unknown relevance 'some'"):
        shared_labels.relevance("some", [[1]], [[[1]]])
