"""Sliding boxes: the authors' positions, and every pixel covered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli import sliding_boxes
from cbir_cli.errors import UsageError


def test_positions_of_the_paper():
    boxes = list(sliding_boxes.sliding(224, 224, box=24, stride=5))
    assert len(boxes) == 49 * 49
    assert boxes[0] == (0, 5, 0, 5)
    assert boxes[1] == (0, 5, 0, 10)
    assert boxes[-1] == (221, 224, 221, 224)
    inner = [b for b in boxes if b[1] - b[0] == 24 and b[3] - b[2] == 24]
    assert inner[0] == (1, 25, 1, 25)
    assert len(inner) == 40 * 40


@given(
    st.integers(6, 20),
    st.integers(1, 20),
    st.integers(1, 12).flatmap(lambda box: st.tuples(st.just(box), st.integers(1, box))),
)
def test_boxes_are_the_plain_loop_and_coverage_counts_them(height, width, box_stride):
    box, stride = box_stride
    plain, counts, y = [], np.zeros((height, width), int), stride - box
    while y < height:
        x = stride - box
        while x < width:
            plain.append((max(y, 0), min(y + box, height), max(x, 0), min(x + box, width)))
            x += stride
        y += stride
    for y0, y1, x0, x1 in plain:
        assert y0 < y1 and x0 < x1
        counts[y0:y1, x0:x1] += 1
    assert list(sliding_boxes.sliding(height, width, box=box, stride=stride)) == plain
    np.testing.assert_array_equal(sliding_boxes.coverage(height, width, box=box, stride=stride), counts)
    assert counts.min() >= 1


def test_rectangular_images_keep_rows_and_columns_apart():
    assert list(sliding_boxes.sliding(2, 3, box=2, stride=2)) == [(0, 2, 0, 2), (0, 2, 2, 3)]
    assert sliding_boxes.coverage(2, 3, box=1, stride=1).shape == (2, 3)


@pytest.mark.parametrize(("box", "stride"), [(4, 0), (4, 5), (4, -1)])
def test_a_stride_that_leaves_gaps_or_never_ends_is_refused_at_once(box, stride):
    with pytest.raises(UsageError, match="stride"):
        sliding_boxes.sliding(8, 8, box=box, stride=stride)


@pytest.mark.parametrize("box", [-5, 0, 101, 10**9])
def test_boxes_beyond_twice_the_image_are_refused_before_any_is_made(box):
    with pytest.raises(UsageError, match=rf"a box from 1 to 100 pixels, found {box}$"):
        sliding_boxes.sliding(50, 30, box=box, stride=1)


def test_the_widest_box():
    assert len(list(sliding_boxes.sliding(5, 5, box=10, stride=10))) == 1
