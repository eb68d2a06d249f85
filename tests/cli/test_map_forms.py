"""From an image to what a second network is fed: every form of a map, methods that draw, methods that are fitted."""

import json
import shutil
import sys
from types import ModuleType

import h5py
import numpy as np
import pytest
import torch

from cbir_cli import engines, registry
from cbir_cli.artifacts import _payload
from cbir_cli.artifacts import model as models
from cbir_cli.images import InputSpec
from cbir_cli.records import Record

GAINS = (1.0, -2.0, 0.25)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def signed(model, images, target=None, *, gain=1.0):
    """Three channels, whose sum has either sign."""
    return images * gain * torch.tensor(GAINS, device=images.device)[:, None, None]


def single(model, images, target=None):
    """One channel."""
    return images[:, :1].clone()


def drawn(model, images, target=None, *, share=0.5, generator):
    """Noise, the same on every image, in a share of the pixels."""
    noise = torch.randn(images.shape[1:], generator=generator)
    return images * 0 + noise * (torch.rand(images.shape[2:], generator=generator) < share)


def centred(model, images, target=None, *, fitted):
    """What an image has that the mean of some images has not."""
    if TROUBLE and TROUBLE.pop():
        raise RuntimeError("the network broke down")
    return images - fitted["mean"]


def fit(model, batches):
    """Mean of all images."""
    total, count = 0, 0
    for batch in batches:
        FITTED.append(len(batch))
        total, count = total + batch.double().sum(0), count + len(batch)
    return {"mean": (total / count).float(), "count": torch.tensor(count)}


TROUBLE, FITTED = [], []


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """Methods of these tests among those of the folder."""
    names = {"signed": [signed], "single": [single], "drawn": [drawn], "centred": [centred, fit]}
    real = registry.names
    for name, functions in names.items():
        module = ModuleType(f"cbir_cli.saliency.toy_{name}")
        module.EXPLAINS, module.explain = "output", functions[0]
        if functions[1:]:
            module.fit = functions[1]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    toys = [f"toy-{name}" for name in names]
    monkeypatch.setattr(registry, "names", lambda folder: real(folder) + (toys if folder == "saliency" else []))
    FITTED.clear()
    TROUBLE.clear()


@pytest.fixture
def made(good, linked, monkeypatch):
    """Make maps, a model trained on them, and its vectors on either way, in a folder of its own."""

    def make(name, *options, epochs="1", cnn="cnn.h5"):
        folder = linked(name)
        maps = ["saliency", "-m", cnn, "nih:set", *options]
        good(*maps, "-o", "x.maps.h5", cwd=folder)
        good("finetune-ig", "-m", cnn, "x.maps.h5", "--epochs", epochs, "-o", "x.h5", cwd=folder)
        good("embed", "-m", "x.h5", "nih:set", "-o", "one.h5", cwd=folder)
        good("embed", "-m", "x.h5", "x.maps.h5", "-o", "two.h5", cwd=folder)
        return folder

    return make


def pixels_of(chain):
    """Every image as the network gets it, in the order of the artifacts."""
    with h5py.File(chain / "maps.h5") as file:
        paths = file["obs/path"].asstr()[()]
    spec = InputSpec(size=32)
    return np.stack([spec.load(Record(str(path), chain / "set" / path, str(path))) for path in paths])


def prepared(pixels):
    """``(pixel - mean) / std`` written out, for pixels (N, S, S) or (N, 3, S, S)."""
    channels = [pixels, pixels, pixels] if pixels.ndim == 3 else [pixels[:, c] for c in range(3)]
    return np.stack([(p - m) / s for p, m, s in zip(channels, MEAN, STD, strict=True)], axis=1)


def kept(relevance, form):
    """A map of each form by its definition, in float64."""
    relevance = relevance.astype(np.float64)
    if form != "rgb":
        relevance = relevance.sum(axis=1)
    if form == "positive":
        relevance[relevance < 0] = 0
    return relevance / np.abs(relevance).reshape(len(relevance), -1).max(axis=1).reshape(
        -1, *[1] * (relevance.ndim - 1)
    )


def vectors(path):
    with h5py.File(path) as file:
        return file["X"][()], file["obsm/logits"][()], file["uns/space"].asstr()[()]


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["sum-repeat", "positive", "rgb"])
def test_a_form_from_the_image_to_the_vector(good, chain, made, form):
    folder = made(form, "--method", "toy-signed", "--set", f"input={form}")
    relevance = prepared(pixels_of(chain)) * np.array(GAINS)[:, None, None]
    with h5py.File(folder / "x.maps.h5") as file:
        maps, scale = file["maps"][()], file["scale"][()]
        assert file.attrs["input"] == form and json.loads(file.attrs["parameters"]) == {"gain": 1.0}
    expected = kept(relevance, form)
    assert maps.shape == expected.shape == ((40, 3, 32, 32) if form == "rgb" else (40, 32, 32))
    assert (maps < 0).any() == (form != "positive")
    np.testing.assert_allclose(maps, expected, atol=1e-3)
    assert scale.shape == (40,) and scale.min() > 0
    model = models.read(str(folder / "x.h5"))
    assert (model.saliency.input, model.saliency.method) == (form, "toy-signed")
    network = engines.encoder("densenet-tiny", model.weights, device="cpu", threads=1)
    fed = prepared(maps.astype(np.float32))
    one, two = vectors(folder / "one.h5"), vectors(folder / "two.h5")
    np.testing.assert_allclose(one[0], network(fed.astype(np.float32))[0], atol=1e-5)
    for by_image, by_map in zip(one, two, strict=True):
        np.testing.assert_array_equal(by_image, by_map)
    known = json.loads(good("info", "x.maps.h5", "--format", "json", cwd=folder).out)
    assert (known["input"], known["size"]) == (form, 32)
    known = json.loads(good("info", "x.h5", "--format", "json", cwd=folder).out)
    assert known["saliency"] == {"method": "toy-signed", "input": form, "gain": 1.0}


def test_forms_are_different_spaces(cbir, good, made):
    folders = {form: made(f"space-{form}", "--set", f"input={form}", epochs="0") for form in ("positive", "rgb")}
    assert vectors(folders["positive"] / "one.h5")[2] != vectors(folders["positive"] / "cnnig.emb.h5")[2]
    with h5py.File(folders["positive"] / "x.maps.h5") as one, h5py.File(folders["positive"] / "maps.h5") as other:
        np.testing.assert_array_equal(one["maps"][()], other["maps"][()])  # deep taylor's relevance has no minus
    for form, folder in folders.items():
        for line in (["embed", "-m", "x.h5", "maps.h5"], ["query", "cnnig.idx.h5", "one.h5"]):
            ran = cbir(*line, cwd=folder)
            assert ran.status in (1, 2) and "\n" not in ran.error, form


def test_the_second_network_is_trained_on_all_channels_moved_alike(made, monkeypatch):
    """Rotation and shift are on in the task; what goes into the loop is compared channel by channel."""
    from cbir_cli import augmentation

    seen, move = [], augmentation.move

    def watched(pixels, **amounts):
        moved = move(pixels, **amounts)
        if pixels.ndim == 3:
            seen.append(amounts)
            for channel in range(3):
                np.testing.assert_array_equal(moved[..., channel], move(pixels[..., channel], **amounts))
        return moved

    monkeypatch.setattr(augmentation, "move", watched)
    folder = made("augmented", "--method", "toy-signed", "--set", "input=rgb")
    assert len({amounts["degrees"] for amounts in seen}) > 10
    model = models.read(str(folder / "x.h5"))
    assert any(not np.array_equal(model.weights[n], model.saliency.model.weights[n]) for n in model.weights)


@pytest.mark.parametrize("form", ["positive", "rgb"])
def test_explain_shows_one_value_a_pixel(good, made, form):
    folder = made(f"explain-{form}", "--method", "toy-signed", "--set", f"input={form}", epochs="0")
    good("index", "one.h5", "-o", "idx.h5", cwd=folder)
    good("explain", "idx.h5", "one.h5", "--split", "split.tsv", "-k", "1", "-m", "x.h5", "-o", "ex-x.h5", cwd=folder)
    with h5py.File(folder / "x.maps.h5") as file:
        ids, maps = file["obs/_index"].asstr()[()].tolist(), file["maps"][()].astype(np.float64)
    with h5py.File(folder / "ex-x.h5") as file:
        assert len(file["maps"]) == 4
        for number, on in enumerate(file["map_on"][()]):
            side, pair = ("query", "result")[on], file["map_pair"][number]
            table = {"query": "queries", "result": "results"}[side]
            key = file[f"{table}/obs/_index"].asstr()[()][file[f"pairs/{side}"][pair]]
            expected = maps[ids.index(key)].sum(axis=0) if form == "rgb" else maps[ids.index(key)]
            np.testing.assert_allclose(file["maps"][number], expected / np.abs(expected).max(), atol=2e-3)


def test_shards_of_three_channels_make_the_whole(good, chain, tmp_path):
    line = ["saliency", "-m", "cnn.h5", "nih:set", "--method", "toy-signed", "--set", "input=rgb"]
    for number in (1, 2, 3):
        good(*line, "--shard", f"{number}/3", "--batch-size", str(number), "-o", tmp_path / f"{number}.h5", cwd=chain)
    assert good("merge", "1.h5", "3.h5", "2.h5", cwd=tmp_path).data == good(*line, cwd=chain).data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "toy-single", "--set", "input=rgb"], "input=rgb: the method gives 1 channel, not three; use "),
        (["--set", "input=rbg"], "unknown input 'rbg': did you mean rgb? known: sum-repeat, positive, rgb"),
        (["--set", "inptu=rgb"], "unknown parameter of saliency method deep-taylor 'inptu': did you mean input?"),
        (["--set", "fit_images=9"], "unknown parameter of saliency method deep-taylor 'fit_images'"),
        (["--fit", "nih:set"], "--fit nih:set: saliency method deep-taylor is not fitted to images"),
        (["--method", "toy-centred", "--set", "fit_images=0"], "--set fit_images=0: expected at least 1"),
        (["--method", "toy-centred", "--fit", "gone"], "gone: no such file or folder"),
    ],
)
def test_what_cannot_be(cbir, chain, tmp_path, options, message):
    ran = cbir("saliency", "-m", "cnn.h5", "nih:set", "-q", *options, "-o", tmp_path / "maps.h5", cwd=chain)
    assert ran.status in (1, 2) and ran.error.startswith(f"cbir saliency: {message}")
    assert not (tmp_path / "maps.h5").exists()


def test_a_single_channel_is_a_sum(good, chain, tmp_path):
    good("saliency", "-m", "cnn.h5", "nih:set", "--method", "toy-single", "-o", tmp_path / "maps.h5", cwd=chain)
    with h5py.File(tmp_path / "maps.h5") as file:
        np.testing.assert_allclose(file["maps"], kept(prepared(pixels_of(chain))[:, :1], "sum-repeat"), atol=1e-3)


@pytest.mark.parametrize("form", [None, "rgb", ""])
def test_maps_that_are_not_of_their_form(cbir, chain, tmp_path, form):
    path = tmp_path / "maps.h5"
    shutil.copy(chain / "maps.h5", path)
    with h5py.File(path, "r+") as file:
        del file.attrs["input"]
        if form is not None:
            file.attrs["input"] = form
    ran = cbir("info", path)
    assert ran.status == 1 and ran.error.startswith(f"cbir info: {path}: damaged: ")
    assert form != "" or ran.error.endswith("expected input sum-repeat, positive, rgb, found ''")


def test_underscores_are_the_same_method(good, chain):
    assert good("saliency", "-m", "cnn.h5", "nih:set", "--method", "deep_taylor", cwd=chain).data == (
        (chain / "maps.h5").read_bytes()
    )


# --- methods that draw ------------------------------------------------------------------------------------------------

DRAW = ["saliency", "-m", "cnn.h5", "nih:set", "--method", "toy-drawn"]


def test_draws_are_recorded_and_repeated(good, chain, made):
    folder = made("drawn", "--method", "toy-drawn", "--seed", "5", "--set", "input=rgb")
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn((3, 32, 32), generator=generator)
    expected = kept((noise * (torch.rand((32, 32), generator=generator) < 0.5)).numpy()[None], "rgb")
    with h5py.File(folder / "x.maps.h5") as file:
        np.testing.assert_allclose(file["maps"], np.repeat(expected, 40, axis=0), atol=1e-3)
        assert json.loads(file.attrs["parameters"]) == {"seed": 5, "share": 0.5}
        assert json.loads(file.attrs["history"])[-1]["seed"] == 5
    assert models.read(str(folder / "x.h5")).saliency.parameters == {"seed": 5, "share": 0.5}
    for one, two in zip(vectors(folder / "one.h5"), vectors(folder / "two.h5"), strict=True):
        np.testing.assert_array_equal(one, two)
    whole = good(*DRAW, "--seed", "5", "--set", "input=rgb", cwd=chain).data
    assert whole == (folder / "x.maps.h5").read_bytes()
    cut = good(*DRAW, "--seed", "5", "--set", "input=rgb", "--batch-size", "3", "--threads", "2", cwd=chain).data
    assert cut == whole


def test_another_seed_is_another_space_where_a_method_draws(cbir, good, chain, made):
    folder = made("seeds", "--method", "toy-drawn", epochs="0")
    good(*DRAW, "--seed", "1", "-o", "other.h5", cwd=folder)
    ran = cbir("embed", "-m", "x.h5", "other.h5", cwd=folder)
    assert ran.status == 2 and "made by another network or method" in ran.error
    assert good("saliency", "-m", "cnn.h5", "nih:set", "--seed", "9", cwd=chain).data == (
        (chain / "maps.h5").read_bytes()
    )


# --- methods that are fitted ------------------------------------------------------------------------------------------

FIT = ["saliency", "-m", "cnn.h5", "nih:set", "--method", "toy-centred"]


def fitted(path, group="fitted"):
    with h5py.File(path) as file:
        return {name: file[group][name][()] for name in file[group]}


def trained_on(chain):
    """Which rows of the table belong to patients that the CNN was trained on."""
    with h5py.File(chain / "maps.h5") as file:
        return np.flatnonzero(file["obs/seen"].asstr()[()] == "train")


def test_a_method_is_fitted_to_the_training_patients_and_carried_on(good, chain, made):
    folder = made("fitted", "--method", "toy-centred", "--set", "input=rgb")
    images, rows = prepared(pixels_of(chain)), trained_on(chain)
    assert 5 < len(rows) < 40
    mean = images[rows].mean(axis=0)
    found = fitted(folder / "x.maps.h5")
    np.testing.assert_allclose(found["mean"], mean, atol=1e-5)
    assert found["count"] == len(rows)
    with h5py.File(folder / "x.maps.h5") as file:
        np.testing.assert_allclose(file["maps"], kept(images - mean, "rgb"), atol=2e-3)
        entry = json.loads(file.attrs["history"])[-1]["parameters"]
    assert (entry["fit"], entry["fit_images"]) == ("nih:set", len(rows))
    np.testing.assert_array_equal(fitted(folder / "x.h5", "saliency_model/fitted")["mean"], found["mean"])
    for one, two in zip(vectors(folder / "one.h5"), vectors(folder / "two.h5"), strict=True):
        np.testing.assert_array_equal(one, two)
    good("verify", "x.maps.h5", "x.h5", cwd=folder)


def test_fitting_depends_on_nothing_but_the_images(good, chain, tmp_path):
    line = [*FIT, "--set", "fit_images=9"]
    whole = good(*line, cwd=chain).data
    assert (
        FITTED == [9] and good(*line, "--batch-size", "2", "--workers", "3", "--threads", "2", cwd=chain).data == whole
    )
    for number in (1, 2, 3):
        good(*line, "--shard", f"{number}/3", "-o", tmp_path / f"{number}.h5", cwd=chain)
    assert good("merge", "1.h5", "3.h5", "2.h5", cwd=tmp_path).data == whole
    (tmp_path / "whole.h5").write_bytes(whole)
    assert fitted(tmp_path / "whole.h5")["count"] == 9 < len(trained_on(chain))
    fewer = good(*FIT, "--set", "fit_images=8", "-o", tmp_path / "fewer.h5", cwd=chain)
    assert fewer.status == 0 and not np.array_equal(
        fitted(tmp_path / "fewer.h5")["mean"], fitted(tmp_path / "whole.h5")["mean"]
    )


@pytest.fixture
def folders(chain, tmp_path):
    """Three images in a folder ``some``, and three others in another of that name."""
    names = sorted(path.name for path in (chain / "set/images").iterdir())
    for where, few in (("a", names[:3]), ("b", names[3:6])):
        (tmp_path / where / "some").mkdir(parents=True)
        for name in few:
            shutil.copy(chain / "set/images" / name, tmp_path / where / "some")
    return tmp_path


def test_fitting_to_images_that_are_named(good, chain, folders):
    good(*FIT, "--fit", folders / "a/some", "-o", folders / "maps.h5", cwd=chain)
    spec = InputSpec(size=32)
    images = prepared(
        np.stack([spec.load(Record(path.name, path, path.name)) for path in (folders / "a/some").iterdir()])
    )
    np.testing.assert_allclose(fitted(folders / "maps.h5")["mean"], images.mean(axis=0), atol=1e-5)
    with h5py.File(folders / "maps.h5") as file:
        assert json.loads(file.attrs["history"])[-1]["parameters"]["fit"] == "some"


def test_images_of_strangers_are_all_fitted_to(good, chain, folders):
    """The model was trained on none of them, so there is nothing to choose by."""
    for number, path in enumerate(sorted((folders / "a/some").iterdir())):
        path.rename(path.with_name(f"stranger-{number}.png"))
    good("saliency", "-m", chain / "cnn.h5", "a/some", "--method", "toy-centred", "-o", "maps.h5", cwd=folders)
    assert fitted(folders / "maps.h5")["count"] == 3


def test_shards_that_were_fitted_to_other_images(cbir, good, chain, folders):
    for number, where in ((1, "a"), (2, "b")):
        line = [*FIT, "--fit", folders / where / "some", "--shard", f"{number}/2"]
        good(*line, "-o", folders / f"{number}.h5", cwd=chain)
    ran = cbir("merge", "1.h5", "2.h5", "-o", "all.h5", cwd=folders)
    assert ran.status == 1 and not (folders / "all.h5").exists()
    assert ran.error == "cbir merge: 2.h5: its method was fitted to other images than that of 1.h5"


def test_a_killed_run_goes_on_with_the_same_fit_only(cbir, good, chain, folders):
    line = [*FIT, "--fit", folders / "a/some", "--batch-size", "10", "--threads", "1", "-q"]
    TROUBLE.extend([True, *[False] * 25])  # from the end: 25 images are done, the next is trouble
    assert cbir(*line, "-o", folders / "maps.h5", cwd=chain).status == 1
    other = cbir(*FIT, "--fit", folders / "b/some", "-q", "--resume", "-o", folders / "maps.h5", cwd=chain)
    assert other.status == 1 and "was made by another command or from other inputs" in other.error
    ran = good(*line[:-1], "--resume", "-o", folders / "maps.h5", cwd=chain)
    assert "resumed: 20 of 40 images are done\n" in ran.err
    assert (folders / "maps.h5").read_bytes() == good(*line, cwd=chain).data


def test_images_to_fit_to_that_cannot_be_read(cbir, chain, folders):
    bad = folders / "a/some" / "bad.png"
    bad.write_text("no image")
    line = [*FIT, "--fit", folders / "a/some", "-o", folders / "maps.h5"]
    ran = cbir(*line, cwd=chain)
    assert ran.status == 3 and "bad.png: " in ran.err and fitted(folders / "maps.h5")["count"] == 3
    assert cbir(*line, "--on-error", "skip", cwd=chain).status == 0
    assert cbir(*line, "--on-error", "fail", cwd=chain).status == 1
    for path in (folders / "a/some").iterdir():
        path.write_text("no image")
    ran = cbir(*line, "-q", cwd=chain)
    assert ran.status == 1 and ran.err.splitlines()[-1] == (
        "cbir saliency: none of the images that saliency method toy-centred is to be fitted to can be read"
    )


def test_what_was_fitted_is_part_of_the_space(cbir, good, chain, folders, made):
    folder = made("fits", "--method", "toy-centred", "--fit", folders / "a/some", epochs="0")
    good(*FIT, "--fit", folders / "b/some", "-o", "other.h5", cwd=folder)
    ran = cbir("embed", "-m", "x.h5", "other.h5", cwd=folder)
    assert ran.status == 2 and "made by another network or method" in ran.error


def test_an_ig_model_that_has_lost_its_fit(cbir, chain, made):
    folder = made("lost", "--method", "toy-centred", epochs="0")
    with h5py.File(folder / "x.h5", "r+") as file:
        del file["saliency_model/fitted"]
    _payload.seal(str(folder / "x.h5"))
    ran = cbir("embed", "-m", "x.h5", "nih:set", "-q", cwd=folder)
    assert ran.status == 2 and ran.error == "cbir embed: saliency method toy-centred has to be fitted to images first"


def test_one_stdin(cbir, chain):
    ran = cbir("saliency", "-m", "cnn.h5", "-", "--method", "toy-centred", "--fit", "-", cwd=chain)
    assert ran.status == 2 and ran.error == "cbir saliency: - is standard input: it can stand for one input only"
