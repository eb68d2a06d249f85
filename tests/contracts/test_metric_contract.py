"""What every metric keeps, whichever file is added to the folders."""

import inspect
import itertools

import numpy as np
import pytest

from cbir_cli import registry
from cbir_cli.errors import ShapeError, UsageError

RANKING, CLASSIFICATION, EXPLANATION = "metrics/ranking", "metrics/classification", "metrics/explanation"
FOLDERS = {
    RANKING: ("Empty:", "Beyond the list:"),
    CLASSIFICATION: ("Not defined:",),
    EXPLANATION: ("Empty mask:", "Signed maps:"),
}
MAY_ASK = {"relevance", "ideal", "relevant", "size", "k"}
GRADES = {"graded": [3.0, 2.5, 1.0, 0.5, 0.5], "binary": [1.0, 1.0, 0.0, 1.0, 0.0]}

ranking = pytest.mark.parametrize("name", registry.names(RANKING))
classification = pytest.mark.parametrize("name", registry.names(CLASSIFICATION))
explanation = pytest.mark.parametrize("name", registry.names(EXPLANATION))


def call(function, relevance, ideal, k=3):
    """Hand a metric what its parameters ask for."""
    ideal = np.asarray(ideal, dtype=float)
    size = np.full(len(ideal), ideal.shape[1])
    given = {"relevance": relevance, "ideal": ideal, "relevant": (ideal > 0).sum(axis=1), "size": size, "k": k}
    return function(**{parameter: given[parameter] for parameter in inspect.signature(function).parameters})


def orders(relevance_kind):
    ideal = GRADES[relevance_kind]
    ranked = np.array(list(itertools.permutations(ideal)))
    return ranked, np.tile(ideal, (len(ranked), 1))


@pytest.mark.parametrize(("folder", "name"), [(f, n) for f in FOLDERS for n in registry.names(f)])
def test_docstring_says_what_a_reader_must_know(folder, name):
    module = registry.load(folder, name)
    for words in ("Ties:", "Not to be confused with:", "Reference\n---------", "From 0 to 1"):
        assert words in module.__doc__, words
    for words in FOLDERS[folder]:
        assert words in module.__doc__, words
    for function in (module.score, module.expected):
        for section in ("Parameters", "Returns", "Raises"):
            assert f"{section}\n" in function.__doc__, section


@ranking
def test_ranking_metric_asks_for_known_things_only(name):
    module = registry.load(RANKING, name)
    assert module.RELEVANCE in GRADES
    assert set(inspect.signature(module.score).parameters) <= MAY_ASK - {"size"}
    assert set(inspect.signature(module.expected).parameters) <= MAY_ASK - {"relevance"}


@ranking
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_expected_is_the_mean_over_all_orders(name, k):
    module = registry.load(RANKING, name)
    ranked, ideal = orders(module.RELEVANCE)
    chance = call(module.expected, None, ideal[:1], k)
    assert chance[0] == pytest.approx(call(module.score, ranked, ideal, k).mean(), abs=1e-12)


@ranking
def test_ranking_metric_gives_one_bounded_float_a_query(name):
    module = registry.load(RANKING, name)
    ranked, ideal = orders(module.RELEVANCE)
    copies = ranked.copy(), ideal.copy()
    value = call(module.score, ranked, ideal)
    assert isinstance(value, np.ma.MaskedArray)
    assert value.shape == (len(ranked),) and value.mask.shape == value.shape and value.dtype == np.float64
    assert np.isfinite(value.data).all() and value.min() >= 0 and value.max() <= 1
    assert (ranked == copies[0]).all() and (ideal == copies[1]).all()
    singles = [call(module.score, ranked[i : i + 1], ideal[i : i + 1])[0] for i in range(len(ranked))]
    assert value.tolist() == pytest.approx(singles, abs=1e-15)


@ranking
def test_best_order_is_one_and_none_is_better(name):
    module = registry.load(RANKING, name)
    ranked, ideal = orders(module.RELEVANCE)
    best = np.sort(ideal[:1], axis=1)[:, ::-1]
    assert call(module.score, best, ideal[:1])[0] == pytest.approx(1.0)
    assert call(module.score, best[:, ::-1], ideal[:1])[0] == pytest.approx(call(module.score, ranked, ideal).min())


@ranking
def test_catalogue_without_relevant_images_gives_no_nan(name):
    module = registry.load(RANKING, name)
    nothing = np.zeros((2, 4))
    value, chance = call(module.score, nothing, nothing), call(module.expected, None, nothing)
    assert np.isfinite(value.data).all() and np.isfinite(chance.data).all()
    assert (value.mask == chance.mask).all()
    assert value.filled(0).tolist() == [0, 0]


@classification
def test_classification_metric_gives_a_float_or_none(name):
    module = registry.load(CLASSIFICATION, name)
    truth, probability = np.array([0, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.6])
    copies = truth.copy(), probability.copy()
    value, chance = module.score(truth, probability), module.expected(truth, probability)
    assert type(value) is float and 0 <= value <= 1
    assert type(chance) is float and 0 <= chance <= 1
    assert value == module.score(truth[::-1], probability[::-1])
    assert (truth == copies[0]).all() and (probability == copies[1]).all()
    assert module.score(truth, truth.astype(float)) == 1.0
    for empty in ([], [0, 0]):
        assert module.score(empty, [0.5] * len(empty)) is module.expected(empty, [0.5] * len(empty)) is None


@classification
def test_chance_is_the_mean_over_all_ways_to_deal_predictions_out(name):
    module = registry.load(CLASSIFICATION, name)
    truth, probability = [0, 1, 1, 0], [0.2, 0.9, 0.4, 0.6]
    values = [module.score(truth, dealt) for dealt in itertools.permutations(probability)]
    assert module.expected(truth, probability) == pytest.approx(np.mean(values))


def maps_and_masks(n=6, shape=(5, 7)):
    """Signed maps, and masks of which the first is empty and the last is full."""
    rng = np.random.default_rng(4)
    masks = rng.random((n, *shape)) < 0.3
    masks[0], masks[-1] = False, True
    return rng.standard_normal((n, *shape)).astype(np.float32), masks


@explanation
@pytest.mark.parametrize("sign", ["positive", "absolute"])
def test_explanation_metric_gives_one_bounded_float_a_map(name, sign):
    module = registry.load(EXPLANATION, name)
    maps, masks = maps_and_masks()
    copies = maps.copy(), masks.copy()
    value, chance = module.score(maps, masks, sign=sign), module.expected(masks)
    for found in (value, chance):
        assert isinstance(found, np.ma.MaskedArray)
        assert found.shape == found.mask.shape == (6,) and found.dtype == np.float64
        assert np.isfinite(found.data).all() and found.min() >= 0 and found.max() <= 1
        assert found.mask.tolist() == [True, *[False] * 5]
    assert (maps == copies[0]).all() and (masks == copies[1]).all()
    singles = [module.score(maps[i : i + 1], masks[i : i + 1], sign=sign)[0] for i in range(1, 6)]
    assert value[1:].tolist() == singles
    assert value.tolist() == module.score(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1], sign=sign).tolist()


@explanation
def test_a_map_that_is_its_mask_gets_one_and_its_opposite_nothing(name):
    module = registry.load(EXPLANATION, name)
    masks = maps_and_masks()[1][1:-1]
    masks[:, 0, 0] = False
    assert module.score(masks.astype(np.float32), masks).tolist() == [1.0] * 4
    assert module.score(1 - masks.astype(np.float32), masks).max() < module.expected(masks).min()
    assert module.score(-masks.astype(np.float32), masks, sign="absolute").tolist() == [1.0] * 4


@explanation
@pytest.mark.parametrize("pixels", [[3.0, 1.0, -2.0, 0.5, 0.0, -4.0], [1.0, 1.0, 0.0, 0.0, 0.0, -1.0], [0.0] * 6])
def test_chance_is_the_mean_over_all_orders_of_the_pixels(name, pixels):
    module = registry.load(EXPLANATION, name)
    maps = np.array(list(itertools.permutations(pixels))).reshape(-1, 2, 3)
    for mask in ([[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]], [[1, 1, 1], [1, 1, 0]]):
        masks = np.tile(np.array([mask], dtype=bool), (len(maps), 1, 1))
        for sign in ("positive", "absolute"):
            mean = module.score(maps, masks, sign=sign).mean()
            assert module.expected(masks[:1])[0] == pytest.approx(mean, abs=1e-12)


@explanation
def test_a_flat_map_scores_exactly_chance(name):
    module = registry.load(EXPLANATION, name)
    _, masks = maps_and_masks(40, (9, 11))
    for flat in (np.zeros(masks.shape, np.float32), np.full(masks.shape, -0.1, np.float16)):
        assert module.score(flat, masks).tolist() == module.expected(masks).tolist()


@explanation
def test_no_map_gives_no_score(name):
    module = registry.load(EXPLANATION, name)
    for shape in ((0, 4, 4), (2, 0, 3)):
        found = module.score(np.zeros(shape), np.zeros(shape, bool)), module.expected(np.zeros(shape, bool))
        assert all(f.shape == shape[:1] and f.mask.all() for f in found)


@explanation
@pytest.mark.parametrize(
    ("maps", "masks"),
    [
        (np.zeros((1, 2, 2)), np.ones((1, 2, 3), bool)),
        (np.zeros((2, 2)), np.ones((2, 2), bool)),
        (np.zeros((1, 2, 2)), np.ones((1, 2, 2), np.uint8)),
        (np.full((1, 2, 2), np.nan), np.ones((1, 2, 2), bool)),
        (np.full((1, 2, 2), -np.inf), np.ones((1, 2, 2), bool)),
        (np.zeros((1, 2, 2), complex), np.ones((1, 2, 2), bool)),
        (np.full((1, 2, 2), "x"), np.ones((1, 2, 2), bool)),
    ],
)
def test_malformed_maps_and_masks_are_refused(name, maps, masks):
    module = registry.load(EXPLANATION, name)
    with pytest.raises(ShapeError, match="expected"):
        module.score(maps, masks)


@explanation
def test_an_unknown_sign_is_refused(name):
    with pytest.raises(UsageError, match=r"unknown sign 'negative': .*known: positive, absolute"):
        registry.load(EXPLANATION, name).score(np.zeros((1, 2, 2)), np.ones((1, 2, 2), bool), sign="negative")
