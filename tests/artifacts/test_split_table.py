import pytest

from cbir_cli.artifacts.split import read_split, split_tsv
from cbir_cli.errors import ArtifactError
from cbir_cli.splits import SplitRow

ROWS = [
    SplitRow(42, 1, "query", "a b.png"),
    SplitRow(42, 1, "catalogue", "c"),
    SplitRow(42, 2, "query", "c"),
    SplitRow(42, 2, "catalogue", "a b.png"),
    SplitRow(42, 0, "train", "a b.png"),
    SplitRow(42, 0, "validation", "c"),
]
HEADER = "seed\tset\trole\tid\n"


def read(tmp_path, text):
    path = tmp_path / "split.tsv"
    path.write_text(text, encoding="utf-8")
    return read_split(path)


def test_is_spelt_as_the_schema_says_and_read_back(tmp_path):
    text = "".join(split_tsv(ROWS))
    assert text.startswith(HEADER + "42\t1\tquery\ta b.png\n42\t1\tcatalogue\tc\n")
    assert read(tmp_path, text) == ROWS


def test_no_rows(tmp_path):
    assert read(tmp_path, "".join(split_tsv([]))) == []


@pytest.mark.parametrize("name", ["", "a\tb", "a\nb", "a\udc80"])
def test_names_that_would_break_the_table_are_not_written(name):
    with pytest.raises(ArtifactError, match="cannot be written"):
        list(split_tsv([SplitRow(1, 1, "query", name)]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty file"),
        ("seed\trole\tid\n", "found no column 'set'"),
        (HEADER + "1\t1\tquery\n", "line 2: expected 4 columns, found 3"),
        (HEADER + "x\t1\tquery\ta\n", "line 2: seed: expected an integer"),
        (HEADER + "1\t1\tvalid\ta\n", "line 2: role: expected one of query, catalogue, .* found 'valid'"),
        (HEADER + "1\t1\tquery\t\n", "line 2: id: expected a name"),
        (HEADER + "1\t1\tquery\ta\n1\t1\tcatalogue\ta\n", "line 3: 'a' has two roles in set 1 of seed 1"),
        (HEADER + "1\t1\tquery\ta\n", "set 1 of seed 1 has no catalogue"),
        (HEADER + "1\t1\tcatalogue\ta\n", "set 1 of seed 1 has no query"),
        (HEADER + "1\t0\ttrain\ta", "line 2: the last line is not ended"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(ArtifactError, match=words) as caught:
        read(tmp_path, text)
    assert "split.tsv" in str(caught.value) and "\n" not in str(caught.value)
