"""What cannot be is one line: no server, no collection, another model, another user."""

import time

import catalogues
import pytest

from cbir_cli.cli import stores as command

pytestmark = pytest.mark.server


def test_a_collection_that_is_not_there_names_those_that_are(loaded, small, cbir):
    ran = cbir(*loaded.query("other", small / "q.h5"))
    assert ran.status == 1
    assert "there is no such collection" in ran.error
    assert "small" in ran.error


def test_another_model_is_refused(loaded, small, tmp_path, cbir):
    catalogues.write(tmp_path / "q.h5", 3, 16, space="e" * 64)
    ran = cbir(*loaded.query("small", tmp_path / "q.h5"))
    assert ran.status == 1
    assert "embedded by cnn.h5 (cnn, space eeeeeeeeeeee), the index by cnn.h5 (cnn, space ffffffffffff)" in ran.error


def test_an_image_needs_the_model(loaded, phantom, tmp_path, cbir):
    image = next(phantom.rglob("*.png"))
    ran = cbir(*loaded.query("small", image), cwd=tmp_path)
    assert ran.status == 1
    assert "the query needs the model cnn.h5" in ran.error


def test_an_image_is_embedded_with_the_model(engine, chain, good):
    """The same as from the index of a file, labels of the task included."""
    good(*engine.index("ig.emb.h5", "chain", *engine.exact), cwd=chain)
    image = next((chain / "set").rglob("*.png"))
    here = good(*engine.query("chain", image, "-k", "3", "-m", "ig.h5"), cwd=chain)
    there = good("query", "ig.idx.h5", image, "-k", "3", "-m", "ig.h5", cwd=chain)
    assert here.out == there.out


def test_another_catalogue_of_the_name_is_refused_or_replaced(engine, small, tmp_path, cbir, good):
    catalogues.write(tmp_path / "e.h5", 50, 16, seed=8)
    good(*engine.index(small / "emb.h5", "twice"))
    ran = cbir(*engine.index(tmp_path / "e.h5", "twice", "-q"))
    assert ran.status == 1
    assert "made of another embedding; give another --collection, or --set replace=true" in ran.err
    assert "other parameters" in cbir(*engine.index(small / "emb.h5", "twice", "--set", "ef=90")).err
    good(*engine.index(tmp_path / "e.h5", "twice", "--set", "replace=true"))
    assert good(*engine.query("twice", tmp_path / "e.h5", "-k", "100")).out.count("\n") > 50


def test_a_table_of_someone_else_is_left_alone(engine, small, cbir):
    store = engine.at("foreign", make=True)
    if engine.kind == "pgvector":
        store._connection.execute('DROP TABLE IF EXISTS "foreign"; CREATE TABLE "foreign" (id text)')
    elif not store._client.has_collection("foreign"):
        store._client.create_collection("foreign", dimension=4)
    store.close()
    for line in (
        engine.index(small / "emb.h5", "foreign", "--set", "replace=true"),
        engine.query("foreign", small / "q.h5"),
    ):
        ran = cbir(*line)
        assert ran.status == 1
        assert "that cbir index did not make" in ran.err


@pytest.mark.parametrize(
    ("module", "uri"),
    [("pymilvus", "http://cbir:sekret@127.0.0.1:9"), ("psycopg", "postgresql://cbir:sekret@127.0.0.1:9/postgres")],
)
def test_a_server_that_is_not_there(small, cbir, module, uri):
    pytest.importorskip(module)
    start = time.monotonic()
    ran = cbir("query", "--uri", uri, small / "q.h5")
    assert time.monotonic() - start < 10
    assert ran.status == 1
    assert "127.0.0.1:9" in ran.error
    assert "sekret" not in ran.err


def test_a_wrong_password(_pgvector, small, cbir):
    if _pgvector.process is None:
        pytest.skip("the server was not started here")
    uri = _pgvector.uri.replace("correct%20horse", "wrong%20horse")
    ran = cbir("query", "--uri", uri, small / "q.h5")
    assert ran.status == 1
    assert "password authentication failed" in ran.error
    assert "horse" not in ran.err


def test_no_password_is_kept(_pgvector, small, good):
    if _pgvector.process is None:
        pytest.skip("the server was not started here")
    ran = good(*_pgvector.index(small / "emb.h5", "secret"))
    store = _pgvector.at("secret")
    comment = store._all("SELECT obj_description('secret'::regclass)", [])[0][0]
    assert "horse" not in comment + ran.err
    assert "127.0.0.1" not in comment
    store.close()


def test_an_index_takes_so_many_dimensions(_pgvector, tmp_path, cbir, good, caplog):
    catalogues.write(tmp_path / "e.h5", 10, 2001)
    assert "at most 2,000 dimensions" in cbir(*_pgvector.index(tmp_path / "e.h5", "wide", "--set", "index=hnsw")).err
    good(*_pgvector.index(tmp_path / "e.h5", "wide"))
    assert good(*_pgvector.query("wide", tmp_path / "e.h5")).out.count("\n") > 10


def test_a_file_that_another_process_has(_lite, small, good, spawn):
    good(*_lite.index(small / "emb.h5", "held"))
    store = _lite.at("held")
    ran = spawn(*_lite.query("held", small / "q.h5"))
    store.close()
    assert ran.status == 1
    assert "another process has it open" in ran.error


def test_a_file_that_is_not_there_is_not_made(tmp_path, small, cbir):
    pytest.importorskip("pymilvus")
    assert "there is no such file" in cbir("query", "--uri", tmp_path / "x.db", small / "q.h5").error
    assert not (tmp_path / "x.db").exists()


def test_more_results_than_milvus_gives(_lite, small, cbir, good):
    good(*_lite.index(small / "emb.h5", "held"))
    assert "at most 16,384 results" in cbir(*_lite.query("held", small / "q.h5", "-k", "16385")).error


def test_the_default_collection(_lite, small, good):
    good("index", small / "emb.h5", "--allow-leaks", "--kind", "milvus", "--uri", _lite.uri)
    good("query", "--uri", _lite.uri, small / "q.h5")
    store = _lite.at(command.COLLECTION)
    assert command.COLLECTION in store.names()
    store.close()
