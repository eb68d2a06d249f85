"""A merged embedding whose vectors stay in the shards: the same numbers as a copy, or one line that says why not."""

import os
import shutil

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import _anndata, embeddings, files, items
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError
from cbir_cli.stages.merge import merge

COUNTS = (3, 0, 4, 1)
WIDTH = 5
HISTORY = [{"command": "embed", "inputs": {}}]


def write_shard(path, number, counts=COUNTS, width=WIDTH, seed=0):
    rows, start = counts[number - 1], sum(counts[: number - 1])
    ids = np.array([f"i{k:03d}" for k in range(start, start + rows)], dtype=np.str_)
    columns = {name: np.full(rows, "", dtype="U1") for name in items.TEXT} | {"age": np.full(rows, 40, np.int16)}
    columns |= {"path": ids, "content": ids, "part": np.full(rows, -1, np.int32)}
    vectors = np.random.default_rng([seed, number]).normal(size=(rows, width)).astype(np.float32)
    space = embeddings.Space("l2", "f" * 64, "cnn")
    embeddings.write(str(path), vectors, Items(ids, columns, "kept"), space, logits=vectors[:, :2],
                     unreadable={f"bad{number}": "no image"}, history=HISTORY, shard=(number, len(counts)))  # fmt: skip
    return vectors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with shards below it, all.h5 that names them and copy.h5, and what the vectors are."""
    tmp_path = tmp_path_factory.mktemp("whole")
    (tmp_path / "shards").mkdir()
    paths = [tmp_path / f"shards/{n}%b.h5" for n in range(1, len(COUNTS) + 1)]
    vectors = np.concatenate([write_shard(path, n) for n, path in enumerate(paths, start=1)])
    merge([str(path) for path in reversed(paths)], str(tmp_path / "all.h5"), linked=True)
    merge([str(path) for path in paths], str(tmp_path / "copy.h5"))
    return tmp_path, vectors


@pytest.fixture
def made(whole, tmp_path):
    """A copy of it, to be changed."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, whole[1]


def read(path, use=lambda e: np.asarray(e.vectors)):
    with files.open_artifact(str(path), embeddings.KIND) as artifact:
        return use(embeddings.read(artifact))


def refused(path):
    with pytest.raises(ArtifactError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(path)), text
    return text


def test_rows_are_those_of_the_shards_however_they_are_asked_for(made):
    folder, vectors = made
    mask = np.arange(8) % 3 == 0
    asked = [
        slice(None),
        slice(2, 4),
        slice(3, 3),
        slice(6, 99),
        slice(7, None, -2),
        slice(-3, None),
        0,
        -1,
        np.int64(3),
    ]
    asked += [np.array([7, 0, 3, 2, 3, 4]), [5], np.array([], np.int64), np.array([-1, 2]), mask]
    with files.open_artifact(str(folder / "all.h5")) as artifact:
        rows = embeddings.read(artifact).vectors
        assert rows.shape == vectors.shape and rows.nbytes == vectors.nbytes and len(rows) == len(vectors)
        for one in asked:
            found = rows[one]
            assert found.dtype == np.float32 and isinstance(found, np.ndarray)
            np.testing.assert_array_equal(found, vectors[one])
        for wrong in (8, -9, [0, 8]):
            with pytest.raises(IndexError):
                rows[wrong]
        np.testing.assert_array_equal(np.ascontiguousarray(rows), vectors)
        assert np.asarray(rows, np.float64).dtype == np.float64


def test_the_rest_is_that_of_the_copy(made):
    folder, _ = made
    one, other = (
        read(folder / f"{name}.h5", lambda e: e.items.take(np.arange(8)).records()) for name in ("all", "copy")
    )
    assert one == other and len(one) == 8
    for use in (lambda e: e.space, lambda e: e.unreadable, lambda e: e.history, lambda e: np.array(e.logits).tolist()):
        assert read(folder / "all.h5", use) == read(folder / "copy.h5", use)
    assert read(folder / "all.h5", lambda e: e.unreadable) == {f"bad{n}": "no image" for n in range(1, 5)}


def test_it_has_the_same_bytes_every_time(made):
    folder, _ = made
    before = (folder / "all.h5").read_bytes()
    merge([str(p) for p in (folder / "shards").iterdir()], str(folder / "all.h5"), linked=True)
    assert (folder / "all.h5").read_bytes() == before


def test_where_no_shard_has_vectors(tmp_path):
    for number in (1, 2):
        write_shard(tmp_path / f"{number}.h5", number, counts=(0, 0))
    merge([str(tmp_path / "1.h5"), str(tmp_path / "2.h5")], str(tmp_path / "all.h5"), linked=True)
    assert read(tmp_path / "all.h5").shape == (0, WIDTH)


def test_other_programs_read_it_through_hdf5(made, monkeypatch):
    folder, vectors = made
    monkeypatch.chdir("/")
    with h5py.File(folder / "all.h5") as file:
        np.testing.assert_array_equal(file["X"][()], vectors)


def test_it_moves_with_its_shards(made, tmp_path_factory):
    folder, vectors = made
    other = tmp_path_factory.mktemp("other") / "place"
    shutil.move(folder, other)
    np.testing.assert_array_equal(read(other / "all.h5"), vectors)
    (other.parent / "link.h5").symlink_to(other / "all.h5")
    np.testing.assert_array_equal(read(other.parent / "link.h5"), vectors)


def test_verify_proves_the_shards(made):
    folder, _ = made
    assert files.verify(str(folder / "all.h5"))
    path = folder / "shards/3%b.h5"
    with files.open_artifact(str(path)) as artifact:
        at = artifact.file["X"].id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    read(folder / "all.h5")  # no reader proves every byte
    with pytest.raises(ArtifactError, match=r"all.h5: its shard shards/3%b.h5: damaged"):
        files.verify(str(folder / "all.h5"))


def test_a_shard_that_is_not_what_was_merged(made):
    folder, _ = made
    path = folder / "shards/3%b.h5"
    whole = path.read_bytes()
    path.unlink()
    assert refused(folder / "all.h5").endswith("all.h5: its shard shards/3%b.h5 is missing")
    path.write_bytes(whole + b"\0")
    assert f"expected {len(whole):,} bytes, found {len(whole) + 1:,}" in refused(folder / "all.h5")
    write_shard(path, 3, seed=1)
    assert path.stat().st_size == len(whole)
    assert "its fingerprint differs" in refused(folder / "all.h5")
    path.write_bytes(b"x" * len(whole))
    assert "shards/3%b.h5 is damaged" in refused(folder / "all.h5")
    path.unlink()
    path.mkdir()
    assert "is not the file" in refused(folder / "all.h5")
    path.rmdir()
    path.write_bytes(whole)
    read(folder / "all.h5")


def test_a_shard_that_changes_while_it_is_read(made):
    folder, _ = made
    with files.open_artifact(str(folder / "all.h5")) as artifact:
        rows = embeddings.read(artifact).vectors
        write_shard(folder / "shards/4%b.h5", 4)
        rows[:7]
        with pytest.raises(ArtifactError, match=r"shards/4%b.h5: was changed while it was read"):
            rows[:]
        (folder / "shards/4%b.h5").unlink()
        with pytest.raises(ArtifactError, match=r"shards/4%b.h5: cannot be read: No such file"):
            rows[7]


def link(folder, sources, *, shape=(8, WIDTH), maximum=None):
    """Replace X of all.h5 by another virtual data set."""
    with h5py.File(folder / "all.h5", "r+") as file:
        del file["X"]
        layout = h5py.VirtualLayout(shape, "<f4", maxshape=maximum)
        for rows, source in sources:
            layout[rows] = source
        file.create_virtual_dataset("X", layout)


def rename(folder, name, number=2, place=slice(3, 7), source=None):
    """Say, in X and in the table, that a shard's rows are in another file."""
    with h5py.File(folder / "all.h5", "r+") as file:
        names = _anndata.column(file["uns/shards"], "name").tolist()
        names[number] = name
        del file["uns/shards/name"]
        _anndata.texts(file["uns/shards"], "name", names)
    names = [name.replace("%", "%%") for name in names]
    link(folder, [(slice(0, 3), h5py.VirtualSource(names[0], "X", (3, WIDTH))),
                  (place, source or h5py.VirtualSource(names[2], "X", (4, WIDTH))),
                  (slice(7, 8), h5py.VirtualSource(names[3], "X", (1, WIDTH)))])  # fmt: skip


def test_the_helpers_of_these_tests_make_what_is_read(made):
    folder, vectors = made
    rename(folder, "shards/3%b.h5")
    np.testing.assert_array_equal(read(folder / "all.h5"), vectors)


NAMES = ["/etc/passwd", "../shards/3.h5", "shards/../shards/3%b.h5", "./shards/3%b.h5", "shards//3%b.h5", "", ".", "..",
         "shards/1%b.h5", "shards/3%b.h5/"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_is_named_from_the_folder_and_in_it(made, name):
    folder, _ = made
    (folder.parent / "shards").mkdir(exist_ok=True)
    shutil.copy(folder / "shards/3%b.h5", folder.parent / "shards/3.h5")
    rename(folder, name)
    assert "refused: /X: " in refused(folder / "all.h5")


def test_an_absolute_name_of_the_right_file_is_refused(made):
    folder, _ = made
    rename(folder, str(folder / "shards/3%b.h5"))
    assert "is not in the folder of the file or below it" in refused(folder / "all.h5")


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_may_not_lead_out_of_the_folder(made, tmp_path_factory, inside):
    folder, vectors = made
    target = (folder if inside else tmp_path_factory.mktemp("outside")) / "moved.h5"
    shutil.move(folder / "shards/3%b.h5", target)
    (folder / "shards/3%b.h5").symlink_to(target)
    if inside:
        np.testing.assert_array_equal(read(folder / "all.h5"), vectors)
    else:
        assert "is a link that leads out of the folder" in refused(folder / "all.h5")


def test_a_link_to_another_file_is_refused(made):
    folder, _ = made
    (folder / "shards/3%b.h5").unlink()
    (folder / "shards/3%b.h5").symlink_to("/etc/passwd")
    assert "leads out" in refused(folder / "all.h5")
    (folder / "shards/3%b.h5").unlink()
    os.mkfifo(folder / "shards/3%b.h5")  # to open it would wait for a writer
    for size in (1000, 0):
        with h5py.File(folder / "all.h5", "r+") as file:
            file["uns/shards/bytes"][2] = size
        assert "is not the file that was merged" in refused(folder / "all.h5")


def source(name="shards/3%%b.h5", dataset="X", shape=(4, WIDTH), **more):
    return h5py.VirtualSource(name, dataset, shape, **more)


THREE = [
    (slice(0, 3), source("shards/1%%b.h5", shape=(3, WIDTH))),
    (slice(7, 8), source("shards/4%%b.h5", shape=(1, WIDTH))),
]
ALL = [THREE[0], (slice(3, 7), source()), THREE[1]]
OTHER = {
    "a source is left out": (THREE,),
    "another order": ([ALL[1], ALL[0], ALL[2]],),
    "two sources change places": ([(slice(4, 7), ALL[0][1]), (slice(0, 4), ALL[1][1]), THREE[1]],),
    "another dataset": ([ALL[0], (slice(3, 7), source(dataset="obsm/logits", shape=(4, WIDTH))), THREE[1]],),
    "another file": ([ALL[0], (slice(3, 7), source("shards/secret.h5")), THREE[1]],),
    "the file itself": ([ALL[0], (slice(3, 7), source(".")), THREE[1]],),
    "rows of another place": ([ALL[0], (slice(3, 7), source(shape=(9, WIDTH))[5:9]), THREE[1]],),
    "every second row": ([ALL[0], (slice(3, 7), source(shape=(8, WIDTH))[::2]), THREE[1]],),
    "one source too many": ([*ALL, (slice(3, 4), source("more.h5", shape=(1, WIDTH)))],),
    "rows that nobody fills": (ALL, (9, WIDTH)),
    "without end": (ALL, (8, WIDTH), (None, WIDTH)),
}


@pytest.mark.parametrize("what", OTHER)
def test_nothing_but_what_merge_defines_is_read(made, what):
    folder, _ = made
    arguments = OTHER[what]
    link(folder, *arguments[:1], **dict(zip(("shape", "maximum"), arguments[1:], strict=False)))
    assert "refused: /X: is not made of the shards in its table" in refused(folder / "all.h5")


def test_sources_of_other_sizes(made):
    """What table and X agree on is compared with the shards themselves."""
    folder, _ = made
    with h5py.File(folder / "all.h5", "r+") as file:
        file["uns/shards/rows"][:] = [3, 0, 3, 2]
    link(
        folder,
        [ALL[0], (slice(3, 6), source(shape=(3, WIDTH))), (slice(6, 8), source("shards/4%%b.h5", shape=(2, WIDTH)))],
    )
    assert refused(folder / "all.h5").endswith("its shard shards/3%b.h5 has 4 vectors, expected 3")


def test_shards_of_another_width(made):
    folder, _ = made
    wide = [(rows, source(one.path, shape=(one.maxshape[0], 7))) for rows, one in ALL]
    link(folder, wide, shape=(8, 7))
    assert "vectors of different widths" in refused(folder / "all.h5")


def test_a_shard_may_not_point_further(made):
    folder, _ = made
    path = folder / "shards/3%b.h5"
    with h5py.File(path, "r+") as file:
        file.move("X", "Y")
        layout = h5py.VirtualLayout((4, WIDTH), "<f4")
        layout[:] = h5py.VirtualSource("3%%b.h5", "X", (4, WIDTH))  # itself
        file.create_virtual_dataset("X", layout)
    with h5py.File(folder / "all.h5", "r+") as file:
        file["uns/shards/bytes"][2] = path.stat().st_size
    assert refused(folder / "all.h5").endswith("its shard shards/3%b.h5: its vectors do not lie in it")


def elsewhere(file):
    layout = h5py.VirtualLayout((8, 2), "<f4")
    layout[:] = h5py.VirtualSource("shards/1%%b.h5", "X", (8, 2))
    del file["obsm/logits"]
    file.create_virtual_dataset("obsm/logits", layout)


def linked_table(file):
    file.move("uns/shards", "obsm/shards")
    file["uns/shards"] = h5py.SoftLink("/obsm/shards")


def outside_table(file):
    del file["uns/shards/name"]
    file["uns/shards/name"] = h5py.ExternalLink("/etc/passwd", "/x")


def virtual_table(file):
    del file["uns/shards/rows"]
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource("shards/1%%b.h5", "rows", (4,), "i8")
    file.create_virtual_dataset("uns/shards/rows", layout)


def no_table(file):
    del file["uns/shards"]


def shorter_table(file):
    del file["uns/shards/bytes"]
    file["uns/shards/bytes"] = np.array([1, 2])


def numbers_as_text(file):
    del file["uns/shards/rows"]
    file["uns/shards/rows"] = np.array([b"3", b"0", b"4", b"1"])


def negative(file):
    file["uns/shards/rows"][:] = [3, -1, 5, 1]


def as_index(file):
    file.attrs["format"] = "cbir-index"


def as_maps(file):
    file.attrs["format"] = "cbir-saliency"


TRICKS = [elsewhere, linked_table, outside_table, virtual_table, no_table, shorter_table, numbers_as_text, negative,
          as_index, as_maps]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_a_virtual_data_set_has_its_place_and_a_plain_table(made, trick):
    folder, _ = made
    with h5py.File(folder / "all.h5", "r+") as file:
        trick(file)
    with pytest.raises(ArtifactError, match="refused"), files.open_artifact(str(folder / "all.h5")):
        pass


def test_no_source_is_opened_before_it_is_known(made):
    """A virtual data set without end makes HDF5 open its sources to learn its size; a named pipe would hang it."""
    folder, _ = made
    os.mkfifo(folder / "pipe-0")
    with h5py.File(folder / "all.h5", "r+") as file:
        del file["X"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        unlimited = h5py.h5s.UNLIMITED
        place = h5py.h5s.create_simple((0, WIDTH), (unlimited, WIDTH))
        place.select_hyperslab((0, 0), (unlimited, 1), stride=(1, 1), block=(1, WIDTH))
        one = h5py.h5s.create_simple((1, WIDTH), (1, WIDTH))
        plist.set_virtual(place, b"pipe-%b", b"X", one)
        h5py.h5d.create(file.id, b"X", h5py.h5t.IEEE_F32LE, place, plist)
    assert "refused: /X: is not made of the shards in its table" in refused(folder / "all.h5")
