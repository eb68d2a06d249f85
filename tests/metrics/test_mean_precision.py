import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import average_precision_over_k, mean_precision, mean_precision_wickstrom, precision

lists = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12)


def authors(same_class, k_val):
    """The paper's code, ``map_eval``: a loop over range(1, k)."""
    return np.mean([np.sum(same_class[:k]) / k for k in range(1, k_val)])


@given(lists, st.integers(1, 15))
def test_equals_the_papers_equation_5(ranked, k):
    value = mean_precision.score([ranked], k)[0]
    assert value == pytest.approx(sum(sum(ranked[:i]) / i for i in range(1, k + 1)) / k, abs=1e-12)
    assert value == pytest.approx(np.mean([precision.score([ranked], i)[0] for i in range(1, k + 1)]), abs=1e-12)
    assert 0 <= average_precision_over_k.score([ranked], k)[0] <= value + 1e-12 <= 1 + 1e-12


@given(lists, st.integers(2, 15))
def test_the_codes_variant_equals_the_code(ranked, k):
    assert mean_precision_wickstrom.score([ranked], k)[0] == pytest.approx(authors(ranked, k), abs=1e-12)
    assert mean_precision_wickstrom.score([ranked], k)[0] == mean_precision.score([ranked], k - 1)[0]


def test_golden_values():
    assert mean_precision.score([[0, 1, 1, 0, 1]], 5)[0] == pytest.approx(0.453, abs=5e-4)
    assert mean_precision_wickstrom.score([[0, 1, 1, 0, 1]], 5)[0] == pytest.approx(0.417, abs=5e-4)


def test_perfect_worst_and_empty():
    assert mean_precision.score([[1, 1, 0], [0, 0, 1]], 2).tolist() == [1.0, 0.0]
    assert mean_precision.score(np.empty((2, 0)), 3).tolist() == [0.0, 0.0]
    assert mean_precision_wickstrom.score(np.empty((1, 0)), 3).tolist() == [0.0]
    assert mean_precision.expected([0, 0], [0, 4], 3).tolist() == [0.0, 0.0]


def test_chance():
    assert mean_precision.expected([4, 7], [10, 20], 5).tolist() == pytest.approx([0.4, 0.35])
    assert mean_precision.expected([1], [1], 2)[0] == mean_precision.score([[1]], 2)[0] == 0.75
    assert mean_precision_wickstrom.expected([4], [10], 5)[0] == pytest.approx(0.4)


@pytest.mark.parametrize("metric", [mean_precision, mean_precision_wickstrom])
@pytest.mark.parametrize(
    ("ranked", "k"), [([1, 0], 2), ([[0.5]], 2), ([[2]], 2), ([[np.nan]], 2), ([[1]], 0), ([[1]], 2.0)]
)
def test_malformed_input_is_refused(metric, ranked, k):
    with pytest.raises(ShapeError, match="expected"):
        metric.score(ranked, k)


@pytest.mark.parametrize("metric", [mean_precision, mean_precision_wickstrom])
@pytest.mark.parametrize(("relevant", "size"), [([3], [2]), ([1.0], [2]), ([-1], [2]), ([1], [2, 3])])
def test_malformed_counts_are_refused(metric, relevant, size):
    with pytest.raises(ShapeError, match=r"relevant|size"):
        metric.expected(relevant, size, 5)


def test_the_codes_variant_has_nothing_to_look_at_before_rank_1():
    for call in (
        lambda: mean_precision_wickstrom.score([[1]], 1),
        lambda: mean_precision_wickstrom.expected([1], [1], 1),
    ):
        with pytest.raises(ShapeError, match="at least 2"):
            call()
