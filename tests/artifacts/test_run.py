import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.artifacts.run import WRITERS, RunRow, json_lines, read_run, trec, tsv
from cbir_cli.errors import ArtifactError

ROWS = [
    RunRow("q 1.png", 1, "a/b.png", 0.25, {"Pleural Effusion": 1, "Edema": -1}, {"Pleural Effusion": 0}),
    RunRow("q 1.png", 2, "c%20.png", 1e-30, {"Pleural Effusion": 1, "Edema": -1}, {}),
    RunRow("q2", 1, "a/b.png", 12345.678, {}, {"Pleural Effusion": 1}),
]
WITH_SETS = [
    RunRow("q", 1, "a", 0.0, {"x": 1}, {"x": 1}, seed=42, set=1),
    RunRow("q", 1, "b", 0.5, {"x": 1}, {"x": 0}, seed=42, set=2),
    RunRow("q", 1, "a", 1.5, {"x": 1}, {"x": 1}, seed=7, set=1),
]


def read(tmp_path, text):
    path = tmp_path / "run"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_run(path)


def without_labels(rows):
    return [RunRow(r.query, r.rank, r.id, r.distance, seed=r.seed, set=r.set) for r in rows]


def test_tsv_is_spelt_as_the_schema_says():
    assert list(tsv(ROWS[:2])) == [
        "query\trank\tid\tdistance\tquery_labels\tlabels\n",
        "q 1.png\t1\ta/b.png\t0.25\tPleural Effusion=1|Edema=-1\tPleural Effusion=0\n",
        "q 1.png\t2\tc%20.png\t1e-30\tPleural Effusion=1|Edema=-1\t\n",
    ]
    assert list(tsv(WITH_SETS[:1])) == [
        "query\trank\tid\tdistance\tquery_labels\tlabels\tseed\tset\n",
        "q\t1\ta\t0\tx=1\tx=1\t42\t1\n",
    ]


def test_trec_is_spelt_as_the_schema_says():
    assert list(trec(ROWS)) == [
        "q%201.png Q0 a/b.png 1 -0.25 cbir\n",
        "q%201.png Q0 c%2520.png 2 -1e-30 cbir\n",
        "q2 Q0 a/b.png 1 -12345.678 cbir\n",
    ]
    assert list(trec(WITH_SETS)) == [
        "42:1:q Q0 a 1 0 cbir\n",
        "42:2:q Q0 b 1 -0.5 cbir\n",
        "7:1:q Q0 a 1 -1.5 cbir\n",
    ]


def test_json_is_one_object_a_line():
    first, *_ = (json.loads(line) for line in json_lines(ROWS))
    assert first == {
        "query": "q 1.png",
        "rank": 1,
        "id": "a/b.png",
        "distance": 0.25,
        "query_labels": {"Pleural Effusion": 1, "Edema": -1},
        "labels": {"Pleural Effusion": 0},
    }
    assert json.loads(next(json_lines(WITH_SETS)))["seed"] == 42


@pytest.mark.parametrize("rows", [ROWS, WITH_SETS])
@pytest.mark.parametrize("spelling", WRITERS)
def test_every_spelling_is_read_back(tmp_path, spelling, rows):
    found = read(tmp_path, "".join(WRITERS[spelling](rows)))
    assert found == (without_labels(rows) if spelling == "trec" else rows)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
plain = names.filter(lambda text: "\t" not in text and text.splitlines() == [text])
labels = st.dictionaries(plain.filter(lambda text: not set(text) & set("=|")), st.sampled_from([1, 0, -1]), max_size=2)
sets = st.none() | st.tuples(st.integers(0, 99), st.integers(0, 9))


@given(st.sampled_from(sorted(WRITERS)), st.data(), st.floats(width=32, allow_nan=False, allow_infinity=False), sets)
def test_any_name_label_and_distance_is_read_back(tmp_path_factory, spelling, data, distance, place):
    text = plain if spelling == "tsv" else names
    query, image = data.draw(text), data.draw(text)
    seed, number = place or (None, None)
    rows = [RunRow(query, 1, image, distance, data.draw(labels), data.draw(labels), seed, number)]
    found = read(tmp_path_factory.mktemp("run"), "".join(WRITERS[spelling](rows)))
    assert [np.float32(row.distance) for row in found] == [np.float32(distance)]
    expected = without_labels(rows) if spelling == "trec" else rows
    assert [(r.key, r.id, r.query_labels, r.labels) for r in found] == [
        (r.key, r.id, r.query_labels, r.labels) for r in expected
    ]


@pytest.mark.parametrize("query", ["2020:01:scan", "{}", "\ufeffq", "50%"])
def test_a_query_that_looks_like_something_else_keeps_its_name(tmp_path, query):
    rows = [RunRow(query, 1, "a", 1.0)]
    assert read(tmp_path, "".join(trec(rows))) == rows


def test_no_results(tmp_path):
    assert read(tmp_path, "".join(tsv([]))) == []
    assert list(json_lines([])) == list(trec([])) == []


def test_columns_may_come_in_any_order_and_lines_from_windows(tmp_path):
    text = "\ufeffid\tquery\tlabels\tquery_labels\tdistance\trank\r\na\tq\tx=1\t\t0.5\t1\r\n"
    assert read(tmp_path, text) == [RunRow("q", 1, "a", 0.5, {}, {"x": 1})]


def test_trec_from_other_tools(tmp_path):
    found = read(tmp_path, "q\tQ0  b 2 1.5 bm25\nq Q0 a 1 2.5 bm25")
    assert found == [RunRow("q", 2, "b", -1.5), RunRow("q", 1, "a", -2.5)]


def test_stdin(tmp_path, monkeypatch):
    path = tmp_path / "run.tsv"
    path.write_text("".join(tsv(ROWS)))
    with path.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert read_run("-") == ROWS


def test_writers_stream():
    def endless():
        rank = 0
        while True:
            rank += 1
            yield RunRow("q", rank, f"i{rank}", 1.0)

    for writer in WRITERS.values():
        lines = writer(endless())
        assert "i1" in next(lines) + next(lines)


@pytest.mark.parametrize("spelling", WRITERS)
@pytest.mark.parametrize("distance", [math.nan, math.inf, -math.inf])
def test_distances_that_are_not_finite_are_not_written(spelling, distance):
    with pytest.raises(ArtifactError, match="finite"):
        list(WRITERS[spelling]([RunRow("q", 1, "a", distance)]))


@pytest.mark.parametrize("name", ["", "a\tb", "a\nb", "a\rb", "a\u2028b", "a\udc80b"])
def test_names_that_would_break_the_table_are_not_written(name):
    for row in (RunRow(name, 1, "a", 1.0), RunRow("q", 1, name, 1.0), RunRow("q", 1, "a", 1.0, {name: 1})):
        if name or not row.query_labels:
            with pytest.raises(ArtifactError, match="cannot be written"):
                list(tsv([row]))


@pytest.mark.parametrize("name", ["", "a\udc80b"])
def test_names_that_trec_cannot_hold_are_not_written(name):
    with pytest.raises(ArtifactError, match="cannot be written"):
        list(trec([RunRow("q", 1, name, 1.0)]))


@pytest.mark.parametrize("labels", [{"a=b": 1}, {"a|b": 1}, {"a": 2}, {"a": -128}, {"": 1}])
def test_labels_that_would_break_a_cell_are_not_written(labels):
    with pytest.raises(ArtifactError, match="cannot be written"):
        list(tsv([RunRow("q", 1, "a", 1.0, labels)]))


def test_a_run_has_sets_or_has_not():
    with pytest.raises(ArtifactError, match="for some rows"):
        list(tsv([WITH_SETS[0], ROWS[0]]))
    with pytest.raises(ArtifactError, match="for some rows"):
        list(tsv([RunRow("q", 1, "a", 1.0, seed=1)]))


HEADER = "query\trank\tid\tdistance\tquery_labels\tlabels\n"
JSON = '{"query": "q", "rank": %s, "id": %s, "distance": %s, "query_labels": %s, "labels": {}%s}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a run table, found an empty file"),
        ("\n\n", "found an empty file"),
        (b"\x89HDF\r\n\x1a\n\x00\xff", "not UTF-8 text"),
        ("hello world\n", "expected a run table .header query rank id .* found 'hello world'"),
        ("query rank id distance query_labels labels\n", "line 1: rank: expected an integer"),
        ("query\trank\tid\tdistance\tlabels\n", "line 1: .* found no column 'query_labels'"),
        (HEADER.replace("labels\n", "labels\tscore\n"), "found column 'score'"),
        (HEADER.replace("labels\n", "labels\tquery\n"), "found column 'query'"),
        (HEADER.replace("labels\n", "labels\tseed\n"), "found no column 'set'"),
        (HEADER + "q\t1\ta\t0.5\t\n", "line 2: expected 6 columns, found 5"),
        (HEADER + "q\t1\ta\t0.5\t\t\n\n", "line 3: expected 6 columns, found 1"),
        (HEADER + "q\t1\ta\t0.5\t\tx=1", "line 2: the last line is not ended"),
        (HEADER + "q\t0\ta\t0.5\t\t\n", "line 2: rank: expected an integer of at least 1, found '0'"),
        (HEADER + "q\t1.0\ta\t0.5\t\t\n", "line 2: rank"),
        (HEADER + "q\t-1\ta\t0.5\t\t\n", "line 2: rank"),
        (HEADER + "q\t1\ta\tnan\t\t\n", "line 2: distance: expected a finite number, found 'nan'"),
        (HEADER + "q\t1\ta\tinf\t\t\n", "line 2: distance"),
        (HEADER + "q\t1\ta\tfar\t\t\n", "line 2: distance"),
        (HEADER + "\t1\ta\t0.5\t\t\n", "line 2: query: expected a name"),
        (HEADER + "q\t1\t\t0.5\t\t\n", "line 2: id: expected a name"),
        (HEADER + "q\t1\ta\t0.5\tx\t\n", "line 2: labels: expected name=code"),
        (HEADER + "q\t1\ta\t0.5\t\tx=2\n", "line 2: labels"),
        (HEADER + "q\t1\ta\t0.5\t\tx=1|x=0\n", "line 2: labels"),
        (HEADER + "q\t1\ta\t0.5\t\t\nq\t1\tb\t0.6\t\t\n", "line 3: query 'q' has rank 1 twice"),
        (HEADER + "q\t1\ta\t0.5\t\t\nq\t2\ta\t0.6\t\t\n", "line 3: query 'q' has the result 'a' twice"),
        (HEADER + "q\t2\ta\t0.5\t\t\n", "line 2: query 'q' has 1 results: expected the ranks 1 to 1, found 2"),
        (HEADER + "q\t1\ta\t0.5\tx=1\t\nq\t2\tb\t0.6\tx=0\t\n", "line 3: query 'q' has other query_labels"),
        ("q Q0 a 1 2.5 x\nq Q0 b\n", "line 2: expected 6 columns, found 3"),
        ("q Q0 a 0 2.5 x\n", "line 1: rank"),
        ("q Q0 a 1 nan x\n", "line 1: score: expected a finite number"),
        ('{"query": "q"\n', "line 1: expected a JSON object"),
        ('{"query": "q"}\n', "line 1: expected an object with query rank id"),
        ('{"a": ' * 100_000 + "\n", "line 1: expected a JSON object"),
        (JSON % (1, '"a"', 0.5, "{}", ', "seed": 1'), "line 1: expected an object"),
        (JSON % (True, '"a"', 0.5, "{}", ""), "line 1: "),
        (JSON % (0, '"a"', 0.5, "{}", ""), "line 1: rank: found 0"),
        (JSON % (1, '""', 0.5, "{}", ""), "line 1: id: found ''"),
        (JSON % (1, '"a"', "NaN", "{}", ""), "line 1: distance: expected a finite number"),
        (JSON % (1, '"a"', "9" * 400, "{}", ""), "line 1: distance: expected a finite number"),
        (JSON % (1, '"a"', '"1"', "{}", ""), "line 1: distance: found '1'"),
        (JSON % (1, '"a"', 1, '{"x": 3}', ""), "line 1: query_labels: found"),
        (JSON % (1, '"a"', 1, '["x"]', ""), "line 1: query_labels: found"),
        (JSON % (1, '"a"', 1, "{}", ', "seed": 1, "set": -1'), "line 1: set: found -1"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(ArtifactError, match=words) as caught:
        read(tmp_path, text.replace("True", "true") if isinstance(text, str) else text)
    assert str(tmp_path / "run") in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ArtifactError, match=r"no\.tsv: cannot be read: No such file"):
        read_run(tmp_path / "no.tsv")
