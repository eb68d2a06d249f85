"""Methods against each other: pairs, differences, tests over patients, Holm by metric."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cbir_cli import bootstrap, sign_flips
from cbir_cli.comparisons import COLUMNS, compare, json_lines, tsv
from cbir_cli.errors import UsageError
from cbir_cli.intervals import holm
from cbir_cli.scores import Score, summarise

QUERIES = [f"q{i:02d}" for i in range(30)]


def score(method, values, *, metric="ndcg@4", against="rater R1", group="", patients=None):
    keyed = {key if isinstance(key, tuple) else (None, None, key): value for key, value in values.items()}
    found = summarise(keyed, {}, method=method, metric=metric, against=against, left_out=0)
    whom = {key: patients[key[2]] for key in keyed if patients and key[2] in patients}
    return replace(found, group=group, patients=whom)


def drawn(seed, shift=0.0, names=QUERIES):
    return dict(zip(names, (np.random.default_rng(seed).random(len(names)) + shift).tolist(), strict=True))


A, B, C = (
    score(f"{name}.tsv", drawn(seed, shift)) for name, seed, shift in (("a", 0, 0), ("b", 1, 0.2), ("c", 2, 0.5))
)


def test_all_pairs_or_one_with_each_other():
    assert [(c.a[0], c.b[0]) for c in compare([A, B, C])] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(c.a[0], c.b[0]) for c in compare([A, B, C], "b.tsv")] == [("b", "a"), ("b", "c")]
    assert compare([A, B, C], "b") == compare([A, B, C], "some/where/b.tsv") == compare([A, B, C], "b.tsv")


def test_a_row_is_the_paired_difference():
    (row,) = compare([A, B])
    away = [A.values[key] - B.values[key] for key in A.values]
    assert (row.n, row.patients, row.left_out) == (30, 30, 0)
    assert row.difference == pytest.approx(A.mean - B.mean) == pytest.approx(np.mean(away))
    assert (row.low, row.high) == pytest.approx(bootstrap.of_mean(away, range(30)))
    assert row.p == pytest.approx(sign_flips.p_value(away)) == row.p_holm
    theirs = stats.permutation_test((away,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0).pvalue
    assert row.p == pytest.approx(theirs, abs=0.01)


def test_the_other_way_round_it_is_the_other_sign():
    (one,), (other,) = compare([A, B], "a"), compare([A, B], "b")
    assert (one.difference, one.p) == (-other.difference, other.p)
    assert one.low == pytest.approx(-other.high, abs=0.01)


def test_the_queries_of_a_patient_flip_together():
    patients = {query: f"P{int(query[1:]) // 5}" for query in QUERIES}
    a, b = (score(s.method, {k[2]: v for k, v in s.values.items()}, patients=patients) for s in (A, B))
    (row,) = compare([a, b])
    away = np.array([A.values[key] - B.values[key] for key in A.values])
    assert row.patients == 6 and row.p == sign_flips.p_value(away.reshape(6, 5).sum(axis=1))
    assert row.p >= 2 / 2**6
    assert (row.low, row.high) == pytest.approx(bootstrap.of_mean(away, np.arange(30) // 5))


def test_seeds_weigh_alike_and_a_patient_of_several_is_one():
    rng = np.random.default_rng(0)
    keys = [(seed, n, f"q{n}") for seed, count in ((1, 7), (2, 14)) for n in range(count)]
    a, b = (score(name, dict(zip(keys, rng.random(21).tolist(), strict=True))) for name in "ab")
    (row,) = compare([a, b])
    assert row.difference == pytest.approx(a.mean - b.mean)
    away = {key: (a.values[key] - b.values[key]) / (14 if key[0] == 1 else 28) for key in keys}
    sums = [sum(value for key, value in away.items() if key[2] == f"q{n}") for n in range(14)]
    assert row.patients == 14 and row.p == pytest.approx(sign_flips.p_value(sums))


def test_queries_of_one_alone_are_left_out_and_said(caplog):
    fewer = score("b.tsv", dict(list(drawn(1, 0.2).items())[4:]) | {"other": 1.0})
    (row,) = compare([A, fewer])
    assert (row.n, row.left_out) == (26, 5)
    assert row.difference == pytest.approx(
        np.mean([A.values[k] - fewer.values[k] for k in A.values if k in fewer.values])
    )
    (said,) = [record.message for record in caplog.records]
    assert said == "compared on the queries that both methods have: up to 5 are left out (a.tsv and b.tsv, ndcg@4)"


def test_holm_takes_all_rows_of_a_metrics_name_for_one_family():
    many = [
        replace(score(f"{m}.tsv", drawn(7 * i + j, shift)), metric=metric, group=group)
        for i, (m, shift) in enumerate((("a", 0), ("b", 0.15), ("c", 0.3)))
        for j, (metric, group) in enumerate(
            (("ndcg@4", ""), ("ndcg@10", ""), ("ndcg@10", "sex=F"), ("precision@5", ""))
        )
    ]
    rows = compare(many)
    assert len(rows) == 12
    for family, size in (("ndcg", 9), ("precision", 3)):
        of = [row for row in rows if row.metric.startswith(family)]
        assert len(of) == size
        assert [row.p_holm for row in of] == holm([row.p for row in of]).tolist()
    assert any(row.p < row.p_holm < 1 for row in rows)


def test_scores_against_another_truth_or_of_another_group_do_not_compare():
    other = replace(B, against="rater R2")
    assert [(c.a, c.b) for c in compare([A, other, C])] == [("a.tsv", "c.tsv")]
    with pytest.raises(UsageError, match="no two methods were scored by the same metric"):
        compare([A, other])
    apart = [replace(score("a.tsv", {"x": 1.0}), group="sex=F"), replace(score("b.tsv", {"y": 1.0}), group="sex=F")]
    assert [c.group for c in compare([A, B, *apart])] == [""]


@pytest.mark.parametrize(
    ("scores", "method", "says"),
    [
        ([A], "all", "expected several methods, found a.tsv alone"),
        ([A, B], "x.tsv", "unknown method to compare 'x.tsv'"),
        ([A, score("b.tsv", {"elsewhere": 1.0})], "all", "a.tsv and b.tsv have no query in common"),
        ([Score("emb.h5", "auroc", "label A", 9, 0, 0.8)], "all", "no values of single queries or images"),
        ([replace(A, method="1/a.tsv"), replace(B, method="2/a.tsv")], "a.tsv", "unknown method to compare 'a.tsv'"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores, method, says):
    with pytest.raises(UsageError, match=says):
        compare(scores, method)


def test_equal_methods_have_no_interval_and_p_one():
    (row,) = compare([A, replace(A, method="b.tsv")])
    assert (row.difference, row.low, row.high, row.p, row.p_holm) == (0, None, None, 1, 1)


def test_as_text():
    rows = compare([A, replace(B, method="b\t1.tsv")])
    header, line = tsv(rows)
    assert header == "\t".join(COLUMNS) + "\n"
    cells = dict(zip(COLUMNS, line.rstrip("\n").split("\t"), strict=True))
    assert (cells["a"], cells["b"], cells["metric"], cells["n"]) == ("a.tsv", "b 1.tsv", "ndcg@4", "30")
    assert float(cells["difference"]) == pytest.approx(rows[0].difference, abs=5e-5)
    assert float(cells["p"]) == pytest.approx(rows[0].p, rel=0.005)
    found = json.loads(next(json_lines(rows)))
    assert {*COLUMNS, "against", "patients", "left_out"} == set(found) and found["difference"] == rows[0].difference


def test_several_labels_are_named():
    rows = [replace(s, metric="p@5", against=f"label {x}") for s in (A, B) for x in ("Edema", "Effusion")]
    assert [line.split("\t")[2] for line in list(tsv(compare(rows)))[1:]] == ["p@5 Edema", "p@5 Effusion"]
