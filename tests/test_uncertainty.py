"""What is filled into scores, by whom their queries show, and what is said where they are few."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from cbir_cli import bootstrap
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow
from cbir_cli.evaluation import evaluate_run
from cbir_cli.groups import scores_of
from cbir_cli.scores import Score, summarise, weights
from cbir_cli.uncertainty import clusters, filled, smallest

QUERIES = [f"q{i:02d}" for i in range(40)]


def score(values, *, method="a.tsv", metric="ndcg@4", group="", **more):
    keyed = {key if isinstance(key, tuple) else (None, None, key): value for key, value in values.items()}
    found = summarise(keyed, {}, method=method, metric=metric, against="rater R1", left_out=0, **more)
    return replace(found, group=group)


def some(count=40, seed=0):
    return dict(zip(QUERIES, np.random.default_rng(seed).random(count).tolist(), strict=False))


def test_the_interval_is_that_of_patients_from_the_index():
    values = some()
    patients = {query: f"P{int(query[1:]) // 3}" for query in QUERIES}
    (found,) = filled([score(values)], patients)
    assert (found.low, found.high) == pytest.approx(
        bootstrap.of_mean(list(values.values()), [patients[q] for q in values])
    )
    (alone,) = filled([score(values)], {})
    assert (alone.low, alone.high) == pytest.approx(bootstrap.of_mean(list(values.values()), range(40)))
    assert alone.low != pytest.approx(found.low, abs=0.001)
    assert found.mean == score(values).mean and found.patients[None, None, "q05"] == "P1"


def test_a_patient_who_is_not_known_is_one_of_his_own():
    keys = [(None, None, "a"), (None, None, "b"), (None, None, "c"), (1, 2, "c")]
    names = clusters(keys, {keys[0]: "b", keys[1]: "b"})
    assert names[0] == names[1] and len(set(names)) == 2 and names[2] == names[3]
    assert clusters([(None, None, "P1")], {})[0] != clusters(keys[:1], {keys[0]: "P1"})[0]


def test_a_query_of_several_seeds_is_one_patient_and_seeds_weigh_alike():
    rng = np.random.default_rng(0)
    values = {(seed, n, f"q{n}"): rng.random() for seed, count in ((1, 8), (2, 16)) for n in range(count)}
    share = weights(values)
    assert sum(share.values()) == pytest.approx(1)
    assert share[1, 0, "q0"] == pytest.approx(1 / 16) and share[2, 0, "q0"] == pytest.approx(1 / 32)
    (found,) = filled([score(values)], {})
    names, each = [key[2] for key in values], [share[key] for key in values]
    assert (found.low, found.high) == pytest.approx(bootstrap.of_mean(list(values.values()), names, each))
    assert found.mean == pytest.approx(sum(share[key] * value for key, value in values.items()))
    assert found.low < found.mean < found.high


def test_what_has_no_values_comes_back_as_it_is():
    classifier = Score("emb.h5", "auroc", "label A", 9, 0, 0.8, random=0.5)
    assert filled([classifier], {})[0] is classifier


def test_the_chance_of_random_rankings_is_filled_in_for_all_and_for_groups():
    names = [f"i{n}" for n in range(6)]
    rows = [RunRow(q, n + 1, names[n], float(n)) for q in ("a", "b") for n in range(6)]
    expert = [RankRow(q, "R1", (n if q == "a" else 5 - n) + 1, names[n]) for q in ("a", "b") for n in range(6)]
    found = evaluate_run(rows, metrics=["ndcg@6"], ranks=expert)
    groups = scores_of(found[0], [{"sex=F": [(None, None, "a")], "sex=M": [(None, None, "b")]}])
    both, right, wrong = filled(groups, {})
    assert right.p_random == pytest.approx(1 / 720) and wrong.p_random == pytest.approx(1)
    assert right.p_random < both.p_random < wrong.p_random


# --- few queries ------------------------------------------------------------------------------------------------------


def test_five_queries_have_no_interval_and_no_test():
    (found,) = filled([score(some(5))], {})
    said = smallest([found])
    assert (found.low, found.high) == (None, None)
    assert said == (
        "ndcg@4 of a.tsv is over 5 queries: too few for an interval, and a paired test of two methods gives "
        "p = 0.062 at best"
    )


def test_few_patients_are_said_with_what_the_mean_is_sure_to():
    patients = {query: f"P{int(query[1:]) % 8}" for query in QUERIES}
    found = filled([score(some()), score(some(seed=1), metric="ndcg@7")], patients)
    half = (found[0].high - found[0].low) / 2
    assert smallest(found) == (
        f"ndcg@4 of a.tsv is over 40 queries of 8 patients: the mean is sure to ± {half:.2f} "
        "(2 of 2 scores are over fewer than 20)"
    )


def test_the_smallest_group_is_named():
    found = filled([score(some()), score(some(3), group="sex=F"), score(some(7), group="sex=M")], {})
    assert smallest(found).startswith("ndcg@4 sex=F of a.tsv is over 3 queries: too few")


def test_one_query_in_several_seeds_is_one():
    found = filled([score({(seed, 1, "q"): 0.5 + seed / 10 for seed in range(9)})], {})
    assert "9 queries (1 different ones): too few" in smallest(found) and "p = 1 at best" in smallest(found)


def test_equal_values_are_no_interval():
    assert "no interval, since all have one mean" in smallest(filled([score(dict.fromkeys(QUERIES[:10], 0.5))], {}))


def test_it_is_said_once_and_not_of_many_nor_of_images(caplog):
    caplog.set_level(logging.INFO, "cbir")
    patients = {query: query for query in QUERIES}
    filled([score(some())], patients)
    filled([score(some(4), unit="image")], patients)
    assert not caplog.records
    filled([score(some(4)), score(some(5), metric="ndcg@7")], patients)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_patients_that_are_not_known_are_counted(caplog):
    caplog.set_level(logging.INFO, "cbir")
    filled([score(some()), score(some(seed=1), metric="ndcg@7")], {query: query for query in QUERIES[:30]})
    assert [record.message for record in caplog.records] == [
        "intervals: the patients of 10 of 40 queries are not known (--items), each counts as one of his own"
    ]
