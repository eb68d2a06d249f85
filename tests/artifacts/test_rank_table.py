import pytest

from cbir_cli.artifacts.ranks import RankRow, csv_lines, read_ranks
from cbir_cli.errors import ArtifactError, SourceError

TEXT = "query,rater,rank,id\nq,R1,1,a\nq,R1,2,b\nq,R2,1,b\nq,R2,2,a\n"
ROWS = [RankRow("q", "R1", 1, "a"), RankRow("q", "R1", 2, "b"), RankRow("q", "R2", 1, "b"), RankRow("q", "R2", 2, "a")]

SAID = (
    "query,rater,rank,id,query_severity,severity,query_labels,labels\n"
    "q,R1,1,a,2,3,Effusion=1,Effusion=1|Edema=-1\nq,R1,2,b,2,,Effusion=1,\n"
)
SAID_ROWS = [
    RankRow("q", "R1", 1, "a", None, None, 2, 3, {"Effusion": 1}, {"Effusion": 1, "Edema": -1}),
    RankRow("q", "R1", 2, "b", None, None, 2, None, {"Effusion": 1}, {}),
]


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
        (SAID + "q,R1,3,c,2,4,,\n", "line 4: severity: expected 0 .none., 1 .mild., .* or nothing, found '4'"),
        (SAID + "q,R1,3,c,2,-1,,\n", "line 4: severity: expected .* found '-1'"),
        (SAID + "q,R1,3,c,1.0,1,,\n", "line 4: query_severity: expected .* found '1.0'"),
        (SAID + "q,R1,3,c,2,,,Effusion\n", "line 4: labels: expected name=code joined by ., with codes 1, 0 or -1"),
        (SAID + "q,R1,3,c,2,,Effusion=2,\n", "line 4: query_labels: expected name=code"),
        (SAID + "q,R1,3,c,1,,Effusion=1,\n", "line 4: rater R1 has another query_severity for query 'q' than before"),
        (SAID + "q,R1,3,c,2,,,\n", "line 4: rater R1 has another query_labels for query 'q' than before"),
        ("query,rater,rank,id,severity,severity\n", "found column 'severity'"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(SourceError, match=words) as caught:
        read(tmp_path, text)
    assert "ranks.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_ranks(tmp_path / "no.csv")


# Severities and labels


def test_severities_and_labels(tmp_path):
    assert read(tmp_path, SAID) == SAID_ROWS
    assert read(tmp_path, SAID.replace(",", ";").replace(";3;", "; 3 ;")) == SAID_ROWS


@pytest.mark.parametrize("column", ["query_severity", "severity", "query_labels", "labels"])
def test_each_column_may_be_there_by_itself(tmp_path, column):
    cell = "Effusion=0" if "labels" in column else "0"
    (row,) = read(tmp_path, f"{column},query,rater,rank,id\n{cell},q,R1,1,a\n")
    assert row == RankRow("q", "R1", 1, "a", **{column: {"Effusion": 0} if "labels" in column else 0})


def test_raters_may_say_different_things_of_a_query(tmp_path):
    rows = read(tmp_path, SAID + "q,R2,1,b,0,0,Effusion=0,\nq,R2,2,a,0,0,Effusion=0,\n")
    assert [row.query_severity for row in rows] == [2, 2, 0, 0]


@pytest.mark.parametrize("rows", [ROWS, SAID_ROWS, [RankRow('q, "x"', "R1", 1, "a;b", 42, 1, severity=0)]])
def test_what_is_written_reads_back(tmp_path, rows):
    text = "".join(csv_lines(rows))
    assert read(tmp_path, text) == rows
    assert ("severity" in text) == any(row.severity is not None for row in rows)


def test_a_panels_ranks_cannot_be_written():
    with pytest.raises(ArtifactError, match=r"rank 1\.5 of 'a' .* not whole"):
        list(csv_lines([RankRow("q", "panel", 1.5, "a")]))
    with pytest.raises(ArtifactError, match="cannot be written as name=code"):
        list(csv_lines([RankRow("q", "R1", 1, "a", labels={"x": 5})]))
