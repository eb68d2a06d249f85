"""Whom a model has seen, over several trainings."""

from cbir_cli.artifacts.model import join_splits


def test_the_deepest_involvement_counts_in_any_order():
    one = {"a": "train", "b": "validation", "c": "test", "d": "test"}
    other = {"a": "test", "b": "train", "c": "validation", "e": "test"}
    expected = {"a": "train", "b": "train", "c": "validation", "d": "test", "e": "test"}
    assert join_splits(one, other) == expected
    assert join_splits(other, one) == expected
    assert join_splits(one) == one
    assert join_splits() == {}
