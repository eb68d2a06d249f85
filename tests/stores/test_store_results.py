"""The order of what an engine gives is that of a file's index; no engine is needed."""

from types import SimpleNamespace

import numpy as np

from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.stages.store_search import _Results
from cbir_cli.stores._columns import Column


def test_as_far_is_by_id_whatever_order_an_engine_gives():
    store = SimpleNamespace(columns=lambda: {"id": Column("id"), "age": Column("age", bits=16)})
    empty = Items(np.empty(0, "U1"), {"age": np.empty(0, "i2")}, "kept")
    space = Space("l2", "f" * 64, "cnn")
    index = Index(Embedding(np.empty((0, 2), "f4"), empty, space, None, {}, "", [], "x"), "exact", {"metric": "l2"}, {})
    results = _Results(store, index)
    ids, near = ["d", "b", "c", "a"], np.array([[0, 1], [1, 0], [3, 4], [0, -1]], np.float32)
    results.add(0, np.zeros(2, np.float32), 3, ids, near, {"id": ids, "age": [4, 2, 3, 1]})
    results.add(1, np.array([3, 4], np.float32), 1, ids, near, {"id": ids, "age": [4, 2, 3, 1]})
    results.add(2, np.zeros(2, np.float32), 3, [], np.empty((0, 2), np.float32), {"id": [], "age": []})
    items, answers = results.sorted()
    assert items.ids.tolist() == ["a", "b", "c", "d"]
    assert items["age"].tolist() == [1, 2, 3, 4]
    assert [items.ids[answer.rows].tolist() for answer in answers] == [["a", "b", "d"], ["c"], []]
    assert [answer.distances.tolist() for answer in answers] == [[1, 1, 1], [0], []]
