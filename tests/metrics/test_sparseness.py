import numpy as np
import pytest

from cbir_cli.metrics.explanation import sparseness


def plainly(values):
    """Half of the mean absolute difference of all pairs, in units of the mean."""
    values = np.abs(np.ravel(values).astype(np.float64))
    return np.abs(values[:, None] - values[None]).mean() / 2 / values.mean()


@pytest.mark.parametrize("seed", range(5))
def test_is_half_the_mean_difference_of_pairs(seed):
    maps = np.random.default_rng(seed).standard_normal((1, 6, 7)) ** 3
    assert sparseness.score(maps)[0] == pytest.approx(plainly(maps), abs=1e-12)
    assert sparseness.score(maps, sign="positive")[0] == pytest.approx(plainly(np.maximum(maps, 0)), abs=1e-12)


def test_closed_forms():
    one = np.zeros((1, 4, 5))
    one[0, 2, 2] = 7
    assert sparseness.score(one)[0] == pytest.approx(1 - 1 / 20, abs=1e-12)
    assert sparseness.score(np.full((1, 4, 5), -2.0))[0] == pytest.approx(0, abs=1e-12)
    half = np.repeat([0.0, 1.0], 10).reshape(1, 4, 5)
    assert sparseness.score(half)[0] == pytest.approx(0.5, abs=1e-12)
