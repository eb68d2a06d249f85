"""Score tables: the text that stands in the cells, and what a terminal prints."""

import io

import pytest
from rich.console import Console

from cbir_cli.errors import ShapeError
from cbir_cli.reports import tables
from cbir_cli.reports.tables import Table


def printed(table: Table, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    tables.show(table, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ((0.95, 0.75, 1.0), 2, "0.95 [0.75, 1.00]"),  # the paper's own cell
        ((0.0415, -0.0023, 0.0853), 3, "0.042 [-0.002, 0.085]"),
        ((0.5,), 3, "0.500"),
        ((0.5, None, None), 2, "0.50"),
        ((None,), 3, "–"),
    ],
)
def test_a_score_as_text(values: tuple[float | None, ...], digits: int, text: str) -> None:
    assert tables.spell(*values, digits=digits) == text


def test_a_column_of_words_is_not_numeric() -> None:
    table = Table("t", ("a", "b", "c"), (("1", "−0.5", "high"), ("2", "n/a", "3")))
    assert table.numeric == (False, True, False)


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 columns, but a row of 2"):
        Table("t", ("a", "b", "c"), (("1", "2"),))


def test_the_terminal_gets_the_text_as_it_is() -> None:
    out = printed(Table("Scores [bold]", ("metric", "[red]m"), (("nDCG@4", "0.60 [0.50, 0.70]"),), "mean [a, b]"))
    for text in ("Scores [bold]", "[red]m", "0.60 [0.50, 0.70]", "mean [a, b]"):
        assert text in out


def test_numbers_align_right_on_a_terminal() -> None:
    lines = printed(Table("", ("metric", "score"), (("a", "0.5"), ("b", "10.25")))).splitlines()
    ends = [len(line.rstrip()) for line in lines if "0.5" in line or "10.25" in line]
    assert len(ends) == 2 and ends[0] == ends[1]


def test_a_narrow_terminal_loses_nothing() -> None:
    columns = ("metric", *(f"method-{j}" for j in range(5)), "random")
    rows = [(f"metric-{i}", *["0.15 [0.10, 0.20]"] * 5, "–") for i in range(2)]
    out = printed(Table("Scores", columns, rows), width=64)
    assert out.count("0.15") == out.count("[0.10,") == out.count("0.20]") == 10  # folded between numbers, not in them
    assert max(map(len, out.splitlines())) <= 64


def test_a_number_is_not_folded() -> None:
    numbers = ["-0.0356", "-0.0724", "0.0012", "0.0662", "0.00403"]
    rows = [["a-long-name-of-a-run.tsv", "another-long-name.tsv", "reciprocal-rank@10", *numbers]]
    out = printed(Table("", ["a", "b", "metric", "difference", "low", "high", "p", "p_holm"], rows), width=80)
    assert all(number in out.split() for number in numbers)
    assert max(map(len, out.splitlines())) == 80
