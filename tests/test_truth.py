"""Label policies in scores, and models with several outputs."""

import numpy as np
import pytest
import sklearn.metrics

from cbir_cli.artifacts import embeddings, items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.cli.main import main
from cbir_cli.errors import UsageError
from cbir_cli.label_policy import Policy
from cbir_cli.records import MISSING, Record
from cbir_cli.stages.evaluate import evaluate

HEADER = "query\trank\tid\tdistance\tquery_labels\tlabels\n"


def run_file(tmp_path, rows):
    path = tmp_path / "run.tsv"
    path.write_text(HEADER + "".join(f"{q}\t{r}\t{i}\t{r}\t{ql}\t{il}\n" for q, r, i, ql, il in rows))
    return str(path)


@pytest.fixture
def run(tmp_path):
    """Two queries: a positive one and one that is uncertain for A; B is stated here and there."""
    return run_file(
        tmp_path,
        [
            ("q", 1, "a", "A=1", "A=-1"),
            ("q", 2, "b", "A=1", "A=1|B=0"),
            ("u", 1, "a", "A=-1|B=0", "A=-1"),
            ("u", 2, "b", "A=-1|B=0", "A=1|B=0"),
        ],
    )


def means(run, label, *settings):
    found = evaluate([run], label=label, metrics=["precision@1", "precision@2"], settings=settings)
    return [(s.mean, s.n) for s in found], {s.against for s in found}


@pytest.mark.parametrize(
    ("label", "settings", "expected"),
    [
        ("A", [], [(0.0, 1), (0.5, 1)]),
        ("A", ["uncertain=positive"], [(1.0, 2), (1.0, 2)]),
        ("A", ["uncertain=negative"], [(0.5, 2), (0.5, 2)]),
        ("B", [], [(0.0, 1), (0.5, 1)]),
        ("B", ["blank=negative"], [(1.0, 2), (1.0, 2)]),
    ],
)
def test_policies_decide_what_is_relevant_and_who_asks(run, label, settings, expected):
    scores, against = means(run, label, *settings)
    assert scores == expected
    assert against == {f"label {label}" + "".join(f" ({setting})" for setting in settings)}


def test_every_label_in_turn(run):
    scores = evaluate([run], label="all", metrics=["precision@1"])
    assert [s.against for s in scores] == ["label A", "label B"]
    assert [(s.mean, s.n) for s in scores] == [means(run, label)[0][0] for label in "AB"]


@pytest.mark.parametrize("setting", ["uncertain=drop", "blank=positive", "unit=study"])
def test_other_policies_are_refused(run, setting):
    with pytest.raises(UsageError):
        evaluate([run], label="A", settings=[setting])


def test_policies_by_a_table():
    for uncertain, its in (("ignore", -1), ("positive", 1), ("negative", 0)):
        for blank, none in (("ignore", MISSING), ("negative", 0)):
            policy = Policy(uncertain, blank)
            assert [policy(code) for code in (1, 0, -1, MISSING)] == [1, 0, its, none]
            assert policy.of([[1, 0], [-1, MISSING]]).tolist() == [[1, 0], [its, none]]


@pytest.fixture
def network(tmp_path):
    """An embedding of a model with two outputs."""
    generator = np.random.default_rng(0)
    raw = generator.choice([1, 0, -1, MISSING], (40, 2), p=[0.4, 0.4, 0.1, 0.1])
    records = []
    for i, row in enumerate(raw):
        labels = {name: int(code) for name, code in zip(("Edema", "Mass"), row, strict=True) if code != MISSING}
        records.append(Record(id=f"i{i:02d}", path=tmp_path, relative=f"{i}.png", labels=labels, patient=f"p{i}"))
    table = items.from_records(records, [f"{i:016x}" for i in range(40)], Pseudonyms(None))
    logits = generator.normal(size=(40, 2)).astype(np.float32)
    space = embeddings.Space("l2", "0" * 64, "cnn", outputs=["Edema", "Mass"], targets=["Edema", "Mass"])
    path = str(tmp_path / "e.h5")
    embeddings.write(path, np.zeros((40, 3), np.float32), table, space, logits=logits, history=[])
    return path, raw, logits


@pytest.mark.parametrize("settings", [[], ["uncertain=positive", "blank=negative"]])
def test_each_output_is_scored_on_its_label(network, settings):
    path, raw, logits = network
    codes = raw.copy()
    if settings:
        codes[codes == -1], codes[codes == MISSING] = 1, 0
    found = {s.against.split(" (")[0]: s for s in evaluate([path], metrics=["auroc"], settings=settings)}
    for column, name in enumerate(("Edema", "Mass")):
        stated = np.isin(codes[:, column], (0, 1))
        expected = sklearn.metrics.roc_auc_score(codes[stated, column], logits[stated, column])
        assert found[f"label {name}"].mean == pytest.approx(expected)
        assert found[f"label {name}"].n == stated.sum()
    (alone,) = evaluate([path], metrics=["auroc"], label="Mass", settings=settings)
    assert alone == found["label Mass"]


def test_a_label_that_no_output_has(network, capsys):
    assert main(["evaluate", network[0], "--label", "Hernia"]) == 2
    assert "its model classifies Edema, Mass" in capsys.readouterr().err
