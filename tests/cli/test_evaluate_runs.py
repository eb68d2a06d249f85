"""Runs from an index to scores: leave-one-out, classes, groups, ties and qrels, against plain loops."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record

CLASSES = ("normal", "pneumonia", "covid")
COUNT = 60


def make(path, count=COUNT, seed=3):
    """Images of three classes, a few of none or two; patients of two images, some with a copy under another name."""
    rng = np.random.default_rng(seed)
    vectors, records, contents = [], [], []
    for n in range(count):
        its = n % 3
        labels = {name: int(place == its) for place, name in enumerate(CLASSES)}
        if n == 7:
            labels = dict.fromkeys(CLASSES, 1)
        if n == 11:
            labels = {}
        if n == 20:
            labels["covid"] = -1
        vectors.append(rng.integers(-2, 3, 4) + np.eye(3, 4)[its])
        unknown = n % 10 == 4 or n == 45
        records.append(
            Record(
                id=f"i {n:02d}",
                path=Path(f"{n}.png"),
                relative=f"{n}.png",
                labels=labels,
                patient="" if unknown else f"p{n // 2}",
                study=f"s{n // 4}" if n % 6 == 0 else "",
                view=("AP", "PA", "")[n % 5 % 3],
                sex="FM"[n % 4 // 2],
                age=None if n == 1 else 20 + n,
                source="ABC"[n // 20],
            )
        )
        contents.append(f"{n - 30 if n in (34, 45) else n:016x}")  # the files of 4 and 34, 15 and 45 are the same
    table = from_records(records, contents, Pseudonyms(b"a key"))
    targets = list(CLASSES)
    space = embeddings.Space("l2", "0" * 64, "cnn", targets, targets, source="ward")
    embeddings.write(str(path), np.array(vectors, np.float32), table, space, history=[])
    return np.array(vectors, np.float64), records, contents


def own(records, contents, n):
    """Who is kept from a query, in plain words: the same file, the same patient, and the studies of these."""
    kept = {m for m in range(len(records)) if contents[m] == contents[n] or m == n}
    patients = {records[m].patient for m in kept} - {None, ""}
    kept |= {m for m in range(len(records)) if records[m].patient in patients}
    studies = {records[m].study for m in kept} - {None, ""}
    return kept | {m for m in range(len(records)) if records[m].study in studies}


def class_of(record):
    positive = [name for name in CLASSES if record.labels.get(name) == 1]
    return positive[0] if len(positive) == 1 and sum(map(abs, record.labels.values())) <= 2 else None


@pytest.fixture(scope="module")
def world(tmp_path_factory, cbir):
    folder = tmp_path_factory.mktemp("evaluate")
    vectors, records, contents = make(folder / "emb.h5")
    for arguments, name in (
        (("index", "emb.h5"), "idx.h5"),
        (("query", "idx.h5", "idx.h5", "-k", str(COUNT)), "run.tsv"),
        (("query", "idx.h5", "idx.h5", "-k", str(COUNT), "--format", "trec"), "run.trec"),
        (("query", "idx.h5", "idx.h5", "-k", "5"), "short.tsv"),
    ):
        ran = cbir(*arguments, cwd=folder)
        assert ran.status == 0, ran.err
        (folder / name).write_bytes(ran.data)
    lists = {}
    for n, vector in enumerate(vectors):
        rest = [m for m in range(COUNT) if m not in own(records, contents, n)]
        lists[n] = sorted(rest, key=lambda m: (np.sum((vectors[m] - vector) ** 2), records[m].id))
    return folder, records, lists


def scores(cbir, folder, *arguments):
    ran = cbir("evaluate", *arguments, "--format", "json", cwd=folder)
    assert ran.status == 0, ran.err
    found = [json.loads(line) for line in ran.out.splitlines()]
    return {(one["metric"], one["group"]): one for one in found}, ran.err


def plain(records, lists):
    """P@1, P@5, AP, R-precision and 3-NN accuracy of each query of one class, and the chance of the first."""
    values = {}
    for n, found in lists.items():
        its = class_of(records[n])
        if its is None:
            continue
        hits = [class_of(records[m]) == its for m in found]
        relevant = sum(hits)
        votes = Counter(of for m in found[:3] if (of := class_of(records[m])) is not None)
        best = [name for name, count in votes.items() if count == max(votes.values())]
        precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
        values[records[n].id] = {
            "precision@1": float(hits[0]),
            "precision@5": sum(hits[:5]) / 5,
            "average-precision": sum(precisions) / relevant,
            "r-precision": sum(hits[:relevant]) / relevant,
            "chance": relevant / len(found),
            "vote": float(its == best[0]) if len(best) == 1 else None,
        }
    return values


@pytest.mark.parametrize("run", ["run.tsv", "run.trec"])
def test_leave_one_out_by_class_is_that_of_plain_loops(cbir, world, run):
    folder, records, lists = world
    wanted = plain(records, lists)
    assert len(wanted) == COUNT - 3
    metrics = "p@1,p@5,average-precision,r-precision,knn-accuracy@3"
    found, err = scores(
        cbir, folder, run, "--items", "idx.h5", "--label", "classes", "--metrics", metrics, "--by", "class"
    )
    assert "precision@5: 3 of 60 queries left out" in err
    for metric in metrics.replace("p@", "precision@").split(",")[:4]:
        whole = found[metric, ""]
        values = {one["query"]: one["value"] for one in whole["queries"]}
        assert values == pytest.approx({name: its[metric] for name, its in wanted.items()}), metric
        assert whole["against"] == "classes normal, pneumonia, covid" and whole["left_out"] == 3
        means = []
        for name in CLASSES:
            its = [wanted[r.id][metric] for r in records if class_of(r) == name]
            assert found[metric, f"class={name}"]["mean"] == pytest.approx(statistics.fmean(its))
            assert found[metric, f"class={name}"]["n"] == len(its)
            means.append(statistics.fmean(its))
        assert found[metric, "class=macro"]["mean"] == pytest.approx(statistics.fmean(means))
        assert (metric, "class=?") not in found
    chance = {one["query"]: one["random"] for one in found["precision@1", ""]["queries"]}
    assert chance == pytest.approx({name: its["chance"] for name, its in wanted.items()})
    votes = {one["query"]: one["value"] for one in found["knn-accuracy@3", ""]["queries"]}
    clear = {name: its["vote"] for name, its in wanted.items() if its["vote"] is not None}
    assert len(clear) > 30 and {name: votes[name] for name in clear} == clear


def test_one_of_several_labels_makes_two_classes(cbir, world):
    folder, records, lists = world
    options = ("--label", "covid", "--metrics", "p@1", "--by", "class")
    found, _ = scores(cbir, folder, "run.tsv", "--items", "idx.h5", *options)
    stated = [n for n in range(COUNT) if records[n].labels.get("covid") in (0, 1)]
    hit = [records[lists[n][0]].labels.get("covid") == records[n].labels["covid"] for n in stated]
    assert found["precision@1", ""]["mean"] == pytest.approx(np.mean(hit)) and len(stated) == COUNT - 2
    assert [group for _, group in found] == ["", "class=covid", "class=no covid", "class=macro"]


def test_labels_that_make_the_classes_may_be_chosen(cbir, world):
    folder, records, _ = world
    options = ("--label", "classes", "--set", "labels=normal,covid", "--metrics", "p@1", "--by", "class")
    found, _ = scores(cbir, folder, "run.tsv", "--items", "idx.h5", *options)
    groups = {group: one["n"] for (_, group), one in found.items()}
    assert list(groups) == ["", "class=normal", "class=covid", "class=none", "class=macro"]
    assert groups["class=none"] == sum(r.labels.get("normal") == r.labels.get("covid") == 0 for r in records)


def test_groups_are_those_of_the_query(cbir, world):
    folder, records, lists = world
    wanted = plain(records, lists)
    found, err = scores(
        cbir,
        folder,
        "run.tsv",
        "--items",
        "idx.h5",
        "--label",
        "classes",
        "--metrics",
        "p@5",
        "--by",
        "view,source,sex,age",
    )
    of = {
        "view": lambda r: r.view or "?",
        "source": lambda r: r.source,
        "sex": lambda r: r.sex,
        "age": lambda r: "?" if r.age is None else f"{r.age // 10 * 10}-{r.age // 10 * 10 + 9}",
    }
    names = [""]
    for by, group in of.items():
        every = {}
        for record in records:
            if record.id in wanted:
                every.setdefault(f"{by}={group(record)}", []).append(wanted[record.id]["precision@5"])
        for name, values in every.items():
            assert found["precision@5", name]["mean"] == pytest.approx(statistics.fmean(values))
            assert found["precision@5", name]["n"] == len(values)
        names += sorted(every, key=lambda name: (name.endswith("?"), name))
        low = min(every, key=lambda name: statistics.fmean(every[name]))
        assert f"precision@5: lowest in {low}, {statistics.fmean(every[low]):.4f} (n = {len(every[low])})" in err
    assert [group for _, group in found] == names
    assert ("precision@5", "age=?") in found and ("precision@5", "view=?") in found


def test_a_table_marks_the_lowest_group(cbir, world):
    folder, _, _ = world
    options = ("--label", "classes", "--metrics", "p@1", "--by", "class,sex", "--format", "table", "-q")
    ran = cbir("evaluate", "run.tsv", "--items", "idx.h5", *options, cwd=folder)
    rows = [line.split() for line in ran.out.splitlines() if line.startswith(" ") and line.strip()]
    assert ran.status == 0 and [row[0] for row in rows if "*" in row] and "* lowest mean" in ran.out
    marked = [row[0].partition("=")[0] for row in rows if "*" in row]
    assert marked == ["class", "sex"] and any(row[0] == "class=macro" and row[1] == "57" for row in rows)


def test_ties_are_averaged(cbir, world):
    folder, records, _ = world
    options = ("--items", "idx.h5", "--label", "classes", "--metrics", "p@1,p@5,recall@5,average-precision")
    ranked, _ = scores(cbir, folder, "run.tsv", *options)
    again, _ = scores(cbir, folder, "run.tsv", *options, "--ties", "rank")
    found, _ = scores(cbir, folder, "run.tsv", *options, "--ties", "average")
    assert again == ranked and found["precision@1", ""]["against"].endswith(", ties averaged")
    rows = [line.split("\t") for line in (folder / "run.tsv").read_text().splitlines()[1:]]
    value = {one["query"]: one["value"] for one in found["precision@1", ""]["queries"]}
    by_id = {record.id: record for record in records}
    for record in records:
        if (its := class_of(record)) is not None:
            far = {row[2]: row[3] for row in rows if row[0] == record.id}
            nearest = [one for one in far if far[one] == min(far.values(), key=float)]
            hits = [class_of(by_id[one]) == its for one in nearest]
            assert value[record.id] == pytest.approx(np.mean(hits))
    assert found["precision@1", ""]["mean"] != ranked["precision@1", ""]["mean"]
    assert found["average-precision", ""]["n"] == COUNT - 3  # lists may end in a tie if they are whole
    assert found["precision@1", ""]["random"] == ranked["precision@1", ""]["random"]


def test_lists_that_are_not_sorted_cannot_have_ties(cbir, tmp_path):
    run = "query\trank\tid\tdistance\tquery_labels\tlabels\nq\t1\ta\t2\tA=1\tA=1\nq\t2\tb\t1\tA=1\tA=0\n"
    (tmp_path / "run.tsv").write_text(run)
    ran = cbir("evaluate", "run.tsv", "--metrics", "p@1", "--ties", "average", cwd=tmp_path)
    assert (
        ran.status == 2 and "run.tsv: --ties average: distances: expected each list to go from near to far" in ran.error
    )


# --- qrels ------------------------------------------------------------------------------------------------------------

PAIRS = {
    "precision@5": "P@5",
    "recall@10": "R@10",
    "r-precision": "Rprec",
    "average-precision": "AP",
    "reciprocal-rank@60": "RR",
    "success@3": "Success@3",
}


def test_other_tools_agree_with_the_qrels_of_classes(cbir, world):
    measures = pytest.importorskip("ir_measures", reason="needs ir_measures (and pytrec_eval-terrier)")
    folder, _, _ = world
    ran = cbir("evaluate", "run.tsv", "--items", "idx.h5", "--label", "classes", "--format", "qrels", cwd=folder)
    assert ran.status == 0 and set(line.split()[3] for line in ran.out.splitlines()) == {"1"}
    (folder / "classes.qrels").write_bytes(ran.data)
    wanted = [measures.parse_measure(name) for name in PAIRS.values()]
    # trec_eval sorts by score alone, and breaks ties by id in reverse: hand it the ranks instead.
    lines = [line.split() for line in (folder / "run.trec").read_text().splitlines()]
    (folder / "ranks.trec").write_text(
        "".join(" ".join([*ids, rank, str(-int(rank)), tag]) + "\n" for *ids, rank, _, tag in lines)
    )
    pairs = measures.read_trec_qrels(str(folder / "classes.qrels")), measures.read_trec_run(str(folder / "ranks.trec"))
    theirs = {(str(one.measure), one.query_id): one.value for one in measures.iter_calc(wanted, *pairs)}
    by_label, _ = scores(
        cbir, folder, "run.trec", "--items", "idx.h5", "--label", "classes", "--metrics", ",".join(PAIRS)
    )
    by_qrels, err = scores(
        cbir, folder, "run.trec", "--items", "idx.h5", "--qrels", "classes.qrels", "--metrics", ",".join(PAIRS)
    )
    alone, _ = scores(cbir, folder, "run.trec", "--qrels", "classes.qrels", "--metrics", ",".join(PAIRS))
    for ours, name in PAIRS.items():
        for found in (by_label, by_qrels, alone):
            values = {one["query"].replace(" ", "%20"): one["value"] for one in found[ours, ""]["queries"]}
            assert len(values) == COUNT - 3
            assert values == pytest.approx({query: theirs[name, query] for query in values}, abs=1e-9), ours
        assert by_qrels[ours, ""]["random"] == pytest.approx(by_label[ours, ""]["random"])
        assert alone[ours, ""]["random"] is None
    assert by_qrels["precision@5", ""]["against"] == "qrels classes.qrels"
    assert "precision@5: 3 of 60 queries left out" in err


RANKED = "query\trank\tid\tdistance\tquery_labels\tlabels\n" + "".join(
    f"{query}\t{rank}\t{one}\t{rank}\t\t\n" for query in "qp" for rank, one in enumerate("dbcae", start=1)
)
RANKS = "query,rater,rank,id\n" + "".join(
    f"{query},R1,{rank},{one}\n" for query in "qp" for rank, one in enumerate("abcde", start=1)
)


def test_the_qrels_of_ranks_keep_ndcg_with_linear_gain(cbir, tmp_path):
    (tmp_path / "run.tsv").write_text(RANKED)
    (tmp_path / "ranks.csv").write_text(RANKS)
    ran = cbir("evaluate", "run.tsv", "--raters", "ranks.csv", "--format", "qrels", cwd=tmp_path)
    (tmp_path / "ranks.qrels").write_bytes(ran.data)
    assert ran.out.splitlines()[:5] == ["q 0 a 6", "q 0 b 5", "q 0 c 4", "q 0 d 3", "q 0 e 2"]
    metrics = ("--metrics", "ndcg-linear@3,ndcg@3")
    ranks, _ = scores(cbir, tmp_path, "run.tsv", "--raters", "ranks.csv", *metrics)
    grades, _ = scores(cbir, tmp_path, "run.tsv", "--qrels", "ranks.qrels", *metrics)
    assert grades["ndcg-linear@3", ""]["mean"] == pytest.approx(ranks["ndcg-linear@3", ""]["mean"])
    assert grades["ndcg@3", ""]["mean"] != pytest.approx(ranks["ndcg@3", ""]["mean"])
    discount = 1 / np.log2([2, 3, 4])
    by_hand = (2.0 ** np.array([3, 5, 4]) - 1) @ discount / ((2.0 ** np.array([6, 5, 4]) - 1) @ discount)
    assert grades["ndcg@3", ""]["mean"] == pytest.approx(by_hand)


def test_what_is_not_listed_is_not_relevant(cbir, tmp_path):
    (tmp_path / "run.tsv").write_text(RANKED)
    (tmp_path / "few.qrels").write_text("q 0 b 2\nq 0 d -1\nq 0 c 0\nq 0 elsewhere 1\nother 0 a 1\n")
    found, err = scores(
        cbir, tmp_path, "run.tsv", "--qrels", "few.qrels", "--metrics", "p@3,recall@3,ndcg-linear@3,reciprocal-rank@5"
    )
    values = {metric: [one["mean"], one["n"], one["left_out"]] for (metric, _), one in found.items()}
    ndcg = 2 / np.log2(3) / (2 + 1 / np.log2(3))
    assert values == {
        "precision@3": [pytest.approx(1 / 3), 1, 1],
        "recall@3": [0.5, 1, 1],
        "ndcg-linear@3": [pytest.approx(ndcg), 1, 1],
        "reciprocal-rank@5": [0.5, 1, 1],
    }
    assert all(one["random"] is None and one["p_random"] is None for one in found.values())  # a catalogue of any size
    assert "1 queries of the qrels have no list in the run, such as 'other'" in err


def test_queries_without_sets_serve_a_run_that_has_them(cbir, tmp_path):
    body = "".join(f"{line}\t1\t2\n" for line in RANKED.splitlines()[1:])
    (tmp_path / "run.tsv").write_text(RANKED.splitlines()[0] + "\tseed\tset\n" + body)
    for text in ("q 0 d 1\np 0 e 1\n", "1:2:q 0 d 1\n1:2:p 0 e 1\n"):
        (tmp_path / "x.qrels").write_text(text)
        found, _ = scores(cbir, tmp_path, "run.tsv", "--qrels", "x.qrels", "--metrics", "p@1")
        assert (found["precision@1", ""]["mean"], found["precision@1", ""]["n"]) == (0.5, 2)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--qrels", "x.qrels", "--label", "A"], 2, "--label does not go with --qrels"),
        (["--qrels", "x.qrels", "--raters", "ranks.csv"], 2, "--raters does not go with --qrels"),
        (["--qrels", "other.qrels"], 2, "run.tsv: the qrels judge no query of the run"),
        (["--qrels", "bad.qrels"], 1, "bad.qrels, line 1: expected query 0 id grade"),
        (["--qrels", "x.qrels", "--metrics", "knn-accuracy@3"], 2, "a metric of labels or classes cannot go by them"),
        (["--format", "qrels"], 2, "not to be had from the run: give --items INDEX"),
        (["--format", "qrels", "--metrics", "p@1"], 2, "--metrics does not go with --format qrels"),
        (["--format", "qrels", "--by", "sex"], 2, "--by does not go with --format qrels"),
        (["--format", "qrels", "--label", "all"], 2, "qrels are of one label"),
        (["run.tsv", "--format", "qrels"], 2, "expected one run"),
        (["--by", "sex", "--qrels", "x.qrels"], 2, "give --items INDEX"),
        (["--by", "height", "--qrels", "x.qrels"], 2, "unknown group 'height'"),
        (["--by", "class", "--qrels", "x.qrels"], 2, "the run states no labels"),
        (["--label", "classes", "--metrics", "p@1"], 2, "the run states no labels"),
        (["--masks", "m", "--by", "sex"], 2, "--by does not go with --masks"),
        (["--masks", "m", "--qrels", "x.qrels"], 2, "--qrels does not go with --masks"),
        (["--ties", "mean", "--qrels", "x.qrels"], 2, "--ties"),
    ],
)
def test_what_does_not_go_together(cbir, tmp_path, options, status, words):
    (tmp_path / "run.tsv").write_text(RANKED)
    (tmp_path / "ranks.csv").write_text(RANKS)
    for name, text in (("x", "q 0 a 1\n"), ("other", "z 0 a 1\n"), ("bad", "q a 1\n")):
        (tmp_path / f"{name}.qrels").write_text(text)
    ran = cbir("evaluate", "run.tsv", *options, cwd=tmp_path)
    assert ran.status == status and words in ran.error, ran.err


def test_a_run_of_another_index_is_refused(cbir, world, tmp_path):
    folder, records, _ = world
    image = records[3].id
    text = "".join(
        "\t".join([*cells[:2], "elsewhere" if cells[2] == image else cells[2], *cells[3:]])
        for cells in (line.split("\t") for line in (folder / "run.tsv").read_text().splitlines(keepends=True))
    )
    (tmp_path / "run.tsv").write_text(text)
    ran = cbir("evaluate", "run.tsv", "--items", folder / "idx.h5", "--label", "classes", cwd=tmp_path)
    assert (ran.status, ran.out) == (1, "")
    assert "run.tsv: 1 of" in ran.error and "not in --items, such as 'elsewhere'" in ran.error


def test_a_run_with_labels_and_no_index_has_no_qrels_of_them(cbir, world):
    folder, _, _ = world
    ran = cbir("evaluate", "run.tsv", "--label", "classes", "--format", "qrels", cwd=folder)
    assert ran.status == 2 and "not to be had from the run: give --items INDEX" in ran.error


def test_a_run_is_scored_without_torch_or_pandas(world):
    folder, _, _ = world
    code = (
        "import sys; from cbir_cli.cli.main import main\n"
        "main(['evaluate', 'run.tsv', '--items', 'idx.h5', '--label', 'classes', '--by', 'class,sex', '-q'])\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'matplotlib', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
