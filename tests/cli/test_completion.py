"""Completion: what a shell is told when the tab key is pressed."""

import os
import shutil
import subprocess
import sys

import pytest

from cbir_cli.cli.main import COMMANDS, main

CBIR = (sys.executable, "-m", "cbir_cli")


def completed(line, word):
    """Ask as bash does: the words of the line, and the number of the word under the cursor."""
    asked = {**os.environ, "_CBIR_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}
    done = subprocess.run(CBIR, env=asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("cbir ", 1, list(COMMANDS)),
        ("cbir fi", 1, ["finetune-ig"]),
        ("cbir embed --ba", 2, ["--batch-size"]),
        ("cbir query idx.h5 --sp", 3, ["--split"]),
        ("cbir query --format t", 3, ["tsv", "trec", "table"]),
        ("cbir nothing", 1, []),
    ],
)
def test_words_that_fit(line, word, expected):
    assert completed(line, word) == expected


def test_all_options_of_a_command():
    found = completed("cbir merge -", 2)
    assert {"-o", "--output", "--debug", "--help"} <= set(found)
    assert "--epochs" not in found


def test_nothing_heavy_is_loaded():
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([m for m in ('torch', 'numpy', 'h5py', 'PIL') if m in sys.modules]))\n"
        "from cbir_cli.cli.main import main\nsys.exit(main())"
    )
    asked = {**os.environ, "_CBIR_COMPLETE": "complete_bash", "COMP_WORDS": "cbir embed --ba", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["--batch-size", "[]"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_each_shell(shell, capsys):
    assert main(["--show-completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_CBIR_COMPLETE=complete_{shell}" in script and "cbir" in script


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bsh"], "cbir: unknown shell 'bsh': did you mean bash? known: bash, zsh, fish\n"),
        (["smalltalk"], "cbir: unknown shell 'smalltalk': known: bash, zsh, fish\n"),
        ([], "cbir: --show-completion SHELL: bash, zsh, fish\n"),
    ],
)
def test_a_shell_that_is_not_known(arguments, message, capsys):
    assert main(["--show-completion", *arguments]) == 2
    assert capsys.readouterr() == ("", message)


def test_bash_completes_with_the_script(capsys, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    main(["--show-completion", "bash"])
    script = capsys.readouterr().out
    command = tmp_path / "cbir"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cbir_cli "$@"\n')
    command.chmod(0o755)
    press = f'COMP_WORDS=(cbir emb) COMP_CWORD=1; _cbir_completion "{command}"; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        [bash, "-euc", f"{script}\n{press}\ncomplete -p cbir"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["embed", "complete -o default -F _cbir_completion cbir"]
