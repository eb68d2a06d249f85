"""Patterns against their closed form and a plain estimator; the two methods against single layers in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli.errors import CbirError, UsageError
from cbir_cli.saliency import pattern


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().double().eval()


def test_pattern_of_an_output_is_that_of_a_linear_model():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)))
    mixing, offset = draw(6, 6, seed=1), draw(6, seed=2)
    x = (draw(500, 6, seed=3) @ mixing + offset).reshape(500, 6, 1, 1)
    covariance = np.cov(x.flatten(1).numpy(), rowvar=False, bias=True)
    w = model[1].weight.detach().numpy()
    expected = (w @ covariance) / np.einsum("ci,ij,cj->c", w, covariance, w)[:, None]
    np.testing.assert_allclose(pattern.fit(model, [x])["0"], expected, rtol=1e-6)


def plain(x, weight, active):
    """The estimator of one neuron: inputs (n, d), weights (d,), where it is active (n,)."""
    y = x @ weight
    covariance = (x[active] * y[active, None]).mean(0) - x[active].mean(0) * y.mean()
    return covariance / (weight @ covariance)


def test_patterns_of_convolutions_are_those_of_the_plain_estimator():
    def build():
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 2, dilation=2), nn.Flatten()
        )

    model, x = seeded(build), draw(5, 3, 9, 9)
    found = pattern.fit(model, [x])
    for key, layer, inputs in (("0", model[0], x), ("1", model[2], model[:2](x).detach())):
        padded = np.pad(inputs.numpy(), ((0, 0), (0, 0), *[(layer.padding[0],) * 2] * 2))
        reach, step, gap = layer.kernel_size[0], layer.stride[0], layer.dilation[0]
        outputs = layer(inputs).detach().numpy()
        rows = []
        for image in padded:
            for i in range(outputs.shape[2]):
                for j in range(outputs.shape[3]):
                    top, left = i * step, j * step
                    window = image[:, top : top + gap * reach : gap, left : left + gap * reach : gap]
                    rows.append(window.ravel())
        for channel, weight in enumerate(layer.weight.detach().numpy()):
            active = outputs[:, channel].ravel() > 0
            assert 0 < active.sum() < len(active)
            active |= key == "1"  # the last layer
            expected = plain(np.array(rows), weight.ravel(), active).reshape(weight.shape)
            np.testing.assert_allclose(found[key][channel], expected, rtol=1e-5, atol=1e-7)


def network(seed=0):
    def build():
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(45, 2),
        )

    model = seeded(build, seed)
    model[1].running_mean.copy_(draw(5, seed=4) / 10)
    model[1].running_var.copy_(draw(5, seed=5).abs() + 0.5)
    model[1].weight.data.copy_(draw(5, seed=6))
    model[1].bias.data.copy_(draw(5, seed=7).abs())
    return model


def test_a_neuron_reads_one_from_its_own_pattern():
    model = network()
    fitted = pattern.fit(model, [draw(6, 3, 8, 8), draw(3, 3, 8, 8, seed=1)])
    for key, layer in (("0", model[0]), ("1", model[5])):
        read = (layer.weight * fitted[key]).flatten(1).sum(1)
        torch.testing.assert_close(read, torch.ones_like(read), rtol=1e-5, atol=1e-5)


def test_fit_does_not_depend_on_batches_and_leaves_the_model_alone():
    model, x = network().train(), draw(9, 3, 8, 8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole, parts = pattern.fit(model, [x]), pattern.fit(model, x.split(2))
    assert all(torch.allclose(whole[key], parts[key], rtol=1e-6) for key in whole)
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("method", [pattern.net, pattern.attribution])
def test_folding_a_batch_norm_into_its_convolution_changes_no_map(method):
    model, x = network(), draw(12, 3, 8, 8)
    scale = (model[1].weight / torch.sqrt(model[1].running_var + model[1].eps)).detach()
    conv = nn.Conv2d(3, 5, 3).double()
    conv.weight.data = model[0].weight.detach() * scale[:, None, None, None]
    conv.bias.data = (model[1].bias - model[1].running_mean * scale).detach()
    folded = nn.Sequential(conv, *model[2:])
    torch.testing.assert_close(folded(x), model(x))
    one = method(model, x[:3], fitted=pattern.fit(model, [x]))
    other = method(folded, x[:3], fitted=pattern.fit(folded, [x]))
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_single_layer_in_closed_form():
    model, x = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2))), draw(50, 3, 2, 2)
    fitted = pattern.fit(model, [x])
    logits = model(x).detach()
    for i, k in enumerate(logits.argmax(1)):
        a, w = fitted["0"][k].double(), model[1].weight[k].detach()
        signal = pattern.net(model, x[i : i + 1], fitted=fitted).flatten()
        share = pattern.attribution(model, x[i : i + 1], fitted=fitted).flatten()
        torch.testing.assert_close(signal, logits[i, k].sign() * a / a.abs().max())
        torch.testing.assert_close(share, logits[i, k] * a * w)
        torch.testing.assert_close(share.sum(), logits[i, k], rtol=1e-5, atol=1e-6)


def test_a_neuron_that_is_never_active_has_no_pattern():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)))
    model[1].bias.data[0] = -100
    fitted = pattern.fit(model, [draw(20, 3, 1, 1)])
    assert not fitted["0"][0].any() and fitted["0"][1].any()


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 4, 3, groups=2), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding="same")]
)
def test_other_layers_are_refused(layer):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layer, nn.Flatten()).double()
    with pytest.raises(CbirError, match="of one group"):
        pattern.fit(model, [draw(1, 3, 5, 5)])


def test_wrong_arguments():
    model, x = network(), draw(4, 3, 8, 8)
    fitted = pattern.fit(model, [x])
    with pytest.raises(CbirError, match="no image"):
        pattern.fit(model, [])
    with pytest.raises(CbirError, match="of another network"):
        pattern.net(model, x, fitted={"0": fitted["0"]})
    with pytest.raises(CbirError, match="of another network"):
        pattern.attribution(model, x, fitted={"0": fitted["1"], "1": fitted["0"]})
    with pytest.raises(UsageError, match=r"start of pattern\.net"):
        pattern.net(model, x, fitted=fitted, start="two")
