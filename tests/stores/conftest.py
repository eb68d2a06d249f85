"""Engines for the tests: Milvus Lite in a file, and real servers (see ``server_processes``)."""

import importlib.util
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import catalogues
import pytest
import server_processes

from cbir_cli.stages import stores

COUNT, WIDTH = 10_000, 64


@dataclass
class Engine:
    """One engine: where it is, what ``--kind`` is, and its process if it may be killed."""

    name: str
    kind: str
    uri: str
    process: object = None
    exact: list = field(default_factory=list)

    def at(self, collection, *, make=False):
        return stores.connect(self.uri, collection, make=make)

    def index(self, embedding, collection, *more):
        given = ["--kind", self.kind, "--uri", self.uri, "--collection", collection]
        return ["index", embedding, "--allow-leaks", *given, *more]

    def query(self, collection, *more):
        return ["query", "--uri", self.uri, "--collection", collection, *more]


def needs(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: make test-servers installs it")


@pytest.fixture(scope="session")
def _lite(tmp_path_factory):
    needs("pymilvus", "milvus_lite")
    return Engine("lite", "milvus", str(tmp_path_factory.mktemp("lite") / "cbir.db"), exact=["--set", "index=flat"])


@pytest.fixture(scope="session")
def _milvus():
    needs("pymilvus")
    exact = ["--set", "index=flat"]
    if uri := os.environ.get("CBIR_TEST_MILVUS_URI"):
        yield Engine("milvus", "milvus", uri, exact=exact)
        return
    needs("milvus")
    server = server_processes.Milvus(tempfile.mkdtemp(prefix="cbir-milvus-"))
    try:
        server.start()
        yield Engine("milvus", "milvus", server.uri, server, exact)
    finally:
        server_processes.remove(server)


@pytest.fixture(scope="session")
def _pgvector():
    needs("psycopg", "pgvector")
    exact = ["--set", "index=none"]
    if uri := os.environ.get("CBIR_TEST_PG_URI"):
        yield Engine("pgvector", "pgvector", uri, exact=exact)
        return
    needs("pgserver")
    server = server_processes.Postgres(tempfile.mkdtemp(prefix="cbir-postgres-"))
    try:
        server.start()
        yield Engine("pgvector", "pgvector", server.uri, server, exact)
    finally:
        server_processes.remove(server)


@pytest.fixture(params=["lite", "milvus", "pgvector"])
def engine(request):
    return request.getfixturevalue(f"_{request.param}")


@pytest.fixture(params=["milvus", "pgvector"])
def server(request):
    """An engine with a process of its own, which may be killed; it is there again afterwards."""
    engine = request.getfixturevalue(f"_{request.param}")
    if engine.process is None:
        pytest.skip("the server was not started here, and so is not killed")
    yield engine
    if engine.process.process.poll() is not None:
        engine.process.start()


@pytest.fixture(scope="session")
def small(tmp_path_factory, good):
    """400 images as embedding and as index of a file, and 12 queries: other images, and copies of some."""
    folder = Path(tmp_path_factory.mktemp("small"))
    catalogues.write(folder / "emb.h5", 400, 16)
    table = catalogues.items(400).take(range(12))
    table = table.replace(patient=table["patient"])
    catalogues.write(folder / "q.h5", 12, 16, seed=5, table=table)
    good("index", folder / "emb.h5", "--allow-leaks", "-o", folder / "idx.h5")
    return folder


@pytest.fixture
def loaded(engine, small, good):
    """The engine with the small catalogue in the collection ``small``, searched exactly."""
    good(*engine.index(small / "emb.h5", "small", *engine.exact))
    return engine


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """10,000 images as embedding."""
    return catalogues.write(tmp_path_factory.mktemp("large") / "emb.h5", COUNT, WIDTH)
