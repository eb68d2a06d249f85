"""Print what a paper states beside what `cbir evaluate --format json` measured.

    python beside.py [--percent] [--on result] paper.tsv [NAME=]scores.json ...

paper.tsv has the columns set, metric, method and value, as the paper prints it; a set is a data set or condition, and
may be empty. A score is of the set NAME; its method is the file that was scored, without folder and endings. Files of
one method in several folders, as of several trainings, are summed up: their mean, and how far they spread. What the
paper states of a set and nobody measured is printed too, and so is the other way round; a set of which nothing was
measured is left out.
"""

import argparse
import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

Cell = tuple[str, str, str]
"""Set, metric, method."""


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--percent", action="store_true", help="print percent, and standard deviations")
    parser.add_argument("--on", default="query", help="which maps of explanations count")
    parser.add_argument("paper", type=Path)
    parser.add_argument("scores", nargs="*", help="[NAME=]scores.json")
    arguments = parser.parse_args()
    files: dict[Cell, dict[str, dict]] = defaultdict(dict)
    for argument in arguments.scores:
        name, equals, path = argument.partition("=")
        for method, score in measured(Path(path if equals else name), arguments.on):
            files[name if equals else "", score["metric"], method][score["file"]] = score
    ours = {cell: spelt(list(of.values()), percent=arguments.percent) for cell, of in files.items()}
    print("\n".join(table(stated(arguments.paper), ours)))


def stated(path: Path) -> dict[Cell, str]:
    """Return the values of a paper as it prints them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {(row["set"] or "", row["metric"], row["method"]): row["value"] for row in rows}


def measured(path: Path, on: str) -> Iterator[tuple[str, dict]]:
    """Yield method and score of each row that is of all queries, of explanations those of maps on ``on``.

    What the method gets on a network with fresh weights, where that was measured, is a method of its own.
    """
    for line in path.read_text("utf-8").splitlines():
        score = json.loads(line)
        apart = score.get("group") or (score.get("class", "all"), score.get("on", on)) != ("all", on)
        if apart or score["mean"] is None:
            continue
        method = Path(score["file"]).name.split(".")[0].removeprefix("rater ")
        yield method, score
        if score.get("random_network") is not None:
            same = {key: score[key] for key in ("file", "metric", "random")}
            yield f"{method} (random)", same | {"mean": score["random_network"]}


def spelt(scores: list[dict], *, percent: bool) -> tuple[str, str]:
    """Return the scores of a method, and the random baseline, as text.

    A mean has its standard deviation in percent, else the smallest and largest.
    """
    means = [score["mean"] for score in scores]
    spread = {"min": min(means), "max": max(means), "sd": statistics.stdev(means)} if len(means) > 1 else scores[0]
    mean = statistics.fmean(means)
    randoms = [score["random"] for score in scores if score["random"] is not None]
    random = statistics.fmean(randoms) if randoms else None
    if percent:
        ours = f"{100 * mean:.1f}" + (f" ± {100 * spread['sd']:.1f}" if spread.get("sd") is not None else "")
        return ours, "-" if random is None else f"{100 * random:.1f}"
    ranged = spread.get("min") is not None
    ours = f"{mean:.2f} [{spread['min']:.2f}, {spread['max']:.2f}]" if ranged else f"{mean:.3f}"
    return ours, "-" if random is None else f"{random:.2f}"


def table(paper: dict[Cell, str], ours: dict[Cell, tuple[str, str]]) -> list[str]:
    """Return lines of text: a row for each set, metric and method, in the order of the paper, then ours."""
    here = {cell[0] for cell in ours}
    cells = list(dict.fromkeys(cell for cell in (*paper, *ours) if cell[0] in here))
    sets = list(dict.fromkeys(cell[0] for cell in cells))
    metrics = list(dict.fromkeys(cell[:2] for cell in cells))
    rows = [("set", "metric", "method", "paper", "ours", "random")]
    for cell in sorted(cells, key=lambda cell: (sets.index(cell[0]), metrics.index(cell[:2]))):
        rows.append((*cell, paper.get(cell, "-"), *ours.get(cell, ("-", "-"))))
    if here <= {""}:
        rows = [row[1:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


if __name__ == "__main__":
    main()
