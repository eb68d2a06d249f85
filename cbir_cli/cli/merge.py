"""``cbir merge``: join the shards of one artifact."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    shards: Annotated[
        list[str], typer.Argument(metavar="SHARD...", help="All shards of one embedding or saliency run.")
    ],
    output: options.Output = "-",
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Leave vectors in the shards, in the folder of the output or below it.")
    ] = False,
) -> None:
    """Join the shards of one artifact.

    The shards may come in any order; all of them must be there, made by the same command from the same source. The
    result has the same bytes as the run without --shard.

    With --virtual the vectors of an embedding stay where they are, and the result names the shards, relative to its own
    folder, with their sizes and fingerprints. It is read as any embedding, as long as it lies with its shards and they
    do not change; cbir verify proves them too. A pipe gets a copy.
    """
    from cbir_cli.artifacts import files
    from cbir_cli.cli import asking
    from cbir_cli.stages import merge as merging

    files.check_output(output, *shards)
    asking.check_one_stdin(*shards)
    merging.merge(shards, output, linked=virtual)
