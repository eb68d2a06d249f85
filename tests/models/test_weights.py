"""Initial weights: files of many makes, and files that must not be believed."""

import logging
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file

from cbir_cli.errors import WeightsError
from cbir_cli.models import densenet_tiny
from cbir_cli.models._weights import fit_state, fresh, load_initial, read_state

TINY = "densenet-tiny"


@pytest.fixture(autouse=True)
def talk(caplog):
    caplog.set_level(logging.INFO, logger="cbir")


def other(n_outputs=1, seed=9):
    """State dict of a network that has nothing in common with those of seed 0."""
    state = fresh(TINY, n_outputs, seed=seed).state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(v.shape, generator=generator) if v.is_floating_point() else v for k, v in state.items()}


def assert_equal(module, expected, but=()):
    for name, value in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, expected[name]) == (name not in but), name


# --- fresh weights -------------------------------------------------------------------------------------------------


def test_fresh_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fresh(TINY, 1, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, another = load_initial("none", TINY, 1, seed=5).state_dict(), fresh(TINY, 1, seed=6).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["features.conv0.weight"], another["features.conv0.weight"])


# --- files of many makes -------------------------------------------------------------------------------------------


def old_name(name):
    return re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", name)


def chexnet(state):
    renamed = {}
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            name = old_name(name).replace("classifier.", "classifier.0.")
            renamed[f"module.densenet121.{name}"] = value
    return {"epoch": 3, "state_dict": renamed, "best_loss": 0.1, "optimizer": {"state": {}, "param_groups": []}}


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("raw.pth", lambda s: s),
        ("raw.pt", lambda s: {"state_dict": s}),
        ("model.bin", lambda s: {"model": s, "epoch": 1}),
        ("parallel.ckpt", lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}),
        ("m-25012018-123527.pth.tar", chexnet),
        ("half.pth", lambda s: {k: v.to(torch.float16).float() for k, v in s.items()}),
        ("extra.pth", lambda s: s | {"op_threshs": torch.full((18,), torch.nan)}),
    ],
)
def test_checkpoints_of_many_makes(tmp_path, name, wrap):
    state = {k: v.half().float() if v.is_floating_point() else v for k, v in other().items()}
    torch.save(wrap(state), tmp_path / name)
    assert_equal(load_initial(str(tmp_path / name), TINY, 1, seed=0), state)


def test_files_of_old_torch(tmp_path):
    torch.save(chexnet(other()), tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    assert_equal(load_initial(str(tmp_path / "old.pth.tar"), TINY, 1, seed=0), other())


def test_safetensors(tmp_path):
    save_file(other(), tmp_path / "w.safetensors")
    assert_equal(load_initial(str(tmp_path / "w.safetensors"), TINY, 1, seed=0), other())


def test_arrays_as_an_artifact_holds_them():
    module = densenet_tiny.build(1)
    assert fit_state(module, {k: v.numpy() for k, v in other().items()}, architecture=TINY, what="cnn.h5") == []
    assert_equal(module, other())


def test_a_backbone_without_a_head():
    inner = {k.replace("features.", "backbone.0."): v for k, v in other().items() if k.startswith("features.")}
    module = fresh(TINY, 1, seed=0)
    kept = fit_state(module, inner, architecture=TINY, what="radiology.pt")
    assert kept == ["classifier.weight", "classifier.bias"]
    start = fresh(TINY, 1, seed=0).state_dict()
    assert_equal(module, other() | {k: start[k] for k in kept})


# --- heads of another width ----------------------------------------------------------------------------------------


def test_a_head_of_another_width_is_replaced_and_said(tmp_path, caplog):
    torch.save(chexnet(other(14)), tmp_path / "chexnet.pth.tar")
    module = load_initial(str(tmp_path / "chexnet.pth.tar"), TINY, 1, seed=3)
    start = fresh(TINY, 1, seed=3).state_dict()
    head = {k: start[k] for k in ("classifier.weight", "classifier.bias")}
    assert_equal(module, other(14) | head)
    assert "chexnet.pth.tar: no classifier of this width" in caplog.text
    assert "classifier.weight, classifier.bias" in caplog.text


def test_weight_and_bias_of_a_head_go_together():
    state = other()
    del state["classifier.weight"]
    module = fresh(TINY, 1, seed=0)
    assert fit_state(module, state, architecture=TINY, what="x") == ["classifier.weight", "classifier.bias"]
    assert not torch.equal(module.classifier.bias, state["classifier.bias"])


def test_what_is_not_used_is_said(caplog):
    fit_state(densenet_tiny.build(1), other() | {"thresholds": torch.zeros(2)}, architecture=TINY, what="x.pth")
    assert "x.pth: not used: thresholds" in caplog.text


# --- other networks ------------------------------------------------------------------------------------------------


def resnet(n_outputs, seed=9):
    return fresh("resnet-tiny", n_outputs, seed=seed).state_dict()


def simsiam():
    """What the official code saves: torchvision's network with a projector for its last layer, and a predictor."""
    from torch import nn

    encoder = fresh("resnet-tiny", 0, seed=9)
    encoder.fc = nn.Sequential(
        *(nn.Linear(32, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32, bias=False)),
        *(nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32, affine=False)),
    )
    whole = nn.ModuleDict({"module": nn.ModuleDict({"encoder": encoder, "predictor": nn.Sequential(nn.Linear(32, 8))})})
    return {"epoch": 100, "arch": "resnet50", "state_dict": whole.state_dict(), "optimizer": {"state": {}}}


@pytest.mark.parametrize("outputs", [0, 2, 32])
def test_a_checkpoint_of_simsiam_fills_the_backbone(tmp_path, caplog, outputs):
    torch.save(simsiam(), tmp_path / "checkpoint_0099.pth.tar")
    module = load_initial(str(tmp_path / "checkpoint_0099.pth.tar"), "resnet-tiny", outputs, seed=0)
    start = fresh("resnet-tiny", outputs, seed=0).state_dict()
    for name, value in module.state_dict().items():
        expected = start[name] if name.startswith("fc.") else resnet(0)[name]
        assert torch.equal(value, expected), name
    assert ("no fc of this width" in caplog.text) == (outputs > 0)
    assert "not used: fc.0.weight" in caplog.text or "fc.1.bias" in caplog.text


@pytest.mark.parametrize("prefix", ["", "module.", "net.backbone."])
def test_names_that_a_stage_repeats_are_not_taken_for_prefixes(prefix):
    module = fresh("resnet-tiny", 2, seed=0)
    given = {prefix + name: value for name, value in resnet(2).items()}
    assert fit_state(module, given, architecture="resnet-tiny", what="x.pth") == []
    assert_equal(module, resnet(2))


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (3, 5), (256, 1)])
def test_a_model_of_another_width_or_without_last_layer(before, after):
    module, start = fresh("resnet-tiny", after, seed=0), resnet(after, seed=0)
    kept = fit_state(module, resnet(before), architecture="resnet-tiny", what="cnn.h5")
    assert kept == (["fc.weight", "fc.bias"] if after else [])
    assert_equal(module, {**resnet(before), **{name: start[name] for name in kept}})


def test_two_networks_of_one_kind_are_not_chosen_between():
    given = {f"{half}.{name}": value for half in ("teacher", "student") for name, value in resnet(0).items()}
    with pytest.raises(WeightsError, match=r"several networks: student\., teacher\."):
        fit_state(fresh("resnet-tiny", 1, seed=0), given, architecture="resnet-tiny", what="x.pth")


def test_weights_of_another_architecture():
    with pytest.raises(WeightsError, match=r"holds no conv1\.weight; found features\.conv0\.weight"):
        fit_state(fresh("resnet-tiny", 1, seed=0), other(), architecture="resnet-tiny", what="cnn.h5")


def test_a_transformer_has_a_first_weight_without_a_layer():
    module = fresh("torchvision.vit-b-32", 1, seed=0)
    given = {f"module.{name}": value for name, value in module.state_dict().items()}
    assert fit_state(module, given, architecture="torchvision.vit-b-32", what="vit.pth") == []


# --- weights that do not fit ---------------------------------------------------------------------------------------


def without(name):
    return lambda s: {k: v for k, v in s.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("features.norm0.bias"), r"features\.norm0\.bias missing"),
        (
            lambda s: s | {"features.conv0.weight": torch.zeros(8, 1, 7, 7)},
            r"features\.conv0\.weight is 8x1x7x7, not 8x3x7x7",
        ),
        (lambda s: {k: v for k, v in s.items() if "denselayer2" not in k}, "and 17 more"),
        (lambda s: s | {"features.norm5.bias": torch.full((16,), torch.inf)}, r"norm5\.bias holds values that are not"),
        (lambda s: {"layer1.weight": torch.zeros(2)}, r"holds no features\.conv0\.weight; found layer1\.weight"),
        (lambda s: {}, "found no weights"),
        (lambda s: {f"{p}.{k}": v for k, v in s.items() for p in "ab"}, r"several networks: a\., b\."),
    ],
)
def test_weights_that_do_not_fit(change, message):
    module = fresh(TINY, 1, seed=0)
    with pytest.raises(WeightsError, match=message) as error:
        fit_state(module, change(other()), architecture=TINY, what="x.pth")
    assert str(error.value).startswith("x.pth: ") and "\n" not in str(error.value)
    assert_equal(module, fresh(TINY, 1, seed=0).state_dict())  # nothing was taken over halfway


# --- files that must not be believed -------------------------------------------------------------------------------


class Planted:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("way", ["torch", "torch-old", "pickle"])
def test_nothing_in_a_checkpoint_is_run(tmp_path, way):
    planted, file = tmp_path / "planted", tmp_path / "evil.pth"
    state = dict(other()) | {"extra": Planted(planted)}
    if way == "pickle":
        file.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=way == "torch")
    with pytest.raises(WeightsError, match="never loaded") as error:
        load_initial(str(file), TINY, 1, seed=0)
    assert not planted.exists()
    assert "\n" not in str(error.value)
    torch.load(file, weights_only=False) if way != "pickle" else pickle.loads(file.read_bytes())
    assert planted.exists()  # the trap works


@pytest.mark.parametrize("name", ["x.pth", "x.pth.tar", "x.safetensors", "x.ckpt"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut", b"\x80\x02}q\x00."], ids=repr)
def test_damaged_files_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_initial(str(tmp_path / name), TINY, 1, seed=0)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_cut_checkpoint(tmp_path):
    torch.save(other(), tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"x\.pth"):
        read_state(tmp_path / "x.pth")


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="no such file; expected a weights file, 'imagenet' or 'none'"):
        load_initial("imagenett", TINY, 1, seed=0)
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"unknown kind of weights file; known: \.pth"):
        load_initial(str(tmp_path / "w.onnx"), TINY, 1, seed=0)


# --- ImageNet ------------------------------------------------------------------------------------------------------


def test_imagenet_weights_that_cannot_be_had_name_the_way_out(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(WeightsError) as error:
        load_initial("imagenet", "densenet121", 1, seed=0)
    message = str(error.value)
    assert "--init none" in message and "\n" not in message
    assert f"put densenet121-a639ec97.pth into {tmp_path}/hub/checkpoints" in message


@pytest.mark.densenet121
def test_imagenet_weights_from_the_folder(tmp_path, monkeypatch):
    from torchvision.models import densenet121

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        state = densenet121().state_dict()
    torch.save({old_name(k): v for k, v in state.items()}, folder / "densenet121-a639ec97.pth")
    module = load_initial("imagenet", "densenet121", 1, seed=0)
    start = fresh("densenet121", 1, seed=0).state_dict()
    assert_equal(module, state | {k: start[k] for k in ("classifier.weight", "classifier.bias")})


def test_a_damaged_download_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"x": Planted(tmp_path / "planted")}, folder / "densenet121-a639ec97.pth")
    with pytest.raises(WeightsError, match="cannot be had"):
        load_initial("imagenet", "densenet121", 1, seed=0)
    assert not (tmp_path / "planted").exists()


def test_no_imagenet_weights_for_our_own_networks():
    with pytest.raises(WeightsError, match="no ImageNet weights for densenet-tiny; use --init none"):
        load_initial("imagenet", TINY, 1, seed=0)


def test_counters_may_be_missing():
    state = {k: v for k, v in other().items() if not k.endswith("num_batches_tracked")}
    module = fresh(TINY, 1, seed=0)
    fit_state(module, state, architecture=TINY, what="x")
    assert_equal(module, state)
