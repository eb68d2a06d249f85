"""What every metric keeps, whichever file is added to the folders."""

import inspect
import itertools

import numpy as np
import pytest

from cbir_cli import registry

RANKING, CLASSIFICATION = "metrics/ranking", "metrics/classification"
MAY_ASK = {"relevance", "ideal", "relevant", "size", "k"}
GRADES = {"graded": [3.0, 2.5, 1.0, 0.5, 0.5], "binary": [1.0, 1.0, 0.0, 1.0, 0.0]}

ranking = pytest.mark.parametrize("name", registry.names(RANKING))
classification = pytest.mark.parametrize("name", registry.names(CLASSIFICATION))


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


@pytest.mark.parametrize(("folder", "name"), [(f, n) for f in (RANKING, CLASSIFICATION) for n in registry.names(f)])
def test_docstring_says_what_a_reader_must_know(folder, name):
    module = registry.load(folder, name)
    for words in ("Ties:", "Not to be confused with:", "Reference\n---------", "From 0 to 1"):
        assert words in module.__doc__, words
    for words in ("Empty:", "Beyond the list:") if folder == RANKING else ("Not defined:",):
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
