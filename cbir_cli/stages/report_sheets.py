"""From queries with their results to contact sheets: the galleries of the papers as figures.

The page shows the same images in a gallery that can be searched; these are for print. Of many queries the first ones
have sheets, in the order of the page.
"""

from collections.abc import Mapping, Sequence

from cbir_cli.reports import contact_sheet
from cbir_cli.reports.contact_sheet import DISPUTED, OTHER, QUERY, SAME, UNKNOWN, Cell, Line
from cbir_cli.reports.drawing import Drawing
from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look

_FRAMES = {True: SAME, False: OTHER, None: UNKNOWN}
_RANKED = 5
"""Images of an expert's order that a sheet of many queries shows."""
_EACH = 3
"""Queries that a sheet shows of those that were answered rightly, and of those that were not."""
_RESULTS = 3
"""Results of each of them."""

Figures = list[tuple[str, Drawing]]


def figures_of(cases: Sequence[Case], most: int) -> Figures:
    """Return contact sheets of queries.

    Parameters
    ----------
    cases : sequence of Case
        In the order of the page.
    most : int
        How many of them have a sheet.

    Returns
    -------
    list of (str, Drawing)
        What an expert said of the queries, right and wrong results of each method, then a sheet for each query.
    """
    own = [(f"Query {case.query.id}: results by method, nearest first", _of_query(case)) for case in cases[:most]]
    return [*_expert(cases, most), *_right_and_wrong(cases), *own]


def _of_query(case: Case) -> Drawing:
    """Return query and results, a line for each row and, where there are maps, one for each explainer."""
    across = max(len(row.neighbours) for row in case.rows)
    lines = []
    for number, row in enumerate(case.rows):
        first = _query(case.query) if number == 0 else None
        lines.append(Line(row.method, [first, *map(_cell, row.neighbours)], ruled=number > 0))
        lines += [_under_maps(case.query, row, name) for name in row.explainers]
    # Two numbers above an image would be taken for each other.
    heads = ["query"] if _ranked(case) else ["query", *map(str, range(1, across + 1))]
    return contact_sheet.contact_sheet(lines, heads, note=f"Nearest first. {_ranks(case)}" if _ranked(case) else "")


def _under_maps(query: Tile, row: Row, explainer: str) -> Line:
    looks = row.query_looks or next((n.query_looks for n in row.neighbours if explainer in n.query_looks), {})
    on_query = _query(query, looks, explainer) if _has_map(looks, explainer) else None
    return Line(f"map by {explainer}", [on_query, *(_cell(n, explainer, above=False) for n in row.neighbours)])


def _has_map(looks: Mapping[str, Look], explainer: str) -> bool:
    return explainer in looks and looks[explainer].map is not None


def _query(tile: Tile, looks: Mapping[str, Look] | None = None, explainer: str = "") -> Cell:
    seen = (looks or {}).get(explainer)
    return Cell(tile.image, QUERY, map=seen.map if seen else None, explainer=explainer)


def _cell(one: Neighbour, explainer: str = "", *, above: bool = True) -> Cell:
    frame = DISPUTED if one.tile.disputed else _FRAMES[one.agrees]
    seen = one.tile.looks.get(explainer)
    said = f"{one.expert_rank:g}" if above and one.expert_rank is not None else ""
    shown = seen.map if seen and one.tile.image is not None else None
    return Cell(one.tile.image, frame, said, "least similar" if one.far and above else "", shown, explainer)


# --- what an expert said ----------------------------------------------------------------------------------------------


def _ranked(case: Case) -> dict[float, Neighbour]:
    """Return the images at hand by the expert's rank."""
    found: dict[float, Neighbour] = {}
    for row in case.rows:
        for one in row.neighbours:
            if one.expert_rank is not None and one.tile.image is not None:
                found.setdefault(one.expert_rank, one)
    return dict(sorted(found.items()))


def _ranks(case: Case) -> str:
    return f"Numbers above images are the ranks by {case.expert or 'the expert'}."


def _expert(cases: Sequence[Case], most: int) -> Figures:
    told = [(case, ranked) for case in cases if len(ranked := _ranked(case)) > 1][:most]
    if not told:
        return []
    ends, orders = [], []
    for number, (case, ranked) in enumerate(told, start=1):
        name, query = f"query {number}", _query(case.query)
        first, last = min(ranked), max(ranked)
        ends.append(Line(name, [query, _cell(ranked[last]), _cell(ranked[first])]))
        orders.append(Line(name, [query, *(_cell(one) for one in list(ranked.values())[:_RANKED])]))
    ids = ", ".join(case.query.id for case, _ in told)
    note = f"{_ranks(told[0][0])} Shown are images that the files hold."
    heads = ("query", "least similar", "most similar")
    return [
        (f"Least and most similar images: {ids}", contact_sheet.contact_sheet(ends, heads, note=note)),
        (f"Expert rankings: {ids}", contact_sheet.contact_sheet(orders, ("query",), note=note)),
    ]


# --- right and wrong --------------------------------------------------------------------------------------------------


def _right_and_wrong(cases: Sequence[Case]) -> Figures:
    """Return for each method queries whose first results have their label, and such whose first results do not."""
    drawn = []
    for method in dict.fromkeys(row.method for case in cases for row in case.rows if not row.rater):
        right, wrong = [], []
        for case in cases:
            row = next((row for row in case.rows if row.method == method), None)
            near = [n for n in row.neighbours if not n.far and n.rank][:_RESULTS] if row else []
            if row is None or not near or any(n.agrees is None for n in near):
                continue
            if all(n.agrees for n in near):
                right.append((case, row, near))
            elif not any(n.agrees for n in near):
                wrong.append((case, row, near))
        lines = [
            line
            for name, found in (("right", right), ("wrong", wrong))
            for number, (case, row, near) in enumerate(found[:_EACH])
            for line in _answered(name if number == 0 else "", case, row, near, ruled=name == "wrong" and number == 0)
        ]
        if lines:
            counts = f"{len(right)} of {len(cases)} queries have only results of their own label, {len(wrong)} none"
            shown = max(len(near) for *_, near in (*right, *wrong))
            note = f"Among the first {shown} results: {counts}." if shown > 1 else f"Of the first result: {counts}."
            heads = ["query", *map(str, range(1, shown + 1))]
            sheet = contact_sheet.contact_sheet(lines, heads, note=note)
            drawn.append((f"Right and wrong results by {method}", sheet))
    return drawn


def _answered(name: str, case: Case, row: Row, near: Sequence[Neighbour], *, ruled: bool) -> list[Line]:
    """Return a query with its first results, and below the same under the maps of the first explainer."""
    lines = [Line(name, [_query(case.query), *(_cell(n, above=False) for n in near)], ruled)]
    if row.explainers:
        lines.append(_under_maps(case.query, Row(row.method, near, query_looks=row.query_looks), row.explainers[0]))
    return lines
