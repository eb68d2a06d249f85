import numpy as np
import pytest

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation import border_mass


@pytest.mark.parametrize(
    ("shape", "width", "frame", "corners"),
    [
        ((20, 20), 0.1, 20 * 20 - 16 * 16, 4 * 6 * 6),
        ((20, 30), 0.1, 20 * 30 - 16 * 26, 4 * 6 * 6),
        ((10, 10), 0.01, 10 * 10 - 8 * 8, 4 * 3 * 3),  # one pixel at least
        ((10, 10), 0.4, 10 * 10 - 2 * 2, 10 * 10),  # corners meet in the middle
        ((224, 224), 0.1, 224**2 - 180**2, 4 * 66**2),
    ],
)
def test_what_is_edge(shape, width, frame, corners):
    for part, count in (("frame", frame), ("corners", corners)):
        maps = np.ones((1, *shape))
        expected = pytest.approx(count / np.prod(shape), abs=1e-12)
        assert border_mass.score(maps, part=part, width=width)[0] == expected
        assert border_mass.expected(maps, part=part, width=width)[0] == expected


def test_a_token_in_the_corner_and_a_lesion_in_the_middle():
    token, lesion = np.zeros((2, 1, 20, 20), np.float32)
    token[0, 1, 1], lesion[0, 9, 9] = 3, 5
    for part in border_mass.PARTS:
        assert border_mass.score(token, part=part)[0] == 1 and border_mass.score(lesion, part=part)[0] == 0
        assert border_mass.score(token + lesion, part=part)[0] == pytest.approx(3 / 8)
    side = np.zeros((1, 20, 20))
    side[0, 0, 10] = 1  # at the edge, and in no corner
    assert border_mass.score(side)[0] == 1 and border_mass.score(side, part="corners")[0] == 0


def test_what_speaks_against_counts_as_nothing_or_by_its_magnitude():
    maps = np.zeros((1, 20, 20))
    maps[0, 0, 0], maps[0, 10, 10] = -1, 3
    assert border_mass.score(maps)[0] == 0 and border_mass.score(maps, sign="absolute")[0] == 0.25
    assert border_mass.score(-np.abs(maps))[0] is np.ma.masked


def test_wrong_parts_and_widths_are_refused():
    with pytest.raises(UsageError, match=r"unknown part of the border 'top': .*known: frame, corners"):
        border_mass.score(np.zeros((1, 4, 4)), part="top")
    for width in (0, -1, 0.6, np.nan):
        with pytest.raises(UsageError, match=r"width: expected a share of the side above 0 and up to 0\.5, found"):
            border_mass.score(np.zeros((1, 4, 4)), width=width)
