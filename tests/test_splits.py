import itertools
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli import splits
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.splits import SplitRow, assign, catalogues

PAPER_SEEDS = (42, 1, 27, 57, 77)
EXPECTED_ROLES = ["train", "train", "train", "validation", "test", "validation"]
EXPECTED_DRAW = ["p002/2", "p000/0", "p005/1", "p011/0"]


def pool(patients=60, images=3, share=0.36):
    """Ids, labels and patients of a set with the class share of the paper's validation set."""
    ids, labels, owners = [], [], []
    for number in range(patients):
        for image in range(1 + number % images):
            ids.append(f"p{number:03d}/{image}")
            labels.append(int(number < share * patients))
            owners.append(f"p{number:03d}")
    return ids, labels, owners


def sets_of(rows):
    sets = defaultdict(lambda: ([], []))
    for row in rows:
        assert row.role in ("query", "catalogue")
        sets[row.seed, row.set][row.role == "catalogue"].append(row.id)
    return dict(sets)


class TestAssign:
    def test_a_patient_stays_wherever_the_data_grow(self):
        patients = [f"p{i}" for i in range(200)]
        whole = dict(zip(patients, assign(patients, seed=1, validation=0.2, test=0.1), strict=True))
        part = patients[150:20:-3] * 2
        assert assign(part, seed=1, validation=0.2, test=0.1) == [whole[patient] for patient in part]

    def test_shares_hold_on_average(self):
        counts = Counter(assign([f"p{i}" for i in range(4000)], seed=3, validation=0.2, test=0.1))
        assert counts["validation"] == pytest.approx(800, abs=100)
        assert counts["test"] == pytest.approx(400, abs=80)

    def test_another_seed_is_another_split(self):
        patients = [f"p{i}" for i in range(100)]
        assert assign(patients, seed=1, validation=0.5) != assign(patients, seed=2, validation=0.5)

    def test_a_larger_validation_set_moves_no_one_out_of_test_or_back_to_training(self):
        patients = [f"p{i}" for i in range(300)]
        small = assign(patients, seed=1, validation=0.1, test=0.2)
        large = assign(patients, seed=1, validation=0.3, test=0.2)
        moves = set(zip(small, large, strict=True))
        assert moves == {("test", "test"), ("validation", "validation"), ("train", "validation"), ("train", "train")}

    def test_known_digests(self):
        # Stored models depend on these: a change of the rule must not pass unseen.
        assert assign(["a", "b", "c", "d", "e", "f"], seed=42, validation=0.3, test=0.2) == EXPECTED_ROLES

    def test_nobody_is_no_one(self):
        assert assign([], seed=0) == []

    @pytest.mark.parametrize("shares", [{"validation": -0.1}, {"validation": 0.5, "test": 0.5}, {"test": float("nan")}])
    def test_shares_that_make_no_sense_are_refused(self, shares):
        with pytest.raises(UsageError, match="shares"):
            assign(["a"], seed=0, **shares)

    def test_unknown_patients_are_refused(self):
        with pytest.raises(SourceError, match="2 of 3"):
            assign(["", "a", ""], seed=0)


class TestCatalogues:
    @pytest.mark.parametrize(("size", "positive"), [(10, 4), (20, 7), (30, 11)])
    def test_the_papers_catalogues(self, size, positive):
        ids, labels, patients = pool()
        label, patient = dict(zip(ids, labels, strict=True)), dict(zip(ids, patients, strict=True))
        sets = sets_of(catalogues(ids, labels, patients, catalogue=size, seeds=PAPER_SEEDS))
        assert list(sets) == [(seed, 1) for seed in PAPER_SEEDS]
        for queries, images in sets.values():
            assert [label[query] for query in queries] == [1]
            assert len(set(images)) == size
            assert sum(label[image] for image in images) == positive
            owners = {patient[image] for image in images}
            assert len(owners) == size and patient[queries[0]] not in owners

    def test_order_of_the_input_does_not_matter(self):
        ids, labels, patients = pool()
        images = list(zip(ids, labels, patients, strict=True))
        shuffled = [list(column) for column in zip(*images[::-1], strict=True)]
        draw = {"catalogue": 10, "queries": 3, "seeds": (1, 2)}
        assert catalogues(ids, labels, patients, **draw) == catalogues(*shuffled, **draw)

    def test_a_seed_does_not_depend_on_the_others(self):
        ids, labels, patients = pool()
        both = catalogues(ids, labels, patients, catalogue=10, seeds=(1, 2))
        assert [row for row in both if row.seed == 2] == catalogues(ids, labels, patients, catalogue=10, seeds=(2,))
        assert sets_of(both)[1, 1] != sets_of(both)[2, 1]

    def test_queries_of_a_seed_are_of_different_patients(self):
        ids, labels, patients = pool(patients=40)
        sets = sets_of(catalogues(ids, labels, patients, catalogue=5, queries=6, seeds=(9,)))
        assert list(sets) == [(9, number) for number in range(1, 7)]
        assert len({query.split("/")[0] for queries, _ in sets.values() for query in queries}) == 6
        assert len({tuple(images) for _, images in sets.values()}) > 1

    @pytest.mark.parametrize("seed", range(5))
    def test_further_images_of_a_patient_come_in_turns(self, seed):
        # Patient "a" has most images: five queries of three patients take two of his at most.
        ids = [*(f"a{n}" for n in range(20)), "b0", "b1", "c0", "c1", "z0", "z1"]
        labels = [1] * 24 + [0] * 2
        patients = [name[0] for name in ids]
        rows = catalogues(ids, labels, patients, catalogue=2, positives=0, queries=5, seeds=(seed,))
        counts = Counter(row.id[0] for row in rows if row.role == "query")
        assert set(counts) == {"a", "b", "c"} and max(counts.values()) == 2
        first = [row.id[0] for row in rows if row.role == "query"][:3]
        assert sorted(first) == ["a", "b", "c"]

    def test_every_positive_image_can_be_the_query(self):
        ids, labels, patients = ["a", "b", "c", "d"], [1, 1, 0, 0], ["1", "2", "3", "4"]
        drawn = {catalogues(ids, labels, patients, catalogue=2, seeds=(seed,))[0].id for seed in range(20)}
        assert drawn == {"a", "b"}

    @pytest.mark.parametrize(("query_label", "classes"), [(1, {1}), (0, {0}), (None, {0, 1})])
    def test_class_of_the_queries(self, query_label, classes):
        ids, labels, patients = pool()
        label = dict(zip(ids, labels, strict=True))
        rows = catalogues(ids, labels, patients, catalogue=4, seeds=range(25), query_label=query_label)
        assert {label[row.id] for row in rows if row.role == "query"} == classes

    def test_forced_number_of_positive_images(self):
        ids, labels, patients = pool(share=0.7)
        label = dict(zip(ids, labels, strict=True))
        rows = catalogues(ids, labels, patients, catalogue=10, positives=4, seeds=PAPER_SEEDS)
        for _, images in sets_of(rows).values():
            assert sum(label[image] for image in images) == 4

    def test_without_strata_the_classes_come_as_they_fall(self):
        ids, labels, patients = pool()
        label = dict(zip(ids, labels, strict=True))
        rows = catalogues(ids, labels, patients, catalogue=10, seeds=range(30), stratify=False)
        counts = {sum(label[image] for image in images) for _, images in sets_of(rows).values()}
        assert len(counts) > 2
        assert all(len(images) == 10 for _, images in sets_of(rows).values())

    @pytest.mark.parametrize(
        ("ones", "zeros", "size", "positive"), [(1, 3, 2, 1), (3, 5, 4, 2), (3, 9, 3, 1), (9, 3, 3, 2)]
    )
    def test_remainders(self, ones, zeros, size, positive):
        # Shares of .25 of 2, .375 of 4, .25 of 3 and .75 of 3: a half goes up for the positive class.
        ids = [f"{number:02d}" for number in range(ones + zeros)]
        labels = [1] * ones + [0] * zeros
        rows = catalogues(ids, labels, ids, catalogue=size, seeds=(1,), query_label=0)
        assert sum(labels[int(row.id)] for row in rows if row.role == "catalogue") == positive

    def test_second_images_of_a_patient_only_when_patients_run_out(self):
        ids = ["q1", "q2", "a1", "a2", "a3", "b1", "c1"]
        labels = [1, 1, 1, 1, 1, 0, 0]
        patients = ["q", "q", "a", "a", "a", "b", "c"]
        for seed in range(10):
            rows = catalogues(ids, labels, patients, catalogue=4, positives=2, seeds=(seed,))
            images = {row.id for row in rows if row.role == "catalogue"}
            assert {"b1", "c1"} < images
            assert len({image[0] for image in images} & {"a", "q"}) == 1

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=9), st.integers(0, 3), st.integers(0, 3))
    def test_patients_appear_once_whenever_that_can_be(self, images, positives, negatives):
        rest = [splits._Image(f"i{n}", label, f"p{patient}") for n, (patient, label) in enumerate(images)]
        wanted = {1: positives, 0: negatives}
        if any(sum(image.label == label for image in rest) < count for label, count in wanted.items()):
            with pytest.raises(SourceError, match="cannot be drawn"):
                splits._draw(rest, wanted, 5, 1)
            return
        chosen = splits._draw(rest, wanted, 5, 1)
        assert len({image.id for image in chosen}) == positives + negatives
        assert sum(image.label for image in chosen) == positives
        possible = any(
            len({image.patient for image in choice}) == len(choice)
            and sum(image.label for image in choice) == positives
            for choice in itertools.combinations(rest, positives + negatives)
        )
        assert (len({image.patient for image in chosen}) == len(chosen)) == possible

    def test_known_draw(self):
        ids, labels, patients = pool(patients=12)
        rows = catalogues(ids, labels, patients, catalogue=3, seeds=(42,))
        assert [row.id for row in rows] == EXPECTED_DRAW
        assert rows[0] == SplitRow(42, 1, "query", EXPECTED_DRAW[0])

    def test_too_few_images_say_how_many_there_are(self):
        with pytest.raises(SourceError, match=r"2 images \(1 positive, 1 negative\)") as caught:
            catalogues(["a", "b", "c"], [1, 1, 0], ["a", "b", "c"], catalogue=4, seeds=(1,))
        assert "4 images (3 positive, 1 negative)" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_too_few_queries_say_how_many_there_are(self):
        with pytest.raises(SourceError, match="2 queries wanted for seed 1, but there are 1 positive images"):
            catalogues(["a", "b", "c"], [1, 0, 0], ["a", "b", "c"], catalogue=1, queries=2, seeds=(1,))
        with pytest.raises(SourceError, match="there are 0 images"):
            catalogues([], [], [], catalogue=1, seeds=(1,), query_label=None)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"catalogue": 0},
            {"queries": 0},
            {"seeds": ()},
            {"seeds": (1, 1)},
            {"seeds": (-1,)},
            {"positives": 3},
            {"positives": -1},
        ],
    )
    def test_numbers_that_make_no_sense_are_refused(self, wrong):
        with pytest.raises(UsageError, match="split: "):
            catalogues(*pool(), **{"catalogue": 2, "seeds": (1,), **wrong})

    @pytest.mark.parametrize(
        ("ids", "labels", "patients", "words"),
        [
            (["a", "a"], [1, 0], ["x", "y"], "more than once"),
            (["a", "b"], [1, -1], ["x", "y"], "label of 1 images"),
            (["a", "b"], [1, 0], ["x", ""], "patient of 1 of 2"),
            (["a", "b"], [1], ["x", "y"], "do not match"),
        ],
    )
    def test_a_pool_that_makes_no_sense_is_refused(self, ids, labels, patients, words):
        with pytest.raises(SourceError, match=words):
            catalogues(ids, labels, patients, catalogue=1, seeds=(1,))
