"""Files of one method: five trainings are one row, with mean and standard deviation over them."""

import statistics

import pytest

from cbir_cli import bootstrap
from cbir_cli.errors import UsageError
from cbir_cli.repeats import method, over_files
from cbir_cli.scores import Score, summarise
from cbir_cli.uncertainty import filled

QUERIES = [f"q{i}" for i in range(12)]


def score(name, values, metric="p@5"):
    keyed = {(None, None, query): value for query, value in zip(QUERIES, values, strict=False)}
    chance = dict.fromkeys(keyed, 0.25)
    return summarise(keyed, chance, method=name, metric=metric, against="label A", left_out=1, tail=lambda _: 0.5)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("cnn-1.tsv", "cnn-*.tsv"),
        ("runs/cnn/12.tsv", "runs/cnn"),
        ("3.tsv", "*.tsv"),
        ("seed-2/cnn.tsv", "seed-*/cnn.tsv"),
        ("resnet50-1.emb.h5", "resnet50-*.emb.h5"),
        ("cnn.h5", "cnn.h5"),
    ],
)
def test_a_method_is_a_name_without_its_last_number(name, of):
    assert method(name) == of


def test_a_row_over_files():
    files = filled([score(f"cnn-{i}.tsv", [(i * q % 7) / 6 for q in range(1, 13)]) for i in (1, 2, 3)], {})
    (row,) = over_files(files)
    means = [one.mean for one in files]
    assert (row.method, row.n, row.left_out, row.p_random) == ("cnn-*.tsv", 12, 1, None)
    assert (row.mean, row.minimum, row.maximum) == pytest.approx((statistics.fmean(means), min(means), max(means)))
    assert row.sd == pytest.approx(statistics.stdev(means)) and row.random == 0.25
    averaged = [statistics.fmean(one.values[None, None, query] for one in files) for query in QUERIES]
    assert list(row.values.values()) == pytest.approx(averaged)
    assert (row.low, row.high) == pytest.approx(bootstrap.of_mean(averaged, range(12)))


def test_methods_metrics_and_single_files_stay_apart():
    names = ["a/1.tsv", "a/2.tsv", "b/1.tsv", "b/2.tsv", "ssim.tsv"]
    rows = over_files([score(n, [i / 9] * 12, m) for i, n in enumerate(names) for m in ("p@5", "p@7")])
    assert [(row.method, row.metric) for row in rows] == [
        (name, metric) for name in ("a", "b", "ssim.tsv") for metric in ("p@5", "p@7")
    ]
    assert [row.mean for row in rows[::2]] == pytest.approx([0.5 / 9, 2.5 / 9, 4 / 9])
    assert rows[-1].tail and rows[-1].sd == 0  # as it was: over its queries


def test_classifiers_are_pooled_by_their_means():
    files = [Score(f"emb-{i}.h5", "f1", "label A", 9, 0, mean, random=0.4) for i, mean in ((1, 0.7), (2, 0.9))]
    (row,) = over_files(files)
    assert (row.method, row.mean, row.low) == ("emb-*.h5", pytest.approx(0.8), None)
    assert row.sd == pytest.approx(0.2 / 2**0.5)


def test_other_queries_and_nothing_to_pool_are_refused():
    with pytest.raises(UsageError, match=r"cnn-1\.tsv and cnn-2\.tsv were scored on different queries"):
        over_files([score("cnn-1.tsv", [0.5] * 12), score("cnn-2.tsv", [0.5] * 11)])
    with pytest.raises(UsageError, match="no two names differ only in their last number"):
        over_files([score("cnn-1.tsv", [0.5] * 12), score("ig-1.tsv", [0.5] * 12)])
