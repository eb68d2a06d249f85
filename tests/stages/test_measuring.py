"""Measures of maps: curves against a plain loop over pairs, maps without an order, randomisation, what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from test_explain import SIZE, SPACE, answers

from cbir_cli import curves
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.stages import explain, fresh, measured_curves, measuring
from cbir_cli.stages.explainers import Method
from cbir_cli.stages.ssim import Ssim


class Stand:
    """Stands for the networks of an encoder with three layers: each that is lost is counted."""

    def layers(self):
        return ["c", "b", "a"]

    def network(self, lost):
        return frozenset("cba" if lost is None else lost)


class Watched:
    """An encoder that counts the images it is given."""

    width, input, size = 6, InputSpec(size=SIZE), SIZE

    def __init__(self):
        self.count = 0
        self._weights = np.random.default_rng(5).standard_normal((SIZE**2 * 3, self.width))

    def encode(self, pixels):
        self.count += len(pixels)
        three = pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3)
        # One at a time: nothing about the batch can reach the vectors.
        return np.stack([image.reshape(-1) @ self._weights + 2 for image in three]).astype(np.float32)


def plan(encoder=None, whats=("insertion", "deletion"), baselines="both"):
    how = {"variant": "code", "step": 4, "sigma": 2.0, "batch": 16}
    return measuring.Plan(encoder or Watched(), whats, how, 3, 7, baselines, Stand(), ["c", "b", "a"], ["cascade"])


def of_each_image(encoder, queries, results):
    """Maps that depend on their own image alone, as those of relax and ig; the trained network is ``Watched``."""
    maps = [np.sin(9 * images).astype(np.float32) for images in (queries, results)]
    return maps if isinstance(encoder, Watched) else [one**2 for one in maps]


def of_each_pair(encoder, queries, results):
    """Maps that depend on both images."""
    maps = [queries * results, queries - results]
    return maps if isinstance(encoder, Watched) else [np.cos(5 * one) for one in maps]


def one_by_one(encoder, method, made, pairs, random_model):
    """Curves of all maps, a pair at a time, each image embedded for its own pair."""
    found = {}
    for row in made.importance:
        pair, on = made.map_pair[row], made.map_on[row]
        sides = [pairs.query_pixels[pairs.query[pair]], pairs.result_pixels[pairs.result[pair]]]
        image, other = sides[on], sides[1 - on]
        anchor = encoder.encode(other[None]).astype(np.float64)
        order = measured_curves.draw(image, other, 3, 7)
        of_random_model = method(None, sides[0][None], sides[1][None])[on][0]
        of_random_model = (of_random_model / (np.abs(of_random_model).max() or 1)).astype(np.float16)
        for kind, one in (("own", made.maps[row]), ("random_map", order), ("random_model", of_random_model)):
            one = order if (one == one.ravel()[0]).all() else one
            for what in curves.WHATS:
                curve = curves.curve(encoder.encode, image, one, anchor, what, encoder.input, step=4, sigma=2.0)
                found.setdefault((kind, what), []).append(curve[0])
    return {key: np.stack(rows) for key, rows in found.items()}


def measured(plan, pairs, function, on="both"):
    method = Method("m", function, {}, on)
    made = explain.explain_pairs(pairs, plan.encoder, method, SPACE, "index")
    return plan.measure(made, pairs, method)


@pytest.mark.parametrize("function", [of_each_image, of_each_pair])
def test_curves_are_those_of_a_plain_loop_over_pairs(function):
    pairs = answers(3, 5)
    made = measured(plan(), pairs, function)
    expected = one_by_one(Watched(), function, made, pairs, None)
    kinds = {"own": made.measures, "random_map": made.measures.random_map, "random_model": made.measures.random_model}
    assert len(expected) == 6 and len(made.importance) == 30
    for (kind, what), rows in expected.items():
        assert getattr(kinds[kind], what).tobytes() == rows.tobytes(), (kind, what)
    assert len({rows.tobytes() for rows in expected.values()}) == 6


def test_an_image_under_a_map_is_embedded_once_for_all_its_pairs():
    """One query with five results, maps of each image alone: that of the query is the same for all five."""
    steps = 2 * (SIZE**2 // 4 + 1)  # insertion and deletion

    def cost(function, baselines):
        encoder = Watched()
        measured(plan(encoder, baselines=baselines), answers(1, 5), function)
        return encoder.count - 6  # the intact images

    # On the query a curve of the map, one of the random network's and five random orders; on each result one of each.
    assert cost(of_each_image, "both") == (1 + 1 + 5 + 3 * 5) * steps
    assert cost(of_each_pair, "both") == (3 * 5 + 3 * 5) * steps
    assert cost(of_each_image, "map") == (1 + 5 + 2 * 5) * steps
    assert cost(of_each_image, "none") == (1 + 5) * steps


@pytest.mark.parametrize("baselines", ["map", "none"])
def test_baselines_that_are_left_out(baselines):
    pairs, calls = answers(2, 2), []

    def watched(encoder, queries, results):
        calls.append(encoder)
        return of_each_pair(encoder, queries, results)

    whole, part = (measured(plan(baselines=b), pairs, watched).measures for b in ("both", baselines))
    assert len(calls) == 3 and not isinstance(calls[1], Watched)  # the method, again on fresh weights, and the method
    assert part.insertion.tobytes() == whole.insertion.tobytes()
    assert part.random_model.insertion is part.random_model.deletion is None
    if baselines == "map":
        assert part.random_map.deletion.tobytes() == whole.random_map.deletion.tobytes()
    else:
        assert part.random_map.insertion is part.random_map.deletion is None


@pytest.mark.parametrize("level", [0.0, 0.25])
@pytest.mark.parametrize("which", ["trained", "fresh", "both"])
def test_a_map_without_an_order_has_the_curve_of_the_random_order(level, which):
    """Of the trained network and of the random one alike: what says nothing gets what chance gets."""
    pairs = answers(2, 3)

    def method(encoder, queries, results):
        mine = "trained" if isinstance(encoder, Watched) else "fresh"
        maps = of_each_pair(encoder, queries, results)
        if which in (mine, "both"):
            for one in maps:
                one[[0, 3]] = level
        return maps

    encoder = Watched()
    measures = measured(plan(encoder), pairs, method).measures
    rows = np.array([0, 1, 6, 7])  # both sides of pairs 0 and 3
    others = np.setdiff1d(np.arange(12), rows)
    kinds = {"trained": measures, "fresh": measures.random_model}
    for kind, curves_of in kinds.items():
        for what in curves.WHATS:
            own, chance = getattr(curves_of, what), getattr(measures.random_map, what)
            assert (own[others] != chance[others]).any(axis=1).all()
            same = (own[rows] == chance[rows]).all(axis=1)
            assert same.all() if which in (kind, "both") else not same.any()
    # What all of them share is computed once.
    flat = {"trained": 4, "fresh": 4, "both": 8}[which]
    assert encoder.count - 5 == (36 - flat) * 2 * (SIZE**2 // 4 + 1)


def test_where_there_are_no_pairs_there_is_nothing_to_measure():
    pairs = answers(2, 2)
    none = np.empty(0, np.int32)
    pairs = replace(
        pairs,
        queries=pairs.queries.take([]),
        results=pairs.results.take([]),
        query_pixels=pairs.query_pixels[:0],
        result_pixels=pairs.result_pixels[:0],
        **dict.fromkeys(("query", "result", "rank", "seed", "set"), none),
        distance=np.empty(0, np.float32),
    )
    made = measured(plan(whats=measuring.WHATS), pairs, of_each_pair)
    steps = SIZE**2 // 4 + 1
    for found in (made.measures, made.measures.random_map, made.measures.random_model):
        assert found.insertion.shape == found.deletion.shape == (0, steps)
    assert made.randomisation.cascade.shape == (0, 3) and len(made.maps) == 0


def signed(encoder, queries, results):
    """A map that turns round when layer a is lost, and is mixed with another image by the others."""
    lost = encoder or frozenset()
    maps = [(1 - 0.4 * len(lost - {"a"})) * (x - 0.5) for x in (queries, results)]
    mixed = [one + 0.4 * len(lost - {"a"}) * (other - 0.5) for one, other in zip(maps, maps[::-1], strict=True)]
    return tuple(-one if "a" in lost else one for one in mixed)


def test_maps_are_compared_with_their_sign_one_by_one():
    pairs, method = answers(), Method("signed", signed, {})
    made = explain.explain_pairs(pairs, None, method, SPACE, "index")
    plan = measuring.Plan(
        None, ["randomisation"], {}, 0, 7, "both", Stand(), ["c", "b", "a"], ["cascade", "independent"]
    )
    found = plan.measure(made, pairs, method).randomisation
    assert found.layers == ["c", "b", "a"] and found.sign == "signed"
    assert found.independent[:, 2] == pytest.approx(-1)  # the same map with the other sign
    assert found.cascade[:, 0].tolist() == found.independent[:, 0].tolist() == found.independent[:, 1].tolist()
    for column, lost in enumerate(({"c"}, {"c", "b"}, {"c", "b", "a"})):
        sides = signed(lost, pairs.query_pixels[pairs.query], pairs.result_pixels[pairs.result])
        for row, (pair, on) in enumerate(zip(made.map_pair, made.map_on, strict=True)):
            expected = spearmanr(made.maps[row].astype(float).ravel(), sides[on][pair].ravel()).statistic
            assert found.cascade[row, column] == pytest.approx(expected, abs=5e-3)  # of maps in 16 bits


@pytest.mark.parametrize("together", [1, 2])
def test_maps_are_ranked_some_at_a_time(monkeypatch, together):
    found = []
    for some in (64, together):
        monkeypatch.setattr(measuring, "_TOGETHER", some)
        pairs, method = answers(), Method("m", of_each_pair, {})
        made = explain.explain_pairs(pairs, Watched(), method, SPACE, "f")
        found.append(plan(whats=["randomisation"]).measure(made, pairs, method).randomisation.cascade)
    assert len(found[0]) > 2 and np.ptp(found[0]) > 0
    np.testing.assert_array_equal(*found)


def test_uncertainty_is_not_compared():
    def both(encoder, queries, results):
        maps = signed(encoder, queries, results)
        return *maps, *(np.flip(one, axis=1) + 1 for one in maps)

    pairs, method = answers(), Method("signed", both, {})
    made = explain.explain_pairs(pairs, None, method, SPACE, "index")
    assert len(made.maps) == 2 * len(made.importance)
    plan = measuring.Plan(None, ["randomisation"], {}, 0, 7, "both", Stand(), ["a"], ["independent"])
    found = plan.measure(made, pairs, method).randomisation
    assert found.independent == pytest.approx(-np.ones((len(made.importance), 1))) and found.cascade is None


@pytest.mark.parametrize("cells", [0, 3])
def test_a_random_map_is_that_of_its_pair(cells):
    one, other = np.random.default_rng(0).random((2, 8, 8), np.float32)
    drawn = measured_curves.draw(one, other, 0, cells)
    assert drawn.shape == (8, 8) and len(np.unique(drawn)) == 64
    assert (drawn == measured_curves.draw(one.copy(), other, 0, cells)).all()
    for images, seed in (((other, one), 0), ((one, other), 1), ((one, one), 0)):
        assert (drawn != measured_curves.draw(*images, seed, cells)).any()


def test_a_random_map_is_as_coarse_as_its_cells():
    """Neighbours are alike where a cell is large, pixels far apart are not, and no side is favoured."""
    maps = {
        cells: np.stack([measured_curves.draw(np.zeros((42, 42)), np.zeros(1), seed, cells) for seed in range(200)])
        for cells in (0, 7)
    }
    likeness = {
        cells: np.corrcoef(made[:, :, :-1].ravel(), made[:, :, 1:].ravel())[0, 1] for cells, made in maps.items()
    }
    assert abs(likeness[0]) < 0.01 and likeness[7] > 0.95
    far = np.corrcoef(maps[7][:, :, :-12].ravel(), maps[7][:, :, 12:].ravel())[0, 1]
    assert abs(far) < 0.1
    first = maps[7].reshape(200, -1).argmax(axis=1)
    for place in (first // 42, first % 42):
        assert place.mean() == pytest.approx(20.5, abs=4)


def test_what_cannot_be_drawn_anew_is_refused():
    stage = SimpleNamespace(fitted={"a": np.ones(1)}, method="pattern.net")
    encoder = SimpleNamespace(model=SimpleNamespace(saliency=stage, name="ig.h5"))
    with pytest.raises(UsageError, match=r"ig\.h5: its maps are made by pattern\.net, which was fitted to images"):
        fresh.Fresh(encoder, "occlusion", 0)
    with pytest.raises(UsageError, match="ssim has no weights to measure a map by"):
        measuring.plan(Ssim(InputSpec(16)), "occlusion", ["insertion"])
