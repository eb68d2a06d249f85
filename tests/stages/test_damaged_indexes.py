"""What a damaged index says of itself is one line, whoever reads it; and it is not handed on to another."""

import inspect
import json
import resource
import shutil

import h5py
import numpy as np
import pytest
from growth import image, write_embedding

from cbir_cli.index import exact


@pytest.fixture(scope="module")
def made(tmp_path_factory, good):
    """Indexes of 60 images, and an embedding of two others."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(1)
    images = [image(n, key=f"i{n:02d}", patient=f"P{n}", vector=rng.standard_normal(6)) for n in range(62)]
    write_embedding(folder / "emb.h5", images[:60], similarity="cosine")
    write_embedding(folder / "more.h5", images[60:], similarity="cosine")
    for kind in ("exact", "hnsw", "ivf-pq", "community"):
        good("index", folder / "emb.h5", "--kind", kind, "-o", folder / f"{kind}.h5")
    return folder


def put(path, name, value):
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        text = isinstance(value, str)
        new = file.create_dataset(name, data=value, dtype=h5py.string_dtype() if text else None)
        new.attrs.update(attributes)


def parameters(kind, **more):
    known = {
        "exact": {"coordinates": 64, "metric": "cosine"},
        "community": {"metric": "cosine", "graph": "knn", "across": True, "entries": 1},
    }
    return json.dumps({**known[kind], **more})


PAYLOAD = "uns/index/payload/"
DAMAGED = [
    ("exact", "uns/index/kind", "../x", "unknown index method '../x'"),
    ("exact", "uns/index/kind", "_products", "unknown index method '_products'"),
    ("exact", "uns/index/kind", "hnsw", "coordinates=64 is no parameter of hnsw"),
    ("exact", "uns/index/parameters", parameters("exact", metric="l2"), "metric='l2' is no parameter"),
    ("exact", "uns/index/parameters", parameters("exact", metric=float("nan")), "metric=nan is no parameter"),
    ("exact", "uns/index/parameters", "{}", "have no metric"),
    ("exact", "uns/index/parameters", "null", "damaged"),
    ("community", "uns/index/parameters", parameters("community", entries=1.5), "entries=1.5 is no parameter"),
    ("community", "uns/index/parameters", parameters("community", across="yes"), "across='yes' is no parameter"),
    ("exact", "obs/_index", np.array([b"i%02d" % n for n in range(59, -1, -1)]), "not in the order of their ids"),
    ("hnsw", PAYLOAD + "entry", np.zeros(0, np.int64), "entry of the payload"),
    ("ivf-pq", PAYLOAD + "codes", np.uint8(1), "codes of the payload"),
]


@pytest.mark.parametrize(("kind", "name", "value", "said"), DAMAGED)
def test_one_line_and_nothing_written(made, cbir, tmp_path, kind, name, value, said):
    path = tmp_path / "idx.h5"
    shutil.copy(made / f"{kind}.h5", path)
    put(path, name, value)
    before = path.read_bytes()
    for ran in (
        cbir("query", path, made / "more.h5", "-q"),
        cbir("index", path, "--add", made / "more.h5", "-o", path, "-q"),
    ):
        assert ran.status == 1 and said in ran.error and "internal" not in ran.error
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"), [("recall", np.zeros(0)), ("recall", np.array([np.nan, 1.0])), ("sample", np.int64(3))]
)
def test_what_was_measured_is_not_handed_on_where_it_is_damaged(made, cbir, tmp_path, name, value):
    path = tmp_path / "idx.h5"
    shutil.copy(made / "hnsw.h5", path)
    put(path, PAYLOAD + name, value)
    ran = cbir("index", path, "--add", made / "more.h5", "-o", path, "-q")
    assert ran.status == 1 and ran.error.startswith(f"cbir index: {path}: damaged: {name} of the payload")


def test_text_that_is_none(made, cbir, tmp_path):
    path = tmp_path / "idx.h5"
    shutil.copy(made / "exact.h5", path)
    with h5py.File(path, "r+") as file:
        column = file["obs/patient"]
        column[3] = b"\xff" * column.dtype.itemsize
    ran = cbir("index", path, "--add", made / "more.h5", "-o", path, "-q")
    assert ran.status == 1 and "not UTF-8" in ran.error and "internal" not in ran.error


def test_targets_that_are_no_labels_are_not_shown(made, good, tmp_path):
    path = tmp_path / "idx.h5"
    shutil.copy(made / "exact.h5", path)
    put(path, "uns/targets", np.array([b"Nothing", b"Effusion"]))
    ran = good("query", path, made / "more.h5", "-k", "1")
    assert "Effusion=" in ran.out and "Nothing" not in ran.out


@pytest.mark.parametrize("kind", ["hnsw", "ivf-pq", "community"])
def test_an_index_of_nothing_grows(made, good, tmp_path, kind):
    path, gone = tmp_path / "idx.h5", tmp_path / "gone.txt"
    gone.write_text("".join(f"i{n:02d}\n" for n in range(60)))
    good("index", made / f"{kind}.h5", "--remove", gone, "--compact", "-o", path)
    good("index", path, "--add", made / "more.h5", "-o", path)
    ran = good("query", path, made / "emb.h5", "-k", "5")
    assert len(ran.out.splitlines()) == 1 + 60 * 2


def test_vectors_that_found_no_room_are_not_mapped(tmp_path, monkeypatch, cbir):
    images = [image(n, key=f"i{n:04d}", vector=np.full(64, n)) for n in range(3000)]
    path = write_embedding(tmp_path / "emb.h5", images)
    (tmp_path / "idx.h5").write_bytes(b"old")
    # To read what is not there, through a map, ends the process.
    monkeypatch.setattr(exact, "build", lambda *_, metric, coordinates=64: pytest.fail("vectors were mapped"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        ran = cbir("index", path, "-o", tmp_path / "idx.h5", "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.status == 1 and "idx.h5: " in ran.error
    assert (tmp_path / "idx.h5").read_bytes() == b"old"


def test_two_commands_that_change_an_index_at_once(made, cbir, good, tmp_path, monkeypatch):
    path, first, second = tmp_path / "idx.h5", tmp_path / "first", tmp_path / "second"
    shutil.copy(made / "exact.h5", path)
    first.write_text("i00\n")
    second.write_text("i01\n")
    build = exact.build

    def slow(*given, **parameters):
        monkeypatch.setattr(exact, "build", build)
        good("index", path, "--remove", first, "-o", path, "-q")
        return build(*given, **parameters)

    slow.__signature__ = inspect.signature(build)
    monkeypatch.setattr(exact, "build", slow)
    ran = cbir("index", path, "--remove", second, "-o", path, "-q")
    assert ran.status == 1 and ran.error.endswith("another command has replaced it meanwhile; nothing was written")
    found = good("query", path, made / "more.h5", "-k", "60", "-q").out
    assert "i00" not in found and "i01" in found and sorted(tmp_path.iterdir()) == [first, path, second]
