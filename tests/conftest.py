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
from small_chain import MAKE, TABLES

from cbir_cli.cli.main import main


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

    for name, line in MAKE.items():
        if name == "ex.h5":
            for table, other in TABLES.items():
                Path(folder, table).write_bytes(good(*other, cwd=folder).data)
        good(*line, "-o", name, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def linked(chain, tmp_path_factory):
    """Make a folder with links to all of the chain, for tests that put more into it."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        for path in chain.iterdir():
            (folder / path.name).symlink_to(path)
        return folder

    return make
