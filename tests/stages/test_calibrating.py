"""What an index stores of its distances, against loops written out."""

import json

import calibrated
import h5py
import numpy as np
import pytest
from growth import Keeping, arrays
from sklearn.isotonic import IsotonicRegression

from cbir_cli import neighbour_calibration, registry
from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.cli.index import run as index_command
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.stages import calibrating, info

GROUP = "uns/index/calibration"
CLASSES = [("normal", 12), ("Effusion", 9)]


@pytest.fixture
def keeping(monkeypatch):
    """Let ``--kind keeping`` name a kind that keeps what it was built from."""
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda *what: Keeping if what == ("index", "keeping") else load(*what))


def opened(path):
    with files.open_artifact(str(path)) as artifact:
        stored = indexes.read(artifact)
        vectors, items = np.array(stored.embedding.vectors, np.float64), stored.embedding.items
        return stored.calibration, vectors, items.label("Effusion"), items["patient"], items["seen"]


def plainly(vectors, codes, patients, asking, k=10):
    """Distances and agreement of each image's nearest among other patients, and the distance of the nearest."""
    distances, same, nearest = [], [], []
    for row in asking:
        others = [i for i in range(len(vectors)) if patients[i] != patients[row]]
        far = sorted((float(np.linalg.norm(vectors[i] - vectors[row])), i) for i in others)[:k]
        nearest.append(far[0][0])
        known = [(d, i) for d, i in far if codes[i] in (0, 1)]
        distances += [d for d, _ in known]
        same += [codes[i] == codes[row] for _, i in known]
    return np.array(distances), np.array(same), np.sort(nearest)


@pytest.mark.parametrize("kind", ["exact", "hnsw", "keeping"])
def test_what_is_stored(tmp_path, keeping, kind):
    seen, unsure = range(24, 30), (1, 40)
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES, seen=seen, unsure=unsure)
    assert index_command(emb, kind, str(tmp_path / "idx.h5"), calibrate="Effusion") == 0
    found, vectors, codes, patients, sets = opened(tmp_path / "idx.h5")
    asking = [row for row in range(42) if sets[row] == "" and codes[row] in (0, 1)]
    assert len(asking) == 34
    distances, same, nearest = plainly(vectors, codes, patients, asking)
    np.testing.assert_allclose(found.nearest, nearest, rtol=1e-6)
    fitted = IsotonicRegression(increasing=False, y_min=0, y_max=1).fit(
        [*distances, distances.min(), distances.max()], [*same, 0, 1]
    )
    at = np.linspace(distances.min(), distances.max(), 50)
    np.testing.assert_allclose(np.interp(at, found.distance, found.probability), fitted.predict(at), atol=1e-4)
    assert found.labels == ["Effusion"] and found.probability[0] > found.probability[-1] + 0.2
    facts = found.facts
    assert (facts["queries"], facts["pairs"], facts["k"]) == (34, len(same), 10) and facts["held-out"] is True
    assert facts["same"] == round(same.mean(), 4)


def test_same_bytes_twice_and_whenever_it_is_done(tmp_path):
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES)
    for name in ("a.h5", "b.h5"):
        index_command(emb, "exact", str(tmp_path / name), calibrate="Effusion")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    index_command(emb, "exact", str(tmp_path / "c.h5"))
    before = arrays(tmp_path / "c.h5")
    assert not any(name.startswith(GROUP) for name in before)
    index_command(str(tmp_path / "c.h5"), None, str(tmp_path / "c.h5"), calibrate="Effusion")
    assert arrays(tmp_path / "c.h5") == arrays(tmp_path / "a.h5")
    assert files.verify(str(tmp_path / "c.h5"))


@pytest.mark.parametrize("kind", ["exact", "keeping"])
def test_it_is_measured_again_when_the_index_changes(tmp_path, keeping, caplog, kind):
    path = str(tmp_path / "idx.h5")
    first = calibrated.write(tmp_path / "a.h5", CLASSES)
    more = calibrated.write(tmp_path / "b.h5", [("Effusion", 6), ("normal", 1)], first=100, seed=1)
    index_command(first, kind, path, calibrate="Effusion")
    before = arrays(path)
    (tmp_path / "ids.txt").write_text("ward/000\nward/001\n")
    index_command(path, None, path, add=[more], remove=str(tmp_path / "ids.txt"))
    found, vectors, codes, patients, _ = opened(path)
    assert len(vectors) == 54 and {k: v for k, v in arrays(path).items() if GROUP in k} != before
    distances, _, nearest = plainly(vectors, codes, patients, range(54))
    np.testing.assert_allclose(found.nearest, nearest, rtol=1e-6)
    assert found.facts["pairs"] == len(distances)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["history"])[-1]["parameters"]["calibrate"] == ["Effusion"]
    # Too few are left: it is dropped, with a word.
    few = [key for key in files_ids(path) if key not in ("ward/100", "ward/104", "ward/108")]
    (tmp_path / "ids.txt").write_text("\n".join(few) + "\n")
    caplog.clear()
    assert index_command(path, None, path, remove=str(tmp_path / "ids.txt")) == 0
    assert "the calibration is left out: too few images to calibrate Effusion: expected at least 10" in caplog.text
    assert opened(path)[0] is None


def files_ids(path):
    with files.open_artifact(path) as artifact:
        return indexes.read(artifact).embedding.items.ids.tolist()


def test_several_labels_make_classes(tmp_path):
    emb = calibrated.write(tmp_path / "emb.h5", [*CLASSES, ("Edema", 8)])
    index_command(emb, "exact", str(tmp_path / "one.h5"), calibrate="Effusion")
    index_command(emb, "exact", str(tmp_path / "two.h5"), calibrate="Effusion, Edema,Effusion")
    one, two = (opened(tmp_path / name)[0] for name in ("one.h5", "two.h5"))
    assert two.labels == ["Effusion", "Edema"] and two.facts["same"] < one.facts["same"]
    assert (two.nearest == one.nearest).all()


def test_where_all_images_were_trained_on_they_are_asked_with_a_word(tmp_path, caplog):
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES, seen=range(30))
    index_command(emb, "exact", str(tmp_path / "idx.h5"), calibrate="Effusion")
    found = opened(tmp_path / "idx.h5")[0]
    assert found.facts["held-out"] is False and found.facts["queries"] == 42
    assert "12 of 42 images are held out from training: all are asked" in caplog.text


def test_a_sample_asks_where_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(calibrating, "_SAMPLE", 25)
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES)
    index_command(emb, "exact", str(tmp_path / "idx.h5"), calibrate="Effusion")
    assert opened(tmp_path / "idx.h5")[0].facts["queries"] == 25


def test_what_cannot_be(tmp_path, caplog):
    emb, out = calibrated.write(tmp_path / "emb.h5", CLASSES), str(tmp_path / "idx.h5")
    with pytest.raises(UsageError, match="unknown label 'Efusion': did you mean Effusion"):
        index_command(emb, "exact", out, calibrate="Efusion")
    with pytest.raises(UsageError, match="unknown label ''"):
        index_command(emb, "exact", out, calibrate="")
    few = calibrated.write(tmp_path / "few.h5", [("normal", 4), ("Effusion", 5)])
    with pytest.raises(ArtifactError, match="too few images to calibrate Effusion: expected at least 10 patients"):
        index_command(few, "exact", out, calibrate="Effusion")
    unsure = calibrated.write(tmp_path / "unsure.h5", CLASSES, unsure=range(42))
    with pytest.raises(ArtifactError, match="too few images"):
        index_command(unsure, "exact", out, calibrate="Effusion")
    with pytest.raises(UsageError, match="--calibrate, --recall and --seed do not go with --kind milvus"):
        index_command(emb, "milvus", "-", calibrate="Effusion", uri="http://127.0.0.1:1")
    assert not (tmp_path / "idx.h5").exists()


def test_info_tells_it(tmp_path):
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES)
    index_command(emb, "exact", str(tmp_path / "idx.h5"), calibrate="Effusion")
    known = info.facts(str(tmp_path / "idx.h5"))
    found = opened(tmp_path / "idx.h5")[0]
    limit = round(neighbour_calibration.farthest(found.nearest), 4)
    assert known["calibration"] == {"labels": "Effusion", **found.facts, "unlike-beyond": limit}
    assert "\n  calibration:     labels Effusion, brier 0." in info.text(known)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probability", np.array([0.2, 0.9])),
        ("probability", np.array([1.2, 0.9])),
        ("probability", np.array([0.9, np.nan])),
        ("probability", np.array([0.9])),
        ("probability", np.array([0.9, 0.1], np.float32)),
        ("distance", np.array([2.0, 1.0])),
        ("nearest", np.array([3, 1], np.float32)),
        ("nearest", np.array([], np.float32)),
        ("facts", "{"),
        ("facts", 7),
        ("labels", 7),
        ("nearest", None),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path, name, value):
    emb, path = calibrated.write(tmp_path / "emb.h5", CLASSES), tmp_path / "idx.h5"
    index_command(emb, "exact", str(path), calibrate="Effusion")
    with h5py.File(path, "r+") as file:
        group = file[GROUP]
        for key, data in (("distance", [1.0, 2.0]), ("probability", [0.9, 0.1])):
            del group[key]
            group[key] = np.array(data)
        del group[name]
        if value is not None:
            group[name] = value
    with pytest.raises(ArtifactError, match=r"idx\.h5"):
        opened(path)
