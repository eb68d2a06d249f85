"""The job scripts of examples/slurm on a real scheduler: what they make has the bytes of one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples/slurm"
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])

pytestmark = pytest.mark.slurm


@pytest.fixture
def scheduler():
    """Skip where SLURM is not installed, or belongs to somebody."""
    for program in ("sinfo", "slurmctld", "slurmd", "munged"):
        if shutil.which(program, path=SEARCHED) is None:
            pytest.skip(f"{program} is not installed (Debian: slurm-wlm, munge)")
    if "SLURM_CONF" in os.environ or Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine has a SLURM of its own")


@pytest.mark.parametrize("parts", [["array"], ["preempted"], ["nodes", "train"]], ids="-".join)
@pytest.mark.usefixtures("scheduler")
def test_scripts(parts, tmp_path):
    variables = {**os.environ, "PATH": SEARCHED, "TMPDIR": str(tmp_path), "KEEP": ""}
    done = subprocess.run(
        [EXAMPLES / "try.sh", *parts], env=variables, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same bytes as") == 2
    assert not list(tmp_path.iterdir()), "what the trial made is gone, and its daemons with it"


def test_a_part_that_is_not_there():
    done = subprocess.run([EXAMPLES / "try.sh", "nothing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "try.sh: no part nothing\n")


def test_each_script_is_valid_shell():
    for path in sorted(EXAMPLES.glob("*.s*")):
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0, path
