"""Groups of queries and their scores, against plain loops."""

import statistics

import pytest

from cbir_cli import groups
from cbir_cli.errors import UsageError
from cbir_cli.records import MISSING
from cbir_cli.scores import Score, summarise


def keyed(number, seed=None):
    return seed, None if seed is None else 1, f"q{number}"


def score(values, chance=None):
    return summarise(values, chance or {}, method="run", metric="p@1", against="label A", left_out=1)


def test_what_to_group_by():
    assert groups.parse(None) == []
    assert groups.parse("sex, view,sex") == ["sex", "view"]
    with pytest.raises(UsageError, match="unknown group 'vieww': did you mean view"):
        groups.parse("vieww")
    with pytest.raises(UsageError, match="unknown group ''"):
        groups.parse("sex,")


def test_bands_of_age():
    ages = [0, 9, 10, 59, 60, 89, 90, 110, MISSING, -3]
    assert [groups.age_band(a) for a in ages] == [
        "0-9",
        "0-9",
        "10-19",
        "50-59",
        "60-69",
        "80-89",
        "90+",
        "90+",
        "?",
        "?",
    ]


def test_groups_stand_in_the_order_of_a_reader():
    ages = ["90+", "?", "100-109", "20-29", "0-9"]
    found = groups.members("age", map(keyed, range(5)), [[age] for age in ages])
    assert list(found) == ["age=0-9", "age=20-29", "age=90+", "age=100-109", "age=?"]
    classes = groups.members("class", map(keyed, range(3)), [["b"], [], ["b", "a"]], ["b", "a"])
    assert {name: [key[2] for key in keys] for name, keys in classes.items()} == {
        "class=b": ["q0", "q2"],
        "class=a": ["q2"],
        "class=?": ["q1"],
    }
    assert list(groups.members("view", map(keyed, range(3)), [["PA"], [""], ["AP"]])) == [
        "view=AP",
        "view=PA",
        "view=?",
    ]


def test_scores_of_groups_are_those_of_their_queries():
    values = {keyed(n, seed): n / 10 + seed for n in range(6) for seed in (1, 2) if n != 5}
    chance = {key: value / 2 for key, value in values.items()}
    keys = [keyed(n, seed) for n in range(6) for seed in (1, 2)]
    members = groups.members("view", keys, [["AP" if int(key[2][1]) < 2 else "PA"] for key in keys])
    whole = score(values, chance)
    first, ap, pa = groups.scores_of(whole, [members])
    assert first is whole and (ap.group, pa.group) == ("view=AP", "view=PA")
    assert (ap.method, ap.metric, ap.against) == (whole.method, whole.metric, whole.against)
    for part, numbers, left_out in ((ap, (0, 1), 0), (pa, (2, 3, 4), 2)):
        of_seed = [statistics.fmean(n / 10 + seed for n in numbers) for seed in (1, 2)]
        assert part.mean == pytest.approx(statistics.fmean(of_seed)) and part.sd == pytest.approx(
            statistics.stdev(of_seed)
        )
        assert (part.minimum, part.maximum) == pytest.approx((min(of_seed), max(of_seed)))
        assert part.random == pytest.approx(part.mean / 2)
        assert (part.n, part.left_out) == (2 * len(numbers), left_out)
        assert set(part.values) == {keyed(n, seed) for n in numbers for seed in (1, 2)}


def test_the_macro_mean_counts_each_class_once():
    values = {keyed(n): float(n < 9) for n in range(10)}
    members = groups.members("class", values, [["few" if n == 9 else "many"] for n in range(9)] + [["few"]])
    found = {part.group: part for part in groups.scores_of(score(values, {key: 0.5 for key in values}), [members])}
    assert found["class=many"].mean == 1.0 and found["class=few"].mean == 0.0
    macro = found["class=macro"]
    assert (macro.mean, macro.minimum, macro.maximum, macro.random, macro.n) == (0.5, 0.0, 1.0, 0.5, 10)
    assert macro.sd == pytest.approx(statistics.stdev([0, 1])) and found[""].mean == 0.9


@pytest.mark.parametrize("classes", [["a"], ["a", ""]])
def test_one_class_has_no_macro_mean(classes):
    values = {keyed(n): 1.0 for n in range(len(classes))}
    members = groups.members("class", values, [[name] if name else [] for name in classes])
    assert groups.MACRO not in {part.group for part in groups.scores_of(score(values), [members])}


def test_a_group_without_a_score_has_no_row():
    values = {keyed(0): 1.0}
    members = groups.members("sex", [keyed(0), keyed(1)], [["F"], ["M"]])
    assert [part.group for part in groups.scores_of(score(values), [members])] == ["", "sex=F"]
    empty = score({})
    assert groups.scores_of(empty, [members]) == [empty]


def test_the_lowest_group_of_each_kind():
    def part(group, mean, method="run"):
        return Score(method, "p@1", "label A", 3, 0, mean, group=group)

    parts = [part("", 0.1), part("view=AP", 0.5), part("view=PA", 0.4), part("sex=F", 0.9), part("class=macro", 0.0)]
    parts += [part("view=AP", 0.2, "other"), part("view=PA", 0.3, "other"), part("view=?", None, "other")]
    assert [(low.method, low.group) for low in groups.lowest(parts)] == [("run", "view=PA"), ("other", "view=AP")]
