"""The sums of explanations as text: TSV and JSON lines, written and read, and tables for a person."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cbir_cli.intervals import FEWEST
from cbir_cli.randomisation import WAYS
from cbir_cli.reports.tables import Table, spell
from cbir_cli.stages.explanation_sums import Estimate, Row

_WORDS = {"file": "file", "method": "method", "class": "group", "on": "on", "metric": "metric"}
_COUNTS = {"n": "n", "left-out": "left_out", "maps-left-out": "maps_left_out"}
_BASELINES = {"random": "random", "random-network": "network"}
_ESTIMATES = {
    "own": ("mean", "low", "high"),
    "over_random": ("difference", "difference-low", "difference-high"),
    "over_network": ("network-difference", "network-difference-low", "network-difference-high"),
}
COLUMNS = (
    *_WORDS,
    *_COUNTS,
    *_ESTIMATES["own"],
    *_BASELINES,
    *_ESTIMATES["over_random"],
    *_ESTIMATES["over_network"],
)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text, one cell for each of ``COLUMNS``; six decimals, empty where not defined."""
    facts = _facts(row)
    words = [" ".join(str(facts.pop(name)).split()) for name in _WORDS]  # a tab in a file name would shift the columns
    numbers = (facts[name] for name in COLUMNS[len(words) :])
    return (*words, *("" if n is None else str(n) if isinstance(n, int) else f"{n:.6f}" for n in numbers))


def tsv(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows as TSV with a header, line by line."""
    yield "\t".join(COLUMNS) + "\n"
    for row in rows:
        yield "\t".join(cells(row)) + "\n"


def json_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows as JSON, one object a line, unrounded and with the value of every query."""
    for row in rows:
        values = [
            {"query": query, "value": value, "random": row.chance.get(query)} for query, value in row.values.items()
        ]
        facts = {name.replace("-", "_"): value for name, value in _facts(row).items()}
        yield json.dumps({**facts, "queries": values}) + "\n"


def read(facts: Mapping[str, Any]) -> Row:
    """Return a row that was written, of the cells of a TSV or of a JSON object.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is none.
    """
    named = {key.replace("_", "-"): value for key, value in facts.items()}

    def number(name: str) -> float | None:
        value = None if named[name] in ("", None) else float(named[name])
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name}: {value}")
        return value

    values: dict[str, Any] = {attribute: str(named[name]) for name, attribute in _WORDS.items()}
    values |= {attribute: int(named[name]) for name, attribute in _COUNTS.items()}
    values |= {attribute: number(name) for name, attribute in _BASELINES.items()}
    values |= {attribute: Estimate(*map(number, names)) for attribute, names in _ESTIMATES.items()}
    return Row(**values)


def _facts(row: Row) -> dict[str, Any]:
    """Return the values of a row by column."""
    facts = {name: getattr(row, attribute) for name, attribute in {**_WORDS, **_COUNTS, **_BASELINES}.items()}
    for attribute, names in _ESTIMATES.items():
        one = getattr(row, attribute)
        facts |= dict(zip(names, (one.mean, one.low, one.high), strict=True))
    return {name: facts[name] for name in COLUMNS}


NOTE = (
    "Mean over the results of each query, then over n queries, with its 95 % interval over queries from "
    f"{FEWEST} queries on. Random map: smooth random values for insertion and deletion, "
    "else the exact mean over all orders of the map's pixels. Random network: the same method on a network with "
    "random weights. Each interval is of its row alone: of twenty differences that are none, one leaves out zero by "
    "chance. The verdicts of cbir report are corrected for that."
)


def tables(rows: Iterable[Row]) -> list[Table]:
    """Return the rows for a person: the metrics, and the randomisation with a row a layer and a column a way."""
    rows = list(rows)
    measures, lost = ([row for row in rows if bool(_way(row)) is is_lost] for is_lost in (False, True))
    found: list[Table] = []
    if measures:
        names, shown = _names(measures), _columns(measures)
        lines = [
            (*(words[number] for words in names.values()), *(text[number] for text in shown.values()))
            for number in range(len(measures))
        ]
        found.append(Table("Measures of the maps", (*names, *shown), lines, "" if lost else NOTE))
    layers: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    names = {key: words for key, words in _names(lost).items() if key not in ("metric", "class")}
    for number, row in enumerate(lost):
        place = (row.metric.partition(" ")[2], *(words[number] for words in names.values()))
        layers[place][_way(row)] = _spelt(row.own)
    if lost:
        ways = list(dict.fromkeys(_way(row) for row in lost))
        cells = [(*place, *(spelt.get(way, "") for way in ways)) for place, spelt in layers.items()]
        columns = ("layer", *names, *ways)
        found.append(Table("Randomised layers: rank correlation with the maps as they were", columns, cells, NOTE))
    return found


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what a table says of rows, by column; those that would be empty, or all zero, are left out."""
    columns = {
        "n": [str(row.n) for row in rows],
        "left out": [str(row.left_out) for row in rows],
        "maps left out": [str(row.maps_left_out) for row in rows],
        "mean": [_spelt(row.own) for row in rows],
        "random map": [spell(row.random) for row in rows],
        "mean - random map": [_spelt(row.over_random) for row in rows],
        "random network": [spell(row.network) for row in rows],
        "mean - random network": [_spelt(row.over_network) for row in rows],
    }
    return {
        name: text for name, text in columns.items() if name in ("n", "mean") or not set(text) <= {"0", spell(None)}
    }


def _way(row: Row) -> str:
    """Return how the layers of a row of the randomisation were lost; nothing of other rows."""
    way = row.metric.partition(" ")[0]
    return way if way in WAYS else ""


def _names(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what a row is of, by column; columns that are the same in all rows are left out."""
    names = {
        "metric": [row.metric for row in rows],
        "class": [row.group for row in rows],
        "file": [row.file for row in rows],
        "method": [row.method for row in rows],
        "on": [row.on for row in rows],
    }
    return {key: words for key, words in names.items() if key == "metric" or len(set(words)) > 1}


def _spelt(one: Estimate) -> str:
    return spell(one.mean, one.low, one.high)
