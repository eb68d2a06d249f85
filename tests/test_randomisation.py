"""Randomisation of layers, and rank correlation against scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from cbir_cli import randomisation
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.models import densenet121

NAMES = ["features.conv0.weight", "features.block.layer1.conv.weight", "features.block.layer2.bias", "classifier.bias"]
TRAINED = {name: np.full(2, i) for i, name in enumerate(NAMES)}
FRESH = {name: np.full(2, -1 - i) for i, name in enumerate(NAMES)}


def lost(way):
    return [
        (layer, [name for name in NAMES if weights[name] is FRESH[name]])
        for layer, weights in randomisation.networks(TRAINED, FRESH, way)
    ]


def test_cascade_goes_down_from_the_output():
    assert lost("cascade") == [("classifier", NAMES[3:]), ("features.block", NAMES[1:]), ("features.conv0", NAMES)]


def test_independent_takes_one_layer_at_a_time():
    assert lost("independent") == [
        ("classifier", NAMES[3:]),
        ("features.block", NAMES[1:3]),
        ("features.conv0", NAMES[:1]),
    ]


def test_what_is_not_lost_is_the_trained_weight():
    for _, weights in randomisation.networks(TRAINED, FRESH, "independent"):
        assert list(weights) == NAMES
        assert all(weights[name] is TRAINED[name] or weights[name] is FRESH[name] for name in NAMES)


def test_layers_of_densenet121_are_its_blocks():
    found = randomisation.layers(densenet121.build(1).state_dict())
    assert found[:3] == ["classifier", "features.norm5", "features.denseblock4"]
    assert found[-3:] == ["features.denseblock1", "features.norm0", "features.conv0"]
    assert len(found) == 11


def test_another_way_is_refused():
    with pytest.raises(UsageError, match="did you mean cascade"):
        list(randomisation.networks(TRAINED, FRESH, "cascading"))


@pytest.mark.parametrize("sign", [True, False])
def test_correlation_is_that_of_scipy(sign):
    draw = np.random.default_rng(0)
    maps = draw.normal(size=(4, 6, 6)).round(1)  # with ties
    others = (maps + draw.normal(size=maps.shape)).round(1)
    found = randomisation.correlation(maps.astype(np.float16), others.astype(np.float16), sign=sign)
    for one, other, value in zip(maps.astype(np.float16), others.astype(np.float16), found, strict=True):
        pair = (one, other) if sign else (np.abs(one), np.abs(other))
        assert value == pytest.approx(spearmanr(*(p.ravel() for p in pair)).statistic, abs=1e-12)


def test_correlation_of_the_same_and_of_the_opposite():
    maps = np.random.default_rng(1).normal(size=(2, 5, 5))
    np.testing.assert_allclose(randomisation.correlation(maps, maps), 1)
    np.testing.assert_allclose(randomisation.correlation(maps, -maps), -1)
    np.testing.assert_allclose(randomisation.correlation(maps, -maps, sign=False), 1)


def test_a_flat_map_has_no_correlation():
    maps = np.stack([np.zeros((3, 3)), np.arange(9.0).reshape(3, 3)])
    found = randomisation.correlation(maps, maps)
    assert np.isnan(found[0]) and found[1] == pytest.approx(1)


@pytest.mark.parametrize("sign", [True, False])
def test_no_maps_have_no_correlations(sign):
    none = np.empty((0, 3, 3), np.float16)
    assert randomisation.correlation(none, none, sign=sign).shape == (0,)


def test_seeds_that_weights_can_be_drawn_from():
    for seed in (0, 2**64 - 1):
        randomisation.check_seed(seed)
    for seed in (-1, 2**64, 10**30):
        with pytest.raises(UsageError, match=rf"expected a seed from 0 to below 2\^64, found {seed}"):
            randomisation.check_seed(seed)


def test_all_is_lost():
    assert all(value is FRESH[name] for name, value in randomisation.without(TRAINED, FRESH, None).items())
    assert all(value is TRAINED[name] for name, value in randomisation.without(TRAINED, FRESH, []).items())


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match="one shape"):
        randomisation.correlation(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))
