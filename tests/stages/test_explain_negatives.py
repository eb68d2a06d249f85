"""Images of another label, drawn from the index for explainers that compare a pair with them."""

import hashlib
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.records import MISSING
from cbir_cli.stages import negatives

LABELS = {
    #        a, b, c, d, e, f, g, h
    "left": [1, 1, 0, 0, -1, MISSING, 0, 1],
    "right": [0, 1, 0, 0, 0, 1, 0, 0],
}


def table(ids, labels, **columns):
    none = np.array([""] * len(ids))
    text = {name: np.array(columns.get(name, none)) for name in ("patient", "study", "content")}
    return Items(np.array(list(ids)), {**text, **{f"label:{n}": np.array(c, np.int8) for n, c in labels.items()}}, "")


@pytest.fixture
def items():
    return table("abcdefgh", LABELS, patient=["p", "q", "r", "p", "s", "t", "", ""])


def unlabelled(ids="xyzuvw", **columns):
    return table(ids, {}, **columns)


def drawn(items, targets, count, row=0, queries=None, query=0, **same):
    """Letters of what is drawn for the index's image in a row as the result, and a query of which nothing is stated."""
    index = SimpleNamespace(embedding=SimpleNamespace(items=items, space=SimpleNamespace(targets=targets)))
    queries = unlabelled() if queries is None else queries
    way = negatives.Negatives(index, queries, items, same_ids=same.get("same_ids", (False, True)))
    return "".join(items.ids[way.draw(query, row, count)])


def test_another_label_and_another_patient_than_the_result(items):
    # d is of a's patient; e is uncertain and f not stated.
    assert sorted(drawn(items, ["left"], 2)) == ["c", "g"]
    assert sorted(drawn(items, ["right"], 2)) == ["b", "f"]
    assert sorted(drawn(items, [], 4)) == sorted(drawn(items, ["left", "right"], 4)) == ["b", "c", "f", "g"]
    # Where patients are not known, images are not taken for one's.
    assert sorted(drawn(items, ["left"], 3, row=6)) == ["a", "b", "h"]


def test_another_label_than_the_query_where_it_is_stated(items):
    """The result a is left: so is the query x, but not y, and the label of the result does not count."""
    queries = table("xyz", {"left": [1, 0, -1]})
    assert sorted(drawn(items, ["left"], 2, queries=queries, query=0)) == ["c", "g"]
    assert sorted(drawn(items, ["left"], 2, queries=queries, query=1)) == ["b", "h"]
    assert sorted(drawn(items, ["left"], 2, queries=queries, query=2)) == ["c", "g"]  # uncertain: the result's
    # A query with another label than the index is about.
    assert sorted(drawn(items, ["left"], 2, queries=table("x", {"other": [0]}))) == ["c", "g"]


@pytest.mark.parametrize("column", ["patient", "study", "content"])
def test_nothing_of_either_side_is_drawn(items, column):
    """c is the query's own, by its patient, study or content; of its study g too, which is of no known patient."""
    here = {"patient": items["patient"].tolist(), "study": [""] * 8, "content": list("12345678")}
    of_query = {"patient": [""], "study": [""], "content": [""]}
    here[column][2] = of_query[column][0] = "mine"
    items = table("abcdefgh", LABELS, **here)
    queries = unlabelled("x", **of_query)
    assert drawn(items, ["left"], 1, queries=queries) == "g"
    with pytest.raises(SourceError, match="and the index has 1;"):
        drawn(items, ["left"], 2, queries=queries)
    # The patient of an image that has the query's content is the query's.
    if column == "content":
        here["patient"][2] = here["patient"][6] = "found"
        with pytest.raises(SourceError, match="and the index has 0;"):
            drawn(table("abcdefgh", LABELS, **here), ["left"], 1, queries=queries)


@pytest.mark.parametrize("column", ["study", "content"])
def test_nothing_of_the_result_is_drawn(items, column):
    """The result is b; of what is not left, c, d and g, d is the same in a column."""
    items = table("abcdefgh", LABELS, patient=items["patient"], **{column: ["", "s", "", "s", "", "", "", ""]})
    assert sorted(drawn(items, ["left"], 2, row=1)) == ["c", "g"]
    with pytest.raises(SourceError, match="and the index has 2;"):
        drawn(items, ["left"], 3, row=1)


def test_an_id_is_the_same_image_in_the_same_source_alone(items):
    queries = unlabelled("g")
    assert drawn(items, ["left"], 1, queries=queries, same_ids=(True, True)) == "c"
    assert sorted(drawn(items, ["left"], 2, queries=queries)) == ["c", "g"]


def test_the_draw_depends_on_the_pair_alone(items):
    def each(items):
        return [drawn(items, ["left", "right"], 2, query=query) for query in range(6)]

    first = each(items)
    assert first == each(items)
    assert len(set(first)) > 1 and all(len(set(names)) == 2 for names in first)
    # Images that cannot be drawn, or that are drawn by nobody, change nothing.
    assert first == each(items.take([0, 1, 2, 4, 5, 6, 7]))


def test_every_candidate_has_the_same_chance():
    """1200 queries draw 2 of 12 candidates: each is drawn about 200 times, and so is each as the first."""
    items = table("r" + "abcdefghijkl", {"left": [1] + [0] * 12})
    queries = unlabelled([f"q{i}" for i in range(1200)])
    index = SimpleNamespace(embedding=SimpleNamespace(items=items, space=SimpleNamespace(targets=["left"])))
    way = negatives.Negatives(index, queries, items, same_ids=(False, True))
    found = np.array([way.draw(query, 0, 2) for query in range(1200)])
    for counts, expected in ((np.bincount(found.ravel())[1:], 200), (np.bincount(found[:, 0])[1:], 100)):
        assert len(counts) == 12
        assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi-squared of 11 degrees, p = .001


def test_candidates_are_hashed_once(monkeypatch):
    """100 pairs of an index of 20,000 images: as many hashes as there are names."""
    count, of = [], hashlib.sha256
    monkeypatch.setattr(negatives.hashlib, "sha256", lambda text: count.append(1) or of(text))
    items = table([f"i{i}" for i in range(20_000)], {"left": np.arange(20_000) % 2})
    index = SimpleNamespace(embedding=SimpleNamespace(items=items, space=SimpleNamespace(targets=["left"])))
    way = negatives.Negatives(index, unlabelled([f"q{i}" for i in range(20)]), items, same_ids=(False, True))
    began = time.perf_counter()
    for query in range(20):
        for result in range(5):
            way.draw(query, result, 2)
    assert len(count) == 20_000 + 100 and time.perf_counter() - began < 10


def test_too_few(items):
    for row, there in ((0, 2), (4, 0)):  # of e the label is uncertain: nothing has another one
        words = f"x: the variant compares a pair with 3 images .* has {there};"
        with pytest.raises(SourceError, match=words):
            drawn(items, ["left"], 3, row=row)


def test_methods_say_how_many_they_need():
    counts = [negatives.needed("attention", {"variant": v}) for v in ("siamese", "triplet", "quadruplet", "unheard-of")]
    assert counts == [0, 1, 2, 0]
    assert negatives.needed("ig", {}) == 0


def maps(path):
    with h5py.File(path) as file:
        return file["maps"][:], file["scale"][:]


def test_commands(chain, good, cbir, tmp_path):
    """From the command line: the variants differ, and so do a run of two queries and of one of them by nothing."""
    made = {}
    for name, settings in (
        ("siamese", []),
        ("triplet", ["--set", "variant=triplet"]),
        ("quadruplet", ["--set", "variant=quadruplet"]),
    ):
        target = tmp_path / f"{name}.h5"
        line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--method", "attention", *settings, "-k", "1", "-o", target]
        good(*line, cwd=chain)
        made[name] = maps(target)[0]
    assert not np.array_equal(made["siamese"], made["triplet"])
    assert not np.array_equal(made["triplet"], made["quadruplet"])
    again = tmp_path / "again.h5"
    good(*line[:-1], again, cwd=chain)
    assert again.read_bytes() == target.read_bytes()
    for method, settings in (("activation", ["--set", "point=.5,.5"]), ("lrp", ["--set", "rule=epsilon"])):
        good("explain", "ig.idx.h5", "ig.emb.h5", "--method", method, *settings, "-k", "1", "-o", again, cwd=chain)
    refused = cbir(
        "explain", "cnn.idx.h5", "cnn.emb.h5", "--method", "attention", "--set", "references=2", "-o", again, cwd=chain
    )
    assert refused.status == 2 and "references" in refused.error
    refused = cbir("explain", "ssim.idx.h5", "ssim.emb.h5", "--method", "lrp", "-k", "1", "-o", again, cwd=chain)
    assert refused.status == 2 and "explain: ssim has no network" in refused.err
