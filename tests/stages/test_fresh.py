"""Networks that lose layers: those that are asked for, of the network that is meant, and no others."""

import numpy as np
import pytest

from cbir_cli import randomisation, registry
from cbir_cli.artifacts import model as models
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.fresh import Fresh
from cbir_cli.stages.networks import Network


def model(seed, saliency=None):
    kind = registry.load("models", "densenet-tiny")
    weights = _weights.fresh("densenet-tiny", 1, seed=seed).state_dict()
    return models.Model(
        architecture="densenet-tiny",
        weights={name: value.numpy() for name, value in weights.items()},
        outputs=["label"],
        task={},
        objective="binary",
        feature_layer=f"{kind.HEAD}.input",
        feature_width=kind.FEATURES,
        input=InputSpec(size=32),
        saliency=saliency,
        name="ig.h5",
    )


@pytest.fixture(scope="module")
def guided():
    """An IG model: two networks of one architecture, with weights of their own."""
    stage = models.Saliency(model(1), "gradient", {}, "sum-repeat")
    return Network(model(2, stage), Settings(device="cpu", threads=1))


def lost(guided, method, layers, seed=5):
    """Layers of the two networks that are no longer what they were, each checked to be drawn from the seed."""
    made = Fresh(guided, method, seed).network(layers).model
    drawn = {name: value.numpy() for name, value in _weights.fresh("densenet-tiny", 1, seed=seed).state_dict().items()}
    found = []
    for prefix, old, new in (
        ("", guided.model.weights, made.weights),
        ("saliency.", guided.model.saliency.model.weights, made.saliency.model.weights),
    ):
        assert list(new) == list(drawn)
        changed = [name for name in new if new[name] is not old[name]]
        assert all(np.array_equal(new[name], drawn[name]) for name in changed)
        found += [prefix + layer for layer in randomisation.layers(changed)]
    return found


def test_a_layer_of_one_network_is_not_that_of_the_other(guided):
    assert lost(guided, "occlusion", {"features.conv0"}) == ["features.conv0"]
    assert lost(guided, "occlusion", {"saliency.features.conv0"}) == ["saliency.features.conv0"]
    both = ["features.norm5", "saliency.classifier"]
    assert lost(guided, "occlusion", set(both)) == both
    assert lost(guided, "occlusion", set()) == []


def test_all_of_it(guided):
    layers = Fresh(guided, "occlusion", 5).layers()
    assert lost(guided, "occlusion", None) == layers
    assert layers[0] == "classifier" and layers[-1] == "saliency.features.conv0" and len(set(layers)) == len(layers)
    # What shows the maps alone loses layers of the network that makes them alone.
    assert lost(guided, "ig", None) == Fresh(guided, "ig", 5).layers() == layers[len(layers) // 2 :]


def test_layers_by_name(guided):
    known = Fresh(guided, "ig", 0)
    assert known.chosen("") == known.layers()
    assert known.chosen(" saliency.features.conv0, saliency.classifier") == [
        "saliency.classifier",
        "saliency.features.conv0",
    ]
    with pytest.raises(UsageError, match=r"unknown layer 'features\.conv0': did you mean saliency\.features\.conv0"):
        known.chosen("features.conv0")
    with pytest.raises(UsageError, match=r"seed from 0 to below 2\^64, found -3"):
        Fresh(guided, "ig", -3)
