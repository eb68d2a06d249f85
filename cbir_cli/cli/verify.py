"""``cbir verify``: prove an artifact whole."""

from typing import Annotated

import typer


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Artifacts; - for a pipe.")],
) -> int:
    """Prove an artifact whole: recompute the hash of all that it holds and compare it with its fingerprint."""
    import sys

    from cbir_cli.artifacts import files as artifacts
    from cbir_cli.artifacts import history
    from cbir_cli.cli import asking
    from cbir_cli.errors import ArtifactError

    asking.check_one_stdin(*files)
    status = 0
    for name, shown in zip(files, history.public_paths(files), strict=True):
        try:
            print(f"{shown}: ok {artifacts.verify(name)}")
        except ArtifactError as error:
            print(f"cbir verify: {error}", file=sys.stderr)
            status = 1
    return status
