import itertools
from collections import Counter, defaultdict

import pytest
import sklearn.model_selection
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli import split_presets, splits
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
        rest = [splits.Image(f"i{n}", label, f"p{patient}") for n, (patient, label) in enumerate(images)]
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


GROUPS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=1, max_size=40)
SHARES = st.sampled_from([(0.1, 0.2), (0.3, 0.0), (0.25, 0.5), (0.0, 0.0), (1 / 3, 1 / 3)])


def highest(patients, classes):
    of = {}
    for patient, label in zip(patients, classes, strict=True):
        of[patient] = max(label, of.get(patient, 0))
    return of


class TestStratified:
    @settings(max_examples=60, deadline=None)
    @given(GROUPS, SHARES, st.integers(0, 5), st.booleans(), st.randoms(use_true_random=False))
    def test_one_set_a_patient_in_any_order(self, images, shares, seed, stratify, random):
        validation, test = shares
        order = list(range(len(images)))
        random.shuffle(order)

        def sets(rows):
            patients = [f"p{images[i][0]}" for i in rows]
            classes = [images[i][1] for i in rows] if stratify else None
            roles = assign(patients, seed=seed, validation=validation, test=test, classes=classes)
            found = defaultdict(set)
            for patient, role in zip(patients, roles, strict=True):
                found[patient].add(role)
            assert all(len(roles) == 1 for roles in found.values())
            return dict(found)

        assert sets(range(len(images))) == sets(order) == sets(order)

    @settings(max_examples=60, deadline=None)
    @given(GROUPS, SHARES, st.integers(0, 5))
    def test_each_class_has_its_shares_within_one_patient(self, images, shares, seed):
        validation, test = shares
        patients, classes = [f"p{p}" for p, _ in images], [label for _, label in images]
        roles = dict(
            zip(patients, assign(patients, seed=seed, validation=validation, test=test, classes=classes), strict=True)
        )
        of = highest(patients, classes)
        for label in set(of.values()):
            counts = Counter(roles[patient] for patient, its in of.items() if its == label)
            for role, share in (("validation", validation), ("test", test), ("train", 1 - validation - test)):
                assert abs(counts[role] - share * counts.total()) <= 1 + 1e-9

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.integers(0, 1), SHARES, st.integers(0, 5))
    def test_a_new_patient_moves_no_one_or_one_across_each_border(self, classes, new, shares, seed):
        validation, test = shares
        patients = [f"p{i}" for i in range(len(classes))]
        before = assign(patients, seed=seed, validation=validation, test=test, classes=classes)
        after = assign([*patients, "new"], seed=seed, validation=validation, test=test, classes=[*classes, new])
        moves = [(a, b) for a, b in zip(before, after, strict=False) if a != b]
        assert len(moves) <= 2
        assert all(
            classes[i] == new for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b
        )  # nobody of the other class
        plain = assign(patients, seed=seed, validation=validation, test=test)
        assert assign([*patients, "new"], seed=seed, validation=validation, test=test)[:-1] == plain

    def test_the_order_is_that_of_the_plain_split(self):
        patients = [f"p{i}" for i in range(500)]
        plain = assign(patients, seed=3, validation=0.2, test=0.3)
        strict = assign(patients, seed=3, validation=0.2, test=0.3, classes=[0] * 500)
        assert Counter(strict) == {"test": 150, "validation": 100, "train": 250}
        assert sum(a == b for a, b in zip(plain, strict, strict=True)) > 400


def checked(ids, patients, rows):
    """Sets of a table, after a look at who is on both sides."""
    patient = dict(zip(ids, patients, strict=True))
    sets = sets_of(rows)
    for queries, images in sets.values():
        assert not {patient[q] for q in queries} & {patient[i] for i in images}
    return sets


class TestPresets:
    def test_ig_cbir_is_three_plain_draws_with_one_query(self):
        ids, labels, patients = pool()
        sets = checked(ids, patients, split_presets.ig_cbir(ids, labels, patients))
        assert list(sets) == [(seed, number) for seed in PAPER_SEEDS for number in (1, 2, 3)]
        for number, (size, positive) in enumerate([(10, 4), (20, 7), (30, 11)], start=1):
            alone = sets_of(catalogues(ids, labels, patients, catalogue=size, seeds=PAPER_SEEDS))
            for seed in PAPER_SEEDS:
                assert sets[seed, number] == alone[seed, 1]
                assert sets[seed, number][0] == sets[seed, 1][0]
                assert sum(labels[ids.index(i)] for i in sets[seed, number][1]) == positive

    def test_ig_cbir_code_is_the_authors_script(self):
        # Their pool has 166 to 171 images, where their shares make catalogues of 10, 20 and 30.
        ids = [f"i{n:03d}" for n in range(168)]
        labels = [int(n % 5 < 2) for n in range(168)]
        sets = sets_of(split_presets.ig_cbir_code(ids[::-1], labels[::-1]))
        for seed in PAPER_SEEDS:
            for number, share in enumerate((0.055, 0.115, 0.175), start=1):
                rest, chosen, of_rest, _ = sklearn.model_selection.train_test_split(
                    ids, labels, stratify=labels, test_size=share, random_state=seed
                )
                for name, label in zip(rest, of_rest, strict=True):
                    if label == 1:
                        query = name
                assert sets[seed, number] == ([query], chosen)
                assert len(chosen) == number * 10

    def test_ig_cbir_code_without_enough(self):
        with pytest.raises(SourceError, match="catalogue of 10 images cannot be drawn from 5"):
            split_presets.ig_cbir_code(list("abcde"), [1, 0, 1, 0, 1])

    @pytest.mark.parametrize(("queries", "share"), [(10, 0.36), (5, 0.5)])
    def test_silva(self, queries, share):
        ids, labels, patients = pool(patients=80, share=share)
        sets = checked(ids, patients, split_presets.silva(ids, labels, patients, queries=queries))
        assert list(sets) == [(seed, 1) for seed in range(1, queries + 1)]
        ones = sum(labels) / len(labels)
        for query, images in sets.values():
            assert len(query) == 1 and len(images) == 10
            assert abs(sum(labels[ids.index(i)] for i in images) - 10 * ones) <= 1
        if queries == 10:  # of five, all may be of one class
            assert len({labels[ids.index(query[0])] for query, _ in sets.values()}) == 2

    def test_x_mir_leaves_out_the_patient(self):
        # The proportions of COVIDx: some patients own several of the test images.
        ids, labels, patients = pool(patients=20, images=2)
        rows = split_presets.x_mir(ids, labels, patients)
        sets = checked(ids, patients, rows)
        assert [query for (query,), _ in sets.values()] == sorted(ids)
        for (query,), images in sets.values():
            owner = patients[ids.index(query)]
            assert set(images) == {i for i, p in zip(ids, patients, strict=True) if p != owner}

    def test_x_mir_balanced(self):
        ids = [f"i{n:03d}" for n in range(90)]
        classes = [0] * 60 + [1] * 20 + [2] * 10
        draws = {}
        for seed in (0, 1):
            sets = sets_of(split_presets.x_mir(ids, classes, ids, per_class=10, seeds=[seed]))
            draws[seed] = {query for (query,), _ in sets.values()}
            assert Counter(classes[ids.index(i)] for i in draws[seed]) == {0: 10, 1: 10, 2: 10}
            assert all(len(images) == 29 for _, images in sets.values())
        assert draws[0] != draws[1]
        with pytest.raises(SourceError, match="11 images of each class wanted, but a class has 10"):
            split_presets.x_mir(ids, classes, ids, per_class=11)

    @pytest.mark.parametrize(("number", "asked"), [(1, [1]), (7, [2, 2, 3]), (24, [2, 11, 11])])
    def test_x_mir_with_few_queries(self, number, asked):
        ids = [f"i{n:03d}" for n in range(32)]
        classes = [0] * 15 + [1] * 15 + [2] * 2
        draws = []
        for seed in (0, 1):
            sets = sets_of(split_presets.x_mir(ids, classes, ids, queries=number, seeds=[seed]))
            draws.append({query for (query,), _ in sets.values()})
            assert sorted(Counter(classes[ids.index(i)] for i in draws[seed]).values()) == asked
            assert all(len(images) == 31 for _, images in sets.values())
        assert draws[0] != draws[1]
        with pytest.raises(SourceError, match="33 queries wanted, but there are 32 images"):
            split_presets.x_mir(ids, classes, ids, queries=33)

    def test_x_mir_of_one_patient_or_too_many_images(self):
        with pytest.raises(SourceError, match="no image of another patient"):
            split_presets.x_mir(["a", "b"], [0, 1], ["p", "p"])
        many = [str(n) for n in range(split_presets.MOST + 1)]
        with pytest.raises(UsageError, match="1002001 rows; --per-class and --queries"):
            split_presets.x_mir(many, [0] * len(many), many)
        assert len(split_presets.x_mir(many, [0] * len(many), many, queries=2)) == 2 * len(many)

    def volumes(self, count, slices=12):
        rows = [(f"liver_{v}", s) for v in range(count) for s in range(slices)]
        ids = [f"{v}#{s:02d}" for v, s in rows]
        return ids, [int(s % 2) for _, s in rows], [v for v, _ in rows]

    def test_wickstrom(self):
        ids, labels, volumes = self.volumes(131)
        sets = checked(ids, volumes, split_presets.wickstrom(ids, labels, volumes, volumes))
        queries, catalogue = sets[0, 1]
        assert (len(queries), len(catalogue)) == (310, 1000)
        assert {name.split("#")[0] for name in catalogue} == {f"liver_{n}" for n in range(100)}
        chosen = Counter((name.split("#")[0], labels[ids.index(name)]) for name in queries + catalogue)
        assert set(chosen.values()) == {5} and len(chosen) == 262

    def test_wickstrom_takes_official_sets_and_keeps_patients_whole(self, caplog):
        ids, labels, volumes = self.volumes(6, slices=4)
        patients = [{"liver_1": "a", "liver_4": "a"}.get(v, v) for v in volumes]
        held = [v in ("liver_4", "liver_2") for v in volumes]
        queries, catalogue = checked(ids, patients, split_presets.wickstrom(ids, labels, patients, volumes, held))[0, 1]
        assert {name.split("#")[0] for name in queries} == {"liver_1", "liver_2", "liver_4"}
        assert len(queries + catalogue) == 24 and "6 volumes have fewer than 5 slices" in caplog.text

    def test_wickstrom_of_one_volume(self):
        ids, labels, volumes = self.volumes(1)
        with pytest.raises(SourceError, match="no volume is left for the query"):
            split_presets.wickstrom(ids, labels, volumes, volumes)

    @pytest.mark.parametrize("name", ["ig_cbir", "silva", "x_mir"])
    def test_order_of_the_input_does_not_matter(self, name):
        ids, labels, patients = pool()
        images = list(zip(ids, labels, patients, strict=True))
        draw = getattr(split_presets, name)
        assert draw(*zip(*images, strict=True)) == draw(*zip(*images[::-1], strict=True))


class TestCataloguesFor:
    def test_a_given_query_gets_the_catalogue_that_it_gets_when_it_is_drawn(self):
        ids, labels, owners = pool()
        rows = catalogues(ids, labels, owners, catalogue=10, seeds=[7], queries=4, query_label=None)
        asked = [row.id for row in rows if row.role == "query"]
        patient = dict(zip(ids, owners, strict=True))
        own = [[name for name in ids if patient[name] == patient[query]] for query in asked]
        assert splits.catalogues_for(asked, own, ids, labels, owners, catalogue=10, seed=7) == rows

    def test_a_query_from_elsewhere_leaves_out_what_is_its_own(self):
        ids, labels, owners = pool()
        own = ids[:100]
        rows = splits.catalogues_for(["else"], [own], ids, labels, owners, catalogue=8, seed=1, stratify=False)
        assert rows[0] == SplitRow(1, 1, "query", "else") and len(rows) == 9
        assert not {row.id for row in rows} & set(own)
        with pytest.raises(SourceError, match="cannot be drawn for seed 1"):
            splits.catalogues_for(["else"], [ids], ids, labels, owners, catalogue=8, seed=1)
