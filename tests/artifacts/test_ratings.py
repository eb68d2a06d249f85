"""Files of a reading study: the key, what raters send back, and the rank table that comes of it."""

import pytest

from cbir_cli.artifacts import ranks, ratings
from cbir_cli.artifacts.ratings import Case, Key
from cbir_cli.errors import ArtifactError, SourceError

KEY = Key(
    "kqbz",
    "Effusion",
    {
        "cc": Case("cc", 1, 2, ("qq", "query one"), {"bb": "id, with a comma", "dd": 'a "quoted" id', "ff": "plain"}),
        "gg": Case("gg", 1, 3, ("rr", "query two"), {"bb": "id, with a comma", "ff": "plain"}),
    },
)
HEAD = "study,rater,case,finished,rank,image,query_severity,severity,query_label,label,seconds"
ROWS = [
    "kqbz,R1,cc,1,1,ff,2,3,1,1,70",
    "kqbz,R1,cc,1,2,bb,2,,1,-1,70",
    "kqbz,R1,cc,1,3,dd,2,0,1,,70",
    "kqbz,R1,gg,0,1,bb,,,,0,12",
    "kqbz,R1,gg,0,2,ff,,,,,12",
]


@pytest.fixture
def read(tmp_path):
    def run(rows, head=HEAD, key=KEY):
        path = tmp_path / "back.csv"
        path.write_bytes("\n".join([head, *rows, ""]).encode() if isinstance(rows, list) else rows)
        return ratings.read_export(path, key)

    return run


def test_the_key_comes_back(tmp_path):
    path = tmp_path / "key.tsv"
    path.write_text("".join(ratings.key_tsv(KEY)))
    assert ratings.read_key(path) == KEY
    assert path.read_text().startswith("study\tlabel\tcase\tseed\tset\trole\tcode\tid\n")


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (3, "other\tEffusion\tcc\t1\t2\tcatalogue\tbb\tx", "another study or label than in line 2"),
        (3, "kqbz\tEffusion\tcc\t1\t2\tquery\tbb\tx", "case cc: expected one query before its catalogue"),
        (3, "kqbz\tEffusion\tcc\t9\t2\tcatalogue\tbb\tx", "case cc: expected one query before its catalogue"),
        (3, "kqbz\tEffusion\tcc\t1\t2\tcatalogue\tqq\tx", "code qq is there twice in case cc"),
        (4, "kqbz\tEffusion\tcc\t1\t2\tcatalogue\tbb\tx", "code bb is there twice in case cc"),
        (3, "kqbz\tEffusion\tcc\t1\t2\tcatalogue\tbb\t", "id: expected a name, found nothing"),
        (3, "kqbz\tEffusion\tcc\tone\t2\tcatalogue\tbb\tx", "seed: expected an integer"),
        (3, "kqbz\tEffusion\tcc", "expected 8 columns, found 3"),
    ],
)
def test_a_key_that_is_none(tmp_path, line, text, said):
    path = tmp_path / "key.tsv"
    lines = "".join(ratings.key_tsv(KEY)).splitlines()
    lines[line - 1] = text
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(ArtifactError, match=rf"key\.tsv, line {line}: {said}"):
        ratings.read_key(path)


def test_a_key_without_cases_or_with_a_query_alone(tmp_path):
    path = tmp_path / "key.tsv"
    for text in ("\t".join(ratings.KEY) + "\n", "".join([*ratings.key_tsv(KEY)][:2])):
        path.write_text(text)
        with pytest.raises(ArtifactError, match="expected cases with images"):
            ratings.read_key(path)


def test_what_came_back(read):
    one, two = read(ROWS)
    assert (one.rater, one.case, one.order, one.finished, one.seconds) == ("R1", "cc", ("ff", "bb", "dd"), True, 70)
    assert one.severity == {"qq": 2, "ff": 3, "dd": 0} and one.label == {"qq": 1, "ff": 1, "bb": -1}
    assert (two.order, two.finished, two.severity, two.label) == (("bb", "ff"), False, {}, {"bb": 0})


def test_as_a_spreadsheet_writes_it(read):
    text = "\r\n".join([HEAD, *ROWS[::-1], ",,,,,,,,,,", ""]).replace(",", ";")
    assert sorted(read(b"\xef\xbb\xbf" + text.encode()), key=lambda r: r.case) == read(ROWS)


@pytest.mark.parametrize(
    ("line", "old", "new", "said"),
    [
        (2, "kqbz", "other", "line 2: is of the study 'other', expected 'kqbz'"),
        (3, "R1", "R2", "line 3: rater: expected 'R1' in the whole file, found 'R2'"),
        (2, "R1", "../R1", r"line 2: rater: expected up to 32 letters, digits, - and _, found '\.\./R1'"),
        (2, "cc", "zz", "line 2: case: the study has no 'zz'"),
        (5, "bb", "dd", "line 5: image: case gg has no 'dd'"),
        (3, "2,bb", "1,bb", "line 3: case cc has rank 1 twice"),
        (3, "bb", "ff", "line 3: case cc has image ff twice"),
        (4, "3,dd", "4,dd", "line 4: case cc: expected the ranks 1 to 3, found 1, 2, 4"),
        (4, "3,dd", "0,dd", "line 4: rank: expected an integer of at least 1"),
        (4, "3,dd", "3.0,dd", "line 4: rank: expected an integer"),
        (3, "cc,1", "cc,0", "line 3: finished: another one than in line 2"),
        (3, "bb,2", "bb,1", "line 3: query_severity: another one than in line 2"),
        (2, "ff,2,3", "ff,2,4", "line 2: severity: expected 0, 1, 2, 3, found '4'"),
        (2, "3,1,1,70", "3,1,2,70", "line 2: label: expected 1, 0, -1, found '2'"),
        (2, "cc,1,", "cc,yes,", "line 2: finished: expected 0, 1, found 'yes'"),
        (2, ",70", ",x", "line 2: seconds: expected an integer"),
        (2, ",70", ",70,80", "line 2: expected 11 columns, found 12"),
        (2, "kqbz", '"kqbz', "line 7: unexpected end of data"),
    ],
)
def test_what_cannot_have_come_back(read, line, old, new, said):
    rows = list(ROWS)
    assert old in rows[line - 2]
    rows[line - 2] = rows[line - 2].replace(old, new, 1)
    with pytest.raises(SourceError, match=rf"back\.csv, {said}"):
        read(rows)


def test_a_case_that_is_not_whole_an_empty_file_and_another_table(read):
    with pytest.raises(SourceError, match=r"line 3: case cc: expected the ranks 1 to 3, found 1, 2"):
        read(ROWS[:2])
    with pytest.raises(SourceError, match="holds no ratings"):
        read([])
    with pytest.raises(SourceError, match="found an empty file"):
        read(b"")
    with pytest.raises(SourceError, match="not UTF-8"):
        read(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="line 1: expected the columns study rater case"):
        read(ROWS, head=HEAD.replace("study", "query"))


def test_no_label_where_none_is_asked_for(read):
    with pytest.raises(SourceError, match="line 2: label: expected nothing, found '1'"):
        read(ROWS, key=Key(KEY.study, "", KEY.cases))


def test_the_rank_table(read, tmp_path):
    found = [rating for rating in read(ROWS) if rating.finished]
    other = read([row.replace("R1", "R0") for row in ROWS[:3]])
    path = tmp_path / "ranks.csv"
    path.write_text("".join(ranks.csv_lines(ratings.ranks_of(KEY, [*found, *other]))))
    rows = ranks.read_ranks(path)
    assert [row.rater for row in rows] == ["R0"] * 3 + ["R1"] * 3
    yes, no = {"Effusion": 1}, {}
    assert rows[3:] == [
        ranks.RankRow("query one", "R1", 1, "plain", 1, 2, 2, 3, yes, yes),
        ranks.RankRow("query one", "R1", 2, "id, with a comma", 1, 2, 2, None, yes, {"Effusion": -1}),
        ranks.RankRow("query one", "R1", 3, 'a "quoted" id', 1, 2, 2, 0, yes, no),
    ]
