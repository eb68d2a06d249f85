"""Contact sheets of queries: which lines they have, and what stands in them."""

from dataclasses import replace

import numpy as np
import pytest

from cbir_cli.reports.contact_sheet import DISPUTED, FRAMES, OTHER, QUERY, SAME, UNKNOWN
from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.stages import report_sheets


def image(number: int) -> np.ndarray:
    return np.full((8, 8), number, np.uint8)


def found(number: int, rank: int, agrees: bool | None = True, expert: float | None = None, **more) -> Neighbour:
    looks = {"relax": Look(np.eye(8, dtype=np.float32))} if more.pop("map", False) else {}
    picture = None if more.pop("absent", False) else image(number)
    tile = Tile(f"i{number}", picture, looks=looks, disputed=more.pop("disputed", ""))
    return Neighbour(tile, rank, 0.1, agrees, expert, **more)


def case(number: int, *rows: Row) -> Case:
    return Case(Tile(f"q{number}", image(number)), "Effusion", rows)


def cells(drawing) -> list[tuple[int | None, str, str]]:
    """Return image, frame and words of every cell."""
    styles = {str(style): name for name, style in FRAMES.items()}
    seen = []
    for axes in drawing.figure().axes:
        spine = axes.spines["left"]
        near = [name for name, (_, _, wide) in FRAMES.items() if wide == spine.get_linewidth()]
        frame = next(name for name in near if FRAMES[name][0] == _hex(spine.get_edgecolor()))
        shown = int(axes.images[0].get_array()[0, 0]) if axes.images else None
        seen.append((shown, frame, axes.get_title() or axes.get_xlabel()))
    assert styles
    return seen


def _hex(colour) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour)


def test_a_query_has_a_line_for_each_row_and_explainer() -> None:
    raters = Row("Expert R1", [found(1, 1, True, 1), found(2, 2, False, 2, disputed="R1: Effusion")], rater=True)
    method = Row("CNN", [found(2, 1, False, 2, map=True), found(9, 2, None, map=True)],
                 query_looks={"relax": Look(np.eye(8, dtype=np.float32))})  # fmt: skip
    said, drawing = report_sheets.figures_of([case(50, raters, method)], 1)[-1]
    assert said.startswith("Query q50: ")
    assert cells(drawing) == [
        (50, QUERY, ""), (1, SAME, "1"), (2, DISPUTED, "2"),
        (2, OTHER, "2"), (9, UNKNOWN, ""),
        (50, QUERY, ""), (2, OTHER, ""), (9, UNKNOWN, ""),  # under maps
    ]  # fmt: skip
    assert [len(axes.images) for axes in drawing.figure().axes] == [1] * 5 + [2] * 3
    words = [text.get_text() for text in drawing.figure().texts]
    assert {"Expert R1", "CNN", "map by relax"} <= set(words)
    assert any("ranks by the expert." in text for text in words)
    second = Row("Expert R2", [found(2, 1, False, 2), found(1, 2, True, 1)], rater=True)
    first = replace(raters, reference=True)
    drawn = [drawing for said, drawing in report_sheets.figures_of([case(50, first, second, method)], 1)]
    words = [text.get_text() for drawing in (drawn[0], drawn[-1]) for text in drawing.figure().texts]
    assert sum("ranks by Expert R1." in text for text in words) == 2


def test_columns_are_numbered_where_no_expert_is() -> None:
    _, drawing = report_sheets.figures_of([case(50, Row("CNN", [found(1, 1), found(2, 2)]))], 1)[-1]
    assert [text.get_text() for text in drawing.figure().texts][:3] == ["query", "1", "2"]


def test_least_and_most_similar_are_the_ends_of_the_experts_order_at_hand() -> None:
    rows = [Row("Expert R1", [found(1, 1, True, 1), found(7, 10, False, 10, absent=True)], rater=True),
            Row("CNN", [found(3, 1, True, 3), found(4, 2, False, 8), found(5, 3, None)])]  # fmt: skip
    (ends, drawing), (orders, ranked), *_ = report_sheets.figures_of([case(50, *rows)], 1)
    assert ends.startswith("Least and most similar") and orders.startswith("Expert rankings")
    assert cells(drawing) == [(50, QUERY, ""), (4, OTHER, "8"), (1, SAME, "1")]  # of rank 10 there is no image
    assert cells(ranked) == [(50, QUERY, ""), (1, SAME, "1"), (3, SAME, "3"), (4, OTHER, "8")]


def test_right_and_wrong_queries_by_method() -> None:
    def answered(number: int, agrees: list[bool | None]) -> Case:
        near = [found(number + i, i, same) for i, same in enumerate(agrees, 1)]
        return case(number, Row("CNN", [*near, found(90, 9, not agrees[0], far=True)]))

    cases = [answered(10, [True] * 3), answered(20, [False] * 3), answered(30, [True, False, True]),
             answered(40, [True, None, True]), answered(50, [True, True])]  # fmt: skip
    said, drawing = report_sheets.figures_of(cases, 0)[0]
    assert said == "Right and wrong results by CNN"
    assert [cell for cell in cells(drawing) if cell[1] == QUERY] == [(10, QUERY, ""), (50, QUERY, ""), (20, QUERY, "")]
    words = " ".join(text.get_text() for text in drawing.figure().texts)
    assert (
        "right" in words and "wrong" in words and "2 of 5 queries have only results of their own label, 1 none" in words
    )


@pytest.mark.parametrize(("results", "words"), [(1, "Of the first result:"), (2, "Among the first 2 results:")])
def test_where_there_are_fewer_results_the_heads_say_so(results: int, words: str) -> None:
    cases = [case(i, Row("CNN", [found(i + n, n) for n in range(1, results + 1)])) for i in (10, 20)]
    (_, drawing), *_ = report_sheets.figures_of(cases, 0)
    texts = [text.get_text() for text in drawing.figure().texts]
    assert [text for text in texts if text.isdigit()] == [str(n + 1) for n in range(results)]
    assert any(text.startswith(words) for text in texts)


@pytest.mark.parametrize("most", [0, 1, 5])
def test_as_many_queries_as_asked_for_have_a_sheet(most: int) -> None:
    cases = [case(i, Row("CNN", [found(1, 1, None)])) for i in (1, 2)]
    assert len(report_sheets.figures_of(cases, most)) == min(2, most)
