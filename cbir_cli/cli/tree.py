"""The Typer applications: one command alone, which starts fast, or the whole tree, for man pages and completion."""

import importlib
from typing import Any

from cbir_cli.cli.common import with_common
from cbir_cli.cli.main import COMMANDS
from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown

SHELLS = ("bash", "zsh", "fish")


def _application() -> Any:
    import typer

    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )


def single(command: str) -> Any:
    """Return an application with one command, the only one whose module is imported."""
    app = _application()
    module = importlib.import_module(f"cbir_cli.cli.{command.replace('-', '_')}")
    app.command(command)(with_common(module.run))
    return app


def run_single(command: str, arguments: list[str]) -> int:
    """Parse and run one command and return its exit status.

    Typer's own way to run an application turns a closed pipe into an exit with status 1; here it stays an error.
    """
    import typer

    parser = typer.main.get_command(single(command))
    try:
        with parser.make_context(f"cbir {command}", arguments) as context:
            return int(parser.invoke(context) or 0)
    except typer.Exit as done:  # --help
        return done.exit_code


def complete() -> None:
    """Answer the shell's question for completions, which is in the environment."""
    from typer.completion import completion_init

    completion_init()
    whole()(prog_name="cbir")


def whole() -> Any:
    """Return the application with every command."""
    app = _application()
    app.callback()(lambda: None)
    for command in COMMANDS:
        module = importlib.import_module(f"cbir_cli.cli.{command.replace('-', '_')}")
        app.command(command)(with_common(module.run))
    return app


def completion_script(shell: str) -> str:
    """Return the completion script of a shell.

    Raises
    ------
    UsageError
        For a shell that is not supported.
    """
    if shell not in SHELLS:
        raise unknown("shell", shell, SHELLS) if shell else UsageError(f"--show-completion SHELL: {', '.join(SHELLS)}")
    from typer.completion import get_completion_script

    return get_completion_script(prog_name="cbir", complete_var="_CBIR_COMPLETE", shell=shell)
