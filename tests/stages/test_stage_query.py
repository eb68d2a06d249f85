"""The guard against a plain loop over pairs, on item tables of all kinds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.index import exact
from cbir_cli.splits import SplitRow
from cbir_cli.stages.guards import Filters, Guard
from cbir_cli.stages.query import Queries, Wanted, search, search_split

TEXT = ("path", "patient", "study", "view", "source", "split", "sex", "content", "seen")


def table(rows, pseudonyms="key"):
    """An item table of (id, patient, study, content)."""
    columns = {name: np.array([""] * len(rows), dtype="U8") for name in TEXT}
    for place, name in enumerate(("patient", "study", "content"), start=1):
        columns[name] = np.array([row[place] for row in rows], dtype="U8")
    return Items(np.array([row[0] for row in rows], dtype="U8"), columns, pseudonyms)


def index_of(rows, source="there", pseudonyms="key", vectors=None):
    vectors = np.arange(len(rows), dtype=np.float32)[:, None] if vectors is None else vectors
    payload = exact.build(vectors, metric="l2")
    space = Space("l2", "space", "cnn", source=source)
    return Index(
        Embedding(vectors, table(rows, pseudonyms), space, None, {}, "", [], "idx"), "exact", {"metric": "l2"}, payload
    )


def twin(query, row, same_source, people, rows):
    """Whether a row of the index is the query himself, spelled out."""
    key, patient, study, content = query
    copies = [r for r in rows if content and r[3] == content]
    patients = {r[1] for r in copies} | ({patient} if people else set())
    # Studies of copies, and of all that belongs to the same patient.
    related = copies + [r for r in rows if r[1] and r[1] in patients]
    studies = {r[2] for r in related} | ({study} if people else set())
    return (
        row in copies
        or (row[1] != "" and row[1] in patients)
        or (row[2] != "" and row[2] in studies)
        or (same_source and row[0] == key)
    )


def mask(allowed, count):
    return np.isin(np.arange(count), allowed.rows(count)).tolist()


people = st.tuples(
    st.sampled_from(["", "p", "q"]), st.sampled_from(["", "s", "t"]), st.sampled_from(["", "c", "d", "e"])
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(people, min_size=1, max_size=6), asked=people, same=st.booleans(), keys=st.booleans())
def test_guard_is_the_plain_loop(rows, asked, same, keys):
    rows = [(f"i{n}", *row) for n, row in enumerate(rows)]
    query = ("i0", *asked)
    index = index_of(rows, "here" if same else "there", "key" if keys else "other")
    guard = Guard(index.embedding.items, table([query]), Filters(), same_source=same)
    expected = [not twin(query, row, same, keys, rows) for row in rows]
    assert mask(guard.allowed(0), len(expected)) == expected
    within = np.arange(0, len(rows), 2)
    assert mask(guard.allowed(0, within), len(expected)) == [ok and i % 2 == 0 for i, ok in enumerate(expected)]


def test_search_leaves_out_and_ranks_the_rest():
    rows = [("a", "p", "", "1"), ("b", "p", "", "2"), ("c", "q", "", "3"), ("d", "", "", "4")]
    index = index_of(rows)
    queries = Queries(index.embedding.vectors, index.embedding.items, "elsewhere")
    found = {a.query: a.rows.tolist() for a in search(index, queries, 4)}
    assert found == {0: [2, 3], 1: [2, 3], 2: [1, 3, 0], 3: [2, 1, 0]}
    assert {a.query: a.rows.tolist() for a in search(index, queries, 1)} == {0: [2], 1: [2], 2: [1], 3: [2]}
    assert all(a.distances[0] == 0 for a in search(index, queries, 2, Wanted(Filters(exclude="none"))))


def test_search_split_stays_within_catalogues():
    rows = [(name, name.upper(), "", str(n)) for n, name in enumerate("abcdef")]
    index = index_of(rows)
    queries = Queries(index.embedding.vectors, index.embedding.items, "there")
    split = [SplitRow(1, 1, "query", "a"), SplitRow(1, 1, "catalogue", "f"), SplitRow(1, 1, "catalogue", "c")]
    split += [SplitRow(1, 2, "query", "a"), SplitRow(1, 2, "catalogue", "b"), SplitRow(1, 0, "train", "d")]
    answers = search_split(index, queries, None, split)
    assert [(a.seed, a.set, a.query, a.rows.tolist()) for a in answers] == [(1, 1, 0, [2, 5]), (1, 2, 0, [1])]
    assert [a.rows.tolist() for a in search_split(index, queries, 1, split)] == [[2], [1]]


def test_a_split_that_names_what_is_not_there():
    index = index_of([("a.png", "", "", "1"), ("b", "", "", "2")])
    queries = Queries(index.embedding.vectors, index.embedding.items)
    split = [SplitRow(1, 1, "query", "b"), SplitRow(1, 1, "catalogue", "a")]
    with pytest.raises(SourceError, match=r"'a' is not in the index \(it has 'a.png'\)"):
        search_split(index, queries, None, split)
    with pytest.raises(SourceError, match="names no query"):
        search_split(index, queries, None, [SplitRow(1, 0, "train", "b")])


@pytest.mark.parametrize("counts", list(itertools.product([0, 1, 3], [0, 2])))
def test_empty_sides(counts):
    rows = [(f"i{n}", "", "", "") for n in range(counts[0])]
    index = index_of(rows, vectors=np.zeros((counts[0], 2), np.float32))
    queries = Queries(np.zeros((counts[1], 2), np.float32), table([(f"q{n}", "", "", "") for n in range(counts[1])]))
    answers = search(index, queries, 5)
    assert len(answers) == counts[1] and all(len(a.rows) == counts[0] for a in answers)


def test_the_same_person_under_other_keys_is_said(caplog):
    index = index_of([("a", "p", "", "1")], pseudonyms="another")
    Guard(index.embedding.items, table([("b", "p", "", "2")]), Filters(), same_source=False)
    assert "hidden with different keys" in caplog.text
    caplog.clear()
    Guard(index.embedding.items, table([("b", "", "", "2")]), Filters(), same_source=False)
    assert not caplog.text
