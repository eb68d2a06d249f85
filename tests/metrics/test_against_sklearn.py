"""The same lists through scikit-learn, wherever its definitions are ours."""

import numpy as np
import pytest
from judged import judged
from sklearn.metrics import average_precision_score, ndcg_score, precision_score, recall_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from cbir_cli import ties
from cbir_cli.metrics.ranking import knn_accuracy, ndcg, ndcg_linear


def each(lists, function):
    """Call a function with relevance and similarity of each query, where something is relevant."""
    pairs = zip(lists.names, lists.grades, lists.distances, strict=True)
    return pytest.approx({name: function(grades, -far) for name, grades, far in pairs}, abs=1e-9)


@pytest.mark.parametrize("k", [1, 3, 10, 30, 50])
def test_ndcg(k):
    lists = judged()
    assert lists.ours(f"ndcg-linear@{k}") == each(lists, lambda grades, near: ndcg_score([grades], [near], k=k))
    assert lists.ours(f"ndcg@{k}") == each(lists, lambda grades, near: ndcg_score([2**grades - 1], [near], k=k))


def test_average_precision():
    lists = judged()
    wanted = each(lists, lambda grades, near: average_precision_score(grades > 0, near))
    assert lists.ours("average-precision") == wanted


@pytest.mark.parametrize("k", [1, 5, 12])
def test_precision_and_recall_of_the_first_k_called_positive(k):
    lists = judged()
    first = np.arange(lists.grades.shape[1]) < k
    assert lists.ours(f"precision@{k}") == each(lists, lambda grades, _: precision_score(grades > 0, first))
    assert lists.ours(f"recall@{k}") == each(lists, lambda grades, _: recall_score(grades > 0, first))


@pytest.mark.parametrize("k", [1, 4])
def test_success_with_one_relevant_image_is_top_k_accuracy(k):
    lists = judged()
    alone = np.zeros_like(lists.grades)
    alone[np.arange(len(alone)), np.arange(len(alone)) % 9] = 1
    one = type(lists)(alone, lists.distances)
    found = top_k_accuracy_score(alone.argmax(axis=1), -one.distances, k=k, labels=range(alone.shape[1]))
    assert np.mean(list(one.ours(f"success@{k}").values())) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_knn_accuracy_is_that_of_a_classifier_of_vectors(k):
    rng = np.random.default_rng(2)
    vectors, classes = rng.standard_normal((60, 3)), rng.integers(0, 4, 60)
    queries, wanted = rng.standard_normal((40, 3)), rng.integers(0, 4, 40)
    order = np.argsort(((queries[:, None] - vectors) ** 2).sum(axis=2), axis=1)
    ours = knn_accuracy.score(classes[order], wanted, k)
    assert ours.mean() == pytest.approx(KNeighborsClassifier(k).fit(vectors, classes).score(queries, wanted), abs=1e-9)


@pytest.mark.parametrize("k", [1, 4, 9, 12])
def test_ndcg_averaged_over_ties_is_scikit_learns(k):
    """Its default is McSherry and Najork's closed form."""
    rng = np.random.default_rng(6)
    grades, far = (
        rng.integers(0, 5, (30, 12)).astype(float),
        np.sort(rng.integers(0, 5, (30, 12)), axis=1).astype(float),
    )
    given = {"ideal": grades, "k": k, "size": np.full(30, 12)}
    for metric, gains in ((ndcg, 2**grades - 1), (ndcg_linear, grades)):
        wanted = [ndcg_score([gain], [-one], k=k) for gain, one in zip(gains, far, strict=True)]
        assert ties.average(metric.score, grades, far, **given).tolist() == pytest.approx(wanted, abs=1e-9)
        assert ndcg_score(gains, -far, k=k) == pytest.approx(np.mean(wanted))
        untied = [ndcg_score([gain], [-np.arange(12)], k=k) for gain in gains]
        assert metric.score(grades, grades, k).tolist() == pytest.approx(untied, abs=1e-9) != pytest.approx(wanted)
