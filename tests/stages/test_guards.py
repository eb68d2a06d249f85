"""Guards of every level, cross-examination and filters, against plain loops over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli.allowed import check
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.records import MISSING
from cbir_cli.stages import relatives
from cbir_cli.stages.guards import Filters, Guard

TEXT = ("path", "patient", "study", "view", "source", "split", "sex", "content", "seen", "series")
KEYS = ("patient", "study", "content", "source", "series", "part", "examination")


def table(rows, pseudonyms="key"):
    """An item table of dicts; ids are i0, i1 and so on unless they are given."""
    columns = {name: np.array([row.get(name, "") for row in rows], dtype="U8") for name in TEXT}
    columns["part"] = np.array([row.get("part", -1) for row in rows], np.int32)
    columns["age"] = np.array([row.get("age", MISSING) for row in rows], np.int16)
    columns["examination"] = np.array([row.get("examination", MISSING) for row in rows], np.int32)
    ids = np.array([row.get("id", f"i{n}") for n, row in enumerate(rows)], dtype="U8")
    return Items(ids, columns, pseudonyms)


def own(query, rows, level, people, same_source):
    """Numbers of the rows that are the query himself, spelled out."""
    copies = {n for n, row in enumerate(rows) if row["content"] and row["content"] == query["content"]}
    named = {n for n, row in enumerate(rows) if same_source and row.get("id", f"i{n}") == query["id"]}
    if level == "none":
        return set()
    if level == "image":
        return {n for n in copies if rows[n]["part"] == query["part"]} | named

    def having(column, values):
        return {n for n, row in enumerate(rows) if row[column] and row[column] in values}

    def values(column, numbers):
        return {rows[n][column] for n in numbers} | ({query[column]} if people or column == "source" else set())

    found = set(copies)
    if level in ("patient", "source"):
        found |= having("patient", values("patient", copies))
    found |= having("study", values("study", found))
    if level == "source":
        found |= having("source", values("source", copies))
    return found | named


def alone(query, rows, only, people):
    """Numbers of the rows that are to answer, spelled out; None where two examinations are the same."""
    copies = [row for row in rows if row["content"] and row["content"] == query["content"]]

    def values(column):
        return ({row[column] for row in copies} | ({query[column]} if people else set())) - {""}

    kind = "patient" if only == "earlier" else only
    found = {n for n, row in enumerate(rows) if row[kind] in values(kind)}
    if only == "series" and query["part"] >= 0:
        found |= {n for n, row in enumerate(rows) if row["content"] and row["content"] == query["content"]}
    if only != "earlier":
        return found
    places = [row["examination"] for row in rows if row["study"] in values("study") and row["examination"] != MISSING]
    if not places:
        return found
    pairs = {(rows[n]["examination"], rows[n]["study"]) for n in found if rows[n]["examination"] != MISSING}
    if len({place for place, _ in pairs}) < len(pairs):
        return None
    return {n for n in found if rows[n]["examination"] != MISSING and rows[n]["examination"] < min(places)}


def as_stored(items):
    """The table with its text as a file holds it: UTF-8, not decoded."""
    columns = {name: items[name] for name in items}
    stored = {n: np.strings.encode(c, "utf-8") if c.dtype.kind == "U" else c for n, c in columns.items()}
    return Items(np.strings.encode(items.ids, "utf-8"), stored, items.pseudonyms)


images = st.fixed_dictionaries(
    {
        "patient": st.sampled_from(["", "p", "q"]),
        "study": st.sampled_from(["", "s", "t", "u"]),
        "content": st.sampled_from(["", "c", "d", "e"]),
        "source": st.sampled_from(["", "x", "y"]),
        "series": st.sampled_from(["", "m", "n"]),
        "part": st.sampled_from([-1, 0, 1]),
        "examination": st.sampled_from([MISSING, 0, 1, 2]),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(images, min_size=1, max_size=8),
    asked=st.lists(images, min_size=1, max_size=4),
    level=st.sampled_from(["none", "image", "study", "patient", "source"]),
    only=st.sampled_from([None, "patient", "earlier", "study", "series"]),
    source=st.booleans(),
    keys=st.booleans(),
    where=st.booleans(),
    within=st.booleans(),
    few=st.sampled_from([0, 16]),
    raw=st.booleans(),
)
def test_allowed_is_the_plain_loop(rows, asked, level, only, source, keys, where, within, few, raw):
    asked = [{**query, "id": f"i{n}"} for n, query in enumerate(asked)]
    filters = Filters("part < 1 or part is missing" if where else None, level, only)
    catalogue = np.arange(0, len(rows), 2) if within else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relatives, "_FEW", few)  # compare directly, or group at once
        guard = Guard(
            (as_stored if raw else Items.replace)(table(rows)),
            table(asked, "key" if keys else "other"),
            filters,
            same_source=source,
            judged=[len(rows) - 1],
        )
        for number, query in enumerate(asked):
            may = {n for n, row in enumerate(rows) if not where or row["part"] < 1}
            may &= set(range(0, len(rows), 2)) if within else may
            may -= own(query, rows, level, keys, source) | {len(rows) - 1}
            if only:
                alone_rows = alone(query, rows, only, keys)
                if alone_rows is None:
                    with pytest.raises(ArtifactError, match="same number of examination"):
                        guard.allowed(number, catalogue)
                    continue
                may &= alone_rows
            allowed = guard.allowed(number, catalogue)
            for some in (allowed.only, allowed.without):
                check(np.arange(0) if some is None else some, len(rows))
            assert set(allowed.rows(len(rows)).tolist()) == may


def test_what_is_left_out_is_counted_and_said(caplog):
    caplog.set_level("INFO")
    rows = [{"patient": "p", "view": view} for view in ("PA", "AP", "PA")] + [{"patient": "q", "view": "PA"}]
    guard = Guard(table(rows), table(rows), Filters("view == 'PA'"), same_source=True)
    for query in range(4):
        guard.allowed(query)
    guard.say()
    assert "--where: 3 of 4 images" in caplog.text
    assert "left out: 7 results of the same image, study or patient" in caplog.text  # of p's two 3 times, of q's one


def test_a_whole_source_is_counted(caplog):
    caplog.set_level("INFO")
    rows = [{"patient": p, "source": s} for p, s in (("p", "x"), ("q", "x"), ("p", "y"), ("r", "z"))]
    guard = Guard(table(rows), table(rows), Filters(exclude="source"), same_source=True)
    assert [guard.allowed(query).rows(4).tolist() for query in range(4)] == [[3], [2, 3], [1, 3], [0, 1, 2]]
    guard.say()
    assert "left out: 8 results of the same image, study, patient or source" in caplog.text


def test_queries_that_share_a_filter_share_its_array():
    rows = [{"patient": p, "source": s} for p, s in (("p", "x"), ("p", "x"), ("q", "x"), ("r", "y"))]
    items = table(rows)
    for filters in (Filters("id != 'i3'"), Filters(only="patient"), Filters(exclude="source"), Filters("age < 1")):
        guard = Guard(items, items, filters, same_source=True)
        first, second = guard.allowed(0), guard.allowed(1)
        assert first.only is not None and first.only is second.only
    catalogue = np.array([0, 1, 2])
    guard = Guard(items, items, Filters("id != 'i3'"), same_source=True)
    assert guard.allowed(0, catalogue).only is guard.allowed(2, catalogue).only


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters("vew == 'PA'"), "did you mean view"),
        (Filters(only="patient", exclude="patient"), "--exclude-same patient leaves nothing of --only-same patient"),
        (Filters(only="earlier", exclude="source"), "--exclude-same source leaves nothing"),
        (Filters(only="study", exclude="study"), "leaves nothing of --only-same study"),
        (Filters(only="series", exclude="study"), "leaves nothing of --only-same series"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(filters, said):
    with pytest.raises(UsageError, match=said):
        filters.check(table([{}]))


@pytest.mark.parametrize(("only", "column"), [("earlier", "examination"), ("series", "series")])
def test_a_table_that_does_not_say(only, column):
    items = table([{}, {"part": 0}])
    lacking = Items(items.ids, {name: items[name] for name in items if name != column}, "key")
    if only == "series":
        Filters(only=only).check(lacking)  # slices of one file are a series
        lacking = lacking.replace(part=np.full(2, -1, np.int32))
    with pytest.raises(UsageError, match=f"the index has no column {column}"):
        Filters(only=only).check(lacking)


def test_an_examination_that_the_index_does_not_have_is_said(caplog):
    rows = [{"patient": "p", "study": "s", "examination": 0}, {"patient": "p", "study": "t", "examination": 1}]
    new = table([{"patient": "p", "study": "new", "examination": 0}])
    guard = Guard(table(rows), new, Filters(only="earlier"), same_source=False)
    assert guard.allowed(0).rows(2).tolist() == [0, 1]
    guard.say()
    assert "the examinations of 1 queries are not in the index" in caplog.text


def test_a_source_that_nobody_knows_is_said(caplog):
    Guard(table([{}]), table([{}]), Filters(exclude="source"), same_source=False)
    assert "cannot be left out" in caplog.text


def test_many_rows_of_few_values_are_found_as_by_comparing():
    draw = np.random.default_rng(2)
    items = table([{"patient": f"p{n}"} for n in draw.integers(0, 5, 3000)])
    found = relatives.Relatives(items)
    for number in range(40):
        rows = found.rows("patient", f"p{number % 6}")
        assert rows.tolist() == np.flatnonzero(items["patient"] == f"p{number % 6}").tolist()
