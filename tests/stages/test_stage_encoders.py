"""Which vector a model gives, how vectors are compared, built-in encoders with settings, and colour."""

import sys
from dataclasses import replace
from types import ModuleType

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from cbir_cli import registry
from cbir_cli.artifacts import model as models
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.stages import encoders
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

HERE = Settings(device="cpu", threads=1)


def made(architecture="resnet-tiny", outputs=2, *, layer=None, objective="binary", size=32, **more):
    """A model artifact with fresh weights."""
    kind = registry.load("models", architecture)
    module = _weights.fresh(architecture, outputs, seed=1)
    vector = layer == "output"
    return models.Model(
        architecture=architecture,
        weights={name: value.numpy() for name, value in module.state_dict().items()},
        outputs=[] if vector else [f"label {i}" for i in range(outputs)],
        task={"name": "effusion", "labels": ["Effusion"]},
        objective=objective,
        feature_layer=f"{kind.HEAD}.{layer or 'input'}",
        feature_width=(outputs or kind.FEATURES) if vector else kind.FEATURES,
        input=InputSpec(size=size, **more),
        name="made.h5",
    )


def pixels(count=4, size=32, seed=0, colour=False):
    shape = (count, size, size, 3) if colour else (count, size, size)
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture
def contrast(monkeypatch):
    """An objective whose vectors are compared by cosine."""
    module = ModuleType("cbir_cli.objectives.contrast")
    module.SIMILARITY, module.loss = "cosine", lambda *given: None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = registry.names
    monkeypatch.setattr(registry, "names", lambda f: [*known(f), "contrast"] if f == "objectives" else known(f))


def eager(model, given):
    net = registry.load("models", model.architecture).build(len(model.weights.get("fc.weight", ())))
    net.load_state_dict({name: torch.from_numpy(value) for name, value in model.weights.items()})
    with torch.no_grad():
        return net.eval()(torch.from_numpy(model.input.prepare(given))).numpy()


def test_a_classifier_gives_what_its_last_layer_is_given_and_logits():
    model = made()
    network = Network(model, HERE)
    rows = network.rows(pixels())
    assert {name: value.shape[1:] for name, value in rows.items()} == {n: s for n, (s, _) in network.fields.items()}
    np.testing.assert_allclose(rows["logits"], eager(model, pixels()), atol=1e-5)
    last = rows["X"] @ model.weights["fc.weight"].T + model.weights["fc.bias"]
    np.testing.assert_allclose(rows["logits"], last, atol=1e-5)


@pytest.mark.parametrize("width", [0, 24])
def test_a_metric_network_gives_what_it_returns_and_no_logits(width):
    model = made(outputs=width, layer="output")
    network = Network(model, HERE)
    rows = network.rows(pixels())
    assert rows.keys() == network.fields.keys() == {"X"}
    assert rows["X"].shape[1:] == network.fields["X"][0] == (width or 32,)
    np.testing.assert_allclose(rows["X"], eager(model, pixels()), atol=1e-5)


def test_vectors_are_compared_as_they_were_trained(contrast):
    assert Network(made(objective="contrast"), HERE).similarity == "cosine"
    assert Network(made(), HERE).similarity == "l2"
    assert Network(made(objective="imagenet"), HERE).similarity == "l2"


def test_a_metric_network_from_image_to_ranked_list_by_cosine(contrast, tmp_path, phantom, good, cbir):
    models.write(str(tmp_path / "metric.h5"), made(outputs=8, layer="output", objective="contrast"))
    good("embed", "-m", "metric.h5", f"nih:{phantom}", "-o", "emb.h5", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "idx.h5") as file:
        vectors, ids = file["X"][()].astype(np.float64), file["obs/_index"].asstr()[()].tolist()
        assert file["uns/similarity"].asstr()[()] == "cosine" and "logits" not in file["obsm"]
    lines = good("query", "idx.h5", "emb.h5", "-k", "3", "--format", "tsv", "--include-same", cwd=tmp_path).out
    header, *rows = (line.split("\t") for line in lines.splitlines() if not line.startswith("#"))
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert len(rows) == 3 * len(ids)
    for row in rows:
        cell = dict(zip(header, row, strict=True))
        expected = 1 - directions[ids.index(cell["query"])] @ directions[ids.index(cell["id"])]
        assert float(cell["distance"]) == pytest.approx(expected, abs=1e-6)
    image = sorted(phantom.rglob("*.png"))[0]
    raw = good("query", "idx.h5", image, "-k", "1", "--include-same", "--format", "tsv", cwd=tmp_path)
    assert image.name in raw.out or image.stem in raw.out
    ran = cbir(
        "explain", "idx.h5", "emb.h5", "--method", "ig", "-k", "1", "--root", phantom, "-o", "ex.h5", cwd=tmp_path
    )
    assert ran.status == 2 and "gives a vector and no outputs (objective contrast)" in ran.err


@pytest.mark.parametrize(
    "more", [[], ["--randomize", "cascade"], ["--preview", "pictures"], ["--method", "pattern.net"]]
)
def test_what_explains_an_output_refuses_a_network_that_has_none(more, tmp_path, phantom, cbir):
    models.write(str(tmp_path / "metric.h5"), made(outputs=8, layer="output"))
    ran = cbir("saliency", "-m", "metric.h5", f"nih:{phantom}", "-o", "maps.h5", *more, cwd=tmp_path)
    assert ran.status == 2 and "Traceback" not in ran.err and not (tmp_path / "maps.h5").exists()
    assert "metric.h5: gives a vector and no outputs (objective binary); saliency method" in ran.err.splitlines()[-1]
    assert "fitting" not in ran.err  # refused before any work


@pytest.mark.parametrize("method", ["deep-taylor", "grad-cam"])
def test_maps_of_a_resnet_end_to_end(method, tmp_path, phantom, good):
    models.write(str(tmp_path / "cnn.h5"), made(outputs=1))
    good("saliency", "-m", "cnn.h5", f"nih:{phantom}", "--method", method, "-o", "maps.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "maps.h5") as file:
        maps = file["maps"][()].astype(np.float32)
    assert maps.shape == (40, 32, 32) and np.isfinite(maps).all() and (np.abs(maps).max(axis=(1, 2)) == 1).mean() > 0.5
    if method == "deep-taylor":
        assert maps.min() >= 0 or np.abs(maps).max() == 1


def test_rules_refuse_attention_in_a_line_and_gradients_work(tmp_path, phantom, good, cbir):
    models.write(str(tmp_path / "att.h5"), made("mldam-tiny", 1))
    ran = cbir("saliency", "-m", "att.h5", f"nih:{phantom}", "-o", "maps.h5", cwd=tmp_path)
    assert ran.status == 1 and "this one uses" in ran.err and "Traceback" not in ran.err
    good("saliency", "-m", "att.h5", f"nih:{phantom}", "--method", "gradient", "-o", "maps.h5", cwd=tmp_path)
    assert "it runs on torch" in good("embed", "-m", "att.h5", f"nih:{phantom}", "-o", "e.h5", cwd=tmp_path).err
    assert "encoder:         att\n" in good("info", "e.h5", cwd=tmp_path).out


# --- colour -----------------------------------------------------------------------------------------------------------


def test_colour_reaches_the_network(tmp_path, good):
    colours = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), np.uint8)
    (tmp_path / "skin").mkdir()
    for number, image in enumerate(colours):
        Image.fromarray(image).save(tmp_path / "skin" / f"{number}.png")
    vectors = {}
    for colour in ("rgb", "grey"):
        model = made(colour=colour)
        models.write(str(tmp_path / f"{colour}.h5"), model)
        good("embed", "-m", f"{colour}.h5", "skin", "-o", f"{colour}.emb.h5", cwd=tmp_path)
        with h5py.File(tmp_path / f"{colour}.emb.h5") as file:
            vectors[colour] = file["X"][()]
    expected = Network(made(colour="rgb"), replace(HERE, engine="torch")).rows(colours / np.float32(255))["X"]
    np.testing.assert_allclose(vectors["rgb"], expected, atol=1e-5)
    assert np.abs(vectors["rgb"] - vectors["grey"]).max() > 1e-3
    good("index", "rgb.emb.h5", "-o", "rgb.idx.h5", cwd=tmp_path)
    asked = good("query", "rgb.idx.h5", "skin/2.png", "-m", "rgb.h5", "-k", "1", "--include-same", cwd=tmp_path).out
    assert "\t0" in asked.splitlines()[-1] and "2" in asked.splitlines()[-1]


# --- built-in encoders ------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(monkeypatch):
    """Weights that stand for those that torchvision would download, for networks of 1000 outputs."""

    def state(architecture):
        return _weights.fresh(architecture, 1000, seed=8).state_dict()

    monkeypatch.setattr(_weights, "_imagenet", state)


@pytest.fixture
def series(tmp_path):
    """Slices in Hounsfield units, and what of them a window of -200 to 300 shows."""
    import nibabel

    units = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 6)).astype(np.int16)
    nibabel.Nifti1Image(units, np.eye(4)).to_filename(tmp_path / "volume.nii")
    (tmp_path / "slices.csv").write_text("path,part\n" + "".join(f"volume.nii,{part}\n" for part in range(6)))
    return tmp_path / "slices.csv"


@pytest.mark.parametrize("architecture", ["resnet_tiny", "torchvision.shufflenet_v2_x0_5", "densenet121"])
def test_imagenet_with_another_network_and_a_window_asks_itself_again(
    architecture, shipped, series, tmp_path, good, cbir
):
    line = ["--image-size", "32", "--set", f"architecture={architecture}", "--set", "window=liver-wide"]
    good("embed", "-m", "imagenet", *line, series, "-o", "emb.h5", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    plain = registry.canonical(architecture)
    with h5py.File(tmp_path / "idx.h5") as file:
        name = file["uns/model-name"].asstr()[()]
        assert name == ("imagenet" if plain == "densenet121" else f"imagenet:{plain}")
        assert file["X"].shape == (6, registry.load("models", architecture).FEATURES)
        ids = file["obs/_index"].asstr()[()]
    for chosen in ([], ["-m", "imagenet"]):
        lines = good("query", "idx.h5", series, "-k", "1", "--include-same", "--format", "tsv", *chosen, cwd=tmp_path)
        header, *rows = (row.split("\t") for row in lines.out.splitlines() if not row.startswith("#"))
        found = [dict(zip(header, row, strict=True)) for row in rows]
        assert [row["id"] for row in found] == [row["query"] for row in found] and len(found) == len(ids)
        assert all(float(row["distance"]) == 0 for row in found)
    ran = cbir("query", "idx.h5", series, "-m", "ssim", cwd=tmp_path)
    assert ran.status == 1 and "another model than the index was made with" in ran.err


def test_other_weights_than_those_of_the_index_are_refused(shipped, series, tmp_path, good, cbir, monkeypatch):
    good("embed", "-m", "imagenet", "--image-size", "32", "--set", "architecture=resnet-tiny", "--set", "window=lung",
         series, "-o", "emb.h5", cwd=tmp_path)  # fmt: skip
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    monkeypatch.setattr(_weights, "_imagenet", lambda a: _weights.fresh(a, 1000, seed=9).state_dict())
    ran = cbir("query", "idx.h5", series, cwd=tmp_path)
    assert ran.status == 1 and "imagenet:resnet-tiny had other weights when the index was made" in ran.err


def test_ssim_with_a_window_asks_itself_again(series, tmp_path, good, cbir):
    for window, name in (("liver-wide", "wide"), ("-200,300", "same"), ("lung", "lung")):
        line = ["-m", "ssim", "--image-size", "32", "--set", f"window={window}"]
        good("embed", *line, series, "-o", f"{name}.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "wide.h5") as wide, h5py.File(tmp_path / "lung.h5") as lung:
        assert wide["uns/space"].asstr()[()] != lung["uns/space"].asstr()[()]
        assert not np.array_equal(wide["X"], lung["X"])
    assert (tmp_path / "wide.h5").read_bytes() == (tmp_path / "same.h5").read_bytes()
    good("index", "wide.h5", "-o", "idx.h5", cwd=tmp_path)
    lines = good("query", "idx.h5", series, "-k", "1", "--include-same", "--format", "tsv", cwd=tmp_path).out
    assert sum(not line.startswith(("#", "query")) for line in lines.splitlines()) == 6
    assert "another model" in cbir("query", "idx.h5", series, "-m", "imagenet", cwd=tmp_path).err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["-m", "ssim", "--set", "architecture=resnet50"], "known: compat, window"),
        (["-m", "cnn.h5", "--set", "window=lung"], "known: compat"),
        (["-m", "imagenet", "--set", "architecture=resnet5"], "did you mean resnet50"),
        (["-m", "imagenet", "--set", "window=300,-200"], "expected LOW below HIGH"),
        (["-m", "imagenet", "--set", "architecture=mldam"], "no weights for all of its parts"),
    ],
)
def test_settings_that_an_encoder_does_not_have(line, message, tmp_path, series, cbir):
    models.write(str(tmp_path / "cnn.h5"), made())
    ran = cbir("embed", *line, series, "-o", "x.h5", cwd=tmp_path)
    assert ran.status == 2 and message in ran.error


def test_a_size_that_the_network_does_not_take(tmp_path, series, cbir):
    line = ["-m", "imagenet", "--image-size", "256", "--set", "architecture=torchvision.vit_b_32"]
    ran = cbir("embed", *line, series, "-o", "x.h5", cwd=tmp_path)
    assert ran.status and "images of 256 px: the network takes 224 px alone" in ran.error


def test_the_imagenet_network_is_that_of_its_weights(shipped):
    model = encoders.imagenet("resnet-tiny", InputSpec(size=32))
    np.testing.assert_allclose(
        model.weights["fc.weight"], _weights.fresh("resnet-tiny", 1000, seed=8).fc.weight.detach().numpy()
    )
    with pytest.raises(UsageError, match="unknown models method"):
        encoders.imagenet("resnet", InputSpec(size=32))
