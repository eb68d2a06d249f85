"""The same TREC files through ir_measures, which runs trec_eval itself (pytrec_eval)."""

import pytest
from judged import IMAGES, judged

from cbir_cli.errors import ShapeError

ir_measures = pytest.importorskip("ir_measures", reason="needs ir_measures (and pytrec_eval-terrier)")

EXPONENTIAL = "gains={0:0,1:1,2:3,3:7,4:15}"
PAIRS = {
    "precision@5": "P@5",
    "precision@40": "P@40",
    "recall@5": "R@5",
    "success@5": "Success@5",
    "success@1": "Success@1",
    "r-precision": "Rprec",
    "average-precision": "AP",
    "average-precision-cut@10": "AP@10",
    f"reciprocal-rank@{IMAGES}": "RR",
    "reciprocal-rank@2": "RR@2",
    "ndcg-linear@10": "nDCG@10",
    f"ndcg-linear@{IMAGES}": "nDCG",
    "ndcg@10": f"nDCG({EXPONENTIAL})@10",
    "ndcg@3": f"nDCG({EXPONENTIAL})@3",
}


def theirs(measure, qrels, run):
    measure = ir_measures.parse_measure(measure)
    pairs = ir_measures.read_trec_qrels(qrels), ir_measures.read_trec_run(run)
    return {one.query_id: one.value for one in ir_measures.iter_calc([measure], *pairs)}


@pytest.mark.parametrize(("ours", "measure"), PAIRS.items())
def test_values_are_equal(tmp_path, ours, measure):
    lists = judged()
    assert theirs(measure, *lists.write(tmp_path)) == pytest.approx(lists.ours(ours), abs=1e-9)


CUT_OFF = {
    "precision@10": "P@10",
    "recall@10": "R@10",
    "success@10": "Success@10",
    "reciprocal-rank@10": "RR@10",
    "average-precision-cut@10": "AP@10",
    "ndcg-linear@10": "nDCG@10",
    "ndcg@10": f"nDCG({EXPONENTIAL})@10",
}


@pytest.mark.parametrize(("ours", "measure"), CUT_OFF.items())
def test_values_of_lists_that_are_shorter_than_the_cut_off_are_equal(tmp_path, ours, measure):
    lists = judged(4)
    assert theirs(measure, *lists.write(tmp_path, 8)) == pytest.approx(lists.ours(ours, 8), abs=1e-9)


def test_a_cut_off_list_is_where_average_precision_differs(tmp_path):
    """trec_eval counts relevant images that the list lacks as never found; here such a list is refused."""
    lists = judged(4)
    files = lists.write(tmp_path, 8)
    assert theirs("AP", *files) == pytest.approx(lists.ours("average-precision-cut@8", 8), abs=1e-9)
    with pytest.raises(ShapeError, match="it needs them all"):
        lists.ours("average-precision", 8)
