"""``cbir evaluate`` of an embedding: its classifier's scores, and how far it puts what it does not know."""

import json

import calibrated
import numpy as np
import pytest
import sklearn.metrics
from scipy.special import expit

from cbir_cli.artifacts import embeddings, files

CATALOGUE = [("normal", 12), ("Effusion", 9)]
NEW = [("normal", 6), ("Effusion", 5), ("covid", 4)]
ANOMALY = "anomaly-auroc,anomaly-auprc,anomaly-fpr95"


@pytest.fixture(scope="module")
def made(tmp_path_factory, good):
    folder = tmp_path_factory.mktemp("scored")
    for metric in ("l2", "cosine"):
        emb = calibrated.write(folder / "emb.h5", CATALOGUE, similarity=metric)
        good("index", emb, "-o", folder / f"{metric}.h5")
        calibrated.write(
            folder / f"new.{metric}.h5", NEW, first=500, seed=5, similarity=metric, seen=(3, 4), source="n"
        )
    return folder


def arrays(folder, name):
    with files.open_artifact(str(folder / name)) as artifact:
        stored = embeddings.read(artifact)
        items = stored.items
        codes = {label: items.label(label) for label in calibrated.LABELS}
        return np.array(stored.vectors, np.float64), codes, items["patient"], items["seen"], stored.logits[:, 0]


def scored(good, folder, *arguments):
    lines = good("evaluate", *arguments, "--format", "json", cwd=folder).out.splitlines()
    return {row["metric"]: row for row in map(json.loads, lines)}


def test_scores_are_those_of_scikit_learn(made, good):
    names = "f1,auroc,auprc,brier,ece,ece-mass@5bins,sensitivity@80specificity"
    found = scored(good, made, "new.l2.h5", "--label", "Effusion", "--metrics", names)
    _, codes, _, seen, logits = arrays(made, "new.l2.h5")
    truth, logits = codes["Effusion"][seen == ""], logits[seen == ""].astype(np.float64)
    assert list(found) == names.split(",") and all(row["n"] == 28 for row in found.values())
    assert found["f1"]["mean"] == pytest.approx(sklearn.metrics.f1_score(truth, logits > 0), abs=1e-9)
    assert found["auroc"]["mean"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, logits), abs=1e-9)
    assert found["auprc"]["mean"] == pytest.approx(sklearn.metrics.average_precision_score(truth, logits), abs=1e-9)
    assert found["brier"]["mean"] == pytest.approx(sklearn.metrics.brier_score_loss(truth, expit(logits)), abs=1e-9)
    for name, row in found.items():
        if name.startswith("ece") or row["mean"] in (0, 1):
            assert row["low"] is row["high"] is None
        else:
            assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1


def test_same_bytes_twice(made, good):
    ask = ("evaluate", "new.l2.h5", "--label", "Effusion", "--metrics", "auprc,ece,sensitivity", "--format", "json")
    assert good(*ask, cwd=made).data == good(*ask, cwd=made).data


def distances(folder, metric, origin):
    """What anomalies are told by, image by image."""
    vectors, codes, patients, seen, _ = arrays(folder, f"new.{metric}.h5")
    known, known_codes, known_patients, *_ = arrays(folder, f"{metric}.h5")
    assert not set(patients) & set(known_patients)
    if metric == "cosine":
        vectors, known = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors, known))
    effusion = known_codes["Effusion"] == 1
    places = known if origin == "nearest" else [known[effusion].mean(axis=0), known[~effusion].mean(axis=0)]
    found = []
    for vector in vectors[seen == ""]:
        if metric == "l2":
            found.append(min(np.linalg.norm(vector - place) for place in places))
        else:
            found.append(min(1 - vector @ place / np.linalg.norm(place) for place in places))
    return codes["covid"][seen == ""], np.array(found)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("origin", ["centre", "nearest"])
def test_anomalies_are_told_by_distance(made, good, metric, origin):
    truth, far = distances(made, metric, origin)
    ask = ("--items", f"{metric}.h5", "--label", "covid", "--metrics", ANOMALY, "--set", f"score={origin}")
    found = scored(good, made, f"new.{metric}.h5", *ask)
    assert truth.sum() == 8 and all(row["n"] == 28 for row in found.values())
    assert found["anomaly-auroc"]["mean"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, far), abs=1e-9)
    average = sklearn.metrics.average_precision_score(truth, far)
    assert found["anomaly-auprc"]["mean"] == pytest.approx(average, abs=1e-9)
    fpr, tpr, _ = sklearn.metrics.roc_curve(truth, far, drop_intermediate=False)
    assert found["anomaly-fpr95"]["mean"] == pytest.approx(fpr[tpr >= 0.95].min(), abs=1e-9)
    word = {"centre": "nearest class centre", "nearest": "nearest image"}[origin]
    assert found["anomaly-auroc"]["against"] == f"label covid (distance to the {word})"


def test_anomalies_in_the_index_are_no_part_of_the_catalogue_and_nobody_meets_himself(tmp_path, good):
    emb = calibrated.write(tmp_path / "emb.h5", NEW, seen=(22,))
    good("index", emb, "-o", tmp_path / "idx.h5")
    ran = good("evaluate", "idx.h5", "--items", "idx.h5", "--label", "covid", "--metrics", ANOMALY, "--format", "json",
               cwd=tmp_path)  # fmt: skip
    assert "8 images of the index have covid: they are no part of the catalogue" in ran.err
    assert "the network was trained on 1 images with covid: they are no anomalies to it" in ran.err
    vectors, codes, patients, seen, _ = arrays(tmp_path, "idx.h5")
    far, near = [], []
    for row in np.flatnonzero(seen == ""):
        rest = (codes["covid"] == 0) & (patients != patients[row])
        centres = [vectors[rest & (codes["Effusion"] == code)].mean(axis=0) for code in (0, 1)]
        far.append(min(np.linalg.norm(vectors[row] - centre) for centre in centres))
        near.append(np.linalg.norm(vectors[rest] - vectors[row], axis=1).min())
    truth = codes["covid"][seen == ""]
    (row,) = [r for r in map(json.loads, ran.out.splitlines()) if r["metric"] == "anomaly-auprc"]
    assert row["mean"] == pytest.approx(sklearn.metrics.average_precision_score(truth, far), abs=1e-9)
    ask = ("idx.h5", "--items", "idx.h5", "--label", "covid", "--metrics", ANOMALY, "--set", "score=nearest")
    found = scored(good, tmp_path, *ask)["anomaly-auroc"]["mean"]
    assert found == pytest.approx(sklearn.metrics.roc_auc_score(truth, near), abs=1e-9) and found > 0.99


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["new.l2.h5", "--metrics", "anomaly-auroc"], 2, "new.l2.h5: metric anomaly-auroc needs a catalogue and the"),
        (["new.l2.h5", "--metrics", "anomaly-auroc", "--items", "l2.h5"], 2, "new.l2.h5: metric anomaly-auroc needs"),
        (["new.l2.h5", "--metrics", "anomaly-auroc", "--items", "l2.h5", "--label", "x"], 2, "new.l2.h5: unknown l"),
        (["new.l2.h5", "--metrics", "anomaly-auroc", "--items", "l2.h5", "--label", "covid", "--set", "score=far"], 2,
         "new.l2.h5: unknown score 'far'"),
        (["run.tsv", "--metrics", "anomaly-auroc", "--items", "l2.h5", "--label", "covid"], 2, "run.tsv: a run is"),
        (["new.l2.h5", "--metrics", "sensitivity@90", "--label", "covid"], 2, "metric 'sensitivity@90': expected perc"),
    ],
)  # fmt: skip
def test_what_cannot_be(made, cbir, arguments, status, said):
    (made / "run.tsv").write_text("query\trank\tid\tdistance\tquery_labels\tlabels\nq\t1\ta\t1\tcovid=1\tcovid=1\n")
    ran = cbir("evaluate", *arguments, cwd=made)
    assert ran.status == status and ran.err.splitlines()[-1].startswith(f"cbir evaluate: {said}"), ran.err
    assert "Traceback" not in ran.err and ran.data == b""


def test_ssim_has_no_centre(chain, cbir):
    ask = ("--items", "ssim.idx.h5", "--label", "Effusion", "--metrics", "anomaly-auroc")
    ran = cbir("evaluate", "ssim.emb.h5", *ask, cwd=chain)
    assert ran.status == 2 and "images compared by ssim have no centre: --set score=nearest" in ran.err
    assert cbir("evaluate", "ssim.emb.h5", *ask, "--set", "score=nearest", cwd=chain).status == 0
