"""What an engine answers is what an index of a file answers: rows, distances, labels, and what is left out."""

import catalogues
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts.items import Items
from cbir_cli.records import MISSING
from cbir_cli.where import Among, And, Compare, Missing, Not, Or, evaluate

pytestmark = pytest.mark.server

QUERIES = {
    "nearest": [],
    "all": ["-k", "400"],
    "json": ["--format", "json"],
    "trec": ["--format", "trec"],
    "same": ["--include-same"],
    "image": ["--exclude-same", "image"],
    "study": ["--exclude-same", "study"],
    "source": ["--exclude-same", "source"],
    "only patient": ["--only-same", "patient", "--order", "position"],
    "only study": ["--only-same", "study"],
    "only series": ["--only-same", "series"],
    "only earlier": ["--only-same", "earlier", "--order", "position"],
    "near": ["--max-distance", "4.5"],
    "age": ["--where", "age > 40.5 and not (label:'Pleural Effusion' == 1 or view is missing)"],
    "few": ["--where", "age in (3, 7.5, 9e30, 50)"],
    "text": ["--where", "source == '\"; 1 == 1' or source == \"' or '1'='1\" or source >= 'u'"],
    "odd label": ["--where", """label:"COVID 19 ärztlich'\\"; drop table x; --" == 1"""],
    "nothing": ["--where", "view == 'none'"],
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_same_bytes_as_a_file(loaded, small, good, name):
    here = good(*loaded.query("small", small / "q.h5", *QUERIES[name]))
    there = good("query", small / "idx.h5", small / "q.h5", *QUERIES[name])
    assert here.out == there.out
    assert here.err == there.err


@pytest.mark.parametrize("more", [[], ["--exclude-same", "source"], ["--only-same", "patient"]])
def test_patients_of_another_key_are_not_compared(loaded, small, tmp_path, good, more):
    table = catalogues.items(400).take(range(12))
    unknown = {"source": table["source"].astype("U0")} if "source" in more else {}
    other = Items(table.ids, {name: unknown.get(name, table[name]) for name in table}, "another key")
    query = catalogues.write(tmp_path / "q.h5", 12, 16, seed=5, table=other, source="elsewhere")
    here, there = good(*loaded.query("small", query, *more)), good("query", small / "idx.h5", query, *more)
    assert here.out == there.out
    assert here.err == there.err
    assert "hidden with different keys" in here.err


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("approximate", [False, True])
def test_each_metric(engine, tmp_path, good, similarity, approximate):
    """Distances are true ones, not an engine's squares and similarities; a graph finds most of the nearest."""
    catalogues.write(tmp_path / "e.h5", 1500, 24, similarity=similarity)
    catalogues.write(tmp_path / "q.h5", 30, 24, seed=1, similarity=similarity, table=catalogues.items(30, 9, "ask"))
    name = f"metric_{similarity}_{int(approximate)}"
    chosen = ["--set", "index=hnsw"] if approximate else engine.exact
    good(*engine.index(tmp_path / "e.h5", name, *chosen))
    good("index", tmp_path / "e.h5", "--allow-leaks", "-o", tmp_path / "i.h5")
    here = good(*engine.query(name, tmp_path / "q.h5")).out.splitlines()
    there = good("query", tmp_path / "i.h5", tmp_path / "q.h5").out.splitlines()
    assert len(here) == len(there) == 301
    if not approximate:
        assert here == there
    cells = [{tuple(line.split("\t")[i] for i in (0, 2, 3)) for line in lines} for lines in (here, there)]
    assert len(cells[0] & cells[1]) >= 0.95 * len(there)


def test_k_are_given_behind_a_filter_that_leaves_few(engine, tmp_path, good):
    """A graph that filters what it found would give fewer."""
    catalogues.write(tmp_path / "e.h5", 3000, 16)
    good(*engine.index(tmp_path / "e.h5", "few", "--set", "index=hnsw"))
    query = catalogues.write(tmp_path / "q.h5", 5, 16, seed=3, table=catalogues.items(5, 9, "ask"))
    good("index", tmp_path / "e.h5", "--allow-leaks", "-o", tmp_path / "i.h5")
    for where, least in (("age == 17", 60), ("age in (17, 18)", 101), ("age < 30", 101)):
        more = ["-k", "20", "--where", where]
        here = good(*engine.query("few", query, *more)).out.splitlines()
        there = good("query", tmp_path / "i.h5", query, *more).out.splitlines()
        assert [line.split("\t")[:2] for line in here] == [line.split("\t")[:2] for line in there]
        assert len(here) >= least


TEXTS = st.one_of(
    st.sampled_from([*catalogues.ODD, "PA", "p3", ""]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
NUMBERS = st.one_of(
    st.integers(-200, 200), st.floats(-300, 300), st.sampled_from([0, -1, -128, 1e30, -1e30, 2**40, 41.5])
)
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
WORDS, COUNTS = (
    st.sampled_from(["view", "source", "patient", "id"]),
    st.sampled_from(["age", "part", *(f"label:{n}" for n in catalogues.LABELS)]),
)
LEAVES = st.one_of(
    st.builds(Compare, WORDS, OPERATORS, TEXTS),
    st.builds(Compare, COUNTS, OPERATORS, NUMBERS),
    st.builds(Among, WORDS, st.lists(TEXTS, max_size=4).map(tuple), st.booleans()),
    st.builds(Among, COUNTS, st.lists(NUMBERS, max_size=4).map(tuple), st.booleans()),
    st.builds(Missing, st.one_of(WORDS, COUNTS)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def test_expressions_hold_for_the_rows_that_they_hold_for_in_a_file(loaded, small):
    store = loaded.at("small")
    with files.open_artifact(str(small / "emb.h5")) as artifact:
        items = embeddings.read(artifact).items
        columns = {name: items[name] for name in items} | {"id": items.ids}
        columns = {name: values for name, values in columns.items()}

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(TREES)
        def same(tree):
            expected = items.ids[evaluate(tree, columns)]
            assert sorted(key for (key,) in store.rows(tree, ("id",))) == sorted(expected.tolist())

        try:
            same()
        finally:
            store.close()


def test_every_cell_comes_back(loaded, small):
    store = loaded.at("small")
    with files.open_artifact(str(small / "emb.h5")) as artifact:
        stored = embeddings.read(artifact)
        items = stored.items
        ((ids, vectors, cells),) = store.search(stored.vectors[:1], 400, None)
        order = {key: place for place, key in enumerate(items.ids.tolist())}
        rows = [order[key] for key in ids]
        np.testing.assert_array_equal(vectors, stored.vectors[rows])
        assert list(cells) == ["id", *items]
        for name in items:
            assert cells[name] == items[name][rows].tolist()
        assert (items["age"] == MISSING).any() and (items["patient"] == "").any()
    store.close()
