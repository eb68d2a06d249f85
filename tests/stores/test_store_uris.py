"""What of a URI may be shown, and which engine it belongs to; no engine is needed."""

import sys

import pytest

from cbir_cli.errors import UsageError
from cbir_cli.stages import stores
from cbir_cli.stores import _uris

SECRET = (
    "http://me:s3cret@host:19530",
    "http://me:s3c%72et@host:19530/db",
    "https://host:19530/?password=s3cret",
    "postgresql://me:s3cret@host/db",
    "postgresql://me@host/db?sslmode=disable&password=s3cret#x",
    "postgresql://me:s3cret@a@host/db",
    "postgresql://me:s3cret@[::1/db",
)


@pytest.mark.parametrize("uri", SECRET)
def test_nothing_secret_is_shown(uri):
    assert "s3c" not in _uris.shown(uri)
    assert "me" not in _uris.shown(uri)
    assert "host" in _uris.shown(uri) or "[::1" in _uris.shown(uri)


@pytest.mark.parametrize("uri", [uri for uri in SECRET if "s3cret@a" not in uri])
def test_nothing_secret_is_left_of_what_an_engine_says(uri):
    for said in (f"cannot reach {uri}: refused", "user me with s3cret:\n refused"):
        left = _uris.scrubbed(said, uri)
        assert "s3cret" not in left
        assert "\n" not in left
    assert "tok3n" not in _uris.scrubbed("bad tok3n", "http://host", "tok3n")


def test_a_password_is_left_out_as_typed_and_decoded():
    uri = "http://me:s3c%72et%40@host"
    assert _uris.scrubbed("s3c%72et%40 and s3cret@ refused", uri) == "... and ... refused"


def test_user_and_password_are_decoded():
    assert _uris.without_user("http://m%65:a%40b@host:1/db") == ("http://host:1/db", "me", "a@b")
    assert _uris.without_user("http://host:1") == ("http://host:1", "", "")
    with pytest.raises(UsageError, match="is no URI"):
        _uris.without_user("http://me:x@[::1/")


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("a/b.db", "milvus"),
        ("http://h:19530", "milvus"),
        ("https://h", "milvus"),
        ("postgresql://h/d", "pgvector"),
        ("postgres://h/d", "pgvector"),
    ],
)
def test_a_uri_tells_its_engine(uri, kind):
    assert stores.kind_of(uri) == kind


@pytest.mark.parametrize("uri", ["", "x", "ftp://h", "x.db/", "mysql://h"])
def test_a_uri_of_nobody(uri):
    with pytest.raises(UsageError, match=r"expected FILE\.db or http"):
        stores.kind_of(uri)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["index", "e.h5", "--kind", "milvus"], "needs --uri"),
        (["index", "e.h5", "--uri", "x.db"], "--uri does not go with --kind exact"),
        (["index", "e.h5", "--collection", "x"], "--collection does not go with --kind exact"),
        (["index", "e.h5", "--kind", "milvus", "--uri", "postgresql://h"], "the URI is one of pgvector"),
        (["index", "e.h5", "--kind", "milvus", "--uri", "x.db", "-o", "y.h5"], "-o does not go with it"),
        (
            ["index", "e.h5", "--kind", "milvus", "--uri", "x.db", "--set", "lists=4"],
            "unknown parameter of kind milvus",
        ),
        (["query", "--uri", "x.db", "i.h5", "q.h5"], "expected QUERY alone"),
        (["query", "q.h5"], "expected IDX and QUERY, or --uri URI and QUERY"),
        (["query", "i.h5", "q.h5", "--collection", "x"], "--collection needs --uri"),
        (["query", "--uri", "x.db", "q.h5", "--diverse", ".5"], "--diverse does not go with --uri"),
        (["query", "--uri", "x.db", "q.h5", "--split", "s.tsv"], "--split does not go with --uri"),
        (["query", "--uri", "x.db", "q.h5", "--like", "a"], "--like does not go with --uri"),
        (["query", "--uri", "nothing", "q.h5"], "expected FILE.db or http"),
    ],
)
def test_what_does_not_go_together(cbir, line, said):
    ran = cbir(*line)
    assert ran.status == 2
    assert said in ran.error


@pytest.mark.parametrize(
    ("modules", "uri", "extra"),
    [(("pymilvus",), "http://127.0.0.1:9", "milvus"), (("psycopg",), "postgresql://127.0.0.1:9/d", "pgvector")],
)
def test_an_engine_that_is_not_installed_names_the_extra(cbir, monkeypatch, tmp_path, modules, uri, extra):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "q.h5").touch()
    ran = cbir("query", "--uri", uri, tmp_path / "q.h5")
    assert ran.status == 1
    assert f"pip install 'cbir-cli[{extra}]'" in ran.error


@pytest.mark.parametrize("name", ["", "a b", "1a", "ä", 'a"b', "a;b", "x" * 64])
def test_a_collection_is_a_plain_word(name):
    from cbir_cli.stores._columns import check_name

    with pytest.raises(UsageError, match="expected letters a to z"):
        check_name(name)
