"""What explanation artifacts know beside their maps: the part of ``cbir report`` that shows measures and classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from cbir_cli import classes
from cbir_cli.evaluation import parse_metrics
from cbir_cli.randomisation import WAYS
from cbir_cli.reports import curves, explanation_figures, tables
from cbir_cli.reports.page import Section
from cbir_cli.stages import explanations, localisation, report_names
from cbir_cli.stages.report_cases import Explained, Row
from cbir_cli.stages.report_looks import BORDER_ALARM, lines_of

_BORDER, _MARK = "border-mass", tables.MARK
_HEALTHY = ("normal", "none", "negative", "nevus", "benign")


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
    chosen = localisation.parametrised(parse_metrics([*curves.KINDS, _BORDER]), [])
    sums = {
        name: explanations.summed(each.artifact, each.file, chosen, label=label)
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


def _spell(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    if mean is None:
        return tables.NONE
    return f"{mean:.2f}" if low is None or high is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


# --- insertion, deletion and the border -------------------------------------------------------------------------------

_Sums = Mapping[str, Sequence[explanations.Row]]


def _measures(named: Mapping[str, Explained], sums: _Sums) -> Section:
    measured = {name: each for name, each in named.items() if each.looks.areas}
    drawn = []
    if measured:
        drawn.append(("Mean insertion and deletion curves; the band holds half of the maps", _mean_curves(measured)))
    made = [table for table in (_areas(sums), _border(named, sums)) if table.rows]
    return Section("measures", "Measures of the maps", tables=made, figures=drawn)


def _areas(sums: _Sums) -> tables.Table:
    """Return a row for each method and class: areas with intervals, what baselines get, and what follows."""
    both_sides = len({row.on for rows in sums.values() for row in rows}) > 1
    lines = []
    for name, rows in sums.items():
        by_place: dict[tuple[str, str], dict[str, explanations.Row]] = {}
        for row in rows:
            if row.measure in curves.KINDS:
                by_place.setdefault((row.group, row.on), {})[row.measure] = row
        for (group, on), found in by_place.items():
            cells: list[str] = []
            for kind in curves.KINDS:
                one = found.get(kind)
                cells += (
                    [_spell(one.mean, one.low, one.high), _spell(one.random), _spell(one.random_model)]
                    if one
                    else [tables.NONE] * 3
                )
            side = [on] if both_sides else []
            count = str(max(row.n for row in found.values()))
            lines.append((name, group, *side, judged(found), count, *cells))
    heads = [words for kind in curves.KINDS for words in (kind, "random map", "network")]
    columns = ("maps by", "class", *(["on"] if both_sides else []), "maps say", "queries", *heads)
    note = (
        "Area under the curve: mean over the results of each query, then over queries, with the 95 % bootstrap "
        "interval. Larger is better for insertion, smaller for deletion. Beside it, what a map of random order gets, "
        "and a map of the same method on a network with random weights. Maps say more than a random map if the "
        "interval of the difference, query by query, leaves out zero."
    )
    return tables.Table("Insertion and deletion", columns, lines, note)


def judged(found: Mapping[str, explanations.Row]) -> str:
    """Say whether maps do better than maps of random order, by the interval of the difference of each query.

    Parameters
    ----------
    found : mapping of str to Row
        The sums of ``insertion`` and ``deletion``, where there are any.

    Returns
    -------
    str
        In words; where the maps of a network with fresh weights do as well, that is said too.
    """
    told = {kind: row for kind, row in found.items() if row.difference_low is not None}
    if not told:
        return "cannot be told"
    better = [kind for kind, row in told.items() if _better(kind, row.difference_low, row.difference_high)]
    if not better:
        said = f"{_MARK} no more than a random map"
    elif len(better) < len(told):
        said = f"{_MARK} more than a random map in {better[0]} only"
    else:
        said = "more than a random map"
    models = {kind: row.random_model for kind, row in told.items() if row.random_model is not None}
    gains = {kind: (told[kind].mean or 0.0) - value for kind, value in models.items()}
    if gains and not any(_better(kind, gain, gain) for kind, gain in gains.items()):
        said += f"; {'' if said.startswith(_MARK) else _MARK + ' '}no more than a random network's"
    return said


def _better(kind: str, low: float | None, high: float | None) -> bool:
    """Whether a gain in insertion, or a loss in deletion, is beyond doubt."""
    return (low is not None and low > 0) if kind == "insertion" else (high is not None and high < 0)


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
    lines = []
    for name, rows in sums.items():
        looks = named[name].looks
        for row in rows:
            if row.measure != _BORDER or row.group != classes.ALL:
                continue
            here = np.isfinite(looks.border) & (looks.on == row.on)
            marked = int((looks.border[here] > BORDER_ALARM * looks.even[here]).sum())
            share = [_spell(row.mean, row.low, row.high), _spell(row.random), f"{marked} of {int(here.sum())}"]
            lines.append((name, row.on, *share, f"{_MARK} look at the border" if marked else ""))
    note = (
        f"Share of a map's positive relevance in the outer tenth of the image; marked are maps with more than "
        f"{BORDER_ALARM:g} times what an even map has. It may be a shortcut, or anatomy that reaches the border."
    )
    columns = ("maps by", "on", "share", "even map", "maps marked", "")
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
        cells = {(row.measure, row.on): _spell(row.mean, row.low, row.high) for row in rows}
        lines = [
            (layer, *(cells.get((f"{way} {layer}", on), tables.NONE) for on in sides for way in ways))
            for layer in stored.layers
        ]
        heads = [f"{way}, {on}s" if len(sides) > 1 else way for on in sides for way in ways]
        what = "maps" if stored.sign == "signed" else "magnitudes of maps"
        note = (
            f"Mean rank correlation of {what} with those of a network that lost the layer alone (independent), or it "
            "and all nearer to the output (cascade)."
        )
        made.append(tables.Table(f"Layers lost: {name}", ("layer", *heads), lines, note))
    drawn = []
    if found:
        figure = explanation_figures.randomisation(found, layers, ylabel="rank correlation")
        drawn.append(("Rank correlation with maps of a network that lost its layers, output first", figure))
    notes = [
        "A map that stays as it was when the network forgets what it learnt does not show what the network learnt: the "
        "curves should fall towards zero."
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
