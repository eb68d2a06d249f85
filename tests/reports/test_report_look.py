"""What one explainer says of one image: importance where it is certain, and warnings."""

import numpy as np
import pytest
from test_report_curves import of

from cbir_cli.errors import ShapeError
from cbir_cli.reports.look import Look


def test_certain_is_importance_below_the_median_uncertainty() -> None:
    rng = np.random.default_rng(0)
    map_, uncertainty = rng.standard_normal((6, 7)), rng.random((6, 7))
    middle = sorted(uncertainty.ravel())
    median = (middle[20] + middle[21]) / 2
    expected = [[m if u < median else 0.0 for m, u in zip(*rows, strict=True)]
                for rows in zip(map_, uncertainty, strict=True)]  # fmt: skip
    found = Look(map_, uncertainty).certain
    np.testing.assert_array_equal(found, expected)
    assert np.count_nonzero(found) == 21
    assert Look(map_).certain is None


def test_an_uncertainty_that_is_even_leaves_nothing() -> None:
    assert not Look(np.ones((4, 4)), np.full((4, 4), 0.5)).certain.any()


def test_warnings_are_the_verdict_and_the_remarks() -> None:
    bad = of({"map": 0.4, "random map": 0.5}, {"map": 0.6, "random map": 0.5})
    look = Look(np.eye(4), None, bad, ("60% lies on the border",))
    assert look.warnings == ["no better than a random map", "60% lies on the border"]
    assert Look(np.eye(4)).warnings == []


@pytest.mark.parametrize(
    ("map_", "uncertainty"),
    [(None, np.eye(4)), (np.eye(4), np.eye(5)), (np.eye(4), np.full((4, 4), np.nan)), (np.full((4, 4), np.inf), None)],
)
def test_maps_that_cannot_be_shown_are_refused(map_, uncertainty) -> None:
    with pytest.raises(ShapeError):
        Look(map_, uncertainty)
