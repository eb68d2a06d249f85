import pytest

from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.errors import SourceError

TEXT = "query,rater,rank,id\nq,R1,1,a\nq,R1,2,b\nq,R2,1,b\nq,R2,2,a\n"
ROWS = [RankRow("q", "R1", 1, "a"), RankRow("q", "R1", 2, "b"), RankRow("q", "R2", 1, "b"), RankRow("q", "R2", 2, "a")]


def read(tmp_path, text):
    path = tmp_path / "ranks.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_ranks(path)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        "\ufeff" + TEXT.replace("\n", "\r\n"),
        TEXT.replace(",", ", ") + ",,,\n\n",
        TEXT.rstrip("\n"),
        'rank,rater,id,query\n1,R1,"a",q\n2,R1,b,"q"\n1,R2,b,q\n2,R2,a,q\n',
    ],
)
def test_tables_as_people_write_them(tmp_path, text):
    assert read(tmp_path, text) == ROWS


def test_one_query_may_have_several_catalogues(tmp_path):
    rows = read(tmp_path, "query,rater,rank,id,seed,set\nq,R1,1,a,42,1\nq,R1,1,b,42,2\n")
    assert [row.key for row in rows] == [(42, 1, "q"), (42, 2, "q")]


def test_quoted_names_may_hold_the_separator(tmp_path):
    assert read(tmp_path, 'query,rater,rank,id\nq,R1,1,"a,b"\n')[0].id == "a,b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a rank table, found an empty file"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        ("query,rater,rank,id\n", "has no rows"),
        ("query,rank,id\n", "line 1: expected the columns query rater rank id .and seed set., found no column 'rater'"),
        ("query,rater,rank,id,note\n", "found column 'note'"),
        ("query,rater,rank,id,seed\n", "found no column 'set'"),
        (TEXT + "q,R1,3\n", "line 6: expected 4 columns, found 3"),
        (TEXT + "q,R1,2,c\n", "line 6: rater R1 gives rank 2 of query 'q' twice; ties are not allowed"),
        (TEXT + "q,R1,2.5,c\n", "line 6: rank: expected an integer of at least 1, found '2.5'"),
        (TEXT + "q,R1,0,c\n", "line 6: rank"),
        (TEXT + "q,R1,3,a\n", "line 6: rater R1 ranks 'a' twice for query 'q'"),
        (TEXT + "q,R1,4,c\n", "rater R1 ranks 3 images of query 'q': expected the ranks 1 to 3, found 4"),
        (TEXT + "q,,3,c\n", "line 6: rater: expected a name"),
        (TEXT + 'q,R1,3,"c\n', "line [67]: unexpected end"),
        (TEXT + "q,R1,3,c\rd\n", "line 6: "),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(SourceError, match=words) as caught:
        read(tmp_path, text)
    assert "ranks.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_ranks(tmp_path / "no.csv")
