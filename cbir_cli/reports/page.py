"""One HTML page that shows what each method retrieved, and why.

The page is a single file that opens from disk (see ``offline``). A picture that occurs several times is stored once:
each distinct image is one SVG ``image`` element, and every place that shows it is a ``use`` of that element, which also
works on paper and, up to a thousand pictures, without JavaScript.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 4: query on the left with
and without its map, one row per method, green and red frames for same and other label, expert rank above the image.
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022, Figs. 4 and 5: the query in blue, and
queries whose results are wrong on their own.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cbir_cli.reports import offline, overlay
from cbir_cli.reports.board import Board
from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile, worst_first
from cbir_cli.reports.layers import Layers
from cbir_cli.reports.pictures import Pictures, Place
from cbir_cli.reports.tables import MARK, Table
from cbir_cli.windows import PRESETS

_STYLES = ("page.css", "looks.css", "paper.css")
_WAITING = 1000  # pictures or tiles; of more, queries wait in templates until shown, or a browser works for seconds
_LINE = 6  # images in a line of a row, at most
_SCRIPTS = ("page.js", "greys.js", "looks.js", "view.js")


@dataclass(frozen=True)
class Section:
    """A part of the page with tables and figures of its own.

    Parameters
    ----------
    name : str
        Its address on the page, in letters.
    title : str
        Heading.
    tables : sequence of Table
    figures : sequence of (str, str)
        Caption, and SVG text as made by ``reports.figures``; the SVG is not escaped and must come from there.
    notes : sequence of str
        Paragraphs under the heading.
    """

    name: str
    title: str
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def page(
    *,
    title: str,
    cases: Sequence[Case],
    board: Board | None = None,
    tables: Sequence[Table] = (),
    figures: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
    notes: Sequence[str] = (),
    failures_first: bool = False,
    window: tuple[float, float] | None = None,
) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
        Heading and window title.
    cases : sequence of Case
        Queries, in the order given.
    board : Board, optional
        Saliency maps of several methods, side by side.
    tables : sequence of Table
        Scores.
    figures : sequence of (str, str)
        Caption, and SVG text as made by ``reports.figures``; the SVG is not escaped and must come from there.
    sections : sequence of Section
        Parts between the images and the scores.
    notes : sequence of str
        Paragraphs at the end: what was run, on what.
    failures_first : bool
        Open with the queries that failed worst; the page can always be switched to either order.
    window : tuple of float, optional
        LOW and HIGH in Hounsfield units, through which CT images are first shown; those with Hounsfield units can be
        seen through others.

    Returns
    -------
    str
        HTML, the same for the same input; holds no lone surrogates, so it encodes as UTF-8.
    """
    pictures = Pictures()
    methods = list(dict.fromkeys(row.method for case in cases for row in case.rows))
    layers = Layers(cases, pictures)
    bars = {method: layers.bars(method) for method in methods}
    views = [_case(case, pictures, layers) for case in cases]  # fills pictures, which are encoded after it
    for place, case in enumerate(worst_first(cases)):
        views[case] |= {"number": case + 1, "worst": place}
    if failures_first:
        views.sort(key=lambda view: view["worst"])
    side_by_side = _board(board, pictures) if board else None
    sections = [*sections, Section("scores", "Scores", tables=tables), Section("figures", "Figures", figures=figures)]
    units = pictures.units() if window else {}
    encoded = pictures.encoded()
    return offline.render(
        "page.html.j2",
        styles=_STYLES,
        scripts=_SCRIPTS,
        style=_switch(len(layers.names)),
        title=title,
        methods=methods,
        layers=layers,
        bars=bars,
        cases=views,
        failures_first=failures_first,
        board=side_by_side,
        pictures=encoded,
        waiting=max(len(encoded), sum(len(row.neighbours) for case in cases for row in case.rows)) > _WAITING,
        lossless=pictures.lossless,
        part=pictures.part,
        window=window if units else None,
        windows={f"{name}, {low:g} to {high:g}": (f"{low:g}", f"{high:g}") for name, (low, high) in PRESETS.items()},
        units=units,
        depth_part=pictures.depth_part,
        sections=_inlined(sections),
        mark=MARK,
        notes=notes,
    )


def _switch(count: int) -> str:
    """Return the style that shows one of several explainers: the one that the document's root names."""
    hidden = (f'html:not([data-layer="{i}"]) .l{i}' for i in range(count))
    return "".join(f"{selector} {{ visibility: hidden; }}\n" for selector in hidden)


def _inlined(sections: Sequence[Section]) -> list[Section]:
    """Return the sections that hold something, with the text of their figures made fit for a page."""
    from markupsafe import Markup

    fit, count = [], 0
    for section in sections:
        if section.tables or section.figures or section.notes:
            drawn = []
            for caption, svg in section.figures:
                drawn.append((caption, Markup(_inline(svg, f"f{count}-"))))
                count += 1
            fit.append(replace(section, figures=drawn))
    return fit


def _case(case: Case, pictures: Pictures, layers: Layers) -> dict[str, Any]:
    image = _picture(case.query, pictures)
    maps = [
        {
            "methods": [row.method, *(other.method for other in case.rows if other.query_looks_of == row.method)],
            "looks": layers.over(row.method, image, row.query_looks),
        }
        for row in case.rows
        if row.query_looks and image
    ]
    return {
        "id": case.query.id,
        "label": case.query_label or case.query.label,
        "disputed": case.query.disputed,
        "expert": case.expert,
        "picture": image,
        "failures": case.failures,
        "judged": case.judged,
        "maps": maps,
        "lines": sum(math.ceil(max(1, len(row.neighbours)) / _LINE) for row in case.rows),
        "rows": [_row(row, pictures, layers, image) for row in case.rows],
    }


def _picture(tile: Tile, pictures: Pictures) -> Place | None:
    """Return the place of an image; None of one that is a name alone."""
    return None if tile.image is None else pictures.image(tile.image, tile.hounsfield)


def _row(row: Row, pictures: Pictures, layers: Layers, query: Place | None) -> dict[str, Any]:
    return {
        "method": row.method,
        "note": row.note,
        "agreement": row.agreement,
        "rater": row.rater,
        "reference": row.reference,
        "measured": any(look.curves for n in row.neighbours for look in n.tile.looks.values()),
        "neighbours": [
            _neighbour(n, row.method, pictures, layers, query)
            | {"skipped": n.rank - row.neighbours[place - 1].rank - 1 if place and n.far else 0}
            for place, n in enumerate(row.neighbours)
        ],
        "columns": _columns(len(row.neighbours)),
        "distances": _distances([n.distance for n in row.neighbours]),
    }


def _board(board: Board, pictures: Pictures) -> dict[str, Any]:
    scales = [overlay.scale(line.maps[i] for line in board.lines) for i in range(len(board.columns))]
    lines = []
    for line in board.lines:
        image = pictures.image(line.tile.image)  # type: ignore[arg-type]  # maps lie on pictures
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
    return math.ceil(count / math.ceil(count / _LINE)) if count else 1


def _distances(values: Sequence[float | None]) -> list[str]:
    """Spell the distances of a row with as many decimals as give the largest four digits; None is an empty string."""
    largest = max((abs(v) for v in values if v is not None), default=0.0)
    decimals = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 0
    return ["" if v is None else f"{v:.{decimals}f}" if decimals < 8 else f"{v:.3e}" for v in values]


def _neighbour(n: Neighbour, method: str, pictures: Pictures, layers: Layers, query: Place | None) -> dict[str, Any]:
    image = _picture(n.tile, pictures)
    unknown = ("unknown", "not compared" if n.tile.label else "label not known")
    kind, words = {True: ("same", "same label"), False: ("other", "other label"), None: unknown}[n.agrees]
    place = f"rank {n.rank}" if n.rank else "the query itself"
    mapped = "with map" if n.tile.looks else ""
    said = [f"{method}, {place}: {n.tile.id}", n.tile.label, words, n.tile.disputed, mapped]
    pair = layers.over(method, query, n.query_looks) if query else []
    return {
        "id": n.tile.id,
        "label": n.tile.label,
        "rank": n.rank,
        "expert_rank": None if n.expert_rank is None else f"{n.expert_rank:g}",
        "kind": kind,
        "words": words,
        "disputed": n.tile.disputed,
        "alt": ", ".join(part for part in said if part),
        "picture": image,
        "looks": layers.over(method, image, n.tile.looks) if image else [],
        "query": [[kind, look["layer"], place.name] for look in pair for kind, place in look["maps"]],
    }


def _inline(svg: str, prefix: str) -> str:
    """Fit an SVG file's text into a page: ids that no other figure has, no style of its own, width left to the page."""
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg, count=2)
    size = r"(<svg[^>]*?)\swidth=\"([\d.]+pt)\"\sheight=\"[^\"]*\""
    svg = re.sub(size, r'\1 style="--natural:\2"', svg, count=1)
    svg = re.sub(r"(\sid=\"|href=\"#|url\(#)", rf"\g<1>{prefix}", svg)
    return svg.replace("xlink:href=", "href=")
