"""The command as a process among others: signals, closed pipes, terminals, full disks, closed streams."""

import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading

import pytest
from small_chain import MAKE, TRAINING

EMBED = MAKE["cnn.emb.h5"]


def program(*arguments, code=""):
    text = f"import sys\n{code}\nfrom cbir_cli.cli.main import main\nsys.exit(main())"
    return [sys.executable, "-c", text, *map(str, arguments)]


# A signal in the middle of the work: after the second batch, by the process itself.
SIGNAL = """
import os, signal, time
from cbir_cli.artifacts.partial import Partial
append, calls = Partial.append, []
def signalled(self, *arguments):
    append(self, *arguments)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.{name})
        time.sleep(5)
Partial.append = signalled
"""
IN_TRAINING = """
import os, signal, time
from cbir_cli import batches
ahead = batches.ahead
def signalled(*arguments, **options):
    for number, batch in enumerate(ahead(*arguments, **options)):
        if number == 1:
            os.kill(os.getpid(), signal.{name})
            time.sleep(5)
        yield batch
batches.ahead = signalled
"""
# In the middle of writing: the temporary file is there, its end is not.
IN_WRITING = """
import os, signal, time
from cbir_cli.artifacts import _payload
def signalled(*arguments):
    os.kill(os.getpid(), signal.{name})
    time.sleep(5)
_payload.fingerprint = signalled
"""


# A shell's job in the background ignores SIGINT, nohup SIGHUP, and both hand that down: these commands are in the
# foreground.
FOREGROUND = (
    "import signal\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
)


def temporary(folder):
    """What cbir left there (torch makes a folder of its own)."""
    return [name for name in os.listdir(folder) if "cbir" in name]


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
@pytest.mark.parametrize("place", [SIGNAL, IN_WRITING], ids=["working", "writing"])
def test_a_signal_is_silent_and_cleans_up(spawn, chain, tmp_path, name, status, place):
    spool, out = tmp_path / "tmp", tmp_path / "out"
    spool.mkdir(), out.mkdir()
    (out / "emb.h5").write_bytes(b"yesterday's")
    code, env = FOREGROUND + place.format(name=name), {"TMPDIR": str(spool)}
    by_pipe = spawn(*EMBED, "--batch-size", "8", "-q", code=code, cwd=chain, env=env)
    assert (by_pipe.status, by_pipe.data, by_pipe.err) == (status, b"", "")
    by_file = spawn(*EMBED, "--batch-size", "8", "-q", "-o", out / "emb.h5", code=code, cwd=chain, env=env)
    assert (by_file.status, by_file.err) == (status, "")
    assert (out / "emb.h5").read_bytes() == b"yesterday's"
    assert not temporary(spool)
    assert set(os.listdir(out)) == {"emb.h5", "emb.h5.partial"}  # what --resume goes on with


def test_training_is_ended_by_a_signal(spawn, chain, tmp_path):
    line = ["train", "--task", "pleural", "nih:set", *TRAINING, "--epochs", "3", "-q", "-o", tmp_path / "m.h5"]
    ran = spawn(*line, code=IN_TRAINING.format(name="SIGTERM"), cwd=chain, env={"TMPDIR": str(tmp_path)})
    assert (ran.status, ran.err) == (143, "warning: ended after step 2 of 4 of epoch 1; --resume goes on\n")
    assert not temporary(tmp_path)
    assert [p.name for p in tmp_path.glob("m.h5*")] == ["m.h5.checkpoint"]  # what --resume goes on with


def test_nohup_is_respected(spawn, chain):
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SIGNAL.format(name="SIGHUP")
    ran = spawn(*EMBED, "--batch-size", "8", code=code.replace("time.sleep(5)", ""), cwd=chain)
    assert ran.status == 0 and ran.data == (chain / "cnn.emb.h5").read_bytes()


@pytest.mark.parametrize("name", ["cnn.emb.h5", "cnn.idx.h5"])
def test_killed_in_mid_write(spawn, good, chain, tmp_path, name):
    out = tmp_path / name
    shutil.copy(chain / name, out)
    ran = spawn(*MAKE[name], "-o", out, code=IN_WRITING.format(name="SIGKILL"), cwd=chain)
    assert ran.status == -signal.SIGKILL
    assert out.read_bytes() == (chain / name).read_bytes()
    good(*MAKE[name], "-o", out, cwd=chain)  # what the killed one left is in nobody's way
    assert out.read_bytes() == (chain / name).read_bytes()


CLOSED = [
    ["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", "-q"],
    ["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", "-q", "--format", "json"],
    ["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", "-q", "--format", "table"],
    ["embed", "-m", "ssim", "--image-size", "64", "nih:set", "-q"],
    ["report", "ex.h5", "cnn.h5", "ig.h5"],
    ["info", *["ig.h5"] * 40],
    ["verify", "ig.h5"],
    ["split", "cnn.emb.h5", "--task", "pleural", "--seeds", ",".join(map(str, range(40))), "-q"],
    ["phantom", "set", "--rank", "split.tsv"],
    ["--help"],
    ["embed", "--help"],
]


@pytest.mark.parametrize("arguments", CLOSED, ids=" ".join)
def test_a_pipe_that_nobody_reads_is_silent(chain, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(program(*arguments), stdout=writer, stderr=subprocess.PIPE, cwd=chain, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_first_line_of_many(chain):
    line = f"{sys.executable} -m cbir_cli query cnn.idx.h5 cnn.emb.h5 -k 40 | head -1; echo ${{PIPESTATUS[*]}}"
    done = subprocess.run(["bash", "-c", line], cwd=chain, capture_output=True, text=True, check=True)
    assert done.stdout == "query\trank\tid\tdistance\tquery_labels\tlabels\n141 0\n"
    assert done.stderr.startswith("left out: ") and done.stderr.count("\n") == 1


def on_terminal(command, cwd, stdin=subprocess.DEVNULL):
    """Run with standard output on a terminal; return status, what it shows, and standard error."""
    main, other = pty.openpty()
    shown = []

    def read():
        try:
            while data := os.read(main, 1 << 16):
                shown.append(data)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    given = other if stdin == "terminal" else stdin
    done = subprocess.run(
        command, stdin=given, stdout=other, stderr=subprocess.PIPE, cwd=cwd, env=environment, check=False
    )
    os.close(other)
    reader.join(10)
    os.close(main)
    return done.returncode, b"".join(shown).decode().replace("\r\n", "\n"), done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "-m", "cnn.h5", "nih:set"],
        ["saliency", "-m", "cnn.h5", "nih:set"],
        ["index", "cnn.emb.h5"],
        ["merge", "cnn.emb.h5"],
        ["explain", "ig.idx.h5", "ig.emb.h5"],
        ["train", "--task", "pleural", "nih:set", "-o", "-"],
        ["finetune-ig", "-m", "cnn.h5", "maps.h5", "-o", "-"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_terminal_gets_no_artifact(chain, arguments):
    status, shown, err = on_terminal(program(*arguments), chain)
    assert (status, shown) == (2, "")
    assert err == f"cbir {arguments[0]}: refusing to write HDF5 to a terminal; use -o FILE or > FILE\n"


@pytest.mark.parametrize("arguments", [["index", "-", "-o", "x.h5"], ["query", "-", "cnn.emb.h5"], ["info", "-"]])
def test_a_terminal_gives_no_artifact(chain, arguments):
    status, _, err = on_terminal(program(*arguments), chain, stdin="terminal")
    assert status == 2 and err.endswith("standard input is a terminal; give a file, or pipe an artifact in\n")


def test_a_terminal_gets_tables(chain):
    status, shown, _ = on_terminal(program("query", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv", "-k", "2"), chain)
    assert status == 0 and "\t" not in shown and "\x1b[" in shown and "(Effusion)" in shown
    status, shown, _ = on_terminal(program("evaluate", "ig.tsv", "--raters", "ranks.csv"), chain)
    assert status == 0 and "random" in shown and "\t" not in shown


def test_no_colour_where_none_is_wanted(chain, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    _, shown, _ = on_terminal(program("query", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv"), chain)
    assert not any(f"\x1b[{number}m" in shown for number in range(30, 50))


def test_no_progress_bar_where_there_is_no_terminal(spawn, chain):
    ran = spawn(*EMBED, cwd=chain)
    assert ran.err.splitlines()[0] == "nih:set: read as nih" and "\r" not in ran.err and "%" not in ran.err


def limited(size):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("idx.h5", [*MAKE["cnn.idx.h5"], "-q"]),
        ("emb.h5", ["embed", "-m", "ssim", "--image-size", "64", "nih:set", "-q"]),
        ("page.html", ["report", "ex.h5"]),
        ("ig.h5", ["finetune-ig", "-m", "cnn.h5", "maps.h5", "--epochs", "0", "-q"]),
    ],
)
def test_a_full_disk(spawn, chain, tmp_path, name, arguments):
    """A limit on file sizes fails writes as a full disk does."""
    out = tmp_path / name
    out.write_bytes(b"yesterday's")
    ran = spawn(*arguments, "-o", out, cwd=chain, preexec_fn=limited(20_000), env={"TMPDIR": str(tmp_path)})
    assert ran.status == 1 and ran.error.startswith(f"cbir {arguments[0]}: ")
    assert out.read_bytes() == b"yesterday's"
    assert set(temporary(tmp_path)) == set()
    assert {path.name for path in tmp_path.iterdir()} - {f"torchinductor_{os.environ.get('USER', 'root')}"} <= {
        name,
        f"{name}.partial",
    }


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "cnn.idx.h5", "cnn.emb.h5", "-q"],
        ["embed", "-m", "ssim", "--image-size", "16", "nih:set", "-q"],
        ["report", "ex.h5"],
        ["info", "ex.h5"],
        ["--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_behind_standard_output(chain, arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(program(*arguments), stdout=full, stderr=subprocess.PIPE, cwd=chain, check=False)
    assert done.returncode == 1
    assert done.stderr.lower().count(b"no space left on") == 1 and done.stderr.count(b"\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments", [[*MAKE["cnn.idx.h5"], "-q"], ["report", "ex.h5"]], ids=lambda arguments: arguments[0]
)
def test_a_device_is_written_to_and_not_replaced(spawn, chain, arguments):
    ran = spawn(*arguments, "-o", "/dev/full", cwd=chain)
    assert ran.status == 1 and "no space left" in ran.error
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize(
    ("closed", "arguments", "status"),
    [
        ("<&-", "index -", 1),
        ("<&-", "embed -m cnn.h5 -", 1),
        ("<&-", "evaluate -", 1),
        ("<&-", "query cnn.idx.h5 cnn.emb.h5 -q", 0),
        (">&-", "query cnn.idx.h5 cnn.emb.h5 -q", 0),
        (">&-", "--help", 0),
        ("2>&-", "query cnn.idx.h5 cnn.emb.h5", 0),
        ("2>&-", "query gone.h5 cnn.emb.h5", 1),
        ("<&- >&- 2>&-", "index cnn.emb.h5 -o closed.h5", 0),
    ],
)
def test_closed_standard_streams(linked, chain, closed, arguments, status):
    """The number of a closed stream goes to the next file that is opened: an artifact must not be that one."""
    folder = linked("closed")
    line = f"{sys.executable} -m cbir_cli {arguments} {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr
    if "closed.h5" in arguments:
        assert (folder / "closed.h5").read_bytes() == (chain / "cnn.idx.h5").read_bytes()


def test_a_named_pipe_is_left_to_its_writer(spawn, good, chain, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = (chain / "cnn.emb.h5").read_bytes()
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    ran = good("query", "cnn.idx.h5", pipe, "-k", "2", cwd=chain)
    writer.join(10)
    assert ran.data == good("query", "cnn.idx.h5", "cnn.emb.h5", "-k", "2", cwd=chain).data


def test_appending_to_a_file_is_refused(chain, tmp_path):
    out = tmp_path / "all.h5"
    out.write_bytes(b"first")
    with open(out, "ab") as appended:
        done = subprocess.run(program(*EMBED), stdout=appended, stderr=subprocess.PIPE, cwd=chain, check=False)
    assert done.returncode == 2 and b"refusing to append HDF5 to a file" in done.stderr
    assert out.read_bytes() == b"first"
