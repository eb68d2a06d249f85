"""A run scored by sets of labels, with the baseline of its catalogue, against loops over the images."""

import numpy as np
import pytest
from growth import image, write_embedding

from cbir_cli import shared_labels
from cbir_cli.artifacts.run import RunRow, tsv
from cbir_cli.catalogues import Catalogues, by_patient
from cbir_cli.errors import UsageError
from cbir_cli.evaluation import score
from cbir_cli.label_policy import Policy
from cbir_cli.label_truth import LabelTruth, named
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.records import MISSING
from cbir_cli.run_labels import RunLabels
from cbir_cli.splits import SplitRow
from cbir_cli.stages import evaluate as evaluating

NAMES = ("A", "B", "C")
ALL = [f"{name}@4" for name in ("acg", "acg-p-total", "acg-p-query", "acg-p-union", "precision-any", "precision-exact")]


def world(seed=0, images=30, k=6):
    """Codes of images, patients, and the rows of a run whose queries are images of it."""
    rng = np.random.default_rng(seed)
    ids = [f"i{n:02d}" for n in range(images)]
    labels = {name: dict(zip(ids, rng.choice([1, 0, 0, -1, MISSING], images).tolist(), strict=True)) for name in NAMES}
    patients = {one: f"p{n // 3}" for n, one in enumerate(ids) if n % 5}
    rows = []
    for query in ids[::4]:
        others = [one for one in ids if one != query and (one not in patients or patients.get(query) != patients[one])]
        for rank, one in enumerate(rng.permutation(others)[:k].tolist(), start=1):
            rows.append(RunRow(query, rank, one, float(rank), stated(labels, query), stated(labels, one), None, None))
    return labels, patients, rows


def stated(labels, one):
    return {name: codes[one] for name, codes in labels.items() if codes[one] != MISSING}


def truth_of(rows, names=NAMES, policy=None, *, labels=None, patients=None, split=None):
    lists = RankedLists.of(rows)
    catalogues = None
    if labels or split:
        ids = list(next(iter(labels.values()))) if labels else lists.names
        catalogues = Catalogues(ids, by_patient(ids, patients or {}), split)
    return LabelTruth(RunLabels(lists, labels, policy), names, catalogues)


@pytest.mark.parametrize("policy", [Policy(), Policy("positive", "negative")])
def test_scores_and_chance_are_those_of_plain_loops(policy):
    labels, patients, rows = world()
    found = score(truth_of(rows, policy=policy, labels=labels, patients=patients), ALL)
    assert [its.metric for its in found] == ALL
    queries = sorted({row.query for row in rows})

    def codes(one):
        return [policy(labels[name][one]) for name in NAMES]

    for its, kind in zip(
        found,
        ("agreement", "positives-of-total", "positives-of-query", "positives-of-union", "any", "exact"),
        strict=True,
    ):
        values, chance = {}, {}
        for query in queries:
            if not shared_labels.defined(kind, [codes(query)])[0]:
                continue
            grade = lambda one: shared_labels.relevance(kind, [codes(query)], [[codes(one)]])[0, 0]  # noqa: B023, E731
            listed = [row.id for row in sorted(rows, key=lambda r: r.rank) if row.query == query]
            values[None, None, query] = sum(map(grade, listed[:4])) / 4
            mine = patients.get(query)
            pool = [one for one in labels["A"] if one != query and (mine is None or patients.get(one) != mine)]
            chance[None, None, query] = sum(map(grade, pool)) / len(pool)
        assert its.values == pytest.approx(values) and its.chance == pytest.approx(chance)
        assert (its.n, its.left_out) == (len(values), len(queries) - len(values))
        assert its.random == pytest.approx(np.mean(list(chance.values())))
        assert its.against == f"labels A, B, C{policy}: {shared_labels.WORDS[kind]}"


def test_without_a_catalogue_there_is_no_baseline():
    rows = world()[2]
    (found,) = score(truth_of(rows), ["acg@4"])
    assert found.random is None and found.mean is not None


def test_sets_of_a_split_table():
    labels, _, rows = world()
    split, moved = [], []
    for number, query in enumerate(sorted({row.query for row in rows})):
        mine = [row for row in rows if row.query == query]
        moved += [RunRow(query, r.rank, r.id, r.distance, r.query_labels, r.labels, 1, number) for r in mine]
        split += [SplitRow(1, number, "catalogue", row.id) for row in mine]
    scores = [score(truth_of(moved, labels=known, split=split), ["acg@6"])[0] for known in (labels, None)]
    assert scores[0].values == pytest.approx(scores[0].chance)  # the lists are the whole catalogues
    assert scores[0].values == scores[1].values and scores[0].chance == scores[1].chance
    with pytest.raises(UsageError, match=r"set [1-9] of seed 1 is not in it"):
        truth_of(moved, labels=labels, split=split[:6]).cases("agreement")


def test_lists_that_are_too_short_or_of_another_index_are_refused():
    labels, patients, rows = world()
    truth = truth_of(rows, labels=labels, patients=patients)
    with pytest.raises(UsageError, match="acg@7 needs the first 7 results of query 'i04', the run has 6 of the 28"):
        score(truth, ["acg@7"])
    few = {name: {one: code for one, code in codes.items() if one < "i03"} for name, codes in labels.items()}
    with pytest.raises(UsageError, match="run and index do not belong together"):
        score(truth_of(rows, labels=few), ["acg@4"])


def test_which_labels_count():
    known = ["Edema", "Effusion", "Pneumonia"]
    assert named("", known) == known
    assert named("Pneumonia, Edema,Edema", known) == ["Pneumonia", "Edema"]
    for text, message in (("Edma", "unknown label 'Edma': did you mean Edema"), ("chexpert-5", "Atelectasis")):
        with pytest.raises(UsageError, match=message):
            named(text, known)
    with pytest.raises(UsageError, match="states no labels"):
        named("", [])
    five = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
    assert named("chexpert-5", [*known, *five]) == five


def test_the_command_scores_one_label_and_sets_of_labels(tmp_path):
    rows = world()[2]
    path = tmp_path / "run.tsv"
    path.write_text("".join(tsv(rows)))
    found = evaluating.evaluate([str(path)], metrics=["acg@4", "p@3"], label="A")
    assert [its.metric for its in found] == ["precision@3", "acg@4"]
    direct = score(truth_of(rows, ["B", "C"], Policy("positive")), ["acg-p-union@4"])[0]
    (its,) = evaluating.evaluate([str(path)], metrics=["acg-p-union@4"], settings=["labels=B,C", "uncertain=positive"])
    assert its.mean == direct.mean and its.against == (
        "labels B, C (uncertain=positive): common positive labels, of either's"
    )
    with pytest.raises(UsageError, match="only metrics of sets of labels"):
        evaluating.evaluate([str(path)], metrics=["p@3"], label="A", settings=["labels=B"])
    with pytest.raises(UsageError, match="unknown label 'D'"):
        evaluating.evaluate([str(path)], metrics=["acg@4"], settings=["labels=D"])


def test_the_index_completes_a_run_that_has_the_labels_of_the_task_alone(tmp_path, caplog):
    def codes(number):
        return {"A": number % 2, "B": number % 3 % 2, "C": int(number > 4)}

    images = [image(n, patient=f"P{n}", labels=codes(n)) for n in range(8)]
    items = write_embedding(tmp_path / "emb.h5", images)
    pairs = [(q, r, rank) for q in (1, 4) for rank, r in enumerate([n for n in range(8) if n != q], start=1)]

    def scored(name, take, query=str):
        rows = [
            RunRow(query(f"ward/{q:02d}"), rank, f"ward/{r:02d}", float(rank), take(codes(q)), take(codes(r)))
            for q, r, rank in pairs
        ]
        (tmp_path / name).write_text("".join(tsv(rows)))
        return evaluating.evaluate(
            [str(tmp_path / name)], items=items, metrics=["acg@3", "acg-p-total@5"], settings=["labels=A,B,C"]
        )

    whole = [(its.mean, its.random) for its in scored("whole.tsv", dict)]
    assert [(its.mean, its.random) for its in scored("task.tsv", lambda all: {"A": all["A"]})] == whole
    assert "no query states" not in caplog.text
    scored("other.tsv", lambda all: {"A": all["A"]}, lambda key: f"elsewhere/{key}")
    assert "no query states B, C" in caplog.text
