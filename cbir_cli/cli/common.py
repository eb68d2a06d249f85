"""What every command has: ``-q``, ``-v`` and ``--debug``, and how messages look."""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cbir_cli.distributed import launched

log = logging.getLogger("cbir")


def with_common(run: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-q``, ``-v`` and ``--debug`` to a command, and set up what it says on standard error."""

    @functools.wraps(run)
    def wrapped(*, quiet: bool, verbose: bool, debug: bool, **arguments: Any) -> Any:
        _set_up_log(logging.WARNING if quiet else logging.DEBUG if verbose or debug else logging.INFO)
        return run(**arguments)

    def flag(name: str, *spellings: str, text: str) -> inspect.Parameter:
        annotation = Annotated[bool, typer.Option(*spellings, help=text)]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)

    signature = inspect.signature(run, eval_str=True)
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    parameters += [
        flag("quiet", "-q", "--quiet", text="Say only what went wrong."),
        flag("verbose", "-v", "--verbose", text="Say more."),
        flag("debug", "--debug", text="Show the traceback of an error."),
    ]
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " ")
        return text if record.levelno < logging.WARNING else f"warning: {text}"


def _set_up_log(level: int) -> None:
    if not launched().first:
        level = max(level, logging.WARNING)  # of several processes one tells how it goes
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level)
