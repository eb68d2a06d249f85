"""Random masks against the authors' own steps, and sums of masks without the masks."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.transform import resize

from cbir_cli import random_masks
from cbir_cli.errors import UsageError


def draw(kind="relax", size=(20, 20), count=40, *, cells=7, probability=0.5, seed=1):
    return random_masks.draw(kind, size, count, cells=cells, probability=probability, seed=seed)


def of_relax(masks, size, cells):
    """As the authors of RELAX make them of the same cells and shifts."""
    grid = torch.from_numpy(masks.cells.astype(np.float64))[:, None]
    large = F.pad(F.interpolate(grid, size, mode="bilinear", align_corners=False), [cells // 2] * 4, mode="reflect")
    return np.stack([m[0, y : y + size[0], x : x + size[1]] for m, (y, x) in zip(large, masks.shifts, strict=True)])


def of_rise(masks, size, cells):
    """As the authors of RISE make them of the same cells and shifts."""
    steps = [-(-side // cells) for side in size]
    up = [(cells + 1) * step for step in steps]
    large = [resize(c.astype(np.float64), up, order=1, mode="reflect", anti_aliasing=False) for c in masks.cells]
    return np.stack([m[y : y + size[0], x : x + size[1]] for m, (y, x) in zip(large, masks.shifts, strict=True)])


@pytest.mark.parametrize(("kind", "twin"), [("relax", of_relax), ("rise", of_rise)])
@pytest.mark.parametrize(("size", "cells"), [((20, 20), 7), ((32, 32), 8), ((18, 25), 5), ((16, 16), 2)])
def test_the_authors_own_steps(kind, twin, size, cells):
    masks = draw(kind, size, cells=cells)
    found = masks.block(0, 40)
    assert found.shape == (40, *size) and found.dtype == np.float32
    np.testing.assert_allclose(found, twin(masks, size, cells), atol=1e-6)


@pytest.mark.parametrize(("kind", "highest"), [("relax", [6, 6]), ("rise", [2, 3])])
def test_shifts_are_all_there_and_rows_are_not_columns(kind, highest):
    masks = draw(kind, (20, 25), 600)
    assert masks.shifts.min(axis=0).tolist() == [0, 0] and masks.shifts.max(axis=0).tolist() == highest
    assert abs(np.corrcoef(masks.shifts.T)[0, 1]) < 0.2


@pytest.mark.parametrize("kind", random_masks.KINDS)
@pytest.mark.parametrize("count", [1, 29, 40])
def test_sums_without_large_masks(kind, count):
    masks = draw(kind, (18, 25))
    weights = np.random.default_rng(3).standard_normal((3, count))
    plain = np.einsum("kn,nhw->khw", weights, masks.block(0, count).astype(np.float64))
    np.testing.assert_allclose(masks.sums(weights), plain, rtol=1e-5, atol=1e-5)


def test_cells_are_kept_with_the_probability():
    assert abs(draw(count=3000, probability=0.2).cells.mean() - 0.2) < 0.005
    assert abs(draw("rise", count=3000, probability=0.7).block(0, 3000).mean() - 0.7) < 0.01


@pytest.mark.parametrize("kind", random_masks.KINDS)
def test_squares_of_masks(kind):
    masks = draw(kind, (18, 25), 6000, cells=5, probability=0.3)
    large = masks.block(0, 6000)
    np.testing.assert_allclose(masks.squares(), np.square(large).mean(axis=0) / large.mean(axis=0), rtol=0.05)
    assert masks.squares().min() < 0.6 < masks.squares().max() < 1


def test_the_first_masks_do_not_depend_on_how_many_follow():
    few, many = draw(count=30), draw(count=3000)
    assert few.block(0, 30).tobytes() == many.block(0, 30).tobytes()
    assert many.block(1000, 1100).tobytes() == b"".join(many.block(i, i + 1).tobytes() for i in range(1000, 1100))
    assert few.block(0, 30).tobytes() != draw(count=30, seed=2).block(0, 30).tobytes()


def test_a_mask_more_costs_a_hundred_bytes():
    def peak(count):
        tracemalloc.start()
        masks = draw("rise", (64, 64), count)
        masks.block(0, 8)
        masks.sums(np.ones((1, count)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert (peak(8000) - peak(4000)) / 4000 < 150  # a mask of 64 x 64 pixels has 16,384


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "checked"},
        {"count": 0},
        {"cells": 1},
        {"cells": 21},
        {"probability": 0.0},
        {"probability": np.nan},
        {"seed": -1},
    ],
)
def test_what_is_no_mask(wrong):
    with pytest.raises(UsageError, match={"kind": "generator", "count": "masks"}.get(*wrong, next(iter(wrong)))):
        draw(**wrong)


@pytest.mark.parametrize(("cells", "most"), [(2, 10**6), (7, 10**6), (16, 10**6), (17, 2**28 // 289), (64, 65536)])
def test_more_masks_than_memory_holds_are_refused_before_any_is_drawn(cells, most):
    with pytest.raises(UsageError, match=rf"^masks: expected from 1 to {most} of {cells} x {cells} cells, found "):
        random_masks.draw("rise", (64, 64), most + 1, cells=cells, probability=0.5, seed=0)


def test_no_masks_are_refused():
    with pytest.raises(UsageError, match="masks: expected from 1 to"):
        random_masks.draw("relax", (64, 64), 0, cells=7, probability=0.5, seed=0)
