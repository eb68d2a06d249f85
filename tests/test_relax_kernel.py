"""RELAX on similarities that are known: the formulas mask by mask, and when it stops."""

import numpy as np
import pytest

from cbir_cli import random_masks, relax
from cbir_cli.errors import UsageError

SIZE = 12


def draw(count=300, seed=1, cells=4):
    return random_masks.draw("relax", (SIZE, SIZE), count, cells=cells, probability=0.5, seed=seed)


def weights(count, seed=5):
    return np.random.default_rng(seed).random((count, SIZE, SIZE))


def of_weights(w):
    """Distances that depend on the masks, a little and not linearly."""
    return lambda image, masks: 0.02 * np.sin((w[image] * masks).mean(axis=(1, 2)) * 9) ** 2


def plain(masks, d, normalisation):
    """Eq. 4 and the uncertainty, one mask at a time, with every mask in full."""
    kept, importance, uncertainty = (np.zeros((SIZE, SIZE)) for _ in range(3))
    large, s = masks.block(0, len(d)).astype(np.float64), 1 - d
    if normalisation == "paper":
        for one, mask in zip(s, large, strict=True):
            importance += one * mask / len(s)
        for one, mask in zip(s, large, strict=True):
            uncertainty += (one - importance) ** 2 * mask / len(s)
        return importance, uncertainty
    kept += 1e-10  # the running mean and variance of the authors' code
    for one, mask in zip(s, large, strict=True):
        kept += mask
        before = importance.copy()
        importance += mask * (one - importance) / kept
        uncertainty += (one - importance) * (one - before) * mask
    return importance, uncertainty / (kept - 1) if normalisation == "code" else uncertainty


@pytest.mark.parametrize("normalisation", relax.NORMALISATIONS)
@pytest.mark.parametrize("count", [40, 300])
def test_the_formulas_mask_by_mask(normalisation, count):
    masks, w = draw(count), weights(2)
    found = relax.explain(of_weights(w), 2, masks, normalisation=normalisation, batch=7)
    for image in range(2):
        d = of_weights(w)(image, masks.block(0, count))
        for made, slow in zip(found, plain(masks, d, normalisation), strict=True):
            np.testing.assert_allclose(made[image], slow, rtol=1e-5, atol=1e-10)


def test_similarities_that_hardly_differ_keep_their_digits():
    masks = draw(relax.STEP)
    d = 1e-2 + 1e-9 * np.random.default_rng(2).random(relax.STEP)
    _, found = relax.explain(lambda image, some: d, 1, masks, batch=relax.STEP)
    np.testing.assert_allclose(found[0], plain_exactly(masks, d), rtol=1e-4)


def plain_exactly(masks, d):
    large = masks.block(0, len(d)).astype(np.longdouble)
    kept = large.sum(axis=0)
    mean = (d[:, None, None].astype(np.longdouble) * large).sum(axis=0) / kept
    return ((d[:, None, None] - mean) ** 2 * large).sum(axis=0) / (kept - 1)


@pytest.mark.parametrize("normalisation", relax.NORMALISATIONS)
def test_batches_and_company_change_no_byte(normalisation):
    masks, w = draw(600), weights(3)
    given = {"normalisation": normalisation, "tolerance": 0.1}
    maps = [relax.explain(of_weights(w), 3, masks, batch=batch, **given) for batch in (1, 7, 64, 1000)]
    alone = [relax.explain(of_weights(w[i : i + 1]), 1, masks, **given) for i in range(3)]
    maps.append([np.concatenate([one[kind] for one in alone]) for kind in (0, 1)])
    for other in maps[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(maps[0], other, strict=True))


class Counted:
    """Distances of one patch that matters, with noise; counts the masks."""

    def __init__(self, noise):
        self.noise, self.asked = noise, np.zeros(len(noise), int)

    def __call__(self, image, masks):
        self.asked[image] += len(masks)
        rough = np.abs(np.modf(masks.sum(axis=(1, 2)).astype(np.float64) * 1e4)[0] - 0.5)  # the same in any batch
        return 0.5 * (1 - masks[:, 3:6, 3:6].mean(axis=(1, 2), dtype=np.float64)) + self.noise[image] * rough


def test_an_image_gets_no_more_masks_than_it_needs_and_stays_within_the_tolerance():
    masks, scores, tolerance = draw(6000), Counted([0.0, 1.5]), 0.04
    advanced = []
    found, _ = relax.explain(scores, 2, masks, tolerance=tolerance, advance=advanced.append)
    assert 250 <= scores.asked[0] < scores.asked[1] < 6000 and not (scores.asked % relax.STEP).any()
    assert sum(advanced) == 12000
    own = [draw(int(count)) for count in scores.asked]  # the first of the same masks
    for image, some in enumerate(own):
        alone, _ = relax.explain(Counted([[0.0, 1.5][image]]), 1, some)
        np.testing.assert_allclose(found[image], alone[0], rtol=0, atol=1e-12)
    whole, _ = relax.explain(Counted([0.0, 1.5]), 2, masks)
    for early, full in zip(found, whole, strict=True):
        change = early - full  # less what all pixels share
        assert 0 < change.std() <= tolerance * (full.max() - full.min())
    tight = Counted([0.0, 1.5])
    relax.explain(tight, 2, masks, tolerance=tolerance / 2)
    # Standard errors fall with the square root of the number: half of one takes four times the masks.
    assert 3 < tight.asked[0] / scores.asked[0] < 5


@pytest.mark.parametrize("normalisation", relax.NORMALISATIONS)
def test_the_standard_error_is_that_of_maps_of_other_masks(normalisation):
    scores, count = Counted([0.2]), 500
    maps, errors = [], []
    for seed in range(40):
        masks = draw(count, seed)
        maps.append(relax.explain(scores, 1, masks, normalisation=normalisation)[0][0])
        d = scores(0, masks.block(0, count))
        errors.append(relax._error(masks, d, normalisation) * np.ptp(maps[-1]))
        if normalisation != "paper":
            maps[-1] -= (1 - d).mean()  # what all pixels share
    spread = np.sqrt(np.var(maps, axis=0, ddof=1).mean())
    assert 0.93 * spread < np.mean(errors) < (1.15 if normalisation == "paper" else 1.07) * spread


def test_what_is_the_same_under_all_masks_stops_at_once():
    asked = []

    def same(image, masks):
        asked.append(len(masks))
        return np.zeros(len(masks))

    importance, uncertainty = relax.explain(same, 1, draw(3000), tolerance=0.01)
    assert sum(asked) == relax.STEP
    np.testing.assert_allclose(importance, 1) and np.testing.assert_allclose(uncertainty, 0)


def test_u_relax():
    importance = np.arange(12.0).reshape(2, 2, 3) + 1
    uncertainty = np.array([[[0, 1, 2], [3, 4, 50]], [[5, 5, 5], [5, 5, 5]]], float)
    mean = relax.certain(importance, uncertainty)
    np.testing.assert_array_equal(mean, [[[1, 2, 3], [4, 5, 0]], [[0] * 3] * 2])  # mean 10; not below its own mean
    median = relax.certain(importance, uncertainty, average="median")
    np.testing.assert_array_equal(median[0], [[1, 2, 3], [0, 0, 0]])
    np.testing.assert_array_equal(relax.certain(importance, uncertainty, gamma=1.2, average="median")[0, 1], [0, 0, 0])
    np.testing.assert_array_equal(relax.certain(importance, uncertainty, gamma=1.3, average="median")[0, 1], [4, 0, 0])


def test_what_is_stored_keeps_the_order():
    importance, uncertainty = np.random.default_rng(1).random((2, 3, 4, 4))
    stored = relax.shown(importance, uncertainty)
    assert (stored.min(axis=(1, 2)) == 0).all()
    assert [s.ravel().argsort().tolist() for s in stored] == [i.ravel().argsort().tolist() for i in importance]
    gated = relax.shown(importance, uncertainty, gamma=1.0)
    np.testing.assert_array_equal(gated, relax.certain(stored, uncertainty))
    assert relax.shown(importance, uncertainty, shifted=False) is importance


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("normalisation", "none"),
        ("average", "mode"),
        ("tolerance", 1.0),
        ("tolerance", -0.1),
        ("gamma", np.inf),
        ("fill", np.nan),
        ("fill", -np.inf),
        ("fill", 1e39),
    ],
)
def test_parameters_out_of_range(name, value):
    assert relax.Options().masks == 3000
    with pytest.raises(UsageError, match=name):
        relax.Options(**{name: value})


def test_the_options_are_the_parameters_of_both_methods():
    """One default each, wherever it is written."""
    from cbir_cli import registry
    from cbir_cli.saliency import relax as of_images
    from cbir_cli.similarity import relax as of_pairs

    options = vars(relax.Options())
    assert registry.parameters(of_images.explain) == options
    assert registry.parameters(of_pairs.explain) == {**options, "seed": 0, "batch": 32}


def test_too_few_masks():
    with pytest.raises(UsageError, match="take more"):
        relax.explain(of_weights(weights(1)), 1, draw(2))
    importance, _ = relax.explain(of_weights(weights(1)), 1, draw(1), normalisation="package")
    assert np.isfinite(importance).all()
    with pytest.raises(UsageError, match="batch"):
        relax.explain(of_weights(weights(1)), 1, draw(), batch=0)
