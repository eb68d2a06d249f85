"""What every metric keeps, whichever file is added to the folders."""

import inspect
import itertools
from functools import partial

import numpy as np
import pytest
import sklearn.metrics

from cbir_cli import registry, shared_labels
from cbir_cli.artifacts.explanation import Measures
from cbir_cli.errors import ShapeError, UsageError

RANKING, CLASSIFICATION, EXPLANATION = "metrics/ranking", "metrics/classification", "metrics/explanation"
ANOMALY = "metrics/anomaly"
FOLDERS = {
    RANKING: ("Empty:", "Beyond the list:"),
    CLASSIFICATION: ("Not defined:",),
    ANOMALY: ("Not defined:",),
    EXPLANATION: (),
}
NEEDS = {
    "masks": ("Empty mask:", "Signed maps:"),
    "maps": ("No relevance:", "Signed maps:"),
    "curves": ("perfect map",),
}
MAY_ASK = {"relevance", "ideal", "relevant", "size", "total", "k", "classes", "class_sizes", "query_class"}
OF_RESULTS, OF_CATALOGUES = {"relevance", "classes"}, {"total", "class_sizes"}
BELOW_ONE = {"average-precision-xmir": (3 + (3 / 5 + 4 / 6) / 2) / 4}
"""The best order's score where that is not 1: X-MIR's code has the query last, behind the three that are relevant."""
GRADES = {"graded": [3.0, 2.5, 1.0, 0.5, 0.5], "binary": [1.0, 1.0, 0.0, 1.0, 0.0]}
GRADES |= {kind: [1.0, 1.0, 0.0, 1.0, 0.0] for kind in ("exact", "any")}
GRADES["classes"] = [0, 2, 2, 1, -1]
GRADES |= {kind: [1.0, 0.25, 1.0, 1.0, 0.5] for kind in shared_labels.WORDS if kind not in GRADES}

ranking = pytest.mark.parametrize("name", registry.names(RANKING))
classification = pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder in (CLASSIFICATION, ANOMALY) for name in registry.names(folder)]
)
NEEDED = {name: getattr(registry.load(EXPLANATION, name), "NEEDS", "") for name in registry.names(EXPLANATION)}
explanation = pytest.mark.parametrize("name", [name for name, needs in NEEDED.items() if needs == "masks"])
of_maps = pytest.mark.parametrize("name", [name for name, needs in NEEDED.items() if needs == "maps"])
of_curves = pytest.mark.parametrize("name", [name for name, needs in NEEDED.items() if needs == "curves"])


def call(function, relevance, ideal, k=3):
    """Hand a metric what its parameters ask for; for votes, relevance and ideal are classes, and the query's is 2."""
    ideal = np.asarray(ideal, dtype=float)
    size = np.full(len(ideal), ideal.shape[1])
    given = {"relevance": relevance, "ideal": ideal, "relevant": (ideal > 0).sum(axis=1), "size": size, "k": k}
    given["total"] = ideal.sum(axis=1)
    if {"classes", "class_sizes"} & set(inspect.signature(function).parameters):
        given["classes"] = None if relevance is None else np.asarray(relevance, dtype=int)
        given["class_sizes"] = np.stack([(ideal == number).sum(axis=1) for number in range(3)], axis=1)
        given["query_class"] = np.full(len(ideal), 2)
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
    for words in FOLDERS[folder] + (NEEDS[module.NEEDS] if folder == EXPLANATION else ()):
        assert words in module.__doc__, words
    functions = [module.score, *([module.expected] if hasattr(module, "expected") else [])]
    assert len(functions) == 2 or NEEDED[name] != "masks"
    for function in functions:
        for section in ("Parameters", "Returns", "Raises"):
            assert f"{section}\n" in function.__doc__, section


def test_explanation_metrics_say_what_they_need():
    assert set(NEEDED.values()) == set(NEEDS)


@ranking
def test_ranking_metric_asks_for_known_things_only(name):
    module = registry.load(RANKING, name)
    assert module.RELEVANCE in GRADES
    score, expected = (list(inspect.signature(f).parameters) for f in (module.score, module.expected))
    assert score[0] in OF_RESULTS and set(score) <= MAY_ASK - OF_CATALOGUES
    assert set(expected) <= MAY_ASK - OF_RESULTS
    assert ("classes" in score) == (module.RELEVANCE == "classes")


@ranking
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_expected_is_the_mean_over_all_orders(name, k):
    module = registry.load(RANKING, name)
    ranked, ideal = orders(module.RELEVANCE)
    if (name, k) == ("mean-precision-wickstrom", 1):  # looks at the results before k
        with pytest.raises(ShapeError, match="at least 2"):
            call(module.expected, None, ideal[:1], k)
        return
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
    assert call(module.score, best, ideal[:1])[0] == pytest.approx(BELOW_ONE.get(name, 1.0))
    assert call(module.score, best, ideal[:1])[0] == pytest.approx(call(module.score, ranked, ideal).max())
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
def test_classification_metric_gives_a_float_or_none(folder, name):
    module = registry.load(folder, name)
    truth, probability = np.array([0, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.6])
    copies = truth.copy(), probability.copy()
    value, chance = module.score(truth, probability), module.expected(truth, probability)
    assert type(value) is float and 0 <= value <= 1
    assert type(chance) is float and 0 <= chance <= 1
    assert value == module.score(truth[::-1], probability[::-1])
    assert (truth == copies[0]).all() and (probability == copies[1]).all()
    assert module.score(truth, truth.astype(float)) == getattr(module, "BEST", 1.0)
    needs_both = getattr(module, "TAKES", "") != "probability"
    for empty in ([], [0, 0])[: 1 + needs_both]:
        assert module.score(empty, [0.5] * len(empty)) is module.expected(empty, [0.5] * len(empty)) is None


@classification
def test_chance_is_the_mean_over_all_ways_to_deal_predictions_out(folder, name):
    module = registry.load(folder, name)
    for probability in ([0.2, 0.9, 0.4, 0.6], [0.2, 0.9, 0.9, 0.6], [0.3, 0.3, 0.3, 0.3]):
        truth = [0, 1, 1, 0]
        values = [module.score(truth, dealt) for dealt in itertools.permutations(probability)]
        assert module.expected(truth, probability) == pytest.approx(np.mean(values))


def explain_score(name):
    """Return a metric's score; one that takes a cut-off looks at one pixel, of which every lesion here has enough."""
    score = registry.load(EXPLANATION, name).score
    return partial(score, k=1) if "k" in inspect.signature(score).parameters else score


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
    value, chance = explain_score(name)(maps, masks, sign=sign), module.expected(masks)
    for found in (value, chance):
        assert isinstance(found, np.ma.MaskedArray)
        assert found.shape == found.mask.shape == (6,) and found.dtype == np.float64
        assert np.isfinite(found.data).all() and found.min() >= 0 and found.max() <= 1
        assert found.mask.tolist() == [True, *[False] * 5]
    assert (maps == copies[0]).all() and (masks == copies[1]).all()
    singles = [explain_score(name)(maps[i : i + 1], masks[i : i + 1], sign=sign)[0] for i in range(1, 6)]
    assert value[1:].tolist() == singles
    assert value.tolist() == explain_score(name)(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1], sign=sign).tolist()


@explanation
def test_a_map_that_is_its_mask_gets_one_and_its_opposite_nothing(name):
    module = registry.load(EXPLANATION, name)
    masks = maps_and_masks()[1][1:-1]
    masks[:, 0, 0] = False
    assert explain_score(name)(masks.astype(np.float32), masks).tolist() == [1.0] * 4
    assert explain_score(name)(1 - masks.astype(np.float32), masks).max() < module.expected(masks).min()
    assert explain_score(name)(-masks.astype(np.float32), masks, sign="absolute").tolist() == [1.0] * 4


@explanation
@pytest.mark.parametrize("pixels", [[3.0, 1.0, -2.0, 0.5, 0.0, -4.0], [1.0, 1.0, 0.0, 0.0, 0.0, -1.0], [0.0] * 6])
def test_chance_is_the_mean_over_all_orders_of_the_pixels(name, pixels):
    module = registry.load(EXPLANATION, name)
    maps = np.array(list(itertools.permutations(pixels))).reshape(-1, 2, 3)
    for mask in ([[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]], [[1, 1, 1], [1, 1, 0]]):
        masks = np.tile(np.array([mask], dtype=bool), (len(maps), 1, 1))
        for sign in ("positive", "absolute"):
            mean = explain_score(name)(maps, masks, sign=sign).mean()
            assert module.expected(masks[:1])[0] == pytest.approx(mean, abs=1e-12)


@explanation
def test_a_flat_map_scores_exactly_chance(name):
    module = registry.load(EXPLANATION, name)
    _, masks = maps_and_masks(40, (9, 11))
    for flat in (np.zeros(masks.shape, np.float32), np.full(masks.shape, -0.1, np.float16)):
        assert explain_score(name)(flat, masks).tolist() == module.expected(masks).tolist()


@explanation
def test_no_map_gives_no_score(name):
    module = registry.load(EXPLANATION, name)
    for shape in ((0, 4, 4), (2, 0, 3)):
        found = explain_score(name)(np.zeros(shape), np.zeros(shape, bool)), module.expected(np.zeros(shape, bool))
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
    with pytest.raises(ShapeError, match="expected"):
        explain_score(name)(maps, masks)


@explanation
def test_an_unknown_sign_is_refused(name):
    with pytest.raises(UsageError, match=r"unknown sign 'negative': .*known: positive, absolute"):
        explain_score(name)(np.zeros((1, 2, 2)), np.ones((1, 2, 2), bool), sign="negative")


@of_maps
@pytest.mark.parametrize("sign", ["positive", "absolute"])
def test_a_metric_of_maps_alone_gives_one_bounded_float_a_map(name, sign):
    module = registry.load(EXPLANATION, name)
    maps, _ = maps_and_masks()
    maps[2] = 0
    copy = maps.copy()
    found = module.score(maps, sign=sign)
    assert isinstance(found, np.ma.MaskedArray) and found.shape == found.mask.shape == (6,)
    assert found.dtype == np.float64 and np.isfinite(found.data).all() and found.min() >= 0 and found.max() <= 1
    assert found.mask.tolist() == [False, False, True, False, False, False] and (maps == copy).all()
    assert [module.score(one[None], sign=sign).tolist()[0] for one in maps] == found.tolist()
    assert module.score(maps * np.float32(4), sign=sign).tolist() == found.tolist()
    assert module.score(np.zeros((0, 4, 4))).shape == (0,) and module.score(np.zeros((2, 0, 3))).mask.all()
    for wrong in (np.zeros((2, 2)), np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2), complex)):
        with pytest.raises(ShapeError, match="expected"):
            module.score(wrong)
    with pytest.raises(UsageError, match=r"unknown sign 'negative': .*known: positive, absolute"):
        module.score(maps, sign="negative")


@of_maps
def test_chance_of_a_metric_of_maps_alone_is_the_mean_over_all_orders(name):
    module = registry.load(EXPLANATION, name)
    orders = np.array(list(itertools.permutations([3.0, 1.0, 0.5, 0.0, 2.0, 0.25]))).reshape(-1, 2, 3)
    scores = module.score(orders)
    if hasattr(module, "expected"):
        assert module.expected(orders[:1])[0] == pytest.approx(scores.mean(), abs=1e-12)
    else:
        assert np.ptp(scores) == pytest.approx(0, abs=1e-12)  # the order does not matter, so chance says nothing


@of_curves
def test_a_metric_of_curves_is_the_area_under_them(name):
    module = registry.load(EXPLANATION, name)
    assert getattr(Measures(), module.CURVES) is None  # what they are called where they are stored
    curves = np.random.default_rng(2).random((5, 9), np.float32)
    found = module.score(curves)
    assert isinstance(found, np.ma.MaskedArray) and found.dtype == np.float64 and not found.mask.any()
    for curve, value in zip(curves.astype(np.float64), found, strict=True):
        assert value == pytest.approx(sklearn.metrics.auc(np.linspace(0, 1, 9), curve), abs=1e-12)
        # The authors' own: (arr.sum() - arr[0] / 2 - arr[-1] / 2) / (arr.shape[0] - 1).
        assert value == pytest.approx((curve.sum() - curve[0] / 2 - curve[-1] / 2) / (curve.shape[0] - 1), abs=1e-12)
    assert module.score(np.ones((1, 2), np.float32)).tolist() == [1.0]
    assert module.score(np.zeros((0, 4), np.float32)).shape == (0,)
    for wrong in (curves[0], curves[:, :1], np.full((1, 3), np.nan), np.zeros((2, 3), int)):
        with pytest.raises(ShapeError, match="expected"):
            module.score(wrong)
