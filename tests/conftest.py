"""What the tests share: commands that run in this process or as their own, and one small chain of artifacts."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from cbir_cli.cli.main import main

# The smallest network, few pixels, both views, enough patients for validation: seconds for the whole chain.
TRAINING = ["--image-size", "32", "--init", "none", "--set", "architecture=densenet-tiny", "--set", "views=any"]
TRAINING += ["--set", "optimizer=adam", "--set", "lr=0.01", "--set", "validation=0.3", "--batch-size", "8"]


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    status: int
    data: bytes
    err: str

    @property
    def out(self):
        """Standard output as text."""
        return self.data.decode()

    @property
    def error(self):
        """The only line on standard error."""
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self.err
        assert "Traceback" not in self.err
        return self.err[:-1]


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory):
    """A key of its own, one thread, and nothing of the user's settings."""
    with pytest.MonkeyPatch.context() as patch:
        key = tmp_path_factory.mktemp("key") / "key"
        key.write_text("0123456789abcdef" * 4)
        patch.setenv("CBIR_KEY", str(key))
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("CBIR_DATA", "CBIR_MODEL", "CBIR_DEBUG"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def cbir():
    """Run a command line in this process: ``cbir("query", index, "-", stdin=data)``."""

    def run(*arguments, stdin=b"", cwd=None, **variables):
        log = logging.getLogger("cbir")
        before = log.handlers[:], log.propagate, log.level
        with (
            contextlib.ExitStack() as stack,
            pytest.MonkeyPatch.context() as patch,
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
        ):
            given.write(stdin)
            given.seek(0)
            err = io.StringIO()
            patch.setattr(sys, "stdin", io.TextIOWrapper(given))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True))
            patch.setattr(sys, "stderr", err)
            patch.setenv("SLURM_CPUS_PER_TASK", "1")
            for name, value in variables.items():
                patch.setenv(name, str(value))
            if cwd:
                stack.enter_context(contextlib.chdir(cwd))
            try:
                status = main([str(a) for a in arguments])
            finally:
                log.handlers[:], log.propagate = before[:2]
                log.setLevel(before[2])
            sys.stdout.flush()
            out.seek(0)
            return Ran(status, out.read(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def good(cbir):
    """As ``cbir``, where nothing may go wrong."""

    def run(*arguments, **options):
        ran = cbir(*arguments, **options)
        assert ran.status == 0, ran.err
        return ran

    return run


@pytest.fixture(scope="session")
def spawn():
    """Run a command line as a process of its own; ``code`` runs in it before the command."""

    def run(*arguments, code="", **options):
        program = f"import sys\n{code}\nfrom cbir_cli.cli.main import main\nsys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        variables = {**os.environ, "SLURM_CPUS_PER_TASK": "1", **options.pop("env", {})}
        done = subprocess.run(command, env=variables, check=False, timeout=120, **options)
        return Ran(done.returncode, done.stdout or b"", (done.stderr or b"").decode())

    return run


@pytest.fixture(scope="session")
def phantom(tmp_path_factory, good):
    """40 synthetic radiographs of 64 px in the layout of NIH ChestX-ray14."""
    folder = tmp_path_factory.mktemp("phantom") / "set"
    good("phantom", folder, "-n", "40", "--size", "64", "--seed", "3")
    return folder


@pytest.fixture(scope="session")
def chain(tmp_path_factory, phantom, good):
    """Every artifact of the pipeline, made from ``nih:set`` in the folder that is returned."""
    folder = tmp_path_factory.mktemp("chain")
    Path(folder, "set").symlink_to(phantom)

    def make(*arguments):
        good(*arguments, "-q", cwd=folder)

    make("train", "--task", "pleural", "nih:set", *TRAINING, "--epochs", "2", "--seed", "1", "-o", "cnn.h5")
    make("saliency", "-m", "cnn.h5", "nih:set", "-o", "maps.h5")
    make("finetune-ig", "-m", "cnn.h5", "maps.h5", "--epochs", "1", "-o", "ig.h5")
    for name in ("cnn", "ig"):
        make("embed", "-m", f"{name}.h5", "nih:set", "-o", f"{name}.emb.h5")
    make("embed", "-m", "cnn.h5", "maps.h5", "-o", "cnnig.emb.h5")
    make("embed", "-m", "ssim", "--image-size", "32", "nih:set", "-o", "ssim.emb.h5")
    for name in ("cnn", "ig", "cnnig", "ssim"):
        make("index", f"{name}.emb.h5", "-o", f"{name}.idx.h5")
    split = good("split", "cnn.emb.h5", "--task", "pleural", "--catalogue", "6", "--seeds", "1,2", cwd=folder)
    Path(folder, "split.tsv").write_bytes(split.data)
    ranks = good("phantom", "set", "--rank", "split.tsv", cwd=folder)
    Path(folder, "ranks.csv").write_bytes(ranks.data)
    for name in ("cnn", "ig"):
        run = good("query", f"{name}.idx.h5", f"{name}.emb.h5", "--split", "split.tsv", cwd=folder)
        Path(folder, f"{name}.tsv").write_bytes(run.data)
    make("explain", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv", "-k", "2", "-o", "ex.h5")
    return folder
