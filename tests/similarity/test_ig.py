"""IG maps of a pair are the encoder's own maps of its two images."""

import numpy as np
import pytest

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.similarity import ig


class Encoder:
    """Maps say which image and which pixel they belong to."""

    def __init__(self, change=lambda maps: maps):
        self.change = change

    def maps(self, pixels):
        assert pixels.dtype == np.float32 and pixels.ndim == 3
        return self.change(pixels / np.abs(pixels).max(axis=(1, 2), keepdims=True))


def explain(encoder, query, result):
    """Explain one pair."""
    return [maps[0] for maps in ig.explain(encoder, query[None], result[None])]


def test_each_image_gets_its_own_map():
    query, result = np.random.default_rng(1).random((2, 6, 6), dtype=np.float32)
    found = explain(Encoder(), query, result)
    np.testing.assert_array_equal(found[0], query / query.max())
    np.testing.assert_array_equal(found[1], result / result.max())
    swapped = explain(Encoder(), result, query)
    np.testing.assert_array_equal(swapped[0], found[1])


@pytest.mark.parametrize("change", [lambda m: m[:0], lambda m: m[:, :3], lambda m: m * np.nan])
def test_maps_that_do_not_fit_are_refused(change):
    with pytest.raises(ShapeError, match="saliency maps of shape"):
        explain(Encoder(change), *np.ones((2, 4, 4), np.float32))


def test_an_encoder_without_saliency_says_so():
    def none(maps):
        raise UsageError("the model has no saliency network")

    with pytest.raises(UsageError, match="no saliency network"):
        explain(Encoder(none), *np.ones((2, 4, 4), np.float32))


def test_an_image_in_several_pairs_is_computed_once():
    seen = []
    images = np.random.default_rng(1).random((3, 4, 4), dtype=np.float32)
    encoder = Encoder(lambda maps: seen.append(len(maps)) or maps)
    queries, results = ig.explain(encoder, images[[0, 0, 2]], images[[1, 2, 0]])
    assert seen == [3]
    for pair, (query, result) in enumerate([(0, 1), (0, 2), (2, 0)]):
        np.testing.assert_array_equal(queries[pair], images[query] / images[query].max())
        np.testing.assert_array_equal(results[pair], images[result] / images[result].max())
