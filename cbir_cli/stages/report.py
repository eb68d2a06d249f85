"""From artifacts and score tables to a page: the library behind ``cbir report``."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir_cli.artifacts import explanation, files, history, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.explanation import Explanation
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import Key
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.reports import figures, page, tables
from cbir_cli.scores import metric_names
from cbir_cli.stages import report_cases, report_maps, report_measures
from cbir_cli.stages.report_cases import NONE, Row

TITLE = "Similar images, and why"
_NUMBERS = ("mean", "min", "max", "sd", "random")


@dataclass(frozen=True)
class Report:
    """A page and its figures.

    Attributes
    ----------
    html : str
    figures : mapping of str to str
        SVG by the name of a file.
    """

    html: str
    figures: Mapping[str, str]


def report_of(
    names: Sequence[str],
    *,
    raters: str | None,
    rater: str | None,
    label: str | None,
    title: str | None,
    root: str | None,
    images: str | None,
    k: int,
    failures_first: bool = False,
) -> Report:
    """Return the page of some files.

    Parameters
    ----------
    names : sequence of str
        Explanation artifacts (a row each, in this order; those of the same pairs share one), saliency artifacts (a
        column each), score tables (``.tsv`` or ``.json`` of ``cbir evaluate``) and models (their training curves).
    raters, rater : str, optional
        Rank table, and who in it is the reference.
    label : str, optional
        Label that frames agree on, and that images of saliency artifacts are chosen by.
    title : str, optional
        By default as what is shown.
    root, images, k
        As ``report_maps.board_of`` has them, for saliency artifacts.
    failures_first : bool
        Open the page with the queries that failed worst.

    Raises
    ------
    UsageError
        If a file is of another kind, or there is nothing to show.
    CbirError
        As ``report_maps.board_of``.
    """
    ranks = _orders(read_ranks(raters), rater) if raters else {}
    made: list[tuple[str, Explanation]] = []
    maps: list[saliency.Maps] = []
    curves: list[tuple[str, models.Model]] = []
    scores: list[dict[str, Any]] = []
    with ExitStack() as stack:
        for name in names:
            if name != files.STDIO and not files.is_artifact(Path(name)):
                scores += read_scores(name)
                continue
            artifact = stack.enter_context(files.open_artifact(name, explanation.KIND, models.KIND, saliency.KIND))
            if artifact.kind == explanation.KIND:
                made.append((name, explanation.read(artifact)))
            elif artifact.kind == saliency.KIND:
                maps.append(saliency.read(artifact))
            else:
                curves.append((name, models.read(name)))
        if not maps and (root is not None or images is not None):
            raise UsageError("--root and --images are for maps, and no saliency artifact is given")
        board = report_maps.board_of(maps, root=root, images=images, k=k, label=label) if maps else None
        map_notes = report_maps.notes_of(maps)
    rows = report_cases.rows_of(made)
    cases = report_cases.cases_of(rows, ranks, label)
    sections = report_measures.sections_of(rows, label)
    called = metric_names((row["metric"], row.get("against", "")) for row in scores)
    scores = [{**row, "metric": name} for row, name in zip(scores, called, strict=True)]
    scores = _called(scores)
    drawn = _boxes(scores) + [
        (f"Training of {Path(name).stem}", _curves(model)) for name, model in curves if model.epochs
    ]
    if failures_first and not cases:
        raise UsageError("--failures-first is for queries, and no explanation artifact is given")
    if not (cases or board or drawn or scores):
        raise UsageError("nothing to show: give explanation artifacts, maps, score tables or trained models")
    heading = title if title is not None else TITLE if cases or not board else "Saliency maps"
    html = page.page(
        title=heading,
        cases=cases,
        board=board,
        tables=_tables(scores),
        figures=drawn,
        sections=sections,
        notes=[*_notes(rows), *map_notes],
        failures_first=failures_first,
    )
    every = [figure for section in sections for figure in section.figures] + drawn
    return Report(html, dict(zip(_files([caption for caption, _ in every]), (svg for _, svg in every), strict=True)))


def write_figures(folder: str, drawn: Mapping[str, str]) -> None:
    """Write figures into a folder, which is made if it is not there.

    Raises
    ------
    CbirError
        If they cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CbirError(f"--figures {folder}: {error.strerror}") from error
    for name, svg in drawn.items():
        files.write_text(str(Path(folder, name)), svg)


def _files(captions: Sequence[str]) -> list[str]:
    """Return a file name for each figure: its number, and the first words of what is said below it."""
    words = [re.sub(r"[^a-z0-9]+", "-", re.split(r"[;:,]", caption)[0].lower()).strip("-")[:60] for caption in captions]
    return [f"{number:02d}-{word}.svg" for number, word in enumerate(words, 1)]


def read_scores(name: str) -> list[dict[str, Any]]:
    """Read what ``cbir evaluate`` printed, TSV or JSON lines.

    Raises
    ------
    CbirError
        If the file is neither.
    """
    try:
        lines = [line for line in Path(name).read_text("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise CbirError(f"{name}: expected a score table, found binary data") from error
    except OSError as error:
        raise CbirError(f"{name}: {error.strerror}") from error
    header = lines[0].split("\t") if lines else []
    found: list[Any] = []
    with suppress(ValueError):
        if header[:2] == ["file", "metric"]:
            for line in lines[1:]:
                row: dict[str, Any] = dict(zip(header, line.split("\t"), strict=True))
                found.append({**row, **{key: float(row[key]) if row.get(key) else None for key in _NUMBERS}})
        else:
            found = [json.loads(line) for line in lines]
        if lines and all(_is_score(row) for row in found):
            return found
    raise CbirError(f"{name}: expected a score table of cbir evaluate (TSV or JSON lines), or an artifact")


def _is_score(row: Any) -> bool:
    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and math.isfinite(value)

    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ("file", "metric"))
        and all(row.get(key) is None or is_number(row[key]) for key in _NUMBERS)
        and isinstance(row.get("queries", []), list)
        and all(isinstance(query, dict) and is_number(query.get("value")) for query in row.get("queries", []))
    )


def _orders(rows: Sequence[RankRow], rater: str | None) -> dict[Key, dict[str, int]]:
    raters = list(dict.fromkeys(row.rater for row in rows))
    chosen = rater or ("R1" if "R1" in raters else raters[0] if raters else "")
    if rater and rater not in raters:
        raise UsageError(f"no rater {rater!r}; there are: {', '.join(raters)}")
    orders: dict[Key, dict[str, int]] = {}
    for row in rows:
        if row.rater == chosen:
            orders.setdefault(row.key, {})[row.id] = row.rank
    return orders


def _called(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return scores whose files are called as the page may name them: by their last names if those differ."""
    files = list(dict.fromkeys(row["file"] for row in scores))
    stems = [Path(name).stem for name in files]
    names = stems if len(set(stems)) == len(stems) else history.public_paths(files)
    called = dict(zip(files, names, strict=True))
    return [{**row, "file": called[row["file"]]} for row in scores]


def _tables(scores: Sequence[Mapping[str, Any]]) -> list[tables.Table]:
    if not scores:
        return []
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    methods = list(dict.fromkeys(row["file"] for row in scores))
    cells = {(row["metric"], row["file"]): _spell(row) for row in scores}
    random = {row["metric"]: row["random"] for row in scores if row.get("random") is not None}
    rows = [
        (
            metric,
            *(cells.get((metric, method), tables.NONE) for method in methods),
            f"{random[metric]:.2f}" if metric in random else tables.NONE,
        )
        for metric in metrics
    ]
    columns = ("metric", *methods, "random")
    return [
        tables.Table("Scores", columns, tuple(rows), "mean [smallest, largest]; random is the exact mean by chance")
    ]


def _spell(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return tables.NONE
    if row.get("min") is None:
        return f"{row['mean']:.2f}"
    return f"{row['mean']:.2f} [{row['min']:.2f}, {row['max']:.2f}]"


def _boxes(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return box plots where the score table has the value of every query (JSON lines)."""
    panels: dict[str, dict[str, list[float]]] = {}
    random: dict[str, float] = {}
    for row in scores:
        if row.get("queries"):
            values = [q["value"] for q in row["queries"]]
            panels.setdefault(row["metric"], {})[row["file"]] = values
            if row.get("random") is not None:
                random[row["metric"]] = row["random"]
    graded = {metric: values for metric, values in panels.items() if metric.startswith("ndcg")}
    other = {metric: values for metric, values in panels.items() if metric not in graded}
    drawn = []
    if graded:
        drawn.append(("nDCG of each query by method", figures.box_plot(graded, random, ylabel="nDCG")))
    if other:
        drawn.append(("Class agreement of each query by method", figures.box_plot(other, random, ylabel="score")))
    return drawn


def _curves(model: models.Model) -> str:
    def series(name: str) -> list[float]:
        return [math.nan if e.get(name) is None else float(e[name]) for e in model.epochs]

    curves: dict[str, dict[str, list[float]]] = {"loss": {"train": series("loss")}}
    if any("validation_loss" in e and e["validation_loss"] is not None for e in model.epochs):
        curves["loss"]["validation"] = series("validation_loss")
    for name in ("f1", "auroc"):
        if any(e.get(name) is not None for e in model.epochs):
            curves[name] = {"validation": series(name)}
    best = model.scores.get("best_epoch")
    return figures.history(curves, best=int(best) if best else None)


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return what the maps of some methods mean, and how each artifact's were made."""
    explained = [each for row in rows for each in row.explained if each.artifact.method != NONE]
    said = {
        "ig": "Maps by Deep Taylor decomposition: brighter pixels speak more for the finding that the network sees.",
        "occlusion": "Occlusion maps: brighter where covering the result makes it less similar to the query.",
    }
    told = [said[method] for method in sorted({each.artifact.method for each in explained}) if method in said]
    for each in explained:
        parts = [f"{key} {value}" for key, value in sorted(each.artifact.parameters.items()) if value not in ("", None)]
        if parts:
            told.append(f"{each.name}: {', '.join(parts)}.")
    return told
