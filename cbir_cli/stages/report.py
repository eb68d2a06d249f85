"""From artifacts and score tables to a page: the library behind ``cbir report``."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.artifacts import explanation, files, history, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.explanation import ON_QUERY, ON_RESULT, Explanation
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import Key
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.records import UNCERTAIN
from cbir_cli.reports import figures, gallery, page, tables
from cbir_cli.scores import metric_names
from cbir_cli.stages import report_maps

TITLE = "Similar images, and why"
METHODS = {"ssim": "SSIM", "cnn": "CNN", "cnn(ig)": "CNN(IG)", "ig": "IG"}
_NUMBERS = ("mean", "min", "max", "sd", "random")


def page_of(
    names: Sequence[str],
    *,
    raters: str | None,
    rater: str | None,
    label: str | None,
    title: str | None,
    root: str | None,
    images: str | None,
    k: int,
) -> str:
    """Return the page of some files.

    Parameters
    ----------
    names : sequence of str
        Explanation artifacts (a row each, in this order), saliency artifacts (a column each), score tables (``.tsv`` or
        ``.json`` of ``cbir evaluate``) and models (their training curves).
    raters, rater : str, optional
        Rank table, and who in it is the reference.
    label : str, optional
        Label that frames agree on, and that images of saliency artifacts are chosen by.
    title : str, optional
        By default as what is shown.
    root, images, k
        As ``report_maps.board_of`` has them, for saliency artifacts.

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
        notes = [*_notes(made), *report_maps.notes_of(maps)]
    cases = _cases(made, ranks, label)
    called = metric_names((row["metric"], row.get("against", "")) for row in scores)
    scores = [{**row, "metric": name} for row, name in zip(scores, called, strict=True)]
    scores = _called(scores)
    drawn = _boxes(scores) + [
        (f"Training of {Path(name).stem}", _curves(model)) for name, model in curves if model.epochs
    ]
    if not (cases or board or drawn or scores):
        raise UsageError("nothing to show: give explanation artifacts, maps, score tables or trained models")
    heading = title if title is not None else TITLE if cases or not board else "Saliency maps"
    return page.page(title=heading, cases=cases, board=board, tables=_tables(scores), figures=drawn, notes=notes)


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


def _cases(
    made: Sequence[tuple[str, Explanation]], ranks: Mapping[Key, Mapping[str, int]], label: str | None
) -> list[gallery.Case]:
    """Return a case for each query (of each set) that any explanation has, its rows in the order of the files."""
    keys: dict[Key, None] = {}
    for _, one in made:
        for pair in range(len(one.query)):
            keys.setdefault(_key(one, pair))
    return [_case(key, made, ranks.get(key, {}), label) for key in keys]


def _case(
    key: Key, made: Sequence[tuple[str, Explanation]], order: Mapping[str, int], label: str | None
) -> gallery.Case:
    rows: list[gallery.Row] = []
    pictures: dict[str, gallery.Tile] = {}
    query: gallery.Tile | None = None
    for name, one in made:
        pairs = [p for p in range(len(one.query)) if _key(one, p) == key]
        if not pairs:
            continue
        chosen = _label_of(one, label)
        query_row = int(one.query[pairs[0]])
        codes = one.queries.stated(query_row, [name for name in chosen if name in one.queries.label_names])
        on_query = one.map_of(pairs[0], ON_QUERY)
        tile = gallery.Tile(key[2], one.query_images[query_row], on_query, gallery.words(codes))
        if query is None or (query.map is None and on_query is not None):
            query = tile
        neighbours = []
        for pair in pairs:
            result = int(one.result[pair])
            found = str(one.results.ids[result])
            stated = one.results.stated(result, [name for name in chosen if name in one.results.label_names])
            picture = gallery.Tile(found, one.result_images[result], one.map_of(pair, ON_RESULT), gallery.words(stated))
            pictures.setdefault(found, gallery.Tile(found, picture.image, None, picture.label))
            agrees = None if not codes or codes.keys() != stated.keys() else codes == stated
            if UNCERTAIN in (*codes.values(), *stated.values()):
                agrees = None
            neighbours.append(
                gallery.Neighbour(picture, int(one.rank[pair]), float(one.distance[pair]), agrees, order.get(found))
            )
        maps = [row.query_map for row in rows if row.query_map is not None]
        if on_query is not None and any(np.array_equal(one_shown, on_query) for one_shown in maps):
            on_query = None  # the same map as another row's, shown once
        rows.append(gallery.Row(_method(name, one, made), on_query, neighbours))
    if query is None:
        raise CbirError(f"query {key[2]}: no explanation holds it")
    if order:
        shown = sorted((rank, found) for found, rank in order.items() if found in pictures)
        most = max(len(row.neighbours) for row in rows)
        expert = [
            gallery.Neighbour(pictures[found], rank, None, _agreement(query.label, pictures[found].label), rank)
            for rank, found in shown[:most]
        ]
        last = expert[-1].rank if expert else 0
        absent = [str(rank) for rank in range(1, last) if rank not in {n.rank for n in expert}]
        note = f"no method retrieved rank {', '.join(absent)}" if absent else ""
        rows.insert(0, gallery.Row(gallery.EXPERT, None, expert, note))
    return gallery.Case(query, query.label, rows)


def _key(one: Explanation, pair: int) -> Key:
    seed, number = int(one.seed[pair]), int(one.set[pair])
    query = str(one.queries.ids[one.query[pair]])
    return (None, None, query) if seed < 0 else (seed, number, query)


def _label_of(one: Explanation, label: str | None) -> list[str]:
    """Return the labels that a picture is described by: the one asked for, else the task's, else the only one."""
    if label is not None:
        if label not in one.results.label_names:
            raise UsageError(f"no label {label!r}; there are: {', '.join(one.results.label_names) or 'none'}")
        return [label]
    return [t for t in one.targets if t in {*one.queries.label_names, *one.results.label_names}] or (
        one.results.label_names if len(one.results.label_names) == 1 else []
    )


def _agreement(one: str, other: str) -> bool | None:
    return one == other if one and other else None


def _method(name: str, one: Explanation, made: Sequence[tuple[str, Explanation]]) -> str:
    """Return the method's name as the papers have it, with the file's where two files share it."""
    method = METHODS.get(one.encoder, one.encoder)
    alike = sum(other.encoder == one.encoder for _, other in made)
    return method if alike == 1 else f"{method} ({Path(name).stem})"


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


def _notes(made: Sequence[tuple[str, Explanation]]) -> list[str]:
    methods = {one.method for _, one in made} - {"none"}
    said = {
        "ig": "Maps by Deep Taylor decomposition: brighter pixels speak more for the finding that the network sees.",
        "occlusion": "Occlusion maps: brighter where covering the result makes it less similar to the query.",
    }
    return [said[m] for m in sorted(methods) if m in said]
