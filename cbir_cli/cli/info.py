"""``cbir info``: describe an artifact."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Artifacts; - for a pipe.")],
    format: Annotated[
        options.TextFormat, typer.Option("--format", help="text for a person, json for a program (one object a line).")
    ] = options.TextFormat.text,
) -> None:
    """Describe an artifact: what it is, what is in it, and how it was made."""
    import json

    from cbir_cli.cli import asking
    from cbir_cli.stages import info as describing

    asking.check_one_stdin(*files)
    for number, name in enumerate(files):
        facts = describing.facts(name)
        if format is options.TextFormat.json:
            print(json.dumps(facts, sort_keys=True))
        else:
            print(("\n" if number else "") + describing.text(facts))
