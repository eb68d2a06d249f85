"""A run that is read by columns is the run that is read row by row, and what is refused is refused in its words."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli.artifacts import _run_columns, _run_rows, run
from cbir_cli.artifacts.run import RunRow, read_lists, read_run
from cbir_cli.errors import ArtifactError
from cbir_cli.ranked_lists import RankedLists

HEADER = "query\trank\tid\tdistance\tquery_labels\tlabels\n"


def same(found, wanted):
    assert found.keys == wanted.keys and found.names == wanted.names
    for name in ("starts", "results", "distances"):
        assert (getattr(found, name) == getattr(wanted, name)).all(), name
    for cells in ("query_cells", "result_cells"):
        assert [found.cells[i] for i in getattr(found, cells)] == [wanted.cells[i] for i in getattr(wanted, cells)]


def rows(queries=5, sets=False, labels=True, seed=0):
    draw = random.Random(seed)
    found = []
    for number in range(queries):
        results = draw.sample(range(20), draw.randrange(1, 8))
        stated = {"A": number % 2, "B b": -1} if labels else {}
        for rank, one in enumerate(results, start=1):
            place = (1 + number % 2, number) if sets else (None, None)
            of = {"A": one % 2} if labels and one % 3 else {}
            found.append(RunRow(f"q {number}", rank, f"i%{one:02d}", rank / 7 - 0.5, stated, of, *place))
    return found


@pytest.mark.parametrize("format", ["tsv", "trec", "json"])
@pytest.mark.parametrize("sets", [False, True])
@pytest.mark.parametrize("block", [1 << 22, 40])
def test_both_ways_to_read_agree(tmp_path, monkeypatch, format, sets, block):
    monkeypatch.setattr(_run_columns, "_BLOCK", block)
    path = tmp_path / "run"
    path.write_text("".join(run.WRITERS[format](rows(sets=sets))))
    wanted = RankedLists.of(read_run(path))
    assert len(wanted.keys) == 5 and wanted.owners.tolist() == sorted(wanted.owners.tolist())
    if format != "json":  # otherwise the rows were read one by one
        monkeypatch.setattr(_run_rows, "of_lines", lambda *_: pytest.fail("read row by row"))
    same(read_lists(path), wanted)


def test_columns_and_rows_may_come_in_any_order(tmp_path):
    lines = "".join(run.tsv(rows())).splitlines()
    random.Random(1).shuffle(body := lines[1:])
    order = [3, 5, 0, 4, 1, 2]
    text = "\n".join("\t".join(line.split("\t")[i] for i in order) for line in [lines[0], *body]) + "\n"
    (tmp_path / "run").write_text(text)
    found = read_lists(tmp_path / "run")
    same(found, RankedLists.of(read_run(tmp_path / "run")))
    straight = RankedLists.of(rows())
    assert {key: found.ids(n) for n, key in enumerate(found.keys)} == {
        key: straight.ids(n) for n, key in enumerate(straight.keys)
    }
    assert found.far(0).tolist() == sorted(found.far(0).tolist())


ODD = [
    HEADER,
    HEADER + "q\t1\ta\t0.5\t\t\n",
    HEADER + "q\t1\ta\t0.5\t\t",
    HEADER + "q\t1\ta\t0.5\tA=1|B=0\t\nq\t2\tb\t0.5\tB=0|A=1\t\n",
    HEADER + "q\t1\ta\t0.5\tA=1\t\nq\t2\tb\t0.5\tA=0\t\n",
    HEADER + "q\t1\ta\t0.5\tA=2\t\n",
    HEADER + "q\t1\ta\tnan\t\t\n",
    HEADER + "q\t1\ta\t1e999\t\t\n",
    HEADER + "q\t1\ta\tnear\t\t\n",
    HEADER + "q\t0\ta\t1\t\t\n",
    HEADER + "q\t2\ta\t1\t\t\n",
    HEADER + "q\t+1\ta\t1\t\t\n",
    HEADER + "q\t1_0\ta\t1\t\t\n",
    HEADER + "q\t١\ta\t1\t\t\n",
    HEADER + "q\t\ta\t1\t\t\n",
    HEADER + "q\t01\ta\t1\t\t\n",
    HEADER + "q\t99999999999999999999\ta\t1\t\t\n",
    HEADER + "q\t1\ta\t1\t\t\nq\t1\tb\t1\t\t\n",
    HEADER + "q\t1\ta\t1\t\t\nq\t2\ta\t1\t\t\n",
    HEADER + "q\t1\ta\t1\t\t\np\t1\ta\t1\t\t\nq\t2\tb\t0\t\t\n",
    HEADER + "\t1\ta\t1\t\t\n",
    HEADER + "q\t1\t\t1\t\t\n",
    HEADER + "q\t1\ta\t1\t\t\t\nq\t2\tb\t1\t\n",
    HEADER + "q\t1\ta\t1\t\t\n\nq\t2\tb\t1\t\t\n",
    HEADER.replace("\n", "\tseed\tset\n") + "q\t1\ta\t1\t\t\t1\t2\nq\t1\tb\t1\t\t\t2\t1\n",
    HEADER.replace("\n", "\tseed\tset\n") + "q\t1\ta\t1\t\t\t1\t2\nq\t2\tb\t1\t\t\t01\t2\n",
    HEADER.replace("\n", "\tseed\tset\n") + "q\t1\ta\t1\t\t\t-1\t2\n",
    HEADER.replace("\n", "\tseed\tset\n") + "\t1\ta\t1\t\t\t1\t2\n",
    "q Q0 a 1 0.5 cbir\nq Q0 b 2 0.25 cbir\n",
    "q Q0 a 1 0.5 cbir\nq Q0 b 2 0.25 cbir",
    "q  Q0 a 1 0.5 cbir\nq\tQ0 b 2 0.25 cbir\n",
    "q  a 1 0.5 cbir\nq Q0 b 2 0.25 cbir\n",
    "q Q0 b 1 0.5 cbir\nq  a 2 0.25 cbir\n",
    HEADER + "q\t1\ta\t1\t\t\tother\n1\tb\t0.5\t\t\n",
    " q Q0 a 1 0.5 cbir\n",
    "q Q0 a 1 0.5 cbir \n",
    "1:2:q Q0 a 1 0 cbir\n1%3A2:q Q0 a 1 -0 cbir\n",
    "q%20 Q0 a 1 0.5 cbir\nq%20 Q0 %61 2 0.5 cbir\n",
    "q Q0 a 1 0.5 cbir\n%71 Q0 b 2 0.5 cbir\n",
    "q Q0 a 2 0.5 cbir\nq Q0 b 1 0.25 cbir\n",
    "q Q0 a 2 0.5 cbir\n",
    "q Q0 a 1 inf cbir\n",
]


@pytest.mark.parametrize("text", ODD)
def test_what_is_odd_is_read_or_refused_as_row_by_row(tmp_path, text):
    path = tmp_path / "run"
    path.write_text(text, "utf-8")
    try:
        wanted = RankedLists.of(read_run(path))
    except ArtifactError as error:
        with pytest.raises(ArtifactError) as raised:
            read_lists(path)
        assert str(raised.value) == str(error)
    else:
        found = read_lists(path)
        same(found, wanted)
        assert not np.signbit(found.distances[found.distances == 0]).any()


@settings(max_examples=150, deadline=None)
@given(st.text("q12 \t\n:%|=A.", max_size=60), st.sampled_from([HEADER, ""]))
def test_any_text_is_read_alike(tmp_path_factory, text, header):
    test_what_is_odd_is_read_or_refused_as_row_by_row(tmp_path_factory.mktemp("odd"), header + text)
