import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli import neighbour_calibration as nc
from cbir_cli.errors import ShapeError, UsageError

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40)


def pooled(distance, same):
    """Pool adjacent violators, slowly: the best non-rising values for the sorted distances."""
    blocks = []
    for far in sorted(set(distance)):
        here = [s for d, s in zip(distance, same, strict=True) if d == far]
        blocks.append([sum(here), len(here), [far]])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] <= blocks[-1][0] / blocks[-1][1]:
            total, count, members = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count, blocks[-1][2] + members]
    return {far: total / count for total, count, members in blocks for far in members}


@settings(deadline=None)  # the first fit imports scikit-learn
@given(PAIRS)
def test_fit_is_isotonic_regression(pairs):
    distance, same = zip(*pairs, strict=True)
    steps = nc.fit(distance, same)
    plain = pooled([*distance, min(distance), max(distance)], [*same, False, True])
    assert steps(list(plain)).tolist() == pytest.approx(list(plain.values()), abs=1e-9)
    assert 0 < steps.probability.min() and steps.probability.max() < 1
    assert (np.diff(steps.distance) > 0).all() and (np.diff(steps.probability) <= 0).all()
    assert steps([-5.0, 99.0]).tolist() == [steps.probability[0], steps.probability[-1]]


def test_between_two_steps_it_is_linear():
    steps = nc.fit([1.0, 1.0, 1.0, 3.0, 3.0, 3.0], [True, True, True, False, False, False])
    assert steps([0, 1, 2, 3, 4]).tolist() == [0.75, 0.75, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("same", [True, False])
def test_pairs_of_one_kind_get_the_rule_of_succession(same):
    steps = nc.fit([1.0, 2.0, 5.0, 7.0], [same] * 4)
    assert steps([0, 3, 9]).tolist() == pytest.approx([5 / 6 if same else 1 / 6] * 3)


def made(count=300, seed=0, informative=True):
    """Pairs whose chance to be of one class is 1 / (1 + distance), or one half."""
    rng = np.random.default_rng(seed)
    distance = rng.random(count * 5) * 4
    same = rng.random(count * 5) < (1 / (1 + distance) if informative else 0.5)
    query = np.repeat(np.arange(count), 5)
    return nc.Pairs(distance, same, query, rng.integers(0, count, count * 5))


def test_crossed_probabilities_come_from_pairs_of_other_patients_alone():
    """A pair, turned round, is the same pair: a fit that has seen it knows the answer."""
    rng = np.random.default_rng(1)
    half, n = rng.random(400), 60
    a, b = rng.integers(0, n, 400), rng.integers(0, n, 400)
    same = rng.random(400) < 0.5
    there = nc.Pairs(np.tile(half, 2), np.tile(same, 2), np.concatenate([a, b]), np.concatenate([b, a]))
    crossed = nc.crossed(there)
    fold = nc._folds(there, 5)
    for number in range(5):
        asked = fold[there.query] == number
        rest = ~asked & (fold[there.neighbour] != number)
        assert not set(there.query[asked]) & set([*there.query[rest], *there.neighbour[rest]])
        again = nc.fit(there.distance[rest], there.same[rest])(there.distance[asked])
        assert crossed[asked].tolist() == again.tolist()
    # Distances say nothing here: probabilities that had seen the answers would do better than the share.
    assert nc.quality(there)["brier"] >= nc.quality(there)["brier-of-share"]


def test_quality_of_pairs_whose_probability_is_known():
    pairs = made(2000)
    found = nc.quality(pairs)
    assert found["pairs"] == 10000 and found["ece"] < 0.02
    assert found["same"] == pytest.approx(np.log(5) / 4, abs=0.02)  # mean of 1 / (1 + d) over 0 to 4
    # Brier score of the true probability: mean of p (1 - p) = (ln 5 - 4 / 5) / 4.
    assert found["brier"] == pytest.approx((np.log(5) - 0.8) / 4, abs=0.01) and found["brier"] < found["brier-of-share"]
    np.testing.assert_allclose(nc.crossed(pairs), 1 / (1 + pairs.distance), atol=0.2)
    nothing = nc.quality(made(2000, informative=False))
    assert nothing["brier"] == pytest.approx(nothing["brier-of-share"], abs=0.01)


def test_folds_are_of_one_size_and_the_same_each_time():
    pairs = made(101)
    fold = nc._folds(pairs, 5)
    sizes = np.bincount(fold[pairs.query])
    assert sizes.max() - sizes.min() <= 5 and (fold == nc._folds(pairs, 5)).all()


@pytest.mark.parametrize(
    ("distance", "same"), [([], []), ([1.0], [True, False]), ([np.nan], [True]), ([np.inf, 1], [True, False])]
)
def test_malformed_pairs_are_refused(distance, same):
    with pytest.raises(ShapeError, match="expected finite distances"):
        nc.fit(distance, same)


def test_too_few_patients_are_refused():
    few = nc.Pairs(np.arange(8.0), np.arange(8) % 2 == 0, np.arange(8) % 4, np.arange(8) % 3)
    with pytest.raises(ShapeError, match="expected pairs of at least 5 patients, found 4"):
        nc.crossed(few)


def test_farthest_keeps_its_promise():
    """Of new distances drawn as the known ones, at most a share of 1 - q is beyond."""
    known = np.arange(1.0, 20)
    assert nc.farthest(known, 0.95) == 19 and nc.farthest(known, 0.9) == 18 and nc.farthest(known, 0.05) == 1
    assert nc.farthest(known, 0.951) == 19 and nc.farthest(known[:3], 0.95) == 3
    assert nc.farthest(np.arange(1.0, 21), 0.95) == 20  # at place ceil(21 * .95), not ceil(20 * .95)
    rng = np.random.default_rng(0)
    draws = np.sort(rng.random((4000, 39)), axis=1)
    beyond = [rng.random() > nc.farthest(row, 0.9) for row in draws]
    assert np.mean(beyond) == pytest.approx(0.1, abs=0.015)
    for wrong in (0.0, -1.0, 1.01, np.nan):
        with pytest.raises(UsageError, match=r"quantile=.*: expected more than 0 and at most 1"):
            nc.farthest(known, wrong)
