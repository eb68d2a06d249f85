"""Numbers of Quantus 0.6.0 for the same maps and masks: it was run once, and they are kept here."""

import numpy as np
import pytest

from cbir_cli.metrics.explanation import pointing_game, relevance_rank, sparseness, top_k_intersection

RANK = {"positive": [2 / 15, 1 / 6, 3 / 14, 1 / 4, 1 / 6], "absolute": [0, 7 / 36, 2 / 7, 1 / 4, 1 / 6]}
POINT = {"positive": [0, 0, 0, 1, 0], "absolute": [0, 0, 0, 0, 0]}
TOP = {
    ("positive", 5): [0, 0.2, 0.4, 0.6, 0.2],
    ("positive", 20): [0.15, 0.2, 0.25, 0.25, 0.2],
    ("positive", 60): [0.15, 11 / 60, 1 / 6, 11 / 60, 14 / 60],
    ("absolute", 5): [0, 0.2, 0.2, 0.2, 0.2],
    ("absolute", 20): [0.05, 0.2, 0.35, 0.25, 0.15],
    ("absolute", 60): [5 / 60, 13 / 60, 14 / 60, 13 / 60, 0.2],
}
SPARSE = [0.44733934, 0.44005556, 0.42019199, 0.43241217, 0.41323634]


@pytest.fixture(scope="module")
def maps_and_masks():
    draw = np.random.default_rng(7)
    maps, masks = draw.standard_normal((5, 12, 12)).astype(np.float32), draw.random((5, 12, 12)) < 0.2
    masks[0] = False
    masks[0, 3:6, 4:9] = True
    return maps, masks


@pytest.mark.parametrize("sign", ["positive", "absolute"])
def test_relevance_rank_pointing_game_and_top_k(maps_and_masks, sign):
    assert relevance_rank.score(*maps_and_masks, sign=sign).tolist() == pytest.approx(RANK[sign])
    assert pointing_game.score(*maps_and_masks, sign=sign).tolist() == pytest.approx(POINT[sign])
    for k in (5, 20, 60):
        assert top_k_intersection.score(*maps_and_masks, k=k, sign=sign).tolist() == pytest.approx(TOP[sign, k])


def test_sparseness(maps_and_masks):
    assert sparseness.score(maps_and_masks[0]).tolist() == pytest.approx(
        SPARSE, abs=1e-6
    )  # theirs adds 1e-7 to each pixel
