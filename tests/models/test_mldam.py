"""Multi-level dual attention: shapes of the paper, a plain float64 twin, and weights of a plain DenseNet."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli import engines, registry
from cbir_cli.errors import CbirError, UsageError, WeightsError
from cbir_cli.models import _attention, mldam, mldam_tiny
from cbir_cli.models._weights import fit_state, fresh
from cbir_cli.saliency import deep_taylor, gradient
from cbir_cli.stages.encoders import imagenet


@pytest.fixture(scope="module")
def tiny():
    """A network whose parts all count."""
    net = fresh("mldam-tiny", 3, seed=4).eval().double()
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)):
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.uniform_(-0.3, 0.3, generator=generator)
    return net


def test_levels_at_224_px_are_those_of_the_paper():
    with torch.device("meta"):
        net = mldam.build(1).eval()
        found = [tuple(level.shape[1:]) for level in net.taps(torch.zeros(1, 3, 224, 224))]
    assert found == [(512, 28, 28), (1024, 14, 14), (1024, 7, 7)]


def test_levels_are_the_outputs_of_the_blocks(tiny):
    images = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o))
        for name, layer in tiny.features.named_children()
    ]
    first, second, last = tiny.taps(images)
    for hook in hooks:
        hook.remove()
    assert torch.equal(first, seen["denseblock1"]) and torch.equal(second, seen["denseblock2"])
    assert torch.equal(last, seen["norm5"].clamp(min=0)) and not torch.equal(last, seen["norm5"])


@pytest.mark.parametrize("module", [mldam, mldam_tiny])
def test_every_size_from_the_smallest_on_will_do(module):
    with torch.device("meta"):
        net = module.build(2).eval()
        for size in (*range(module.MIN_SIZE, module.MIN_SIZE + 9), 64, 225):
            first, second, last = net.taps(torch.zeros(1, 3, size, size))
            assert last.shape[2] == second.shape[2] // 2 == first.shape[2] // 4
            assert net(torch.zeros(1, 3, size, size)).shape == (1, 2)
        with pytest.raises(RuntimeError, match="too small"):
            net(torch.zeros(1, 3, module.MIN_SIZE - 1, module.MIN_SIZE - 1))


# --- a plain twin -----------------------------------------------------------------------------------------------------


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def plain_position(q, k, v):
    """(C, H, W) each: place by place."""
    channels, height, width = v.shape
    q, k, rows = (x.reshape(channels, -1).T for x in (q, k, v))
    out = np.empty_like(rows)
    for i in range(len(rows)):
        scores = softmax(np.array([[q[i] @ k[j] for j in range(len(k))]]))[0]
        out[i] = sum(scores[j] * rows[j] for j in range(len(rows))) + rows[i]
    return out.T.reshape(channels, height, width)


def plain_channel(x):
    rows = x.reshape(len(x), -1)
    out = [sum((rows[a] @ rows[b]) * rows[b] for b in range(len(rows))) + rows[a] for a in range(len(rows))]
    return np.stack(out).reshape(x.shape)


def plain_norm(x, layer):
    x = np.maximum(x, 0)
    centred = x - x.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return centred / spread * weight[:, None, None] + bias[:, None, None]


def pooled(x, by):
    height, width = x.shape[1] // by, x.shape[2] // by
    return x[:, : height * by, : width * by].reshape(len(x), height, by, width, by).mean(axis=(2, 4))


def projected(x, layer):
    weight, bias = layer.weight.detach().numpy()[:, :, 0, 0], layer.bias.detach().numpy()
    return np.einsum("oc,chw->ohw", weight, x) + bias[:, None, None]


def dense(x, layer):
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


@pytest.mark.parametrize("size", [32, 45])
def test_the_network_is_a_plain_one_in_float64(tiny, size):
    images = torch.from_numpy(np.random.default_rng(size).normal(size=(2, 3, size, size)))
    with torch.no_grad():
        levels = [level.numpy() for level in tiny.taps(images)]
        outputs = tiny(images).numpy()
    attention = tiny.attention
    for n in range(2):
        first, second, last = (level[n] for level in levels)
        query = projected(pooled(first, 4), attention.query)
        key = projected(pooled(second, 2), attention.key)
        value = projected(last, attention.value)
        both = (
            plain_norm(plain_position(query, key, value), attention.position_norm)
            + plain_norm(plain_channel(value), attention.channel_norm)
        ) / 2
        grid = nn.functional.adaptive_avg_pool2d(torch.from_numpy(both), 2).numpy()
        vector = np.maximum(dense(np.maximum(dense(grid.ravel(), tiny.dense1), 0), tiny.dense2), 0)
        np.testing.assert_allclose(outputs[n], dense(vector, tiny.classifier), rtol=1e-9, atol=1e-9)


def test_at_224_px_the_dense_layers_see_the_maps_as_they_are():
    with torch.device("meta"):
        net = mldam.build(1)
    maps = torch.rand(1, 512, 7, 7)
    assert torch.equal(net.pool(maps), maps) and net.dense1.in_features == 512 * 49


def test_attention_over_one_place_doubles_it():
    x = torch.rand(2, 4, 1, 1)
    torch.testing.assert_close(_attention.position(torch.rand(2, 4, 1, 1), x, x), 2 * x)


def test_dropout_is_that_of_the_paper_and_off_in_evaluation(tiny):
    assert tiny.dropout.p == 0.25
    images = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(tiny(images), tiny(images))


# --- in the toolkit ---------------------------------------------------------------------------------------------------


def test_the_vector_is_the_last_dense_layers():
    net = fresh("mldam-tiny", 2, seed=0).eval()
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    run = engines.encoder("mldam-tiny", weights, device="cpu", threads=1)
    inputs, outputs = run(images)
    assert run.engine == "torch" and inputs.shape == (2, mldam_tiny.FEATURES) and inputs.min() == 0 < inputs.max()
    np.testing.assert_allclose(outputs, inputs @ weights["classifier.weight"].T + weights["classifier.bias"], atol=1e-6)
    with pytest.raises(UsageError, match="mldam-tiny has no ONNX graph"):
        engines.encoder("mldam-tiny", weights, engine="onnxruntime")


def test_a_densenet_fills_the_backbone_and_the_rest_is_fresh(caplog):
    caplog.set_level(logging.INFO, logger="cbir")
    backbone = fresh("densenet121", 14, seed=9).state_dict()
    old = {f"module.densenet121.{name}".replace("classifier.", "classifier.0."): v for name, v in backbone.items()}
    for state in (backbone, {"state_dict": old}, {name: value.numpy() for name, value in backbone.items()}):
        caplog.clear()
        module = fresh("mldam", 1, seed=0)
        start = {name: value.clone() for name, value in module.state_dict().items()}
        kept = fit_state(module, state, architecture="mldam", what="cnn.h5")
        for name, value in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                taken = name.startswith("features.")
                assert (name in kept) != taken and torch.equal(value, backbone[name] if taken else start[name]), name
        assert "cnn.h5: fills the backbone; fresh: attention, dense1, dense2" in caplog.text
        assert "cnn.h5: no classifier of this width" in caplog.text


def test_its_own_weights_fit_whole_and_half_of_them_do_not():
    state = fresh("mldam-tiny", 1, seed=9).state_dict()
    module = fresh("mldam-tiny", 1, seed=0)
    assert fit_state(module, state, architecture="mldam-tiny", what="att.h5") == []
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    del state["attention.key.weight"]
    with pytest.raises(WeightsError, match=r"attention\.key\.weight missing"):
        fit_state(module, state, architecture="mldam-tiny", what="att.h5")


def test_rules_are_refused_and_gradients_are_not():
    net, images = fresh("mldam-tiny", 1, seed=0).eval(), torch.rand(1, 3, 32, 32)
    with pytest.raises(CbirError, match=r"defined for networks of ReLUs; this one uses (matmul|__matmul__)") as error:
        deep_taylor.explain(net, images)
    assert "\n" not in str(error.value)
    assert gradient.explain(net, images).abs().sum() > 0


def test_imagenet_weights_alone_make_no_network():
    from cbir_cli.images import InputSpec

    with pytest.raises(UsageError, match="mldam has no weights for all of its parts"):
        imagenet("mldam", InputSpec())
    assert registry.load("models", "mldam").IMAGENET.startswith("DenseNet121")
