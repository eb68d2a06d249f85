"""cbir merge: shards to one artifact, as a copy or left where they are."""

import shutil
import sys
import textwrap

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="module")
def shards(chain, tmp_path_factory, good):
    """Shards with an unreadable image in each: three of vectors, also merged, two of maps; and what one run makes."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "some").mkdir()
    rows = ["path,patient,Effusion"]
    for number, image in enumerate(sorted((chain / "set/images").iterdir())[:9]):
        (folder / "some" / f"{number}.png").write_bytes(b"no" if number % 3 == 1 else image.read_bytes())
        rows.append(f"some/{number}.png,p{number},{number % 2}")
    (folder / "some.csv").write_text("\n".join(rows) + "\n")
    runs = [("embed", "whole.h5"), *(("embed", f"{n}.h5", "--shard", f"{n}/3") for n in (1, 2, 3))]
    runs += [("saliency", "maps.h5"), *(("saliency", f"maps{n}.h5", "--shard", f"{n}/2") for n in (1, 2))]
    for command, output, *more in runs:
        line = [command, "-m", chain / "cnn.h5", "some.csv", "--on-error", "skip", *more, "-o", output]
        good(*line, cwd=folder)
    good("merge", "3.h5", "1.h5", "2.h5", "--virtual", "-o", "all.h5", cwd=folder)
    return folder


def test_what_one_shard_could_not_read_is_told_of_all(shards, good):
    """The copy has the bytes of the whole run, which lists them in the order of the images."""
    good("merge", "2.h5", "3.h5", "1.h5", "-o", "copy.h5", cwd=shards)
    assert (shards / "copy.h5").read_bytes() == (shards / "whole.h5").read_bytes()
    listed = []
    for name in ("1.h5", "2.h5", "3.h5", "all.h5"):
        with h5py.File(shards / name) as file:
            listed.append(file["uns/unreadable/id"][()].tolist())
    assert listed[3] == [*listed[0], *listed[1], *listed[2]] and list(map(len, listed)) == [1, 1, 1, 3]
    good("merge", "maps2.h5", "maps1.h5", "-o", "joined.h5", cwd=shards)
    assert (shards / "joined.h5").read_bytes() == (shards / "maps.h5").read_bytes()


def test_every_command_takes_vectors_that_are_in_shards(shards, good):
    good("verify", "all.h5", cwd=shards)
    for command in (["split", "--task", "pleural", "--catalogue", "2"], ["evaluate"], ["embed", "--audit"]):
        one, other = (good(*command, name, cwd=shards).out for name in ("all.h5", "whole.h5"))
        one = "".join(line for line in one.splitlines(True) if "shards" not in line)  # which the audit lists
        assert one.replace("all", "whole") == other and other.count("\n") > 1
    assert "shards:" in good("info", "all.h5", cwd=shards).out
    for name in ("all", "whole"):
        good("index", f"{name}.h5", "-o", f"{name}.idx.h5", cwd=shards)
    with h5py.File(shards / "all.idx.h5") as one, h5py.File(shards / "whole.idx.h5") as other:
        assert not one["X"].is_virtual and "shards" not in one["uns"]
        found = {}
        other.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        for name, value in found.items():
            np.testing.assert_array_equal(one[name][()], value, err_msg=name)
        assert "X" in found
    asked = [good("query", "whole.idx.h5", name, "-k", "3", cwd=shards).out for name in ("all.h5", "whole.h5")]
    assert asked[0] == asked[1] and asked[0].count("\n") > 10


def test_a_pipe_gets_a_copy(shards, good, cbir):
    ran = good("merge", "1.h5", "2.h5", "3.h5", "--virtual", cwd=shards)
    assert ran.data == (shards / "whole.h5").read_bytes()
    assert ran.error == "a pipe does not carry shards: it gets a copy of their vectors"
    ran = cbir("index", "-", "-o", "x.h5", stdin=(shards / "all.h5").read_bytes(), cwd=shards)
    assert ran.status == 1
    assert ran.error == (
        "cbir index: standard input: its vectors are in shards, which do not come through a pipe: name the file"
    )


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["maps1.h5", "maps2.h5"], 2, "--virtual is for embeddings; maps are copied: merge them without it"),
        (["1.h5", "2.h5"], 1, "of 3 shards, 3 are missing"),
        (["1.h5", "2.h5", "3.h5", "1.h5"], 1, "1.h5: is shard 1/3, as is 1.h5"),
        (["all.h5", "1.h5"], 1, "all.h5: is whole, not a shard"),
        (["1.h5", "maps2.h5"], 1, "maps2.h5: is shard 2/2, the others are of 3"),
    ],
)
def test_what_cannot_be_merged_so(shards, cbir, line, status, says):
    ran = cbir("merge", *line, "--virtual", "-o", "x.h5", cwd=shards)
    assert (ran.status, ran.error) == (status, f"cbir merge: {says}")
    assert not (shards / "x.h5").exists()


def test_shards_lie_below_what_names_them(shards, cbir, good):
    (shards / "below").mkdir()
    ran = cbir("merge", "1.h5", "2.h5", "3.h5", "--virtual", "-o", "below/x.h5", cwd=shards)
    assert ran.status == 1 and not list((shards / "below").iterdir())
    assert ran.error == "cbir merge: 1.h5: shards that stay where they are lie in the folder of below/x.h5 or below it"
    ran = cbir(
        "merge", "-", "2.h5", "3.h5", "--virtual", "-o", "x.h5", stdin=(shards / "1.h5").read_bytes(), cwd=shards
    )
    assert ran.error == "cbir merge: --virtual: vectors cannot stay in a pipe: name the shards as files"
    ran = good("merge", "-", "2.h5", "3.h5", stdin=(shards / "1.h5").read_bytes(), cwd=shards)
    assert ran.data == (shards / "whole.h5").read_bytes()


def test_without_a_shard_every_command_says_so(shards, cbir, tmp_path):
    for name in ("1.h5", "3.h5", "all.h5"):
        shutil.copy(shards / name, tmp_path)
    for command in ("info", "index", "verify"):
        ran = cbir(command, "all.h5", *(["-o", "x.h5"] if command == "index" else []), cwd=tmp_path)
        assert (ran.status, ran.error) == (1, f"cbir {command}: all.h5: its shard 2.h5 is missing")


MAKE = """
    import sys, numpy as np
    from cbir_cli.artifacts import embeddings, items
    folder, count, rows, width = sys.argv[1], *map(int, sys.argv[2:])
    names = ("path", "patient", "study", "view", "source", "split", "sex", "content", "seen")
    for number in range(1, count + 1):
        ids = np.array([f"{number:04d}-{row:05d}" for row in range(rows)])
        columns = {name: np.full(rows, "") for name in names} | {"age": np.zeros(rows, np.int16)}
        vectors = np.full((rows, width), number, np.float32)
        embeddings.write(f"{folder}/{number:04d}.h5", vectors, items.Items(ids, columns, "kept"),
                         embeddings.Space("l2", "f" * 64, "cnn"), history=[{"command": "embed", "inputs": {}}],
                         shard=(number, count))
"""


def make(folder, *numbers):
    import subprocess

    subprocess.run([sys.executable, "-c", textwrap.dedent(MAKE), folder, *map(str, numbers)], check=True)
    return sorted(folder.glob("0*.h5"))


def test_more_shards_than_files_may_be_open(tmp_path, spawn):
    paths = make(tmp_path, 50, 2, 3)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))"
    for line in (["merge", *paths, "-o", "copy.h5"], ["merge", *paths, "--virtual", "-o", "all.h5"],
                 ["index", "all.h5", "-o", "idx.h5"]):  # fmt: skip
        ran = spawn(*line, code=limit, cwd=tmp_path)
        assert ran.status == 0, ran.err
    for name in ("copy.h5", "idx.h5"):
        with h5py.File(tmp_path / name) as file:
            np.testing.assert_array_equal(file["X"][:, 0], np.repeat(np.arange(1, 51), 2))


TOLD = """
import atexit, resource
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def test_vectors_go_through_memory_a_block_at_a_time(tmp_path, spawn):
    """160 MB of vectors in four shards."""
    peaks = []
    for name, width in (("small", 1), ("large", 40_000)):
        (tmp_path / name).mkdir()
        paths = make(tmp_path / name, 4, 250, width)
        peaks.append(int(spawn("merge", *paths, "-o", tmp_path / "x.h5", code=TOLD).out))
        shutil.rmtree(tmp_path / name)
    assert peaks[1] - peaks[0] < 80_000  # KiB; blocks are of 16 MiB
