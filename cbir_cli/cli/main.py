"""Find the command, run it, and turn what went wrong into one line and an exit status.

Only this file prints errors and sets the exit status: 0 done; 1 data, file or run-time error; 2 command line wrong;
3 done, but some inputs were unreadable; 130 and 143 interrupted or terminated; 141 the reader of our output went away.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from cbir_cli import __version__
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.signals import terminate

COMMANDS = {
    "train": "fit an encoder to a task",
    "saliency": "write one saliency map per image",
    "finetune-ig": "continue training on saliency maps",
    "embed": "write one vector per image",
    "index": "make vectors searchable",
    "query": "rank the catalogue for each query image",
    "explain": "show why each image was retrieved",
    "evaluate": "score ranked lists, classifiers and saliency maps",
    "report": "turn artifacts into one HTML page",
    "split": "draw patient-safe queries, catalogues and training sets",
    "merge": "join the shards of one artifact",
    "convert": "carry embeddings and results to other programs and back",
    "phantom": "write a synthetic labelled data set with known severity",
    "info": "describe an artifact",
    "verify": "prove an artifact whole",
}

_EPILOGUE = """\
cbir COMMAND --help tells the options; man cbir-COMMAND has examples.
Standard output is data, standard error is words; - is standard input or output.
Research use only. Not for diagnosis."""


def usage() -> str:
    """Return the top-level help: the table of commands."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "Usage: cbir COMMAND [OPTIONS] INPUT...\n\n"
        "Content-based medical image retrieval by disease and severity, with reasons.\n\n"
        f"Commands:\n{rows}\n\nOptions:\n"
        "  --help                   show this page\n"
        "  --version                show the version\n"
        "  --show-completion SHELL  print the completion script for bash, zsh or fish\n\n" + _EPILOGUE
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.
    """
    _replace_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Threads that spin while they wait make a busy machine many times slower; must be set before PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in arguments or bool(os.environ.get("CBIR_DEBUG"))
    signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, terminate)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file-size limit then is an error like a full disk
    name = "cbir"
    try:
        if "_CBIR_COMPLETE" in os.environ:
            return _complete()
        if not arguments:
            print(usage(), file=sys.stderr)
            return 2
        first = arguments.pop(0)
        if first == "help":
            first, arguments = (arguments[0], ["--help"]) if arguments else ("--help", [])
        if first in ("--help", "-h"):
            print(usage())
        elif first == "--version":
            print(f"cbir {__version__}")
        elif first == "--show-completion":
            print(_completion_script(arguments))
        elif first in COMMANDS:
            name = f"cbir {first}"
            return _run(first, arguments)
        else:
            raise _no_such_command(first)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except KeyboardInterrupt:
        return 130
    except CbirError as error:
        return _fail(name, error, error.exit_status, debug)
    except MemoryError as error:
        return _fail(name, CbirError("out of memory; try a smaller --batch-size"), 1, debug, error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(name, CbirError(f"{where}{error.strerror or error}"), 1, debug, error)
    except Exception as error:
        if hasattr(error, "format_message"):  # a wrong command line, as Typer says it
            return _fail(name, UsageError(f"{error.format_message()} (see {name} --help)"), 2, debug, error)
        if type(error).__name__ == "Abort":
            return 130
        ours = CbirError(f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)")
        return _fail(name, ours, 1, debug, error)


def _run(command: str, arguments: list[str]) -> int:
    from cbir_cli.cli import tree

    status = tree.run_single(command, arguments)
    sys.stdout.flush()
    return status


def _complete() -> int:
    from cbir_cli.cli import tree

    tree.complete()
    return 0


def _completion_script(arguments: list[str]) -> str:
    from cbir_cli.cli import tree

    return tree.completion_script(arguments[0] if arguments else "")


def _no_such_command(name: str) -> UsageError:
    from cbir_cli.registry import unknown

    return unknown("option" if name.startswith("-") else "command", name, COMMANDS)


def _fail(name: str, error: CbirError, status: int, debug: bool, cause: BaseException | None = None) -> int:
    if debug:
        import traceback

        traceback.print_exception(cause or error)
    print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _replace_closed_streams() -> None:
    """Put the null device in the place of standard streams that are closed, lest an artifact gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _silence_stdout() -> None:
    """Keep the interpreter from complaining at exit that nobody reads what is left in the buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def __getattr__(name: str) -> Any:
    """Give tools that look for a Typer application the whole command tree."""
    if name == "app":
        from cbir_cli.cli import tree

        return tree.whole()
    raise AttributeError(name)
