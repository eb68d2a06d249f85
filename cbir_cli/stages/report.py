"""From artifacts and score tables to a page: the library behind ``cbir report``."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbir_cli import registry
from cbir_cli.artifacts import explanation, files, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.explanation import Explanation
from cbir_cli.artifacts.ranks import read_ranks
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.reports import page
from cbir_cli.reports.drawing import Drawing
from cbir_cli.reports.gallery import worst_first
from cbir_cli.stages import (
    report_calibration,
    report_cases,
    report_embedding,
    report_maps,
    report_measures,
    report_raters,
    report_sheets,
    report_training,
)
from cbir_cli.stages.report_cases import NONE, Row
from cbir_cli.stages.report_raters import Panel
from cbir_cli.stages.score_tables import Scores

TITLE = "Similar images, and why"


@dataclass(frozen=True)
class Report:
    """A page and its figures.

    Attributes
    ----------
    html : str
    figures : mapping of str to Drawing
        By the name of a file, without an ending.
    """

    html: str
    figures: Mapping[str, Drawing]


@dataclass(frozen=True)
class _Given:
    """The content of files by their kind, with the name of each where its place on the page needs one.

    Attributes
    ----------
    origins : dict of str to str
        By the file of an explanation the saliency method of its IG model, where that is known.
    """

    explained: list[tuple[str, Explanation]] = field(default_factory=list)
    maps: list[saliency.Maps] = field(default_factory=list)
    trained: list[tuple[str, models.Model]] = field(default_factory=list)
    embedded: list[tuple[str, Embedding]] = field(default_factory=list)
    scores: Scores = field(default_factory=Scores)
    origins: dict[str, str] = field(default_factory=dict)


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
    projection: str = report_embedding.PROJECTIONS[0],
    sheets: int = 0,
    more: Sequence[page.Section] = (),
) -> Report:
    """Return the page of some files.

    Parameters
    ----------
    names : sequence of str
        Explanation artifacts (a row each, in this order; those of the same pairs share one), saliency artifacts (a
        column each), embeddings and indexes (a map each), score tables (``.tsv`` or ``.json`` of ``cbir evaluate``) and
        models (their training curves).
    raters, rater : str, optional
        Rank table, and who in it is the reference.
    label : str, optional
        Label that frames agree on, and that images of saliency artifacts are chosen by.
    title : str, optional
        By default as what is shown.
    root, images, k
        As ``report_maps.board_of`` has them, for saliency artifacts; ``root`` for embeddings, too.
    failures_first : bool
        Open the page with the queries that failed worst.
    projection : str
        How embeddings are laid out, as ``report_embedding.section_of`` has it.
    sheets : int
        How many queries have a contact sheet among the figures; 0 makes no contact sheets.
    more : sequence of page.Section
        Shown, too: what is not made of files of ours.

    Raises
    ------
    UsageError
        If a file is of another kind, or there is nothing to show.
    SourceError
        If no query of the explanations has a result.
    CbirError
        As ``report_maps.board_of``.
    """
    ranks = read_ranks(raters) if raters else []
    with ExitStack() as stack:
        given = _read(names, stack)
        if not given.maps and images is not None:
            raise UsageError("--images is for maps, and no saliency artifact is given")
        if not (given.maps or given.embedded) and root is not None:
            raise UsageError("--root is for maps and embeddings, and no such artifact is given")
        board = report_maps.board_of(given.maps, root=root, images=images, k=k, label=label) if given.maps else None
        map_notes = report_maps.notes_of(given.maps)
        laid_out = report_embedding.section_of(given.embedded, label=label, root=root, projection=projection)
        calibrated = report_calibration.figures_of(given.embedded, label)
    rows = report_cases.rows_of(given.explained)
    labels = report_cases.labels_in(rows, label)
    panel = report_raters.panel_of(ranks, rater, labels, label) if ranks else Panel()
    cases = report_cases.cases_of(rows, panel, labels)
    sections = [*report_measures.sections_of(rows, label), *([laid_out] if given.embedded else []), *more]
    drawn = given.scores.boxes() + calibrated + report_training.figures_of(given.trained)
    if not (cases or board or drawn or given.scores or sections):
        raise _nothing(given)
    if failures_first and not cases:
        raise UsageError("--failures-first is for queries, and no explanation artifact is given")
    html = page.page(
        title=title if title is not None else TITLE if cases or not board else "Saliency maps",
        cases=cases,
        board=board,
        tables=given.scores.tables(),
        figures=drawn,
        sections=sections,
        notes=[*_raters(panel), *_notes(rows, given.origins), *map_notes],
        failures_first=failures_first,
        window=next((each.artifact.window for row in rows for each in row.explained if each.artifact.window), None),
    )
    every = [figure for section in sections for figure in section.figures] + drawn
    if sheets:
        shown = [cases[place] for place in worst_first(cases)] if failures_first else cases
        every += report_sheets.figures_of(shown, sheets)
    return Report(html, _named(every))


def _read(names: Sequence[str], stack: ExitStack) -> _Given:
    """Read files, each as what it is; maps and embeddings stay open as long as the stack."""
    given = _Given()
    paths = stack.enter_context(files.spooled(names))
    kinds = explanation.KIND, models.KIND, saliency.KIND, *report_embedding.KINDS
    for name in names:
        path = paths.get(name, name)
        if not files.is_artifact(Path(path)):
            given.scores.read(path, files.spelt(name))
            continue
        artifact = stack.enter_context(files.open_artifact(path, *kinds, name=name))
        if artifact.kind == explanation.KIND:
            given.explained.append((name, explanation.read(artifact)))
            given.origins[name] = _origin(artifact.history)
        elif artifact.kind == saliency.KIND:
            given.maps.append(saliency.read(artifact))
        elif artifact.kind == models.KIND:
            given.trained.append((files.spelt(name), models.read(path)))
        else:
            given.embedded.append((name, report_embedding.read(artifact)))
    return given


def _nothing(given: _Given) -> CbirError:
    if given.explained:
        return SourceError(f"{files.spelt(given.explained[0][0])}: holds no pairs: no query has a result")
    return UsageError("nothing to show: give explanation artifacts, maps, embeddings, score tables or trained models")


def write_figures(folder: str, drawn: Mapping[str, Drawing]) -> None:
    """Write figures as SVG and as PNG into a folder, which is made if it is not there.

    Raises
    ------
    CbirError
        If they cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CbirError(f"--figures {folder}: {error.strerror}") from error
    for name, figure in drawn.items():
        files.write_text(str(Path(folder, f"{name}.svg")), figure)
        files.write_bytes(str(Path(folder, f"{name}.png")), figure.png())


def _named(drawn: Sequence[tuple[str, str]]) -> dict[str, Drawing]:
    """Return figures by the name of a file: a number, and the first words of what is said below the figure."""
    words = [re.sub(r"[^a-z0-9]+", "-", re.split(r"[;:,]", said)[0].lower()).strip("-")[:60] for said, _ in drawn]
    names = [f"{number:02d}-{word}" for number, word in enumerate(words, 1)]
    return {name: svg for name, (_, svg) in zip(names, drawn, strict=True) if isinstance(svg, Drawing)}


def _raters(panel: Panel) -> list[str]:
    """Return whose ranks the expert ranks of the page are."""
    if len(panel.names) < 2:
        return []
    others = ", ".join(panel.names[1:])
    return [f"Expert ranks above images are those of {panel.reference}; {others} are rows of their own."]


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
