"""What the stage of ``cbir explain`` makes of what methods return, and of queries explained with themselves."""

import logging

import numpy as np
import pytest

from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.stages import explain
from cbir_cli.stages.explain import Method, Pairs

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


@pytest.mark.parametrize("together", [64, 4, 1])
def test_maps_and_their_uncertainty(monkeypatch, together):
    monkeypatch.setattr(explain, "_TOGETHER", together)
    pairs = answers()
    made = explain.explain_pairs(pairs, None, Method("relax", four, {"p": 0.5}), SPACE, "index")
    assert len(made.maps) == 3 * 6  # the uncertainty of results is zero everywhere, and is not kept
    assert made.parameters == {"p": 0.5} and made.method == "relax" and made.classes is None
    for pair, (query, result) in enumerate(zip(pairs.query, pairs.result, strict=True)):
        pixels = pairs.query_pixels[query], pairs.result_pixels[result]
        for found, expected in (
            (made.map_of(pair, 0), pixels[0] / pixels[0].max()),
            (made.map_of(pair, 1), (pixels[1] - 2) / np.abs(pixels[1] - 2).max()),
            (made.uncertainty_of(pair, 0), pixels[0] / pixels[0].max()),
        ):
            assert found == pytest.approx(expected, abs=1e-3)
        assert made.uncertainty_of(pair, 1) is None
    scales = made.scale[(made.map_what == 1) & (made.map_on == 0)]
    assert scales == pytest.approx(pairs.query_pixels[pairs.query].max(axis=(1, 2)) / 8)


def test_what_is_given_for_each_pair_reaches_the_pair(monkeypatch):
    monkeypatch.setattr(explain, "_TOGETHER", 4)
    pairs, seen = answers(), []

    def method(encoder, queries, results, *, references, gain):
        seen.append(references)
        return queries * gain, results * references[:, 1]

    images = np.ones((9, SIZE, SIZE)) * np.arange(9.0)[:, None, None]
    rows = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6]])
    made = explain.explain_pairs(
        pairs, None, Method("m", method, {"gain": 2.0}, {"references": (images, rows)}), SPACE, "index"
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
    method, measured = explain.choose("occlusion", ["box=8", "measure.step=3"], {"step": 0, "seed": 0})
    assert method.parameters["box"] == 8 and method.parameters["stride"] == 5 and method.given == {}
    assert measured == {"step": 3, "seed": 0}
    assert explain.choose("none", [], {}) == (None, {})
    for settings, words in (
        (["measure.step=3"], r"unknown parameter of method occlusion 'measure\.step'"),
        (["step=3"], "unknown parameter of method occlusion 'step'"),
        (["references=3"], "unknown parameter of method occlusion 'references'"),
    ):
        with pytest.raises(UsageError, match=words):
            explain.choose("occlusion", settings, {})
