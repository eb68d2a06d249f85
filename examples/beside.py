"""Print what a paper states beside what `cbir evaluate --format json` measured.

    python beside.py [--percent] paper.tsv [NAME=]scores.json ...

paper.tsv has the columns set, metric, method and value, as the paper prints it; a set is a data set or condition, and
may be empty. A score is of the set NAME; its method is the file that was scored, without folder and endings. What the
paper states and nobody measured is printed too, and so is the other way round.
"""

import csv
import json
import sys
from pathlib import Path

Cell = tuple[str, str, str]
"""Set, metric, method."""


def main() -> None:
    """Read the command line, print the table."""
    arguments = [text for text in sys.argv[1:] if text != "--percent"]
    if len(arguments) < 2:
        sys.exit("usage: python beside.py [--percent] paper.tsv [NAME=]scores.json ...")
    percent = len(arguments) < len(sys.argv) - 1
    paper = stated(Path(arguments[0]))
    ours: dict[Cell, str] = {}
    chance: dict[tuple[str, str], str] = {}
    for argument in arguments[1:]:
        name, equals, path = argument.partition("=")
        found, random = measured(Path(path if equals else name), name if equals else "", percent=percent)
        ours |= found
        chance |= random
    print("\n".join(table(paper, ours, chance)))


def stated(path: Path) -> dict[Cell, str]:
    """Return the values of a paper as it prints them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {(row["set"] or "", row["metric"], row["method"]): row["value"] for row in rows}


def measured(path: Path, name: str, *, percent: bool) -> tuple[dict[Cell, str], dict[tuple[str, str], str]]:
    """Return the scores of a file as text, and the random baseline of each metric.

    Of explanations those of all queries, on the query, count.
    """
    ours, chance = {}, {}
    for line in path.read_text("utf-8").splitlines():
        score = json.loads(line)
        apart = score.get("group") or (score.get("class", "all"), score.get("on", "query")) != ("all", "query")
        if apart or score["mean"] is None:
            continue
        method = Path(score["file"]).name.split(".")[0].removeprefix("rater ")
        ours[name, score["metric"], method] = spelt(score, 100 if percent else 1)
        if score["random"] is not None:
            chance[name, score["metric"]] = f"{100 * score['random']:.1f}" if percent else f"{score['random']:.2f}"
    return ours, chance


def spelt(score: dict, unit: int) -> str:
    """Return a mean with its standard deviation in percent, else with the smallest and largest."""
    if unit == 100:
        return f"{100 * score['mean']:.1f}" + (f" ± {100 * score['sd']:.1f}" if score.get("sd") is not None else "")
    if score.get("min") is None:
        return f"{score['mean']:.3f}"
    return f"{score['mean']:.2f} [{score['min']:.2f}, {score['max']:.2f}]"


def table(paper: dict[Cell, str], ours: dict[Cell, str], chance: dict[tuple[str, str], str]) -> list[str]:
    """Return lines of text: a row for each set, metric and method, in the order of the paper, then ours."""
    rows = [("set", "metric", "method", "paper", "ours", "random")]
    sets = list(dict.fromkeys(cell[0] for cell in (*paper, *ours)))
    metrics = list(dict.fromkeys(cell[1] for cell in (*paper, *ours)))
    for cell in sorted({**paper, **ours}, key=lambda cell: (sets.index(cell[0]), metrics.index(cell[1]))):
        rows.append((*cell, paper.get(cell, "-"), ours.get(cell, "-"), chance.get(cell[:2], "-")))
    if not any(cell[0] for cell in (*paper, *ours)):
        rows = [row[1:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


if __name__ == "__main__":
    main()
