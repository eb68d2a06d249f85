"""The sums of explanations as text: TSV, JSON lines, and tables for a person."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

from cbir_cli.randomisation import WAYS
from cbir_cli.stages.explanations import Row

COLUMNS = (
    *("file", "method", "class", "on", "measure", "n", "mean", "low", "high"),
    *("random", "random-model", "difference", "difference-low", "difference-high"),
)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text, one cell for each of ``COLUMNS``; four decimals, empty where not defined."""
    means = (row.mean, row.low, row.high, row.random, row.random_model)
    numbers = (*means, row.difference, row.difference_low, row.difference_high)
    words = (" ".join(word.split()) for word in (row.file, row.method, row.group, row.on, row.measure))
    return (*words, str(row.n), *("" if number is None else f"{number:.4f}" for number in numbers))


def tsv(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows as TSV with a header, line by line."""
    yield "\t".join(COLUMNS) + "\n"
    for row in rows:
        yield "\t".join(cells(row)) + "\n"


def json_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows as JSON, one object a line, unrounded and with the value of every query."""
    for row in rows:
        words = {"file": row.file, "method": row.method, "class": row.group, "on": row.on, "measure": row.measure}
        numbers = {"n": row.n, "left_out": row.left_out, "mean": row.mean, "low": row.low, "high": row.high}
        numbers |= {"random": row.random, "random_model": row.random_model, "difference": row.difference}
        numbers |= {"difference_low": row.difference_low, "difference_high": row.difference_high}
        values = [
            {"query": query, "value": value, "random": row.chance.get(query)} for query, value in row.values.items()
        ]
        yield json.dumps({**words, **numbers, "queries": values}) + "\n"


NOTE = (
    "mean over the results of each query, then over queries; 95 % bootstrap interval over queries; random: a random "
    "order of the pixels; random model: the same method on fresh weights"
)
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Return the rows for a person: the measures, and the randomisation with a row a layer and a column a way."""
    measures = [row for row in rows if _way(row) is None]
    names = _names(measures)
    found: list[Table] = []
    if measures:
        lines = [
            (
                *(words[number] for words in names.values()),
                str(row.n),
                _spelt(row.mean, row.low, row.high),
                _spelt(row.random),
                _spelt(row.random_model),
                _spelt(row.difference, row.difference_low, row.difference_high),
            )
            for number, row in enumerate(measures)
        ]
        found.append(((*names, "n", "mean", "random", "random model", "mean - random"), lines))
    layers: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    lost = [row for row in rows if _way(row)]
    names = {key: words for key, words in _names(lost).items() if key not in ("measure", "class")}
    for number, row in enumerate(lost):
        way, layer = str(_way(row)), row.measure.partition(" ")[2]
        place = (layer, *(words[number] for words in names.values()))
        layers[place][way] = _spelt(row.mean, row.low, row.high)
    if lost:
        ways = list(dict.fromkeys(str(_way(row)) for row in lost))
        cells = [(*place, *(spelt.get(way, "") for way in ways)) for place, spelt in layers.items()]
        found.append((("layer drawn anew", *names, *ways), cells))
    return found


def _way(row: Row) -> str | None:
    """Return how the layers of a row of the randomisation were lost."""
    way = row.measure.partition(" ")[0]
    return way if way in WAYS else None


def _names(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what a row is of, by column; columns that are the same in all rows are left out."""
    names = {
        "measure": [row.measure for row in rows],
        "class": [row.group for row in rows],
        "file": [row.file for row in rows],
        "method": [row.method for row in rows],
        "on": [row.on for row in rows],
    }
    return {key: words for key, words in names.items() if key == "measure" or len(set(words)) > 1}


def _spelt(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    if mean is None:
        return ""
    return f"{mean:.3f}" if low is None or high is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
