import itertools
import json
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from cbir_cli import agreement, bootstrap
from cbir_cli.agreement import Opinion
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.stages import agreement_tables

QUERIES = [f"q{i}" for i in range(8)]
IMAGES = [f"i{i}" for i in range(6)]


def study(seed=1, raters=("R1", "R2", "R3"), queries=QUERIES, graded=True):
    """Rankings and severities of a few raters that resemble each other."""
    rng = np.random.default_rng(seed)
    rows = []
    for query in queries:
        true, asked = rng.random(len(IMAGES)), rng.integers(0, 4)
        for rater in raters:
            seen = true + rng.normal(0, 0.3, len(IMAGES))
            grades = np.clip((seen * 4).astype(int), 0, 3)
            own = int(np.clip(asked + rng.integers(-1, 2), 0, 3)) if graded else None
            for rank, image in enumerate(np.argsort(seen), 1):
                grade = int(grades[image]) if graded else None
                rows.append(RankRow(query, rater, rank, IMAGES[image], query_severity=own, severity=grade))
    return rows


def ranks_of(rows, rater, query):
    order = {row.id: row.rank for row in rows if (row.rater, row.query) == (rater, query)}
    return [order[image] for image in IMAGES]


def grades_of(rows, rater):
    found = {}
    for row in rows:
        if row.rater == rater:
            found[row.query, row.id], found[row.query, row.query] = row.severity, row.query_severity
    return [found[key] for key in sorted(found)]


def by_name(found):
    return {(row.first, row.second, row.statistic): row for row in found}


def compared(rows, methods=(), **options):
    return by_name(agreement.agreement(agreement.of_ranks(rows), methods, **options))


def test_statistics_of_ranks_are_means_over_queries():
    rows = study()
    found = compared(rows)
    for a, b in itertools.combinations(("R1", "R2", "R3"), 2):
        taus = [stats.kendalltau(ranks_of(rows, a, q), ranks_of(rows, b, q)).statistic for q in QUERIES]
        row = found[a, b, "kendall-tau"]
        assert (row.n, row.left_out, row.images, row.random) == (8, 0, None, 0)
        assert (row.value, row.minimum, row.maximum) == pytest.approx((fmean(taus), min(taus), max(taus)), abs=1e-12)
        assert (row.low, row.high) == bootstrap.of_mean(taus, range(8))
        assert list(row.values.values()) == pytest.approx(taus) and list(row.values) == [
            (None, None, q) for q in QUERIES
        ]
        rhos = [stats.spearmanr(ranks_of(rows, a, q), ranks_of(rows, b, q)).statistic for q in QUERIES]
        assert found[a, b, "spearman-rho"].value == pytest.approx(fmean(rhos), abs=1e-12)
    chis = [
        stats.friedmanchisquare(*np.array([ranks_of(rows, r, q) for r in ("R1", "R2", "R3")]).T).statistic
        for q in QUERIES
    ]
    row = found["all", "", "kendall-w"]
    assert (row.value, row.random) == pytest.approx((fmean(chis) / 15, 1 / 3), abs=1e-12)


def test_statistics_of_severities_are_of_all_images_together():
    rows = study()
    found = compared(rows)
    first, second = grades_of(rows, "R1"), grades_of(rows, "R2")
    for weights in ("linear", "quadratic"):
        row = found["R1", "R2", f"kappa-{weights}"]
        assert row.value == pytest.approx(cohen_kappa_score(first, second, weights=weights, labels=[0, 1, 2, 3]))
        assert (row.n, row.images, row.minimum, dict(row.values)) == (8, 8 * 7, None, {})
        assert row.low < row.value < row.high
        assert row.value - row.low == pytest.approx(row.high - row.value)
    assert found["all", "", "icc.agreement"].images == 8 * 7
    assert found["all", "", "icc.agreement-mean"].value > found["all", "", "icc.agreement"].value
    assert ("R1", "R2", "icc.agreement-mean") not in found


def test_the_interval_of_kappa_is_the_jackknifes():
    rows = study()
    row = compared(rows)["R1", "R2", "kappa-quadratic"]

    def kappa(queries):
        kept = [r for r in rows if r.query in queries]
        return cohen_kappa_score(grades_of(kept, "R1"), grades_of(kept, "R2"), weights="quadratic", labels=[0, 1, 2, 3])

    whole = kappa(QUERIES)
    pseudo = [8 * whole - 7 * kappa([q for q in QUERIES if q != out]) for out in QUERIES]
    assert row.high - whole == pytest.approx(stats.t.ppf(0.975, 7) * stats.sem(pseudo), abs=1e-9)


def test_no_interval_reaches_past_1():
    """Two raters who differ in one image of eight queries: Student's interval is symmetric, agreement ends at 1."""
    rows = study(raters=("R1",))
    second = [replace(row, rater="R2") for row in rows]
    second[0] = replace(second[0], severity=(second[0].severity or 0) ^ 1)
    found = [row for row in compared([*rows, *second]).values() if row.images is not None]
    assert len(found) >= 4 and all(row.low < row.value < row.high == 1 for row in found)


def test_queries_that_one_rater_ranked_are_left_out_and_counted():
    rows = [row for row in study() if row.rater != "R2" or row.query in ("q0", "q1", "q2")]
    rows = [row for row in rows if row.rater != "R3" or row.query not in ("q0",)]
    found = compared(rows)
    said = {
        pair: (found[*pair, "kendall-tau"].n, found[*pair, "kendall-tau"].left_out)
        for pair in (("R1", "R2"), ("R1", "R3"), ("R2", "R3"))
    }
    assert said == {("R1", "R2"): (3, 5), ("R1", "R3"): (7, 1), ("R2", "R3"): (2, 6)}
    assert (found["all", "", "kendall-w"].n, found["all", "", "kendall-w"].left_out) == (2, 6)
    assert (found["R1", "R2", "kendall-tau"].low, found["R1", "R2", "kendall-tau"].high) == (None, None)
    assert (found["R1", "R2", "kappa-linear"].n, found["R1", "R2", "kappa-linear"].images) == (3, 21)


def test_other_catalogues_are_not_compared():
    rows = study(graded=False)
    other = [
        RankRow(r.query, r.rater, r.rank, "x" if r.query == "q0" and r.rater == "R2" and r.rank == 1 else r.id)
        for r in rows
    ]
    found = compared(other)
    assert (found["R1", "R2", "kendall-tau"].n, found["R1", "R2", "kendall-tau"].left_out) == (7, 1)
    assert (found["R1", "R3", "kendall-tau"].n, found["R1", "R3", "kendall-tau"].left_out) == (8, 0)


def test_raters_without_a_common_query_have_nothing_in_common():
    rows = study(raters=("R1", "R2"), queries=QUERIES[:3]) + study(raters=("R4",), queries=QUERIES[3:])
    row = compared(rows)["R1", "R4", "kendall-tau"]
    assert (row.n, row.left_out, row.value, row.low, row.minimum) == (0, 8, None, None, None)


def test_ungraded_images_do_not_count_for_severities():
    rows = [r if r.id != "i0" or r.rater != "R2" else RankRow(r.query, "R2", r.rank, r.id) for r in study()]
    rows = [r if r.query != "q0" or r.rater != "R1" else RankRow(r.query, "R1", r.rank, r.id) for r in rows]
    found = compared(rows)
    row = found["R1", "R2", "kappa-linear"]
    # Of q0 R1 graded nothing; of each other query six of the seven images are graded by both, or five and the query.
    missing = sum(1 for q in QUERIES[1:] for r in rows if (r.query, r.rater, r.id) == (q, "R2", "i0"))
    assert (row.n, row.left_out, row.images) == (7, 1, 7 * 7 - missing)
    assert found["R1", "R2", "kendall-tau"].n == 8


def test_without_severities_only_ranks_are_compared():
    found = compared(study(graded=False))
    assert {statistic for _, _, statistic in found} == {"kendall-tau", "spearman-rho", "kendall-w"}
    with pytest.raises(UsageError, match="kappa-linear needs severities, and the rank table has none"):
        compared(study(graded=False), statistics=["kappa-linear"])


def test_statistics_can_be_chosen():
    found = compared(study(), statistics=["kendall_w", "icc.one-way"])
    assert {key[2] for key in found} == {"kendall-w", "icc.one-way"}
    with pytest.raises(UsageError, match=r"unknown statistic of agreement 'kendall-u': did you mean kendall-"):
        compared(study(), statistics=["kendall-u"])


def test_of_two_raters_all_is_said_but_w():
    found = compared(study(raters=("R1", "R2")))
    assert {key[2] for key in found if key[0] == "all"} == {"kendall-w", "icc.agreement-mean"}
    tau, w = found["R1", "R2", "spearman-rho"].value, found["all", "", "kendall-w"].value
    assert 2 * w - 1 == pytest.approx(tau, abs=1e-12)


def run(name="ig.tsv", rows=None, rater="R1", **place):
    rows = study() if rows is None else rows
    return agreement.of_run(
        name,
        RankedLists.of(
            RunRow(r.query, int(r.rank), r.id, r.rank / 7, {}, {}, **place) for r in rows if r.rater == rater
        ),
    )


def test_methods_are_compared_with_each_rater():
    rows = study()
    found = compared(rows, [run(rater="R2")])
    assert found["ig.tsv", "R2", "kendall-tau"].value == pytest.approx(1)
    assert found["ig.tsv", "R1", "kendall-tau"].value == pytest.approx(found["R1", "R2", "kendall-tau"].value)
    assert ("ig.tsv", "R1", "kappa-linear") not in found and ("R1", "ig.tsv", "kendall-tau") not in found
    assert found["all", "", "kendall-w"].value == compared(rows)["all", "", "kendall-w"].value


def test_a_run_that_was_cut_off_is_not_compared():
    short = [row for row in study() if row.rank <= 4 or row.query != "q3"]
    row = compared(study(), [run(rows=short)])["ig.tsv", "R1", "kendall-tau"]
    assert (row.n, row.left_out) == (7, 1)


def test_a_rank_table_need_not_have_the_runs_seeds():
    row = compared(study(), [run(seed=5, set=1)])["ig.tsv", "R1", "kendall-tau"]
    assert (row.n, row.left_out, row.value) == (8, 0, pytest.approx(1))
    assert set(row.values) == {(5, 1, q) for q in QUERIES}
    seeded = [RankRow(r.query, r.rater, r.rank, r.id, 5, 1) for r in study()]
    with pytest.raises(UsageError, match="the expert ranks have a seed and a set for each query, but the run has none"):
        compared(seeded, [run()])


def test_one_rater_agrees_with_nobody():
    with pytest.raises(UsageError, match="two raters at least, or runs"):
        compared(study(raters=("R1",)))
    found = compared(study(raters=("R1",)), [run()])
    assert set(found) == {("ig.tsv", "R1", "kendall-tau"), ("ig.tsv", "R1", "spearman-rho")}


def test_queries_of_one_patient_are_one():
    rows = study(queries=[f"q{i}" for i in range(12)])
    free = compared(rows)["R1", "R2", "kendall-tau"]
    patients = {f"q{i}": f"p{i // 2}" for i in range(12)}
    tied = compared(rows, patients=patients)["R1", "R2", "kendall-tau"]
    values = list(free.values.values())
    assert (tied.value, tied.low, tied.high) == (free.value, *bootstrap.of_mean(values, [i // 2 for i in range(12)]))
    assert tied.low != pytest.approx(free.low, abs=1e-6)
    few = compared(rows, patients=dict.fromkeys(patients, "p"))["R1", "R2", "kendall-tau"]
    assert (few.low, few.high) == (None, None)


def test_catalogues_of_one_query_image_are_one():
    rows = [RankRow("q", r.rater, r.rank, r.id, 1, int(r.query[1:])) for r in study()]
    row = compared(rows)["R1", "R2", "kendall-tau"]
    assert (row.n, row.low) == (8, None)


# Text


def test_tsv():
    found = list(compared(study(), [run("a\tb.tsv")]).values())
    lines = "".join(agreement_tables.tsv(found)).splitlines()
    assert lines[0].split("\t") == list(agreement_tables.COLUMNS)
    cells = [dict(zip(agreement_tables.COLUMNS, line.split("\t"), strict=True)) for line in lines[1:]]
    for row, cell in zip(found, cells, strict=True):
        assert (cell["first"], cell["second"], cell["n"]) == (row.first.replace("\t", " "), row.second, str(row.n))
        assert cell["value"] == f"{row.value:.4f}" and cell["images"] == ("" if row.images is None else str(row.images))
        assert cell["random"] == ("" if row.statistic.startswith("icc") else f"{row.random:.4f}")


def test_json_is_unrounded_and_has_every_query():
    found = list(compared(study()).values())
    rows = [json.loads(line) for line in agreement_tables.json_lines(found)]
    assert [row["value"] for row in rows] == [row.value for row in found]
    assert rows[0]["queries"][1] == {
        "seed": None,
        "set": None,
        "query": "q1",
        "value": list(found[0].values.values())[1],
    }
    assert [row["queries"] for row, one in zip(rows, found, strict=True) if one.images] == [[]] * 15


def test_tables_for_a_person():
    ranks, severities = agreement_tables.tables(list(compared(study(), [run()]).values()))
    assert ranks.columns == ("", "n", "kendall-tau", "spearman-rho", "kendall-w")
    assert [row[0] for row in ranks.rows] == [
        "R1 – R2",
        "R1 – R3",
        "R2 – R3",
        "ig.tsv – R1",
        "ig.tsv – R2",
        "ig.tsv – R3",
        "all",
    ]
    assert severities.rows[0][1] == "56" and severities.rows[-1][0] == "all"
    assert ranks.rows[-1][2:4] == ("–", "–")
    only = agreement_tables.tables(list(compared(study(graded=False)).values()))
    assert [table.title for table in only] == ["Ranks"]


def test_an_opinion_may_be_of_ranks_alone():
    one = Opinion("a", {(None, None, "q"): {"x": 1, "y": 2}})
    (row, *_) = agreement.agreement([one, one])
    assert (row.statistic, row.value, row.n) == ("kendall-tau", pytest.approx(1), 1)


def test_a_query_without_an_image_that_both_graded_does_not_count():
    rows = [
        RankRow(r.query, r.rater, r.rank, r.id)
        if r.query == "q0" and r.id != {"R1": "i0", "R2": "i1", "R3": "i2"}[r.rater]
        else RankRow(r.query, r.rater, r.rank, r.id, severity=r.severity)
        for r in study()
    ]
    row = compared(rows)["R1", "R2", "kappa-linear"]
    assert (row.n, row.left_out, row.images) == (7, 1, 7 * 6)
