"""``cbir merge``: join the shards of one artifact."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    shards: Annotated[
        list[str], typer.Argument(metavar="SHARD...", help="All shards of one embedding or saliency run.")
    ],
    output: options.Output = "-",
) -> None:
    """Join the shards of one artifact.

    The shards may come in any order; all of them must be there, made by the same command from the same source. The
    result has the same bytes as the run without --shard.
    """
    from cbir_cli.artifacts import files
    from cbir_cli.cli import asking
    from cbir_cli.stages import merge as merging

    files.check_output(output, *shards)
    asking.check_one_stdin(*shards)
    merging.merge(shards, output)
