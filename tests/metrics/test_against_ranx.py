"""The same TREC files through ranx."""

import pytest
from judged import IMAGES, judged

PAIRS = {
    "precision@5": "precision@5",
    "recall@5": "recall@5",
    "success@5": "hit_rate@5",
    "r-precision": "r-precision",
    "average-precision": "map",
    "average-precision-cut@10": "map@10",
    f"reciprocal-rank@{IMAGES}": "mrr",
    "reciprocal-rank@2": "mrr@2",
    "ndcg-linear@10": "ndcg@10",
    "ndcg@10": "ndcg_burges@10",
    "ndcg-burges@3": "ndcg_burges@3",
}


@pytest.fixture
def ranx(monkeypatch):
    """The package, its loops run by Python: compiling them takes a minute and changes no number."""
    numba = pytest.importorskip("numba", reason="needs ranx")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    return pytest.importorskip("ranx", reason="needs ranx")


def test_values_are_equal(tmp_path, ranx):
    lists = judged()
    qrels, run = lists.write(tmp_path)
    pair = ranx.Qrels.from_file(qrels, kind="trec"), ranx.Run.from_file(run, kind="trec")
    found = ranx.evaluate(*pair, list(PAIRS.values()), return_mean=False)
    for ours, name in PAIRS.items():
        assert found[name].tolist() == pytest.approx(list(lists.ours(ours).values()), abs=1e-9), name


def test_values_of_lists_that_are_shorter_than_the_cut_off_are_equal(tmp_path, ranx):
    lists = judged(4)
    qrels, run = lists.write(tmp_path, 8)
    pair = ranx.Qrels.from_file(qrels, kind="trec"), ranx.Run.from_file(run, kind="trec")
    names = {ours: name for ours, name in PAIRS.items() if name.endswith("@10")}
    found = ranx.evaluate(*pair, list(names.values()), return_mean=False)
    for ours, name in names.items():
        assert found[name].tolist() == pytest.approx(list(lists.ours(ours, 8).values()), abs=1e-9), name
