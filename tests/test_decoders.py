"""Decoding in processes of their own: the same pixels, and an end to what hangs or crashes."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from small_chain import TRAINING

from cbir_cli import decoders, reading
from cbir_cli.errors import ImageError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.records import Record

SPEC = InputSpec(32)
FILES = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg.dcm", "SC_rgb_rle.dcm")


def record(path, part=None):
    return Record(str(path), Path(path), Path(path).name, part=part)


def dicom(name):
    return record(get_testdata_file(name, download=False))


@pytest.fixture
def bad(monkeypatch, tmp_path):
    """Decoders that misbehave in new processes: SLOW.tif hangs in C with the interpreter's lock, DEAD.tif crashes."""
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        def _load_here(self, record, was=[]):
            import ctypes, os
            if "SLOW" in record.path.name:
                ctypes.PyDLL(None).sleep(1000)  # keeps the lock: no thread of the process could end it
            if "DEAD" in record.path.name:
                ctypes.string_at(0)
            return _sound(self, record)

        import cbir_cli.images
        _sound = cbir_cli.images.InputSpec.load_here
        cbir_cli.images.InputSpec.load_here = _load_here
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decoders, "_idle", [])
    monkeypatch.setenv("CBIR_TIMEOUT", "0.5")
    yield tmp_path
    for process in decoders._idle:
        process.kill()


def tif(folder, name, grey=100):
    path = folder / name
    Image.new("L", (40, 40), grey).save(path)
    return record(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_the_same_pixels_as_in_this_process(name, colour):
    spec, one = InputSpec(48, colour=colour), dicom(name)
    found = spec.load(one)
    assert found.dtype == np.float32 and found.flags.writeable
    np.testing.assert_array_equal(found, spec.load_here(one))


def test_the_same_error_as_in_this_process():
    for one in (dicom("MR_truncated.dcm"), dicom("CT_small.dcm"), dicom("rtdose.dcm")):
        with pytest.raises(ImageError) as here:
            SPEC.load_here(one)
        with pytest.raises(ImageError) as there:
            SPEC.load(one)
        assert str(there.value) == str(here.value)


def test_windows_and_frames_get_there():
    spec = InputSpec(32, window=(-200.0, 300.0))
    np.testing.assert_array_equal(spec.load(dicom("CT_small.dcm")), spec.load_here(dicom("CT_small.dcm")))
    frames = [record(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False), part) for part in (0, 1)]
    loaded = [SPEC.load(frame) for frame in frames]
    np.testing.assert_array_equal(loaded, [SPEC.load_here(frame) for frame in frames])
    assert (loaded[0] != loaded[1]).any()


@pytest.mark.parametrize(("ending", "risky"), [("png", 0), ("jpg", 0), ("bmp", 0), ("tif", 1)])
def test_which_files_go_there(tmp_path, ending, risky, monkeypatch):
    one = tif(tmp_path, f"a.{ending}")
    asked = []
    monkeypatch.setattr(decoders, "load", lambda spec, record: asked.append(record))
    SPEC.load(one)
    assert len(asked) == risky


def test_a_decoder_that_hangs_is_ended_and_the_others_go_on(bad, caplog):
    names = ["a.tif", "SLOW1.tif", "b.tif", "c.tif", "SLOW2.tif", "d.tif"]
    records = [tif(bad, name, 40 * number) for number, name in enumerate(names)]
    unreadable = {}
    start = time.monotonic()
    seen = []
    for some, pixels in reading.each(records, SPEC.load, workers=2, batch=4, unreadable=unreadable):
        seen += some
        assert len(pixels) == sum(one.id not in unreadable for one in some)
    assert time.monotonic() - start < 20
    assert seen == records
    assert [Path(key).name for key in unreadable] == ["SLOW1.tif", "SLOW2.tif"]
    reason = "SLOW1.tif: cannot be decoded in 0.5 s; CBIR_TIMEOUT gives it longer"
    assert next(iter(unreadable.values())) == reason and reason in caplog.text


def test_a_decoder_that_crashes_takes_nothing_with_it(bad, monkeypatch):
    monkeypatch.setenv("CBIR_TIMEOUT", "20")
    with pytest.raises(ImageError, match=r"^DEAD\.tif: damaged image: its decoder crashed \(SIGSEGV\)$"):
        SPEC.load(tif(bad, "DEAD.tif"))
    np.testing.assert_array_equal(SPEC.load(tif(bad, "a.tif")), SPEC.load_here(tif(bad, "a.tif")))


def test_a_process_that_was_killed_while_it_waited_is_replaced():
    SPEC.load(dicom("MR_small.dcm"))
    for process in decoders._idle:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert SPEC.load(dicom("MR_small.dcm")).shape == (32, 32)


def test_no_more_processes_than_threads(monkeypatch):
    monkeypatch.setattr(decoders, "_idle", idle := [])
    records = [dicom("MR_small.dcm")] * 40
    outcomes = [o for _, some in reading.stream(records, SPEC.load, workers=3, batch=8) for o in some]
    assert len(outcomes) == 40 and not any(isinstance(o, ImageError) for o in outcomes)
    assert 1 <= len(idle) <= 3
    for process in idle:
        process.stdin.close(), process.stdout.close()
        assert process.wait(10) == 0  # they end with their input


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e3", "9999999"])
def test_a_limit_that_is_none(monkeypatch, text):
    monkeypatch.setenv("CBIR_TIMEOUT", text)
    with pytest.raises(UsageError, match=r"^CBIR_TIMEOUT="):
        SPEC.load(dicom("MR_small.dcm"))


@pytest.mark.parametrize(("text", "seconds"), [("", 60), ("0", 0), ("2.5", 2.5), (" 90 ", 90)])
def test_limits(monkeypatch, text, seconds):
    monkeypatch.setenv("CBIR_TIMEOUT", text)
    assert decoders.timeout() == seconds


def test_files_that_would_take_for_ever_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(ImageError, match="not a regular file"):
        SPEC.load(record(tmp_path / "pipe.tif"))
    huge = tmp_path / "huge.tif"
    Image.new("1", (40000, 40000)).save(huge, compression="group4")
    assert huge.stat().st_size < 2**20
    with pytest.raises(ImageError, match=r"huge\.tif: too large"):
        SPEC.load(record(huge))


def test_processes_end_with_a_program_that_is_killed(tmp_path):
    path = get_testdata_file("MR_small.dcm", download=False)
    code = f"""
import os, signal
from pathlib import Path
from cbir_cli import decoders
from cbir_cli.images import InputSpec
from cbir_cli.records import Record
InputSpec(32).load(Record("", Path({str(path)!r}), ""))
print(decoders._idle[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    gc.collect()
    child = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        if not child.exists() or child.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the process is still there")


def test_a_path_is_where_the_program_is_now(tmp_path, monkeypatch):
    SPEC.load(dicom("MR_small.dcm"))  # a process that was started elsewhere
    tif(tmp_path, "a.tif")
    monkeypatch.chdir(tmp_path)
    assert SPEC.load(record("a.tif")).shape == (32, 32)


def test_training_leaves_out_what_hangs(bad, cbir, tmp_path):
    """Two DICOM files whose decoder hangs are named once each; the others are trained on, and the status says so."""
    source = bad / "ward"
    source.mkdir()
    lines = ["path,patient,view,label:Effusion"]
    rng = np.random.default_rng(0)
    content = Path(get_testdata_file("MR_small.dcm", download=False)).read_bytes()
    for number in range(16):
        name = f"{number}.tif"
        if number in (3, 8):
            name = f"SLOW{number}.dcm"
            (source / name).write_bytes(content)
        else:
            Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(source / name)
        lines.append(f"{name},p{number},AP,{number % 2}")
    (source / "t.csv").write_text("\n".join(lines) + "\n")
    line = ["train", "--task", "pleural", source / "t.csv", *TRAINING, "--epochs", "1", "-o", tmp_path / "m.h5"]
    ran = cbir(*line, "--keep-ids")
    assert ran.status == 3 and (tmp_path / "m.h5").exists()
    for name in ("SLOW3.dcm", "SLOW8.dcm"):
        assert ran.err.count(f"{name}: cannot be decoded in 0.5 s; CBIR_TIMEOUT gives it longer") == 1
    assert "2 images could not be read" in ran.err
