"""``cbir info``: describe an artifact."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Artifacts; - for a pipe.")],
    format: Annotated[
        options.TextFormat, typer.Option("--format", help="text for a person, json for a program (one object a line).")
    ] = options.TextFormat.text,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure on this machine how fast and how exact an index is.")
    ] = False,
) -> None:
    """Describe an artifact: what it is, what is in it, and how it was made.

    Of an index also what it costs: bytes on disk, what a query maps, and hubness, how unevenly its images are
    neighbours of others: the skewness of the number of lists of ten that an image is in (far above 1: a few answer
    everything), the share that is in none, and the largest number, in a sample. --benchmark also measures queries of
    stored vectors: the time of a whole command with the index on disk and in memory, of one query and of a batch, the
    recall against exact search, and how fast this machine reads memory.
    """
    import json

    from cbir_cli.cli import asking
    from cbir_cli.stages import info as describing

    asking.check_one_stdin(*files)
    for number, name in enumerate(files):
        facts = describing.facts(name, benchmark=benchmark)
        if format is options.TextFormat.json:
            print(json.dumps(facts, sort_keys=True))
        else:
            print(("\n" if number else "") + describing.text(facts))
