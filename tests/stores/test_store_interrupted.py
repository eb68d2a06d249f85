"""A load that is killed goes on with the same command, and ends with every vector once."""

import os
import signal
import threading

import numpy as np
import pytest

from cbir_cli.artifacts import embeddings, files
from cbir_cli.stages import stores
from cbir_cli.where import Among, Not

pytestmark = pytest.mark.server
ALL = Not(Among("id", ()))

SLOW = """
from cbir_cli.stages import stores
stores._ROWS = 700
"""
DIES = (
    SLOW
    + """
import os, signal
def dying(module):
    send, calls = module.Store.insert, []
    def insert(self, *arguments):
        calls.append(1)
        send(self, *arguments)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
    module.Store.insert = insert
from cbir_cli.stores import milvus, pgvector
dying(milvus)
dying(pgvector)
"""
)


def check_each_once(engine, collection, path):
    """Every id once, with its own vector and cells."""
    store = engine.at(collection)
    with files.open_artifact(str(path)) as artifact:
        stored = embeddings.read(artifact)
        ids = stored.items.ids
        try:
            assert store.count(None) == len(ids)
            found = dict(store.rows(ALL, ("id", "age")))
            assert sum(1 for _ in store.rows(ALL, ("id",))) == len(ids)
            assert found == dict(zip(ids.tolist(), stored.items["age"].tolist(), strict=True))
            picked = list(range(0, len(ids), 997))
            for row in picked:
                ((near, vectors, _),) = store.search(stored.vectors[row][None], 1, Among("id", (str(ids[row]),)))
                assert near == [ids[row]]
                np.testing.assert_array_equal(vectors[0], stored.vectors[row])
        finally:
            store.close()


def test_a_client_that_is_killed(engine, large, spawn, cbir, good):
    ran = spawn(*engine.index(large, "client"), code=DIES)
    assert ran.status == -signal.SIGKILL
    asked = cbir(*engine.query("client", large))
    assert asked.status == 1
    assert "is not complete (3,500 of 10,000 vectors)" in asked.error
    again = good(*engine.index(large, "client"))
    assert "3,500 of 10,000 vectors are there: going on" in again.err
    check_each_once(engine, "client", large)
    assert "is complete: 10,000 vectors" in good(*engine.index(large, "client")).err


@pytest.mark.parametrize("delay", [0, 0.02])
def test_a_server_that_is_killed(server, large, cbir, good, monkeypatch, delay):
    """At once, so the batch never gets there; or while the batch is written."""
    name, store = f"server_{int(1000 * delay)}", type(server.at("any"))
    send, calls = store.insert, []

    def insert(self, *arguments):
        calls.append(1)
        if len(calls) == 6:
            timer = threading.Timer(delay, os.killpg, (server.process.process.pid, signal.SIGKILL))
            timer.start()
            if not delay:
                timer.join()
        send(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_ROWS", 700)
        patch.setattr(store, "insert", insert)
        ran = cbir(*server.index(large, name))
    assert ran.status == 1
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1].startswith("cbir index: ")
    server.process.process.wait()
    server.process.start()
    asked = cbir(*server.query(name, large))
    assert asked.status == 1
    assert "is not complete" in asked.error
    assert "are there: going on" in good(*server.index(large, name)).err
    check_each_once(server, name, large)


def test_a_kill_before_the_note_is_noticed(engine, small, cbir, good, monkeypatch):
    def finish(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        store = engine.at("note", make=True)
        patch.setattr(type(store), "finish", finish)
        store.close()
        assert cbir(*engine.index(small / "emb.h5", "note")).status == 130
    assert "is not complete (400 of 400 vectors)" in cbir(*engine.query("note", small / "q.h5")).error
    good(*engine.index(small / "emb.h5", "note"))
    good(*engine.query("note", small / "q.h5"))
