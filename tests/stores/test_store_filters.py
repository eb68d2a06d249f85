"""Expressions as text: values are quoted or bound, never part of it; no engine is needed."""

import catalogues
import pytest

from cbir_cli.stores import milvus, pgvector
from cbir_cli.stores._columns import Column, of_table
from cbir_cli.where import Among, And, Compare, Missing, Not, Or

COLUMNS = {"id": Column("id"), "view": Column("view"), "age": Column("age", bits=16), "part": Column("part", bits=32)}
EVIL = ("'; DROP TABLE x; --", '" or id != "', "\\", '\\"', "%s", "%(a)s", "a\nb", "{x}")


def in_milvus(tree):
    store = milvus.Store(None, "x.db", "x")
    store._known = {"columns": {name: vars(column) for name, column in COLUMNS.items()}}
    return store._condition(tree)


def in_sql(tree):
    store = pgvector.Store(None, "postgresql://h", "x")
    store._known = {"columns": {name: vars(column) for name, column in COLUMNS.items()}}
    return store._condition(tree)


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (Compare("view", "==", "PA"), '(not (view == "") and view == "PA")'),
        (Compare("age", ">", 40.5), "(not (age == -128) and age > 40)"),
        (Compare("age", ">=", 40.5), "(not (age == -128) and age >= 41)"),
        (Compare("age", "<", 40.5), "(not (age == -128) and age < 41)"),
        (Compare("age", "<=", -40.5), "(not (age == -128) and age <= -41)"),
        (Compare("age", "==", 40.5), "(not (age == -128) and id in [])"),
        (Compare("age", "!=", 40.5), "(not (age == -128) and not (id in []))"),
        (Compare("age", "<", 1e300), f"(not (age == -128) and age < {1 << 40})"),
        (Among("age", (3, 4.0, 5.5)), "(not (age == -128) and age in [3, 4])"),
        (Among("age", (5.5,), True), "(not (age == -128) and not (id in []))"),
        (Missing("part"), "part < 0"),
        (Not(Missing("view")), 'not (view == "")'),
        (
            Or((Missing("age"), And((Missing("age"), Missing("view"))))),
            '(age == -128 or (age == -128 and view == ""))',
        ),
    ],
)
def test_milvus(tree, text):
    assert in_milvus(tree) == text


@pytest.mark.parametrize("evil", EVIL)
def test_a_text_ends_where_it_ends(evil):
    """Read as Milvus reads it: up to the first quote without a backslash before it, which has to be the last."""
    text = in_milvus(Compare("view", "==", evil))
    literal = text.removeprefix('(not (view == "") and view == ').removesuffix(")")
    inner, place, read = literal[1:-1], 0, ""
    while place < len(inner):
        assert inner[place] not in '"\n\r'
        if inner[place] == "\\":
            place += 1
            read += {"n": "\n", "r": "\r", "t": "\t"}.get(inner[place], inner[place])
        else:
            read += inner[place]
        place += 1
    assert read == evil
    assert literal[0] == literal[-1] == '"'


@pytest.mark.parametrize("evil", EVIL)
def test_sql_binds_every_value_in_the_order_of_the_text(evil):
    tree = And((Compare("view", "!=", evil), Not(Among("id", (evil, "x"))), Compare("age", ">", 3)))
    text, values = in_sql(tree)
    assert text == (
        ' WHERE ((not ("view" = %s) and "view" != %s) and not ((not ("id" = %s) and "id" = ANY(%s)))'
        ' and (not ("age" = %s) and "age" > %s))'
    )
    assert values == ["", evil, "", [evil, "x"], -128, 3]


def test_fields_are_plain_words_each_once():
    items = catalogues.items(30)
    columns = of_table(items.ids, items)
    assert list(columns) == ["id", *items]
    fields = [column.field for column in columns.values()]
    assert fields[-4:] == [
        "label_effusion",
        "label_pleural_effusion",
        "label_pleural_effusion_2",
        "label_covid_19__rztlich____drop_table_x____",
    ]
    assert len(set(fields)) == len(fields)
    assert all(field.replace("_", "a").isalnum() and field.isascii() and len(field) <= 63 for field in fields)


def test_texts_are_measured_in_bytes():
    items = catalogues.items(30)
    source = of_table(items.ids, items)["source"]
    assert source.longest == max(len(value.encode()) for value in items["source"].tolist())
    assert of_table(items.ids, items)["age"].bits == 16
