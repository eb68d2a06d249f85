"""What the stage of ``cbir explain`` makes of what methods return, and of queries explained with themselves."""

import logging

import numpy as np
import pytest

from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.stages import explain, explainers
from cbir_cli.stages.explainers import Method
from cbir_cli.stages.pairs import Pairs

SIZE = 8
SPACE = Space("l2", "space", "cnn", targets=["Effusion"])


def items(count, codes=None):
    ids = np.array([f"i{row}" for row in range(count)])
    return Items(ids, {} if codes is None else {"label:Effusion": np.array(codes, np.int8)}, "kept")


def answers(count=3, results=2):
    """Each of some queries with each of some results."""
    draw = np.random.default_rng(0)
    query, result = (grid.ravel().astype(np.int32) for grid in np.indices((count, results)))
    none = np.full(len(query), -1, np.int32)
    pixels = draw.random((count, SIZE, SIZE), np.float32), draw.random((results, SIZE, SIZE), np.float32)
    distance = np.ones(len(query), np.float32)
    return Pairs(items(count), items(results), *pixels, query, result, result + 1, distance, none, none)


def themselves(codes):
    pixels = np.random.default_rng(1).random((len(codes), SIZE, SIZE), np.float32)
    rows, none = np.arange(len(codes), dtype=np.int32), np.full(len(codes), -1, np.int32)
    table, zero = items(len(codes), codes), np.zeros(len(codes), np.int32)
    return Pairs(table, table, pixels, pixels, rows, rows, zero, zero.astype(np.float32), none, none)


def four(encoder, queries, results, **_):
    return queries * 4, results - 2, queries / 8, np.zeros_like(results)


def stored(made, pair, on, what=0):
    (row,) = np.flatnonzero((made.map_pair == pair) & (made.map_on == on) & (made.map_what == what))
    return made.maps[row].astype(np.float32), made.scale[row]


@pytest.mark.parametrize("together", [64, 4, 1])
def test_maps_and_their_uncertainty(monkeypatch, together):
    monkeypatch.setattr(explainers, "_TOGETHER", together)
    pairs = answers()
    made = explain.explain_pairs(pairs, None, Method("relax", four, {"p": 0.5}), SPACE, "index")
    assert len(made.maps) == 4 * 6 and len(made.importance) == 2 * 6
    assert made.parameters == {"p": 0.5} and made.method == "relax" and made.classes is None
    for pair, (query, result) in enumerate(zip(pairs.query, pairs.result, strict=True)):
        pixels = pairs.query_pixels[query], pairs.result_pixels[result]
        for (found, scale), truth in (
            (stored(made, pair, 0), pixels[0] * 4),
            (stored(made, pair, 1), pixels[1] - 2),
            (stored(made, pair, 0, 1), pixels[0] / 8),
        ):
            assert scale == np.abs(truth).max() and found == pytest.approx(truth / scale, abs=1e-3)
        found, scale = stored(made, pair, 1, 1)
        assert not found.any() and scale == 0


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_pixels_are_rounded_some_at_a_time(monkeypatch, count):
    monkeypatch.setattr(explain, "_TOGETHER", 2)
    pixels = np.random.default_rng(count).random((count, 3, 4), np.float32)
    found = explain._levels(pixels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.rint(pixels * 255))


def test_maps_of_nothing_are_kept_and_counted(caplog):
    """A query is not judged by its other results alone where the map of one is zero everywhere."""

    def method(encoder, queries, results):
        maps = results.copy()
        maps[[1, 4]] = 0
        return np.zeros_like(queries), maps

    pairs = answers()
    with caplog.at_level(logging.INFO, "cbir"):
        made = explain.explain_pairs(pairs, None, Method("m", method, {}, "result"), SPACE, "index")
    assert made.map_pair.tolist() == list(range(6)) and set(made.map_on) == {1}  # the queries are not explained
    assert np.flatnonzero(made.scale == 0).tolist() == [1, 4]
    assert not made.maps[[1, 4]].any() and all(np.abs(one).max() == 1 for one in made.maps[[0, 2, 3, 5]])
    assert [record.message for record in caplog.records] == [
        "2 of 6 maps are zero everywhere: the method found nothing there"
    ]
    made = explain.explain_pairs(pairs, None, Method("m", method, {}, "both"), SPACE, "index")
    assert len(made.maps) == 12 and (made.scale == 0).sum() == 8


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 3])
def test_a_map_that_is_not_finite_is_refused(wrong, side):
    def method(encoder, queries, results):
        stacks = [queries.copy(), results.copy(), queries.copy(), results.copy()]
        stacks[side][2, 1, 1] = wrong
        return stacks

    with pytest.raises(CbirError, match="map is not finite"):
        explain.explain_pairs(answers(), None, Method("m", method, {}), SPACE, "index")


def test_a_map_is_stored_as_a_saliency_map_is():
    from cbir_cli import maps

    pairs = answers()
    made = explain.explain_pairs(pairs, None, Method("m", four, {}), SPACE, "index")
    halves, scale = maps.finish(pairs.result_pixels[pairs.result][:, None] - np.float32(2))
    rows = (made.map_on == 1) & (made.map_what == 0)
    assert made.maps[rows].tobytes() == halves.tobytes() and made.scale[rows].tobytes() == scale.tobytes()


def test_what_is_given_for_each_pair_reaches_the_pair(monkeypatch):
    monkeypatch.setattr(explainers, "_TOGETHER", 4)
    pairs, seen = answers(), []

    def method(encoder, queries, results, *, references, gain):
        seen.append(references)
        return queries * gain, results * references[:, 1]

    images = np.ones((9, SIZE, SIZE)) * np.arange(9.0)[:, None, None]
    rows = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6]])
    made = explain.explain_pairs(
        pairs, None, Method("m", method, {"gain": 2.0}, given={"references": (images, rows)}), SPACE, "index"
    )
    assert [part.shape for part in seen] == [(4, 2, SIZE, SIZE), (2, 2, SIZE, SIZE)]
    expected = pairs.result_pixels[pairs.result].max(axis=(1, 2)) * np.arange(1, 7)
    assert made.scale[made.map_on == 1] == pytest.approx(expected)


@pytest.mark.parametrize("stacks", [1, 3, "small"])
def test_what_is_no_maps_is_refused(stacks):
    def method(encoder, queries, results):
        return (queries, results[:, 1:]) if stacks == "small" else (queries,) * stacks

    with pytest.raises(ShapeError, match="method m returned"):
        explain.explain_pairs(answers(), None, Method("m", method, {}), SPACE, "index")


def test_averages_of_classes():
    pairs = themselves([1, 0, 1, 0, -1, 0])
    made = explain.explain_pairs(pairs, None, Method("m", four, {}), SPACE, "index")
    assert set(made.map_on) == {1} and made.rank.tolist() == [0] * 6  # the result's side stands for both
    assert made.classes.names == ["Effusion", "no Effusion"] and made.classes.count.tolist() == [2, 3]
    for place, rows in enumerate(([0, 2], [1, 3, 5])):
        mean = pairs.query_pixels[rows].astype(np.float64).mean(axis=0)
        assert made.classes.maps[place] == pytest.approx(mean - 2, abs=1e-6)  # in the method's own unit
        assert (made.classes.images[place] == np.rint(mean * 255)).all()


def test_images_without_a_label_have_one_average(caplog):
    with caplog.at_level(logging.INFO, "cbir"):
        made = explain.explain_pairs(themselves([-1, -1]), None, Method("m", four, {}), SPACE, "index")
    assert made.classes.names == ["all"] and made.classes.count.tolist() == [2]
    assert "no query states a label of the task" in caplog.text


def test_parameters_of_the_method_and_of_the_measures():
    choice = explain.choose(SPACE, "occlusion", "insertion", ["box=8", "measure.step=3"])
    method = choice.method
    assert method.parameters == {"box": 8, "stride": 5, "fill": 0.449} and method.given == {} and method.on == "result"
    assert choice.whats == ["insertion"]
    assert choice.measures["step"] == 3 and choice.measures["seed"] == 0 and choice.measures["baselines"] == "both"
    assert explain.choose(SPACE, "none") == explain.Choice(None, [], {})
    for settings, words in (
        (["measure.step=3"], r"unknown parameter of method occlusion 'measure\.step'"),
        (["step=3"], "unknown parameter of method occlusion 'step'"),
        (["references=3"], "unknown parameter of method occlusion 'references'"),
        (["measure.batch=3"], r"unknown parameter of method occlusion 'measure\.batch'"),
    ):
        with pytest.raises(UsageError, match=words):
            explain.choose(SPACE, "occlusion", "insertion" if "batch" in settings[0] else None, settings)


def test_the_method_that_is_meant_where_none_is_named():
    outputs = {"binary": ["Effusion"], "none": []}
    assert explain.choose(Space("l2", "s", "ig", outputs=outputs["binary"])).method.name == "ig"
    assert explain.choose(Space("l2", "s", "cnn", outputs=outputs["none"])).method.name == "occlusion"
    assert explain.choose(Space("ssim", "s", "ssim")).method is None


def test_seed_and_batch_reach_what_takes_them():
    choice = explain.choose(SPACE, "rise", "deletion", ["masks=9"], seed=7, batch=3)
    assert choice.method.parameters["seed"] == 7 and choice.method.parameters["masks"] == 9
    assert choice.method.running == {"batch": 3} and "batch" not in choice.method.parameters
    assert choice.measures["seed"] == 7 and choice.measures["batch"] == 3
    choice = explain.choose(SPACE, "rise", "deletion", ["seed=1", "measure.seed=2", "batch=5"], seed=7, batch=3)
    assert choice.method.parameters["seed"] == 1 and choice.method.running == {"batch": 5}
    assert choice.measures["seed"] == 2
    method = explain.choose(SPACE, "lrp", seed=7, batch=3).method
    assert method.parameters == {"rule": "z-plus"} and method.running == {}


def test_which_images_get_maps():
    assert explain.choose(SPACE, "rise").method.on == "result"
    assert explain.choose(SPACE, "rise", settings=["on=both"]).method.on == "both"
    assert explain.choose(SPACE, "relax").method.on == "both"
