"""Expressions of --where: against Python's own reading of the same line, row by row; and hostile ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli.errors import UsageError
from cbir_cli.records import MISSING
from cbir_cli.where import Among, And, Compare, Missing, Not, Or, evaluate, used
from cbir_cli.where_grammar import parse

VIEWS = ("PA", "AP", "", "it's", 'a "b"', "Ä\\")
NAMES = ("Effusion", "Pleural Effusion", 'odd "one"')


def table(count=40, seed=3):
    draw = np.random.default_rng(seed)
    return {
        "id": np.array([f"i{n:02d}" for n in range(count)]),
        "view": draw.choice(VIEWS, count),
        "age": draw.choice(np.array([MISSING, 0, 39, 40, 60], np.int16), count),
        "part": draw.choice(np.array([-1, 0, 1, 2], np.int32), count),
        **{f"label:{name}": draw.choice(np.array([MISSING, -1, 0, 1], np.int8), count) for name in NAMES},
    }


class Absent:
    """What Python compares in place of a missing value: nothing holds of it."""

    def no(self, other):
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = no
    __hash__ = None


ABSENT = Absent()
TABLE = table()
PYTHON = {
    "id": "id_",
    "view": "view",
    "age": "age",
    "part": "part",
    **{f"label:{n}": f"label{i}" for i, n in enumerate(NAMES)},
}


def quoted(text, mark):
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def spelt(column):
    name = column.removeprefix("label:")
    return column if name == column or name.isalnum() else "label:" + quoted(name, '"')


def in_python(line):
    """Every row's answer, by Python itself."""
    code = compile(line, "expression", "eval")
    answers = []
    for row in range(len(TABLE["id"])):
        values = {}
        for column, name in PYTHON.items():
            value = TABLE[column][row].item()
            known = value >= 0 if column == "part" else value not in (MISSING, "")
            values[name] = value if known else ABSENT
        answers.append(bool(eval(code, {"ABSENT": ABSENT}, values)))
    return np.array(answers)


columns = st.sampled_from(sorted(PYTHON))
numbers = st.one_of(st.integers(-3, 70), st.sampled_from([39.5, -0.5, 4e1, 1e9])).map(repr)
texts = st.tuples(st.sampled_from([*filter(None, VIEWS), "i07"]), st.sampled_from("'\"")).map(lambda t: quoted(*t))
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


@st.composite
def comparisons(draw):
    """One line in our grammar and in Python's."""
    column = draw(columns)
    ours, theirs = spelt(column), PYTHON[column]
    value = texts if column in ("id", "view") else numbers
    kind = draw(st.sampled_from(["one", "flipped", "chain", "in", "not in", "missing", "not missing"]))
    if kind in ("one", "flipped", "chain"):
        form = {"one": "{0} {1} {2}", "flipped": "{2}{1}{0}", "chain": "{2} {1} {0} {3} {4}"}[kind]
        rest = draw(signs), draw(value), draw(signs), draw(value)
        return form.format(ours, *rest), form.format(theirs, *rest)
    if kind in ("missing", "not missing"):
        return f"{ours} is {kind}", f"({theirs} is {kind.replace('missing', 'ABSENT')})"
    values = ", ".join(draw(st.lists(value, min_size=1, max_size=20)))
    known = f"{theirs} is not ABSENT and " if kind == "not in" else ""
    return f"{ours} {kind} ({values})", f"({known}{theirs} {kind} ({values},))"


def joined(inner):
    two = st.tuples(inner, st.sampled_from(["and", "or"]), inner, st.booleans())
    return st.one_of(
        inner.map(lambda e: (f"not {e[0]}", f"not {e[1]}")),
        inner.map(lambda e: (f"({e[0]})", f"({e[1]})")),
        two.map(
            lambda t: tuple(
                f"({a}) {t[1]}({b})" if t[3] else f"{a} {t[1]} {b}" for a, b in zip(t[0], t[2], strict=True)
            )
        ),
    )


@settings(max_examples=400, deadline=None)
@given(st.recursive(comparisons(), joined, max_leaves=8))
def test_an_expression_holds_where_python_says_so(lines):
    ours, theirs = lines
    tree = parse(ours, TABLE)
    expected = in_python(theirs)
    assert (evaluate(tree, {name: TABLE[name] for name in used(tree)}) == expected).all()
    as_bytes = {
        name: np.strings.encode(values, "utf-8") if values.dtype.kind == "U" else values
        for name, values in TABLE.items()
    }
    assert (evaluate(tree, as_bytes) == expected).all()


def test_the_tree_is_small_and_typed():
    cols = ["view", "age", "label:Effusion"]
    assert parse("view == 'PA' and label:Effusion == 1", cols) == And(
        (Compare("view", "==", "PA"), Compare("label:Effusion", "==", 1))
    )
    assert parse("40 <= age < 60", cols) == And((Compare("age", ">=", 40), Compare("age", "<", 60)))
    assert parse("not age is not missing or view not in ('PA', 'AP',)", cols) == Or(
        (Not(Not(Missing("age"))), Among("view", ("PA", "AP"), negated=True))
    )
    assert used(parse("view == 'PA' or not (age > 1 and view == 'AP')", cols)) == {"view", "age"}


def test_a_slash_in_a_label_is_what_the_table_made_of_it():
    assert parse('label:"Lung/Left" == 1', ["label:Lung-Left"]) == Compare("label:Lung-Left", "==", 1)


def test_many_values_are_found_as_few_are():
    ids = np.array([f"i{n}" for n in range(300)])
    wanted = [f"i{n}" for n in range(0, 300, 7)]
    tree = parse(f"id in ({','.join(map(repr, wanted))})", [])
    for column in (ids, np.strings.encode(ids, "utf-8")):
        assert ids[evaluate(tree, {"id": column})].tolist() == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("view = 'PA'", "expected ==, found =, at character 6: view >>>= 'PA'"),
        ("view == 'PA' && age > 1", "expected and, found &, at character 14"),
        ("view == PA", "unknown column 'PA'"),
        ("vew == 'PA'", "did you mean view?"),
        ("label:Efusion == 1", "did you mean label:Effusion?"),
        ("content == 'a'", "unknown column 'content'"),
        ("age ==", "found the end, at character 7"),
        ("(age == 1", "expected ), found the end"),
        ("age == 1)", "expected and, or, or the end, found ), at character 9"),
        ("age == 'x'", "age holds numbers: expected a number, at character 8: age == >>>'x'"),
        ("view > 3", "view holds texts"),
        ("view == ''", "write view is missing"),
        ("1 < 2", "a column on one side"),
        ("age == part", "a column on one side"),
        ("age", "expected a comparison"),
        ("x" * 60_000, "unknown column 'xxx"),
        ("age == 1 age == 2", "expected and, or, or the end, found age"),
        ("age in ()", "found )"),
        ("age in (part)", "expected a value"),
        ("1 in (2)", "expected a column"),
        ("age == 1e999", "too large"),
        ("age == 12345678901234567890", "more than 15 digits"),
        ("age == nan", "unknown column 'nan'"),
        ("view == 'a", "a text that is not ended, at character 9"),
        ("view == 'a\0'", "not valid Unicode"),
        ("view == '\udc80'", "not valid Unicode"),
        ("age is None", "expected missing, found None"),
        ("", "expected a column or a value, found the end"),
        ("__import__('os').system('id')", "unknown column '__import__'"),
        ("age.__class__ == 1", "at character 4"),
        ("(lambda: 1)() == age", "expected a column or a value, at character 8"),
        ("(" * 65 + "age == 1" + ")" * 65, "nested deeper than 64, at character 65"),
        ("not " * 65 + "age == 1", "nested deeper than 64"),
        ("(" * 60_000, "nested deeper than 64"),
        ("age == 1 or " * 6_000 + "age == 1", "at most 65,536 characters"),
        ("age == \n\x1b[31m", "at character 9: age == ?>>>?[31m"),
    ],
)
def test_what_is_no_expression_is_said_in_one_line(line, said):
    with pytest.raises(UsageError, match=r"^--where: ") as caught:
        parse(line, ["view", "age", "part", "content", "label:Effusion"])
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_depth_counts_what_is_open_and_not_what_was():
    line = " and ".join(["(not (age == 1))"] * 50)
    assert evaluate(parse(line, ["age"]), {"age": np.array([1, 2], np.int16)}).tolist() == [False, True]


def test_64_deep_and_thousands_wide_are_answered():
    ages = {"age": np.array([1, 2], np.int16)}
    deep = "(" * 64 + "age == 1" + ")" * 64
    wide = " or ".join(["age == 1"] * 4_000)
    for line in (deep, wide):
        assert evaluate(parse(line, ["age"]), ages).tolist() == [True, False]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="()'\"\\<>=!, \tanotridmge19.-+:é\0label view", max_size=40))
def test_any_text_is_a_tree_or_one_line(line):
    try:
        tree = parse(line, TABLE)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert evaluate(tree, TABLE).shape == (40,)
