"""What explanation artifacts know beside their maps: the part of ``cbir report`` that shows measures and classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from cbir_cli import classes
from cbir_cli.intervals import FEWEST, holm, p_value
from cbir_cli.randomisation import WAYS
from cbir_cli.reports import curves, explanation_figures, tables
from cbir_cli.reports.page import Section
from cbir_cli.reports.tables import spell
from cbir_cli.stages import explanation_sums, report_names
from cbir_cli.stages.explanation_sums import Estimate
from cbir_cli.stages.report_cases import Explained, Row
from cbir_cli.stages.report_looks import BORDER, BORDER_ALARM, lines_of

_MARK = tables.MARK
_HEALTHY = ("normal", "none", "negative", "nevus", "benign")
_BASELINES = {"over_random": curves.OF_RANDOM_MAP, "over_network": curves.OF_RANDOM_NETWORK}
_VERDICTS = [f"vs {baseline}" for baseline in _BASELINES.values()]
_LEVEL = 0.05


def sections_of(rows: Sequence[Row], label: str | None = None) -> list[Section]:
    """Return the parts of a page that explanation artifacts call for: measures, randomised networks, classes.

    Parameters
    ----------
    rows : sequence of Row
        As they stand among the queries.
    label : str, optional
        The label whose classes are told apart, instead of those of the task.

    Returns
    -------
    list of Section
        Those that have something to show.
    """
    named = _named(rows)
    sums = {
        name: explanation_sums.summed(each.artifact, each.looks.values, label)
        for name, each in named.items()
        if len(each.artifact.importance)
    }
    made = [_measures(named, sums), _randomisation(named, sums), _classes(named)]
    return [section for section in made if section.tables or section.figures]


def _named(rows: Sequence[Row]) -> dict[str, Explained]:
    """Return all artifacts by a name that is their own: that of the method, with the row's where several rows stand."""
    every = [(row, each) for row in rows for each in row.explained]
    names = [each.name if len(rows) == 1 else f"{row.title}: {each.name}" for row, each in every]
    return dict(zip(report_names.distinct(names, [each.file for _, each in every]), (e for _, e in every), strict=True))


def _spelt(one: Estimate) -> str:
    return spell(one.mean, one.low, one.high)


# --- insertion, deletion and the border -------------------------------------------------------------------------------

_Sums = Mapping[str, Sequence[explanation_sums.Row]]
Sums = dict[str, explanation_sums.Row]
"""Of one class and side, by metric."""


def _measures(named: Mapping[str, Explained], sums: _Sums) -> Section:
    measured = {name: each for name, each in named.items() if each.looks.measured}
    drawn = []
    if measured:
        drawn.append(("Mean insertion and deletion curves; the band holds half of the maps", _mean_curves(measured)))
    made = [table for table in (_areas(sums), _border(named, sums)) if table.rows]
    return Section("measures", "Measures of the maps", tables=made, figures=drawn)


def _areas(sums: _Sums) -> tables.Table:
    """Return a row for each method and class: areas with intervals, what baselines get, and what follows."""
    both_sides = len({row.on for rows in sums.values() for row in rows}) > 1
    places: dict[tuple[str, str, str], Sums] = {}
    for name, rows in sums.items():
        for row in rows:
            if row.metric in curves.KINDS:
                places.setdefault((name, row.group, row.on), {})[row.metric] = row
    lines = []
    for ((name, group, on), found), verdicts in zip(places.items(), judged(list(places.values())), strict=True):
        cells: list[str] = []
        for kind in curves.KINDS:
            one = found.get(kind)
            cells += [_spelt(one.own), spell(one.random), spell(one.network)] if one else [tables.NONE] * 3
        side = [on] if both_sides else []
        lines.append((name, group, *side, *verdicts, str(max(row.n for row in found.values())), *cells))
    heads = [words for kind in curves.KINDS for words in (kind, *_BASELINES.values())]
    columns = ("maps by", "class", *(["on"] if both_sides else []), *_VERDICTS, "queries", *heads)
    note = (
        "Area under the curve: mean over the results of each query, then over queries, with its 95 % interval from "
        f"{FEWEST} queries on (n \u2265 {FEWEST}). Larger is better for insertion, smaller for deletion. A random map "
        "has smooth random values; a random network is the same method on a network with random weights. "
        "Maps are called better than one of these if a t test of the difference, query by query, says so (p below "
        f"{_LEVEL:g}, by Holm's correction for all tests of this table), and else no better, though with few queries a "
        "small difference may be missed."
    )
    return tables.Table("Insertion and deletion", columns, lines, note)


def judged(places: Sequence[Sums]) -> list[tuple[str, ...]]:
    """Say whether maps do better than each baseline.

    Parameters
    ----------
    places : sequence of mapping of str to Row
        Of each line of a table the sums of ``insertion`` and ``deletion``, where there are any.

    Returns
    -------
    list of tuple of str
        In words, for each line and baseline, by a t test of the difference of each query, corrected for the number of
        tests in the whole table by Holm's method; marked where maps are no better.
    """
    tests = {
        (place, baseline, kind): (one.mean, p_value(one.low, one.high, row.n))
        for place, found in enumerate(places)
        for kind, row in found.items()
        for baseline in _BASELINES
        if (one := getattr(row, baseline)).mean is not None and one.low is not None
    }
    adjusted = holm([p for _, p in tests.values()])
    better = {
        test: p < _LEVEL and (mean > 0 if test[2] == "insertion" else mean < 0)
        for (test, (mean, _)), p in zip(tests.items(), adjusted.tolist(), strict=True)
    }

    def verdict(place: int, baseline: str) -> str:
        known = [kind for kind, row in places[place].items() if getattr(row, baseline).mean is not None]
        sure = {kind: better[place, baseline, kind] for kind in known if (place, baseline, kind) in better}
        if not sure:
            return "too few queries" if known else tables.NONE
        if all(sure.values()):
            return "better"
        only = [kind for kind, is_better in sure.items() if is_better]
        return f"{_MARK} better in {only[0]} only" if only else f"{_MARK} no better"

    return [tuple(verdict(place, baseline) for baseline in _BASELINES) for place in range(len(places))]


def _mean_curves(measured: Mapping[str, Explained]) -> str:
    drawn: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    fractions = {}
    for name, each in measured.items():
        measures = each.artifact.measures
        if measures is None:
            continue
        fractions[name] = np.asarray(measures.fractions)
        for line, stored in lines_of(measures).items():
            for kind in curves.KINDS:
                if (values := getattr(stored, kind)) is not None and len(values):
                    drawn.setdefault(name, {}).setdefault(kind, {})[line] = np.asarray(values, np.float64)
    return explanation_figures.mean_curves(drawn, fractions)


def _border(named: Mapping[str, Explained], sums: _Sums) -> tables.Table:
    lines: list[tuple[str, ...]] = []
    for name, rows in sums.items():
        looks = named[name].looks
        for row in rows:
            if row.metric == BORDER and row.group == classes.ALL:
                marked, maps = int(looks.marked[looks.on == row.on].sum()), int((looks.on == row.on).sum())
                empty = str(row.maps_left_out) if row.maps_left_out else ""
                cells = (_spelt(row.own), spell(row.random), f"{marked} of {maps - row.maps_left_out}", empty)
                lines.append((name, row.on, *cells, f"{_MARK} look at the border" if marked else ""))
    columns = ["maps by", "on", "share", curves.OF_RANDOM_MAP, "maps marked", "maps without relevance", ""]
    if not any(line[5] for line in lines):  # nothing was left out
        columns, lines = columns[:5] + columns[6:], [(*line[:5], *line[6:]) for line in lines]
    note = (
        f"Share of a map's positive relevance in the outer tenth of the image. Maps with more than {BORDER_ALARM:g} "
        "times the share of a random map are marked: a warning sign of shortcut learning, or anatomy that reaches the "
        "border."
    )
    return tables.Table("Relevance on the border", columns, lines, note)


# --- randomised networks ----------------------------------------------------------------------------------------------


def _randomisation(named: Mapping[str, Explained], sums: _Sums) -> Section:
    found: dict[str, dict[str, np.ndarray]] = {}
    layers: dict[str, list[str]] = {}
    made = []
    for name, rows in sums.items():
        stored = named[name].artifact.randomisation
        ways = {way: v for way in WAYS if stored and (v := getattr(stored, way)) is not None and len(v)}
        if stored is None or not ways:
            continue
        found[name], layers[name] = ways, stored.layers
        sides = list(dict.fromkeys(row.on for row in rows))
        cells = {(row.metric, row.on): _spelt(row.own) for row in rows}
        lines = [
            (layer, *(cells.get((f"{way} {layer}", on), tables.NONE) for on in sides for way in ways))
            for layer in stored.layers
        ]
        heads = [f"{way}, {on}s" if len(sides) > 1 else way for on in sides for way in ways]
        what = "maps" if stored.sign == "signed" else "magnitudes of maps"
        note = (
            f"Mean rank correlation of {what} with those of a network in which the layer alone has random weights "
            "(independent), or the layer and all nearer to the output (cascade)."
        )
        if flat := max(row.maps_left_out for row in rows if row.metric.partition(" ")[0] in WAYS):
            note += f" Left out: up to {flat} of {len(named[name].looks.on)} maps, of one value everywhere."
        made.append(tables.Table(f"Randomised layers: {name}", ("layer", *heads), lines, note))
    drawn = []
    if found:
        figure = explanation_figures.randomisation(found, layers, ylabel="rank correlation")
        drawn.append(("Rank correlation with maps of randomised networks, from the output down", figure))
    notes = [
        "A map that stays the same when the network's weights are made random does not show what the network learnt: "
        "the curves should fall towards zero."
    ]
    return Section("randomisation", "Randomised networks", made, drawn, notes if found else ())


# --- classes ----------------------------------------------------------------------------------------------------------


def _classes(named: Mapping[str, Explained]) -> Section:
    drawn = []
    for name, each in named.items():
        stored = each.artifact.classes
        if stored is None or not stored.names:
            continue
        reference = _reference(stored.names)
        svg = explanation_figures.classes(
            stored.names, stored.images, stored.maps, stored.count.tolist(), reference=reference
        )
        less = ", and the differences between classes" if len(stored.names) > 1 else ""
        drawn.append((f"Average image and average map of each class{less}: {name}", svg))
    notes = [
        "Every image is explained with itself, so a map shows what the network describes the image by. Average images "
        "differ by how the images were taken as well as by what they show, and so do the maps."
    ]
    return Section("classes", "Classes", (), drawn, notes if drawn else ())


def _reference(names: Sequence[str]) -> int:
    """Return the class that others are compared with: the one without the finding, by its name, else the first."""
    for place, name in enumerate(names):
        if name.lower() in _HEALTHY or name.lower().startswith("no "):
            return place
    return 0
