"""From artifacts and score tables to a page: the library behind ``cbir report``."""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir_cli import registry
from cbir_cli.artifacts import explanation, files, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.explanation import Explanation
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import Key
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.reports import figures, page
from cbir_cli.stages import report_cases, report_maps, report_measures
from cbir_cli.stages.report_cases import NONE, Row
from cbir_cli.stages.score_tables import Scores

TITLE = "Similar images, and why"


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
    SourceError
        If no query of the explanations has a result.
    CbirError
        As ``report_maps.board_of``.
    """
    ranks = _orders(read_ranks(raters), rater) if raters else {}
    made: list[tuple[str, Explanation]] = []
    maps: list[saliency.Maps] = []
    curves: list[tuple[str, models.Model]] = []
    origins: dict[str, str] = {}
    scores = Scores()
    with ExitStack() as stack:
        paths = stack.enter_context(files.spooled(names))
        for name in names:
            path = paths.get(name, name)
            if not files.is_artifact(Path(path)):
                scores.read(path, files.spelt(name))
                continue
            kinds = explanation.KIND, models.KIND, saliency.KIND
            artifact = stack.enter_context(files.open_artifact(path, *kinds, name=name))
            if artifact.kind == explanation.KIND:
                made.append((name, explanation.read(artifact)))
                origins[name] = _origin(artifact.history)
            elif artifact.kind == saliency.KIND:
                maps.append(saliency.read(artifact))
            else:
                curves.append((files.spelt(name), models.read(path)))
        if not maps and (root is not None or images is not None):
            raise UsageError("--root and --images are for maps, and no saliency artifact is given")
        board = report_maps.board_of(maps, root=root, images=images, k=k, label=label) if maps else None
        map_notes = report_maps.notes_of(maps)
    rows = report_cases.rows_of(made)
    cases = report_cases.cases_of(rows, ranks, label)
    sections = report_measures.sections_of(rows, label)
    drawn = scores.boxes() + [
        (f"Training of {Path(name).stem}", _curves(model)) for name, model in curves if model.epochs
    ]
    if made and not (cases or board or drawn or scores):
        raise SourceError(f"{files.spelt(made[0][0])}: holds no pairs: no query has a result")
    if failures_first and not cases:
        raise UsageError("--failures-first is for queries, and no explanation artifact is given")
    if not (cases or board or drawn or scores):
        raise UsageError("nothing to show: give explanation artifacts, maps, score tables or trained models")
    heading = title if title is not None else TITLE if cases or not board else "Saliency maps"
    html = page.page(
        title=heading,
        cases=cases,
        board=board,
        tables=scores.tables(),
        figures=drawn,
        sections=sections,
        notes=[*_notes(rows, origins), *map_notes],
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


def _orders(rows: Sequence[RankRow], rater: str | None) -> dict[Key, dict[str, int]]:
    raters = list(dict.fromkeys(row.rater for row in rows))
    chosen = rater or ("R1" if "R1" in raters else raters[0] if raters else "")
    if rater and rater not in raters:
        raise UsageError(f"no rater {rater!r}; there are: {', '.join(raters)}")
    orders: dict[Key, dict[str, int]] = {}
    for row in rows:
        if row.rater == chosen:
            orders.setdefault(row.key, {})[row.id] = int(row.rank)
    return orders


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


def _notes(rows: Sequence[Row], origins: Mapping[str, str]) -> list[str]:
    """Return what the maps of some methods mean, and how each artifact's were made.

    Parameters
    ----------
    origins : mapping of str to str
        By file the saliency method of an IG model, where that is known.
    """
    explained = [each for row in rows for each in row.explained if each.artifact.method != NONE]
    methods = {each.artifact.method for each in explained} & set(registry.names("similarity"))
    told = [f"Maps by {method}: {registry.load('similarity', method).SAYS}" for method in sorted(methods)]
    for each in explained:
        origin = origins.get(each.file) if each.artifact.method == "ig" else None
        how = {**({"saliency method": origin} if origin else {}), **dict(sorted(each.artifact.parameters.items()))}
        parts = [f"{key} {value}" for key, value in how.items() if value not in ("", None)]
        if parts:
            told.append(f"{each.name}: {', '.join(parts)}.")
    return told


def _origin(past: Sequence[Mapping[str, Any]]) -> str:
    """Return the saliency method whose maps an IG model was trained on; nothing if its past names none or several."""
    methods = {str(entry["parameters"].get("method", "")) for entry in past if entry["command"] == "saliency"}
    return methods.pop() if len(methods) == 1 else ""
