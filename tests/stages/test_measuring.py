"""Randomisation of maps with a sign, and of networks that cannot be drawn anew."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from test_explain import SPACE, answers

from cbir_cli.errors import UsageError
from cbir_cli.stages import explain, measuring
from cbir_cli.stages.encoders import Ssim
from cbir_cli.stages.explain import Method


class Stand:
    """Stands for the networks of an encoder with three layers: each that is lost is counted."""

    def above(self, layer):
        return ["c", "b", "a"][: "cba".index(layer) + 1]

    def network(self, lost):
        return frozenset(lost)


def signed(encoder, queries, results):
    """A map that turns round when layer a is lost, and is mixed with another image by the others."""
    lost = encoder or frozenset()
    maps = [(1 - 0.4 * len(lost - {"a"})) * (x - 0.5) for x in (queries, results)]
    mixed = [one + 0.4 * len(lost - {"a"}) * (other - 0.5) for one, other in zip(maps, maps[::-1], strict=True)]
    return tuple(-one if "a" in lost else one for one in mixed)


def test_maps_are_compared_with_their_sign_one_by_one():
    pairs, method = answers(), Method("signed", signed, {})
    made = explain.explain_pairs(pairs, None, method, SPACE, "index")
    plan = measuring.Plan(None, ["randomisation"], {}, 0, Stand(), ["c", "b", "a"], ["cascade", "independent"])
    found = plan.measure(made, pairs, method).randomisation
    assert found.layers == ["c", "b", "a"] and found.sign == "signed"
    assert found.independent[:, 2] == pytest.approx(-1)  # the same map with the other sign
    assert found.cascade[:, 0].tolist() == found.independent[:, 0].tolist() == found.independent[:, 1].tolist()
    for column, lost in enumerate(({"c"}, {"c", "b"}, {"c", "b", "a"})):
        sides = signed(lost, pairs.query_pixels[pairs.query], pairs.result_pixels[pairs.result])
        for row, (pair, on) in enumerate(zip(made.map_pair, made.map_on, strict=True)):
            expected = spearmanr(made.maps[row].astype(float).ravel(), sides[on][pair].ravel()).statistic
            assert found.cascade[row, column] == pytest.approx(expected, abs=5e-3)  # of maps in 16 bits


def test_uncertainty_is_not_compared():
    def both(encoder, queries, results):
        maps = signed(encoder, queries, results)
        return *maps, *(np.flip(one, axis=1) + 1 for one in maps)

    pairs, method = answers(), Method("signed", both, {})
    made = explain.explain_pairs(pairs, None, method, SPACE, "index")
    assert len(made.maps) == 2 * len(made.importance)
    plan = measuring.Plan(None, ["randomisation"], {}, 0, Stand(), ["a"], ["independent"])
    found = plan.measure(made, pairs, method).randomisation
    assert found.independent == pytest.approx(-np.ones((len(made.importance), 1))) and found.cascade is None


def test_a_random_order_is_that_of_its_pair():
    one, other = np.random.default_rng(0).random((2, 8, 8), np.float32)
    order = measuring._random_order(one, other, 0)
    assert sorted(order.ravel()) == list(range(64))
    assert (order == measuring._random_order(one.copy(), other, 0)).all()
    for images, seed in (((other, one), 0), ((one, other), 1), ((one, one), 0)):
        assert (order != measuring._random_order(*images, seed)).any()


def test_what_cannot_be_drawn_anew_is_refused():
    stage = SimpleNamespace(fitted={"a": np.ones(1)}, method="pattern.net")
    encoder = SimpleNamespace(model=SimpleNamespace(saliency=stage, name="ig.h5"))
    with pytest.raises(UsageError, match=r"ig\.h5: its maps are made by pattern\.net, which was fitted to images"):
        measuring.Fresh(encoder, "occlusion", 0)
    from cbir_cli.images import InputSpec

    with pytest.raises(UsageError, match="ssim has no weights to measure a map by"):
        measuring.plan(Ssim(InputSpec(16)), "occlusion", ["insertion"])
