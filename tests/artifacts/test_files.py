"""Artifacts are whole or absent, hold nothing but data, and prove it."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import _payload, files
from cbir_cli.errors import ArtifactError, CbirError

KIND = "cbir-embedding"


def make(path, fill=lambda f: f.create_dataset("X", data=np.arange(12, dtype="f4").reshape(3, 4))):
    with files.create(str(path), KIND, [{"command": "test", "inputs": {}}]) as file:
        fill(file)
    return path


def damage(path, change):
    """Change an artifact behind the writer's back, keeping its fingerprint."""
    with h5py.File(path, "r+") as file:
        change(file)


def refused(path, *kinds):
    with pytest.raises(ArtifactError) as caught, files.open_artifact(str(path), *kinds):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path):
    path = make(tmp_path / "a.h5")
    with files.open_artifact(str(path), KIND) as artifact:
        assert artifact.history == [{"command": "test", "inputs": {}}]
        np.testing.assert_array_equal(artifact.array("X"), np.arange(12, dtype="f4").reshape(3, 4))
        assert isinstance(artifact.array("X"), np.memmap)
        assert artifact.fingerprint == files.verify(str(path))


def test_same_content_same_bytes(tmp_path):
    assert make(tmp_path / "a.h5").read_bytes() == make(tmp_path / "b.h5").read_bytes()


def test_fingerprint_depends_on_every_part(tmp_path):
    def fill(change):
        def write(file):
            data = file.create_dataset("g/X", data=np.arange(4, dtype="f4"))
            data.attrs["unit"] = "mm"
            file.attrs["note"] = "a"
            change(file)

        return write

    variants = [
        lambda f: None,
        lambda f: f["g/X"].__setitem__(0, 9),
        lambda f: f["g/X"].attrs.__setitem__("unit", "cm"),
        lambda f: f.attrs.__setitem__("note", "b"),
        lambda f: f.create_group("empty"),
        lambda f: f.move("g/X", "g/Y"),
        lambda f: (f.__delitem__("g/X"), f.create_dataset("g/X", data=np.arange(4, dtype="f8"))),
    ]
    marks = [files.verify(str(make(tmp_path / f"{i}.h5", fill(v)))) for i, v in enumerate(variants)]
    assert len(set(marks)) == len(variants)


def test_one_flipped_byte_of_the_data_fails(tmp_path):
    path = make(tmp_path / "a.h5")
    with files.open_artifact(str(path)) as artifact:
        offset = artifact.file["X"].id.get_offset()
    raw = bytearray(path.read_bytes())
    for at in range(offset, offset + 48):
        flipped = bytearray(raw)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(ArtifactError, match="damaged"):
            files.verify(str(path))


def test_any_flipped_byte_of_the_file_fails(tmp_path):
    path = make(tmp_path / "a.h5")
    raw = path.read_bytes()
    for at in range(0, len(raw), 5):
        flipped = bytearray(raw)
        flipped[at] ^= 0xFF
        path.write_bytes(flipped)
        with pytest.raises(ArtifactError):
            files.verify(str(path))


def test_the_payload_is_checked_beside_the_bytes(tmp_path):
    """A file whose content was changed and whose checksum was made to fit is still found out."""
    path = make(tmp_path / "a.h5")
    damage(path, lambda f: f["X"].__setitem__((0, 0), 9))
    _payload.seal(str(path))
    assert _payload.check_seal(str(path))
    with pytest.raises(ArtifactError, match="its payload gives"):
        files.verify(str(path))


def test_attribute_and_compressed_data_are_hashed(tmp_path):
    def fill(file):
        file.create_dataset("Z", data=np.arange(1000), chunks=(100,), compression="gzip", shuffle=True)

    path = make(tmp_path / "a.h5", fill)
    damage(path, lambda f: f["Z"].__setitem__(500, -1))
    with pytest.raises(ArtifactError, match="damaged"):
        files.verify(str(path))


def test_old_file_stays_when_writing_fails(tmp_path):
    path = make(tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(ValueError), files.create(str(path), KIND, []) as file:
        file.create_dataset("X", data=np.zeros(3))
        raise ValueError("in the middle")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_killed_in_mid_write_leaves_the_old_file(tmp_path):
    path = make(tmp_path / "a.h5")
    before = path.read_bytes()
    code = f"""
        import os, signal, numpy as np
        from cbir_cli.artifacts import files
        with files.create({str(path)!r}, "cbir-embedding", []) as file:
            file.create_dataset("X", data=np.zeros((1000, 1000)))
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    files.verify(str(path))


@pytest.mark.parametrize("limit", [20_000, 400_000])
def test_full_disk_leaves_the_old_file(tmp_path, limit):
    """A file-size limit makes writes fail as a full disk does."""
    path = make(tmp_path / "a.h5")
    before = path.read_bytes()
    code = f"""
        import sys, numpy as np
        from cbir_cli.artifacts import files
        from cbir_cli.errors import CbirError
        try:
            with files.create({str(path)!r}, "cbir-embedding", []) as file:
                data = file.create_dataset("X", (1000, 1000), "f4")
                for i in range(1000):
                    data[i] = np.random.rand(1000)
        except CbirError as error:
            sys.exit(str(error))
    """

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing was written" in done.stderr and done.stderr.count("\n") == 1
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_permissions_follow_the_umask_or_the_old_file(tmp_path):
    path = make(tmp_path / "a.h5")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o640)
    make(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_keeps_pointing(tmp_path):
    real = make(tmp_path / "real.h5")
    link = tmp_path / "link.h5"
    link.symlink_to(real)
    make(link, lambda f: f.create_dataset("Y", data=np.zeros(2)))
    assert link.is_symlink()
    with files.open_artifact(str(real)) as artifact:
        assert "Y" in artifact.file


def test_without_fingerprint_is_incomplete(tmp_path):
    path = make(tmp_path / "a.h5")
    damage(path, lambda f: f.attrs.__delitem__("fingerprint"))
    assert "incomplete" in refused(path)


def test_wrong_kind_names_both(tmp_path):
    text = refused(make(tmp_path / "maps.h5"), "cbir-index")
    assert text.endswith("maps.h5: expected a cbir-index artifact, found cbir-embedding")


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    assert "another HDF5 file" in refused(other, KIND)
    text = tmp_path / "text.h5"
    text.write_text("hello, this is not an artifact at all")
    assert "not an HDF5 file" in refused(text)
    empty = tmp_path / "empty.h5"
    empty.touch()
    assert "is empty" in refused(empty)
    whole = make(tmp_path / "a.h5", lambda f: f.create_dataset("X", data=np.zeros((100, 100))))
    whole.write_bytes(whole.read_bytes()[:5000])
    assert "truncated" in refused(whole)
    assert "no such file" in refused(tmp_path / "none.h5")
    assert "directory" in refused(tmp_path)


def test_newer_version_says_so(tmp_path):
    path = make(tmp_path / "a.h5")
    damage(path, lambda f: f.attrs.__setitem__("format-version", 99))
    assert "version 99" in refused(path)


def external_link(file):
    file["outside"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["soft"] = h5py.SoftLink("/X")


def two_names(file):
    file["again"] = file["X"]


def cycle(file):
    file.create_group("g")["up"] = file["/"]


def external_storage(file):
    file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource(file["X"])
    file.create_virtual_dataset("virtual", layout)


def bomb(file):
    file.create_dataset("bomb", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip")


def sparse(file):
    file.create_dataset("sparse", (1 << 34,), "f8", chunks=(1 << 20,))


def unknown_filter(file):
    file.create_dataset("lzf", data=np.zeros(100), compression="lzf")


def reference(file):
    file.create_dataset("ref", data=np.array([file["X"].ref], dtype=h5py.ref_dtype))


def opaque(file):
    file.create_dataset("opaque", data=np.void(b"pickled?"))


@pytest.mark.parametrize(
    "trick",
    [
        external_link,
        soft_link,
        two_names,
        cycle,
        external_storage,
        virtual,
        bomb,
        sparse,
        unknown_filter,
        reference,
        opaque,
    ],
)
def test_what_is_not_plain_data_is_refused(tmp_path, trick):
    path = make(tmp_path / "a.h5")
    damage(path, trick)
    assert "refused" in refused(path)


def test_a_damaged_history_is_one_line(tmp_path):
    path = make(tmp_path / "a.h5")
    damage(path, lambda f: f.attrs.__setitem__("history", "{"))
    assert "damaged" in refused(path)


def test_output_is_checked_before_any_work(tmp_path):
    with pytest.raises(CbirError, match="does not exist"):
        files.check_output(str(tmp_path / "none" / "a.h5"))
    with pytest.raises(CbirError, match="is a directory"):
        files.check_output(str(tmp_path))


def pty_run(code):
    """Run a program with standard output on a terminal."""
    import pty

    main, other = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=other, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(other)
    os.close(main)
    return done


def test_a_terminal_gets_no_hdf5():
    done = pty_run("from cbir_cli.artifacts import files; files.check_output('-')")
    assert "UsageError: refusing to write HDF5 to a terminal" in done.stderr


def test_pipes_both_ways(tmp_path):
    write = (
        "from cbir_cli.artifacts import files\nwith files.create('-', 'cbir-embedding', []) as f: f['X'] = [1.5, 2.5]"
    )
    read = "from cbir_cli.artifacts import files\nwith files.open_artifact('-') as a: print(a.array('X').tolist())"
    first = subprocess.run([sys.executable, "-c", write], capture_output=True, check=True)
    piped = subprocess.run([sys.executable, "-c", read], input=first.stdout, capture_output=True, check=True)
    assert piped.stdout == b"[1.5, 2.5]\n"
    with files.create(str(tmp_path / "a.h5"), KIND, []) as file:
        file["X"] = [1.5, 2.5]
    assert (tmp_path / "a.h5").read_bytes() == first.stdout
    with open(tmp_path / "a.h5", "rb") as stdin:
        done = subprocess.run([sys.executable, "-c", read], stdin=stdin, capture_output=True, check=True)
    assert done.stdout == b"[1.5, 2.5]\n"


def test_appending_to_a_file_is_refused(tmp_path):
    path = make(tmp_path / "a.h5")
    before = path.read_bytes()
    code = "from cbir_cli.artifacts import files; files.check_output('-')"
    with open(path, "ab") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, check=False)
    assert b"refusing to append" in done.stderr
    assert path.read_bytes() == before


def test_empty_standard_input_is_said():
    code = "from cbir_cli.artifacts import files\nwith files.open_artifact('-'): pass"
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=False)
    assert b"standard input: empty" in done.stderr


def test_history_is_json(tmp_path):
    path = make(tmp_path / "a.h5")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["history"])[0]["command"] == "test"


def test_arrays_lie_where_a_product_need_not_copy_them(tmp_path):
    """Text of odd length before an array must not move it off its numbers' boundaries."""
    for odd in range(1, 9):
        with files.create(str(tmp_path / "a.h5"), "cbir-embedding", []) as file:
            file.create_dataset("text", data=np.array([b"x" * odd] * 4099))
            file.create_dataset("numbers", data=np.ones((1100, 7), np.float64))
        with files.open_artifact(str(tmp_path / "a.h5"), "cbir-embedding") as artifact:
            assert artifact.file["numbers"].id.get_offset() % 64 == 0
            assert artifact.array("numbers").flags.aligned
