"""``cbir evaluate``: intervals, comparisons, files of one method, and what a table says beside the mean."""

import json

import numpy as np
import pytest

QUERIES, RESULTS = 24, 6


def run(path, seed, hit, queries=QUERIES):
    """Write a run whose results are relevant with some probability; every query is of class 1."""
    rng = np.random.default_rng(seed)
    lines = ["query\trank\tid\tdistance\tquery_labels\tlabels\n"]
    for query in range(queries):
        for rank in range(1, RESULTS + 1):
            code = int(rng.random() < hit)
            lines.append(f"q{query:02d}\t{rank}\ti{rank}\t{rank / 10}\tx=1\tx={code}\n")
    path.write_text("".join(lines))


@pytest.fixture
def runs(tmp_path):
    for name, seed, hit in (("good-1", 1, 0.9), ("good-2", 2, 0.9), ("fair-1", 3, 0.6), ("fair-2", 4, 0.6)):
        run(tmp_path / f"{name}.tsv", seed, hit)
    run(tmp_path / "poor.tsv", 5, 0.3)
    return tmp_path


def rows(ran):
    header, *lines = (line.split("\t") for line in ran.out.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


P = ["--metrics", "p@3,p@6"]


def test_every_mean_has_an_interval(good, runs):
    for row in rows(good("evaluate", "good-1.tsv", "poor.tsv", *P, cwd=runs)):
        low, mean, high = (float(row[name]) for name in ("low", "mean", "high"))
        assert 0 <= low < mean < high <= 1 and row["p_random"] == ""
    assert good("evaluate", "poor.tsv", *P, "--format", "json", cwd=runs).out.count('"low": 0.') == 2


def test_of_few_queries_it_says_so_once(good, tmp_path):
    run(tmp_path / "few.tsv", 1, 0.5, queries=5)
    ran = good("evaluate", "few.tsv", *P, "-q", cwd=tmp_path)
    assert all(row["low"] == row["high"] == "" for row in rows(ran))
    assert ran.error == (
        "warning: precision@3 of few.tsv is over 5 queries: too few for an interval, and a paired test of two methods "
        "gives p = 0.062 at best (2 of 2 scores are over fewer than 20)"
    )


def test_all_pairs_are_compared(good, runs):
    names = ["good-1.tsv", "fair-1.tsv", "poor.tsv"]
    ran = good("evaluate", *names, *P, "--compare", "all", "-q", cwd=runs)
    found = rows(ran)
    assert list(found[0]) == ["a", "b", "metric", "group", "n", "difference", "low", "high", "p", "p_holm"]
    assert [(r["a"], r["b"]) for r in found if r["metric"] == "precision@3"] == [
        (names[0], names[1]),
        (names[0], names[2]),
        (names[1], names[2]),
    ]
    assert all(float(r["p"]) <= float(r["p_holm"]) for r in found)
    far = [r for r in found if (r["a"], r["b"]) == (names[0], names[2])]
    assert all(float(r["low"]) > 0.3 and float(r["p_holm"]) < 0.001 for r in far)
    again = good("evaluate", *names, *P, "--compare", "all", "-q", cwd=runs)
    assert again.out == ran.out


def test_one_method_is_compared_as_json_and_as_a_table(good, runs):
    command = ["evaluate", "good-1.tsv", "poor.tsv", "fair-1.tsv", "--metrics", "p@6", "-q", "--compare", "poor"]
    found = [json.loads(line) for line in good(*command, "--format", "json", cwd=runs).out.splitlines()]
    assert [(r["a"], r["b"], r["n"], r["patients"]) for r in found] == [
        ("poor.tsv", "good-1.tsv", 24, 24),
        ("poor.tsv", "fair-1.tsv", 24, 24),
    ]
    table = good(*command, "--format", "table", cwd=runs).out
    assert f"{found[0]['difference']:.4f}" in table and "p_holm" in table and "Holm" not in table


def test_files_of_one_method_are_one_row(good, runs):
    names = ["good-1.tsv", "good-2.tsv", "fair-1.tsv", "fair-2.tsv"]
    single = rows(good("evaluate", *names, "--metrics", "p@6", "-q", cwd=runs))
    ran = good("evaluate", *names, "--metrics", "p@6", "--over-files", cwd=runs)
    found = rows(ran)
    assert [row["file"] for row in found] == ["good-*.tsv", "fair-*.tsv"]
    assert "good-*.tsv: over 2 files: good-1.tsv, good-2.tsv" in ran.err
    means = [float(row["mean"]) for row in single]
    assert float(found[0]["mean"]) == pytest.approx(np.mean(means[:2]), abs=1e-4)
    assert float(found[1]["sd"]) == pytest.approx(np.std(means[2:], ddof=1), abs=1e-4)
    table = good(
        *("evaluate", *names, "--metrics", "p@6", "-q", "--over-files", "--spread", "sd", "--format", "table"), cwd=runs
    ).out
    assert f"{np.mean(means[:2]):.2f} ± {np.std(means[:2], ddof=1):.2f}" in table and "standard deviation" in table
    compared = rows(
        good("evaluate", *names, "--metrics", "p@6", "-q", "--over-files", "--compare", "good-*.tsv", cwd=runs)
    )
    assert [(r["a"], r["b"]) for r in compared] == [("good-*.tsv", "fair-*.tsv")]
    assert float(compared[0]["difference"]) == pytest.approx(np.mean(means[:2]) - np.mean(means[2:]), abs=1e-4)


def test_a_table_says_what_it_is_asked(good, runs):
    command = ["evaluate", "poor.tsv", "--metrics", "p@6", "-q", "--format", "table"]
    (row,) = [json.loads(x) for x in good(*command[:-1], "json", cwd=runs).out.splitlines()]
    values = [query["value"] for query in row["queries"]]
    interval, extent = (row["low"], row["high"]), (min(values), max(values))

    def shown(*options):
        lines = good(*command, *options, cwd=runs).out.splitlines()
        return [line.split(maxsplit=1)[1] for line in lines if "precision@6" in line or "95 %  " in line]

    mean = f"{row['mean']:.2f}"
    first, second = shown()
    assert first.startswith(f"{mean} [{extent[0]:.2f}, {extent[1]:.2f}]")
    assert second.split("%")[1].split() == [f"{interval[0]:.2f}", "to", f"{interval[1]:.2f}"]
    quartiles = np.quantile(values, [0.5, 0.25, 0.75])
    for spread, text in {
        "range": f"{mean} [{extent[0]:.2f}, {extent[1]:.2f}]",
        "ci": f"{mean} [{interval[0]:.2f}, {interval[1]:.2f}]",
        "sd": f"{mean} ± {row['sd']:.2f}",
        "box": "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles),
    }.items():
        (cell,) = shown("--spread", spread)
        assert cell.startswith(text), spread


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--spread", "sd"], "--spread: a table of scores alone"),
        (["--spread", "sd", "--compare", "all", "--format", "table"], "--spread: a table of scores alone"),
        (["--compare", "nobody"], "unknown method to compare 'nobody'"),
        (["--over-files"], "--over-files: no two names differ"),
    ],
)
def test_what_does_not_go_together_is_one_line(cbir, runs, options, says):
    ran = cbir("evaluate", "good-1.tsv", "poor.tsv", "--metrics", "p@6", "-q", *options, cwd=runs)
    assert (ran.status, ran.out) == (2, "") and says in ran.error


def test_explanations_take_none_of_it(cbir, chain):
    for options in (["--compare", "all"], ["--over-files"], ["--spread", "sd", "--format", "table"]):
        ran = cbir("evaluate", "ex.h5", "-q", *options, cwd=chain)
        assert ran.status == 2 and ran.error == f"cbir evaluate: {options[0]} does not go with explanations"


def test_scores_that_random_rankings_reach_are_marked(good, chain):
    command = ["evaluate", "cnn.tsv", "--raters", "ranks.csv", "--split", "split.tsv", "--metrics", "ndcg@3", "-q"]
    reached = [float(row["p_random"]) for row in rows(good(*command, cwd=chain))]  # of the run and two raters
    table = good(*command, "--format", "table", cwd=chain).out
    assert len(reached) == 3 and all(0 < p <= 1 for p in reached)
    assert table.split("random:")[0].count("°") == sum(p > 0.05 for p in reached)
