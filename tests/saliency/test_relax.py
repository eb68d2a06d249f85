"""RELAX as a saliency method: of modules, of models with and without outputs, and with its uncertainty on disk."""

import csv
import io
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from cbir_cli import engines, random_masks, registry
from cbir_cli.artifacts import files, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.saliency import relax
from cbir_cli.similarity import relax as pair_relax
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.network_maps import Mapper
from cbir_cli.stages.networks import Network

FEW = ["--method", "relax", "--set", "masks=60"]


def generator(seed=4):
    return torch.Generator().manual_seed(seed)


def images(count=2, size=12):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Tangent(nn.Module):
    """A small network of smooth steps, in float64."""

    def __init__(self, size=12):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 3 * size**2, generator=generator(2), dtype=torch.float64) / size)

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.weight.T.to(x)) + 0.2


def everything(**given):
    return {"masks": 80, **registry.parameters(relax.explain), **given}


def plain(model, image, masks, fill):
    """Eq. 4 and its uncertainty, mask by mask."""
    with torch.no_grad():
        whole = model(image[None])[0]
        hidden = [image * torch.from_numpy(mask) + fill * (1 - torch.from_numpy(mask)) for mask in masks]
        s = [float(torch.cosine_similarity(whole, model(x[None])[0], dim=0)) for x in hidden]
    importance = sum(one * mask for one, mask in zip(s, masks, strict=True)) / len(masks)
    return importance, sum((one - importance) ** 2 * mask for one, mask in zip(s, masks, strict=True)) / len(masks)


@pytest.mark.parametrize("kind", random_masks.KINDS)
@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_plain_loop(kind, fill):
    given = {"masks": 80, "cells": 4, "fill": fill, "mask_kind": kind, "normalisation": "paper", "shifted": False}
    model, batch = Tangent(), images()
    made = relax.explain_with_uncertainty(model, batch, generator=generator(), **everything(**given))
    assert torch.equal(relax.explain(model, batch, generator=generator(), **given), made[0])
    state = int(torch.randint(2**63 - 1, (), generator=generator()))
    drawn = random_masks.draw(kind, (12, 12), 80, cells=4, probability=0.5, seed=state)
    for i, image in enumerate(batch):
        slow = plain(model, image, drawn.block(0, 80).astype(np.float64), fill)
        for stack, truth in zip(made, slow, strict=True):
            assert stack.shape == (2, 1, 12, 12) and stack.dtype == torch.float64
            np.testing.assert_allclose(stack[i, 0], truth, rtol=1e-5, atol=1e-7)


def test_the_generator_decides_the_masks_and_images_share_them():
    def explain(batch, seed):
        return relax.explain(Tangent(), batch, generator=generator(seed), masks=80)

    batch = images(3)
    sizes = []
    watched = Tangent()
    watched.register_forward_hook(lambda module, given, made: sizes.append(len(made)))
    relax.explain(watched, batch, generator=generator(), masks=80)
    assert max(sizes) == 16 and sum(sizes) == 3 * 81
    assert torch.equal(explain(batch, 1), explain(batch, 1))
    assert not torch.equal(explain(batch, 1), explain(batch, 2))
    # The same bytes alone and among others: every forward pass holds copies of one image, 16 at a time.
    assert torch.equal(explain(batch, 1)[1:2], explain(batch[1:2], 1))
    used = generator(1)
    first, second = (relax.explain(Tangent(), batch, generator=used, masks=80) for _ in range(2))
    assert torch.equal(first, explain(batch, 1)) and not torch.equal(first, second)


def test_a_patch_is_found_with_the_right_weights_alone():
    class Patch(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(weight)

        def forward(self, x):
            return torch.cat([x.flatten(1) * self.weight, 0.05 * torch.ones_like(x[:, 0, 0])], dim=1)

    seen = torch.zeros(3, 24, 24, dtype=torch.float64)
    seen[:, 14:19, 4:9] = 1
    batch = images(1, 24)
    found = relax.explain(Patch(seen.flatten()), batch, generator=generator(), masks=1500)[0, 0]
    inside = seen[0] > 0
    assert inside.flatten()[found.argmax()] and found[inside].mean() > 3 * found[~inside].mean()
    shuffled = seen.flatten()[torch.randperm(seen.numel(), generator=generator(3))]
    other = relax.explain(Patch(shuffled), batch, generator=generator(), masks=1500)[0, 0]
    assert other[inside].mean() < 1.5 * other[~inside].mean()


@pytest.mark.parametrize(
    "bad",
    [{"masks": 0}, {"cells": 13}, {"normalisation": "x"}, {"average": "x"}, {"gamma": -1.0}, {"fill": float("nan")}],
)
def test_settings_out_of_range(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        relax.explain(Tangent(), images(), generator=generator(), **bad)


def test_what_is_no_vector():
    with pytest.raises(ShapeError, match="vectors"):
        relax.explain(nn.Identity(), images(), generator=generator())
    broken = Tangent()
    broken.weight.data.fill_(torch.nan)
    with pytest.raises(ShapeError, match="finite vectors from the model, found numbers that are not finite"):
        relax.explain(broken, images(), generator=generator())


# --- models --------------------------------------------------------------------------------------------------------


def made(architecture="resnet-tiny", outputs=2, layer="input"):
    """A model artifact with fresh weights; with ``output`` one without outputs, as SimSiam and triplets leave it."""
    kind = registry.load("models", architecture)
    module = _weights.fresh(architecture, outputs, seed=1)
    return models.Model(
        architecture=architecture,
        weights={name: value.numpy() for name, value in module.state_dict().items()},
        outputs=[] if layer == "output" else [f"label {i}" for i in range(outputs)],
        task={"name": "effusion", "labels": ["Effusion"]},
        objective="binary",
        feature_layer=f"{kind.HEAD}.{layer}",
        feature_width=(outputs or kind.FEATURES) if layer == "output" else kind.FEATURES,
        input=InputSpec(size=32),
        name="made.h5",
    )


def mapper(model, **given):
    return Mapper(model, "relax", {"masks": 60, **given}, Settings("torch", "cpu", 1))


@pytest.mark.parametrize(
    ("architecture", "outputs", "layer"),
    [
        ("resnet-tiny", 2, "input"),
        ("densenet-tiny", 1, "input"),
        ("densenet-tiny", 24, "output"),
        ("resnet-tiny", 0, "output"),
        ("mldam-tiny", 1, "input"),  # has no ONNX graph
    ],
)
def test_the_vector_is_what_the_models_feature_layer_says(architecture, outputs, layer):
    model = made(architecture, outputs, layer)
    pixels = np.random.default_rng(1).random((3, 32, 32), np.float32)
    rows = mapper(model).rows(pixels)
    network = engines.network(registry.load("models", architecture), model.weights)
    if layer == "input":
        network.set_submodule(registry.load("models", architecture).HEAD, nn.Identity())
    given = torch.from_numpy(model.input.prepare(pixels))
    slow = relax.explain_with_uncertainty(network, given, generator=generator(0), **everything(masks=60))
    assert np.allclose(network(given).detach(), Network(model, Settings(device="cpu")).encode(pixels), atol=1e-5)
    for name, truth in zip(("maps", "uncertainty"), slow, strict=True):
        scale = rows["scale" if name == "maps" else "uncertainty_scale"]
        found, truth = rows[name] * scale[:, None, None], truth[:, 0].numpy()
        assert rows[name].dtype == np.float16 and rows[name].shape == (3, 32, 32)
        np.testing.assert_allclose(found, truth, atol=2e-3 * truth.max())
    for i in range(3):
        alone = mapper(model).rows(pixels[i : i + 1])
        assert all(alone[name][0].tobytes() == rows[name][i].tobytes() for name in rows)


def test_threads_change_no_byte():
    model, pixels = made(), np.random.default_rng(1).random((2, 32, 32), np.float32)
    one = mapper(model).rows(pixels)
    two = Mapper(model, "relax", {"masks": 60}, Settings("torch", "cpu", 2)).rows(pixels)
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_of_an_ig_model_the_vector_is_what_it_is_searched_by():
    """Image to map to vector: the same as RELAX of a pair, whose encoder takes pixels."""
    first = made("densenet-tiny", 1)
    guide = models.Saliency(first, "gradient", {}, "sum-repeat")
    model = replace(made("resnet-tiny"), saliency=guide)
    pixels = np.random.default_rng(1).random((2, 32, 32), np.float32)
    encoder = Network(model, Settings(device="cpu", threads=1))
    watched = mapper(model)
    vectors = watched._vectors(first.input.prepare(pixels))
    assert (
        vectors.tobytes()
        == encoder.encode(pixels).tobytes()
        != mapper(made("resnet-tiny"))._vectors(first.input.prepare(pixels)).tobytes()
    )
    found = watched.rows(pixels)
    state = int(torch.randint(2**63 - 1, (), generator=generator(0)))
    pair = pair_relax.explain(encoder, pixels[:1], pixels[1:], masks=60, seed=state)
    for i in range(2):
        # Steps of the first network's gradient, at the rounding of a mask, show in some vectors.
        assert np.corrcoef(found["maps"][i].ravel().astype(float), pair[i][0].ravel())[0, 1] > 0.99


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cnn.h5", "metric.h5"])
def test_maps_and_uncertainty_from_image_to_artifact(model, tmp_path, phantom, good):
    models.write(str(tmp_path / "metric.h5"), made(outputs=8, layer="output"))
    models.write(str(tmp_path / "cnn.h5"), made())
    good("saliency", "-m", model, f"nih:{phantom}", *FEW, "--seed", "2", "-o", "maps.h5", cwd=tmp_path)
    with files.open_artifact(str(tmp_path / "maps.h5"), saliency.KIND) as artifact:
        read = saliency.read(artifact)
        assert read.method == "relax" and read.target == "representation" and read.parameters["seed"] == 2
        assert read.parameters["masks"] == 60 and read.parameters["normalisation"] == "code"
        assert read.maps.shape == read.uncertainty.shape == (len(read.items.ids), 32, 32)
        assert read.uncertainty.dtype == np.float16 and (read.uncertainty_scale > 0).all()
        assert read.uncertainty[()].min() >= 0 and read.uncertainty[()].max() == 1 == read.maps[()].max()
    good("verify", "maps.h5", cwd=tmp_path)
    good("info", "maps.h5", cwd=tmp_path)


def test_gradients_have_no_uncertainty(chain):
    with h5py.File(chain / "maps.h5") as file:
        assert not {"uncertainty", "uncertainty_scale"} & set(file)


def test_shards_make_the_whole(good, chain, tmp_path):
    line = ["saliency", "-m", "cnn.h5", "nih:set", *FEW]
    for number in (1, 2):
        good(*line, "--shard", f"{number}/2", "--batch-size", "3", "-o", tmp_path / f"{number}.h5", cwd=chain)
    assert good("merge", "2.h5", "1.h5", cwd=tmp_path).data == good(*line, cwd=chain).data


def test_uncertainty_that_does_not_fit_is_refused(good, cbir, chain, tmp_path):
    good("saliency", "-m", "cnn.h5", "nih:set", *FEW, "-o", tmp_path / "maps.h5", cwd=chain)
    with h5py.File(tmp_path / "maps.h5", "a") as file:
        del file["uncertainty_scale"]
        file["uncertainty_scale"] = np.ones(1, np.float32)
    ran = cbir("info", "maps.h5", cwd=tmp_path)
    assert ran.status == 1 and "uncertainty" in ran.error


def test_a_network_learns_from_them_and_makes_them_itself(good, linked):
    folder = linked("relax")
    good("saliency", "-m", "cnn.h5", "nih:set", *FEW, "-o", "r.maps.h5", cwd=folder)
    good("finetune-ig", "-m", "cnn.h5", "r.maps.h5", "--epochs", "1", "-o", "r.h5", cwd=folder)
    good("embed", "-m", "r.h5", "nih:set", "-o", "one.h5", cwd=folder)
    good("embed", "-m", "r.h5", "r.maps.h5", "-o", "two.h5", cwd=folder)
    with h5py.File(folder / "one.h5") as one, h5py.File(folder / "two.h5") as two:
        assert one["X"][()].tobytes() == two["X"][()].tobytes()


def test_randomize_against_maps_of_networks_with_fresh_layers(good, chain, tmp_path):
    """The cascade's rows by another way: the layers are exchanged in the model's file, and maps made with it."""
    few = sorted((chain / "set/images").iterdir())[:4]
    (tmp_path / "few").mkdir()
    for path in few:
        (tmp_path / "few" / path.name).write_bytes(path.read_bytes())
    line = ["-m", chain / "cnn.h5", "few", *FEW, "--seed", "3"]
    ran = good("saliency", *line, "--randomize", "cascade", cwd=tmp_path)
    rows = {row["layer"]: row for row in csv.DictReader(io.StringIO(ran.out), delimiter="\t")}
    trained = models.read(str(chain / "cnn.h5"))
    fresh = {name: value.numpy() for name, value in _weights.fresh("densenet-tiny", 1, seed=3).state_dict().items()}
    assert next(iter(rows)) == "classifier" and list(rows)[-1] == "features.conv0"
    assert list(rows["classifier"].values()) == ["classifier", "4", "1.0000", "1.0000", "0"]  # relax takes the vector

    def maps(model):
        models.write(str(tmp_path / "m.h5"), model)
        good("saliency", "-m", "m.h5", "few", *FEW, "--seed", "3", "-o", "m.maps.h5", cwd=tmp_path)
        with files.open_artifact(str(tmp_path / "m.maps.h5"), saliency.KIND) as artifact:
            return saliency.read(artifact).maps[()].astype(float)

    whole = maps(trained)
    for lost, prefixes in (
        ("features.norm5", ("classifier", "features.norm5")),
        ("features.conv0", ("",)),
    ):
        weights = {n: fresh[n] if n.startswith(prefixes) else value for n, value in trained.weights.items()}
        pairs = list(zip(whole, maps(replace(trained, weights=weights)), strict=True))
        for column, change in (("spearman", lambda x: x), ("spearman_abs", np.abs)):
            expected = np.mean([spearmanr(change(a).ravel(), change(b).ravel()).statistic for a, b in pairs])
            assert float(rows[lost][column]) == pytest.approx(expected, abs=1e-4)
    assert float(rows["features.conv0"]["spearman"]) < 0.9


@pytest.mark.parametrize("wrong", ["masks=none", "mask_kind=squares", "input=rgb", "gamma=-1", "fill=nan", "fill=inf"])
def test_one_line_for_what_is_wrong(cbir, chain, wrong, tmp_path):
    line = ["saliency", "-m", "cnn.h5", "nih:set", "--method", "relax", "--set", wrong, "-q", "-o", tmp_path / "x.h5"]
    ran = cbir(*line, cwd=chain)
    assert ran.status == 2 and ran.error
