"""``cbir evaluate --agreement`` and ``--conflicts``: what is read, and how it is printed."""

import json
from collections.abc import Mapping, Sequence

from cbir_cli.cli import asking, terminal


def agreement(
    files: Sequence[str],
    paths: Mapping[str, str],
    raters: str,
    *,
    items: str | None,
    statistics: Sequence[str],
    format: str,
) -> None:
    """Print how far raters agree, and runs with raters."""
    from cbir_cli.stages import agreement_tables, rated
    from cbir_cli.stages.known_items import known_items

    with known_items(items) as known:
        patients = known.patients if known else None
        found = rated.agree(files, raters, statistics=statistics, patients=patients, paths=paths)
    if format == "table":
        terminal.show_tables(agreement_tables.tables(found))
    else:
        asking.write_lines({"tsv": agreement_tables.tsv, "json": agreement_tables.json_lines}[format](found))


def conflicts(
    files: Sequence[str],
    paths: Mapping[str, str],
    raters: str,
    *,
    items: str | None,
    rater: str | None,
    label: str | None,
    format: str,
) -> None:
    """Print the images that raters label otherwise than the data set."""
    from cbir_cli.stages import conflicts as stage
    from cbir_cli.stages.known_items import known_items

    with known_items(items) as known:
        found = stage.conflicts(files, raters, known=known, rater=rater, label=label, paths=paths)
    if format == "json":
        asking.write_lines(json.dumps(row) + "\n" for row in stage.facts(found))
        return
    columns, rows = stage.cells(found)
    if format == "table":
        terminal.show_table(columns, rows)
    else:
        asking.write_lines("\t".join(row) + "\n" for row in (columns, *rows))
