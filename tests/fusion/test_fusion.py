"""Fusion against plain loops over results, closed forms, and what every method keeps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli import registry
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.fusion import combsum, rrf


def plain_rrf(lists, weights, smoothing):
    """Cormack, Clarke, Büttcher 2009, section 2, as a loop."""
    scores = {}
    for (numbers, _), weight in zip(lists, weights, strict=True):
        for rank, number in enumerate(numbers.tolist(), start=1):
            scores[number] = scores.get(number, 0) + weight / (smoothing + rank)
    best = sum(weight / (smoothing + 1) for weight in weights)
    return {number: 1 - score / best for number, score in scores.items()}


def plain_combsum(lists, weights, scale):
    """Fox and Shaw 1994: the sum, of similarities that are normalised list by list."""
    every = {number for numbers, _ in lists for number in numbers.tolist()}
    total = dict.fromkeys(every, 0.0)
    for (numbers, distances), weight in zip(lists, weights, strict=True):
        values = [float(d) for d in distances]
        if scale == "min-max":
            low, high = min(values, default=0), max(values, default=0)
            mine = [1.0 if high == low else (high - v) / (high - low) for v in values]
            absent = 0.0
        else:
            mean = sum(values) / max(1, len(values))
            spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, len(values)))
            mine = [0.0 if spread == 0 else (mean - v) / spread for v in values]
            absent = min(mine, default=0.0)
        known = dict(zip(numbers.tolist(), mine, strict=True))
        for number in every:
            total[number] += weight * known.get(number, absent)
    offset = 1 if scale == "min-max" else 0
    return {number: offset - score / sum(weights) for number, score in total.items()}


@st.composite
def several(draw):
    lists = []
    for _ in range(draw(st.integers(1, 3))):
        numbers = draw(st.lists(st.integers(0, 9), unique=True, max_size=8))
        distances = sorted(draw(st.lists(st.integers(0, 20), min_size=len(numbers), max_size=len(numbers))))
        lists.append((np.array(numbers, np.int64), np.array(distances, np.float32) / 4))
    return lists, draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=len(lists), max_size=len(lists)))


def check(found, expected):
    numbers, distances = found
    assert numbers.dtype == np.int64 and distances.dtype == np.float32
    assert sorted(numbers.tolist()) == sorted(expected)
    np.testing.assert_allclose(distances, [expected[n] for n in numbers.tolist()], rtol=1e-5, atol=1e-6)
    pairs = list(zip(distances.tolist(), numbers.tolist(), strict=True))
    assert pairs == sorted(pairs)


@settings(max_examples=200, deadline=None)
@given(several(), st.sampled_from([0.0, 1.5, 60.0]))
def test_rrf_is_the_plain_sum(given_, smoothing):
    lists, weights = given_
    check(rrf.fuse(lists, weights, smoothing=smoothing), plain_rrf(lists, weights, smoothing))


@settings(max_examples=200, deadline=None)
@given(several(), st.sampled_from(["min-max", "z-score"]))
def test_combsum_is_the_plain_sum(given_, scale):
    lists, weights = given_
    check(combsum.fuse(lists, weights, scale=scale), plain_combsum(lists, weights, scale))


def of(*numbers, distances=None):
    values = range(len(numbers)) if distances is None else distances
    return np.array(numbers, np.int64), np.array(values, np.float32)


def test_the_papers_constant():
    """First in both lists is nothing lost; second in one list and in no other is half of 61 / 62."""
    numbers, distances = rrf.fuse([of(4, 7), of(4, 9)], [1, 1])
    assert numbers.tolist() == [4, 7, 9] and distances[0] == 0
    assert distances[1] == distances[2] == np.float32(1 - 61 / 62 / 2)


def test_distances_decide_with_scores_and_not_with_ranks():
    near, far = of(1, 2, 3, distances=[0, 0.1, 10]), of(3, 2, 1, distances=[0, 0.1, 10])
    assert rrf.fuse([near, far], [1, 1])[0].tolist() == [1, 3, 2]  # first and last beats second twice
    assert combsum.fuse([near, far], [1, 1])[0].tolist()[0] == 2  # which was all but first, twice


@pytest.mark.parametrize("name", registry.names("fusion"))
class TestEvery:
    def fuse(self, name, lists, weights):
        return registry.load("fusion", name).fuse(lists, weights)

    def test_one_list_keeps_its_order(self, name):
        numbers, distances = self.fuse(name, [of(5, 2, 8)], [3])
        assert numbers.tolist() == [5, 2, 8] and (np.diff(distances) > 0).all()

    def test_the_order_of_the_lists_does_not_matter(self, name):
        one, two = of(1, 2, 3, 4), of(4, 9, 1)
        forwards, backwards = self.fuse(name, [one, two], [1, 2]), self.fuse(name, [two, one], [2, 1])
        assert forwards[0].tolist() == backwards[0].tolist()
        np.testing.assert_allclose(forwards[1], backwards[1], atol=1e-6)

    def test_a_heavier_list_has_its_way(self, name):
        one, two = of(1, 2), of(2, 1)
        assert self.fuse(name, [one, two], [1, 1])[0].tolist() == [1, 2]  # equal: by number
        assert self.fuse(name, [one, two], [1, 2])[0].tolist() == [2, 1]

    def test_what_all_have_beats_what_one_has(self, name):
        assert self.fuse(name, [of(1, 2, 3), of(4, 2, 5), of(6, 2, 7)], [1, 1, 1])[0][0] == 2

    def test_nothing_in_nothing_out(self, name):
        numbers, distances = self.fuse(name, [of(), of()], [1, 1])
        assert len(numbers) == len(distances) == 0

    def test_what_was_given_is_left_as_it_is(self, name):
        lists = [of(3, 1), of(1, 2)]
        before = [tuple(map(np.copy, pair)) for pair in lists]
        self.fuse(name, lists, [1, 2])
        for pair, copy in zip(lists, before, strict=True):
            assert all((a == b).all() for a, b in zip(pair, copy, strict=True))

    @pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, math.nan], [1, math.inf]])
    def test_weights_that_do_not_fit(self, name, weights):
        with pytest.raises(ShapeError, match="weight"):
            self.fuse(name, [of(1), of(2)], weights)

    def test_a_result_that_is_there_twice(self, name):
        with pytest.raises(ShapeError, match="different numbers"):
            self.fuse(name, [of(1, 1)], [1])

    def test_it_names_its_source(self, name):
        assert "Reference\n---------\n" in registry.load("fusion", name).__doc__


def test_parameters_that_are_none():
    with pytest.raises(UsageError, match="smoothing"):
        rrf.fuse([of(1)], [1], smoothing=-1)
    with pytest.raises(UsageError, match="unknown scale 'max'"):
        combsum.fuse([of(1)], [1], scale="max")
