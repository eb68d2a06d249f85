import numpy as np
import pytest

from cbir_cli import held_retrieval


def plain(vectors, targets, owners, similarity):
    """The definition, one query at a time; scikit-learn's vote by hand."""
    means, right = [], []
    for query in range(len(vectors)):
        others = [i for i in range(len(vectors)) if owners[i] != owners[query]]
        if similarity == "cosine":
            unit = [v / np.linalg.norm(v) for v in vectors]
        else:
            unit = vectors
        others.sort(key=lambda i: (np.linalg.norm(unit[i] - unit[query]), i))
        if len(others) < 5 or (targets.ndim == 2 and not (targets[query] == 1).any()):
            continue
        if targets.ndim == 2:
            relevant = [bool(np.any((targets[i] == 1) & (targets[query] == 1))) for i in others[:5]]
        else:
            relevant = [targets[i] == targets[query] for i in others[:5]]
            votes = np.bincount(targets[others[:5]])
            right.append(np.argmax(votes) == targets[query])
        means.append(np.mean([np.mean(relevant[:k]) for k in (1, 2, 3, 4, 5)]))
    return np.mean(means), np.mean(right) if right else None


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("several", [False, True], ids=["classes", "labels"])
def test_it_is_the_plain_definition(similarity, several, monkeypatch):
    monkeypatch.setattr(held_retrieval, "_TOGETHER", 7)
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 6)).astype(np.float32)
    targets = draw.integers(-1, 2, size=(40, 3)) if several else draw.integers(3, size=40)
    owners = [f"p{n}" for n in draw.integers(15, size=40)]
    found = held_retrieval.scores(vectors, targets, owners, similarity=similarity)
    precision, accuracy = plain(vectors.astype(np.float64), targets, owners, similarity)
    assert found["mean-precision@5"] == pytest.approx(precision, abs=1e-12)
    assert found["knn-accuracy@5"] == (None if several else pytest.approx(accuracy, abs=1e-12))


def test_images_of_one_patient_do_not_answer_each_other():
    vectors = np.repeat(np.eye(6, dtype=np.float32), 2, axis=0)
    owners = np.repeat(list("abcdef"), 2).tolist()
    own = np.repeat(np.arange(6), 2)
    assert held_retrieval.scores(vectors, own, owners, similarity="l2")["mean-precision@5"] == 0
    everyone = [str(i) for i in range(12)]
    assert held_retrieval.scores(vectors, own, everyone, similarity="l2")["mean-precision@5"] > 0.2


def test_too_few_images_have_no_score():
    vectors = np.eye(6, dtype=np.float32)
    for count, owners, score in ((5, "abcde", None), (6, "abcdef", 1.0), (6, "aabcde", 1.0)):
        found = held_retrieval.scores(vectors[:count], np.zeros(count, int), list(owners), similarity="l2")
        assert found == dict.fromkeys(held_retrieval.NAMES, score)
    assert held_retrieval.scores(vectors, np.zeros(6, int), list("aaabbb"), similarity="l2")["mean-precision@5"] is None


def test_images_without_a_known_class_are_left_out():
    vectors = np.arange(14, dtype=np.float32)[:, None]
    targets = np.array([0, 1] * 6 + [-100, -100])
    owners = [str(i) for i in range(14)]
    all_known = held_retrieval.scores(vectors[:12], targets[:12], owners[:12], similarity="l2")
    assert held_retrieval.scores(vectors, targets, owners, similarity="l2") == all_known
    assert set(held_retrieval.scores(vectors, np.full(14, -100), owners, similarity="l2").values()) == {None}
