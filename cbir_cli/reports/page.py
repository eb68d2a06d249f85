"""One HTML page that shows what each method retrieved, and why.

The page is a single file that opens from disk: style, script, pictures and figures are inside, its content security
policy allows nothing from elsewhere and no script but its own, and every string given is escaped. A picture that occurs
several times is stored once: each distinct image is one SVG ``image`` element, and every place that shows it is a
``use`` of that element, which also works on paper and without JavaScript.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 4: query on the left with
and without its map, one row per method, green and red frames for same and other label, expert rank above the image.
"""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.reports import overlay
from cbir_cli.reports.board import Board
from cbir_cli.reports.gallery import EXPERT, Case, Neighbour, Row
from cbir_cli.reports.pictures import Pictures
from cbir_cli.reports.tables import Table

_TEMPLATES = Path(__file__).parent / "templates"


def page(
    *,
    title: str,
    cases: Sequence[Case],
    board: Board | None = None,
    tables: Sequence[Table] = (),
    figures: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
        Heading and window title.
    cases : sequence of Case
        Queries, in the order first shown.
    board : Board, optional
        Saliency maps of several methods, side by side.
    tables : sequence of Table
        Scores.
    figures : sequence of (str, str)
        Caption, and SVG text as made by ``reports.figures``; the SVG is not escaped and must come from there.
    notes : sequence of str
        Paragraphs at the end: what was run, on what.

    Returns
    -------
    str
        HTML, the same for the same input; holds no lone surrogates, so it encodes as UTF-8.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pictures = Pictures()
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    methods = list(dict.fromkeys(row.method for case in cases for row in case.rows))
    scales = {method: overlay.scale(_maps(cases, method)) for method in (None, *methods)}
    bars = {method: pictures.bar(scale) for method, scale in scales.items()}
    views = [_case(case, pictures, scales) for case in cases]  # fills pictures, so it comes before they are encoded
    side_by_side = _board(board, pictures) if board else None
    html = environment.get_template("page.html.j2").render(
        title=title,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        methods=methods,
        bars=bars,
        cases=views,
        board=side_by_side,
        pictures=pictures.encoded(),
        lossless=pictures.lossless,
        tables=tables,
        figures=[(caption, Markup(_inline(svg, f"f{i}-"))) for i, (caption, svg) in enumerate(figures)],
        notes=notes,
    )
    return html.encode("utf-8", "backslashreplace").decode("utf-8")  # file names may hold bytes that are no UTF-8


def _maps(cases: Sequence[Case], method: str | None) -> list[np.ndarray]:
    """All maps of a method, which share one scale; for None the queries' own maps that no method accounts for."""
    if method is None:
        return [case.query.map for case in cases if case.query.map is not None and not _claimed(case)]
    rows = [row for case in cases for row in case.rows if row.method == method]
    found = [row.query_map for row in rows] + [n.tile.map for row in rows for n in row.neighbours]
    return [values for values in found if values is not None]


def _claimed(case: Case) -> bool:
    maps = [row.query_map for row in case.rows if row.query_map is not None]
    return any(np.array_equal(values, case.query.map) for values in maps if case.query.map is not None)


_Scales = dict[str | None, overlay.Scale | None]


def _case(case: Case, pictures: Pictures, scales: _Scales) -> dict[str, Any]:
    image = pictures.image(case.query.image)
    seen: list[tuple[str | None, np.ndarray]] = [
        (row.method, row.query_map) for row in case.rows if row.query_map is not None
    ]
    if case.query.map is not None and not _claimed(case):
        seen.insert(0, (None, case.query.map))
    return {
        "id": case.query.id,
        "label": case.query_label or case.query.label,
        "picture": image,
        "failures": case.failures,
        "judged": sum(n.agrees is not None for row in case.rows if row.method != EXPERT for n in row.neighbours),
        "maps": [
            {"method": name, "zero": not values.any(), "picture": pictures.over(image, values, scales[name])}
            for name, values in seen
        ],
        "rows": [_row(row, pictures, scales[row.method]) for row in case.rows],
    }


def _row(row: Row, pictures: Pictures, scale: overlay.Scale | None) -> dict[str, Any]:
    return {
        "method": row.method,
        "note": row.note,
        "agreement": row.agreement,
        "expert": row.method == EXPERT,
        "neighbours": [_neighbour(n, row.method, pictures, scale) for n in row.neighbours],
        "columns": _columns(len(row.neighbours)),
        "distances": _distances([n.distance for n in row.neighbours]),
    }


def _board(board: Board, pictures: Pictures) -> dict[str, Any]:
    scales = [overlay.scale(line.maps[i] for line in board.lines) for i in range(len(board.columns))]
    lines = []
    for line in board.lines:
        image = pictures.image(line.tile.image)
        cells = [
            {
                "picture": pictures.over(image, values, scale),
                "zero": not values.any(),
                "note": note,
            }
            for values, scale, note in zip(line.maps, scales, line.notes, strict=True)
        ]
        lines.append({"id": line.tile.id, "label": line.tile.label, "picture": image, "cells": cells})
    bars = [pictures.bar(scale) for scale in scales]
    return {"columns": list(zip(board.columns, bars, strict=True)), "lines": lines, "chosen": board.chosen}


def _columns(count: int) -> int:
    """Spread images over lines of at most six, as evenly as can be: ten stand as five and five."""
    return math.ceil(count / math.ceil(count / 6)) if count else 1


def _distances(values: Sequence[float | None]) -> list[str]:
    """Spell the distances of a row with as many decimals as give the largest four digits; None is an empty string."""
    largest = max((abs(v) for v in values if v is not None), default=0.0)
    decimals = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 0
    return ["" if v is None else f"{v:.{decimals}f}" if decimals < 8 else f"{v:.3e}" for v in values]


def _neighbour(n: Neighbour, method: str, pictures: Pictures, scale: overlay.Scale | None) -> dict[str, Any]:
    image = pictures.image(n.tile.image)
    unknown = ("unknown", "not compared" if n.tile.label else "label not known")
    kind, words = {True: ("same", "same label"), False: ("other", "other label"), None: unknown}[n.agrees]
    said = [f"{method}, rank {n.rank}: {n.tile.id}", n.tile.label, words, "with map" if n.tile.map is not None else ""]
    return {
        "id": n.tile.id,
        "label": n.tile.label,
        "rank": n.rank,
        "expert_rank": n.expert_rank,
        "kind": kind,
        "words": words,
        "alt": ", ".join(part for part in said if part),
        "picture": image,
        "overlay": None if n.tile.map is None else pictures.over(image, n.tile.map, scale),
        "zero": n.tile.map is not None and not n.tile.map.any(),
    }


def _breakable(text: str) -> str:
    """Escape a name and let lines break after its separators, so that a file name is not broken in mid-word."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[-_./\\|=,;:])", text))


def _inline(svg: str, prefix: str) -> str:
    """Fit an SVG file's text into a page: ids that no other figure has, no style of its own, width left to the page."""
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg, count=2)
    size = r"(<svg[^>]*?)\swidth=\"([\d.]+pt)\"\sheight=\"[^\"]*\""
    svg = re.sub(size, r'\1 style="--natural:\2"', svg, count=1)
    svg = re.sub(r"(\sid=\"|href=\"#|url\(#)", rf"\g<1>{prefix}", svg)
    return svg.replace("xlink:href=", "href=")
