import csv
import importlib.util
import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kendalltau

from cbir_cli import phantom
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.phantom import _cohort, chest
from cbir_cli.phantom._anatomy import LEFT, Study, draw_patient
from cbir_cli.phantom._canvas import Canvas, curve, ribbon
from cbir_cli.phantom._projection import fluid_level, project
from cbir_cli.phantom._raters import dissimilarity

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def _benchmark():
    path = Path(__file__).parent.parent / "benchmarks" / "phantom_difficulty.py"
    spec = importlib.util.spec_from_file_location("phantom_difficulty", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


difficulty = _benchmark()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("phantom") / "set"
    phantom.write(directory, n=160, size=64, seed=1)
    return directory


@pytest.fixture(scope="module")
def loaded(made):
    images, rows = difficulty.read(made)
    return images, rows, difficulty.positives(rows), difficulty.patients(rows)


def _files(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


# What is written


def test_layout_is_that_of_nih(made):
    lines = (made / "Data_Entry_2017_v2020.csv").read_text().splitlines()
    assert lines[0] == HEADER
    table = [line.split(",") for line in lines[1:]]
    assert len(table) == 160 and {len(row) for row in table} == {11}
    assert {row[1] for row in table} == {"Effusion", "No Finding"}
    assert {row[6] for row in table} == {"AP", "PA"} and {row[5] for row in table} == {"F", "M"}
    positive = set()
    for row in table:
        name = row[0]
        assert name == f"{int(row[3]):08d}_{int(row[2]):03d}.png"
        with Image.open(made / "images" / name) as image:
            assert image.mode == "L" and image.size == (64, 64) == (int(row[7]), int(row[8]))
        if row[1] == "Effusion":
            positive.add(name)
            with Image.open(made / "masks" / name) as mask:
                assert set(np.unique(mask)) == {0, 255}
    assert {p.name for p in (made / "masks").iterdir()} == positive
    assert len(list((made / "images").iterdir())) == 160
    assert "SYNTHETIC" in (made / "README.txt").read_text()
    assert 1 < len({row[3] for row in table}) < 160, "some patients have several studies"
    assert {int(row[2]) for row in table} == {0, 1, 2, 3}


def test_truth_agrees_with_labels_and_masks(made, loaded):
    _, rows, labels, _ = loaded
    with (made / "Data_Entry_2017_v2020.csv").open() as file:
        official = list(csv.DictReader(file))
    for row, entry, label in zip(rows, official, labels, strict=True):
        right, left = float(row["severity_right"]), float(row["severity_left"])
        assert entry["Image Index"] == row["Image Index"] and (entry["Finding Labels"] == "Effusion") == bool(label)
        assert float(row["severity"]) == max(right, left) <= 1
        assert row["side"] == ("bilateral" if right and left else "right" if right else "left" if left else "none")
        assert (int(row["mask_right"]) > 0) == (right > 0) and (int(row["mask_left"]) > 0) == (left > 0)
        assert (float(row["level"]) > 0) == bool(label)
        if label:
            mask = np.asarray(Image.open(made / "masks" / row["Image Index"])) > 0
            assert mask.sum() == int(row["mask_right"]) + int(row["mask_left"])
            if row["side"] in ("right", "left"):  # the patient's right is on the viewer's left
                assert (np.nonzero(mask)[1].mean() < 32) == (row["side"] == "right")


def test_same_seed_same_bytes_and_a_longer_set_starts_alike(tmp_path):
    for name, n, seed in (("a", 7, 3), ("b", 7, 3), ("longer", 9, 3), ("other", 7, 4)):
        phantom.write(tmp_path / name, n=n, size=32, seed=seed)
    a, b, longer, other = (_files(tmp_path / name) for name in ("a", "b", "longer", "other"))
    assert a == b
    pictures = [name for name in a if name.endswith(".png")]
    assert all(longer[name] == a[name] for name in pictures)
    same = set(pictures) & set(other)
    assert same and all(other[name] != a[name] for name in same)
    assert other["severity.csv"] != a["severity.csv"]
    assert other["Data_Entry_2017_v2020.csv"] != a["Data_Entry_2017_v2020.csv"]


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_of_five_are_positive_and_studies_progress(seed):
    patients = list(_cohort.cohort(seed, 400))
    plans = list(itertools.chain(*patients))
    assert len(plans) == 400
    severity = np.array([max(p.severity) for p in plans])
    assert 0.34 < (severity > 0).mean() < 0.46
    assert ((severity == 0) | ((severity >= _cohort.LEAST) & (severity <= 1))).all()
    positive = severity[severity > 0]
    assert (positive < 0.3).mean() > 0.2 and (positive > 0.5).mean() > 0.1, "mild ones and severe ones"
    courses = [[max(p.severity) for p in studies] for studies in patients if len(studies) > 1]
    moving = [c for c in courses if any(c)]
    assert all(len(set(c)) > 1 for c in moving)
    assert {len(studies) for studies in patients} == {1, 2, 3, 4}
    sides = {(p.severity[0] > 0, p.severity[1] > 0) for p in plans}
    assert len(sides) == 4


def test_seeds_change_who_is_positive():
    labels = [[max(p.severity) > 0 for p in itertools.chain(*_cohort.cohort(seed, 60))] for seed in (1, 2)]
    assert labels[0] != labels[1]


# How hard it is. The full figures come from benchmarks/phantom_difficulty.py


def _interval(auroc, positives, negatives):
    """Hanley and McNeil (1982): 95 % interval of an AUROC."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2) + (negatives - 1) * (q2 - auroc**2)
    half = 1.96 * np.sqrt(variance / (positives * negatives))
    return auroc - half, auroc + half


def test_brightness_and_histogram_do_not_give_the_label_away(loaded):
    images, _, labels, groups = loaded
    auroc = difficulty.shortcut_auroc(images, labels, groups)
    assert auroc < 0.65
    assert _interval(auroc, labels.sum(), (1 - labels).sum())[0] < 0.6


def test_the_shortcut_test_notices_a_leak(loaded):
    images, _, labels, groups = loaded
    leaky = np.clip(images + 0.12 * labels[:, None, None], 0, 1)
    auroc = difficulty.shortcut_auroc(leaky, labels, groups)
    assert _interval(auroc, labels.sum(), (1 - labels).sum())[0] > 0.65


def test_ssim_is_neither_at_chance_nor_saturated(loaded):
    images, _, labels, groups = loaded
    small = images.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
    at_5, r_precision, chance = difficulty.ssim_precision(small, labels, groups)
    assert chance < at_5 < 0.8
    assert chance < r_precision < 0.8


def test_who_sees_the_fluid_knows_the_label(loaded):
    auroc, correlation = difficulty.oracle(loaded[1])
    assert auroc == 1
    assert correlation > 0.8


def test_a_patient_keeps_his_body(tmp_path, monkeypatch):
    real, bodies = chest.render, {}

    def watch(plan, body, size):
        bodies.setdefault(plan.patient, []).append(body)
        return real(plan, body, size)

    monkeypatch.setattr(chest, "render", watch)
    phantom.write(tmp_path / "set", n=12, size=32)
    assert max(len(b) for b in bodies.values()) > 1
    assert all(b is own[0] for own in bodies.values() for b in own)
    assert len({own[0].width for own in bodies.values()}) == len(bodies)


# Nothing but the fluid depends on the label


@pytest.mark.parametrize("patient", [1, 2, 3])
def test_pose_devices_and_exposure_are_the_same_with_and_without_fluid(patient):
    plan = _cohort.Plan(seed=1, patient=patient, follow_up=0, severity=(0.6, 0.2))
    body = draw_patient(np.random.default_rng(patient), 0.3)
    sick, found, truth = chest.render(plan, body, 64)
    well, nothing, other = chest.render(replace(plan, severity=(0.0, 0.0)), body, 64)
    free = list(truth)[list(truth).index("view") :]
    assert len(free) > 10 and [truth[c] for c in free] == [other[c] for c in free]
    assert set(found) == {"effusion"} and found["effusion"].any() and not nothing
    assert (sick != well).any()


def _shadow(severity, recumbent=0.0, size=128):
    body = draw_patient(np.random.default_rng(5), 34 / size)
    study = Study(view="PA", recumbent=recumbent, breath=0.0, turn=0.0, severity=severity)
    return project(body, study, Canvas(size, 34.0), [])


def test_fluid_adds_density_where_it_is_and_nowhere_else():
    dry, wet = _shadow((0.0, 0.0)), _shadow((0.5, 0.0))
    more = wet.thickness - dry.thickness
    assert not dry.fluid.any() and not dry.lesion.any()
    assert (more[wet.lesion] > 0).all()
    assert np.abs(more[wet.fluid == 0]).max() < 1e-5
    assert not (wet.lesion & wet.left).any()


@pytest.mark.parametrize("severity", [0.25, 0.4, 0.6])
def test_meniscus_rises_towards_the_side(severity):
    lesion = _shadow((0.0, severity)).lesion
    columns = np.flatnonzero(lesion.any(axis=0))
    top = lesion.argmax(axis=0)[columns]
    lateral, inner = top[-len(top) // 6 :], top[len(top) // 6 : len(top) // 2]
    assert lateral.min() < inner.min() - 3
    # The costophrenic angle is the first place to fill.
    assert lesion[:, columns[-2]].any()


def test_lying_down_spreads_the_fluid():
    erect, supine = _shadow((0.0, 0.5)), _shadow((0.0, 0.5), recumbent=1.0)
    middle = 64 + int(7 / 34 * 128)  # a column through the middle of the left lung
    top = [np.flatnonzero(s.fluid[:, middle] > 0.5).min() for s in (supine, erect)]
    assert top[0] < top[1] - 5, "a veil reaches higher than the pool did"
    assert supine.lesion.sum() < erect.lesion.sum()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_level_grows_with_severity(a, b, recumbent):
    low, high = sorted((a, b))
    assert 0 <= fluid_level(low, recumbent) <= fluid_level(high, recumbent)
    assert fluid_level(0.0, recumbent) == 0


@pytest.mark.parametrize("side", [0, 1])
def test_more_fluid_is_a_larger_lesion(side):
    areas = []
    for severity in np.linspace(0.1, 1, 8):
        pair = [0.0, 0.0]
        pair[side] = float(severity)
        shadow = _shadow((pair[0], pair[1]), size=64)
        areas.append(int(shadow.lesion.sum()))
        assert (shadow.lesion & (shadow.left != (side == LEFT))).sum() == 0
    assert (np.diff(areas) > 0).all()


# The canvas


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 47), st.integers(0, 47), st.floats(-0.2, 0.2), st.floats(-3, 3), st.floats(-3, 3), st.floats(25, 45)
)
def test_place_undoes_grid(row, column, angle, right, down, field):
    canvas = Canvas(48, field, angle, (right, down))
    x, y = canvas.grid()
    back = canvas.place(np.array([[x[row, column], y[row, column]]], np.float32))
    np.testing.assert_allclose([v[0] for v in back], [column, row], atol=1e-3)


def test_splat_keeps_the_mass_and_the_place():
    canvas = Canvas(16, 8.0)
    points = np.array([[0.3, -1.2], [2.0, 2.0]], np.float32)
    drawn = canvas.splat([(points, np.array([2.0, 0.5], np.float32))]) * canvas.pixel**2
    assert drawn.sum() == pytest.approx(2.5, rel=1e-5)
    x, y = canvas.grid()
    expected = (points * np.array([[2.0], [0.5]])).sum(axis=0) / 2.5
    np.testing.assert_allclose([(drawn * x).sum() / 2.5, (drawn * y).sum() / 2.5], expected, atol=1e-5)
    outside = canvas.splat([(np.array([[50.0, 0.0]], np.float32), np.ones(1, np.float32))])
    assert not outside.any() and not canvas.splat([]).any()


def test_a_straight_solid_ribbon_weighs_what_a_half_cylinder_does():
    path = np.stack([np.linspace(0, 10, 201), np.zeros(201)], axis=-1)
    _, mass = ribbon(path, 0.5, 2.0, 0.02)
    # The mean of sqrt(1 - t^2) over the width is pi / 4; a whole step counts at either end.
    assert mass.sum() == pytest.approx(2.0 * 1.0 * np.pi / 4 * 10 * 201 / 200, rel=2e-3)


def test_curve_is_the_bernstein_polynomial():
    control = np.array([[0, 0], [1, 3], [4, -1], [5, 2]], float)
    t = np.linspace(0, 1, 9)[:, None]
    expected = sum(
        c * p * t**i * (1 - t) ** (3 - i) for i, (c, p) in enumerate(zip([1, 3, 3, 1], control, strict=True))
    )
    np.testing.assert_allclose(curve(control, 9), expected, atol=1e-12)


# What is refused


def test_unknown_kind_lists_the_known(tmp_path):
    with pytest.raises(UsageError, match=r"cheest.*chest"):
        phantom.write(tmp_path / "x", kind="cheest")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"n": 0}, {"size": 31}, {"size": 4096}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        phantom.write(tmp_path / "x", **wrong)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_touched(tmp_path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "keep.txt").write_text("keep")
    file.write_text("keep")
    for target in (full, file):
        with pytest.raises(CbirError, match=r"expected a new or empty directory"):
            phantom.write(target, n=1, size=32)
    assert _files(tmp_path) == {"file": b"keep", "full/keep.txt": b"keep"}


def test_an_empty_directory_and_missing_parents_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "new" / "deep"):
        phantom.write(target, n=1, size=32)
        assert (target / "severity.csv").is_file()
        assert [p.name for p in target.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    real, calls = chest.picture, []

    def fail(image, path):
        calls.append(path)
        if len(calls) == 3:
            raise error(28, "No space left on device")
        real(image, path)

    monkeypatch.setattr(chest, "picture", fail)
    with pytest.raises(CbirError if error is OSError else KeyboardInterrupt, match="No space left"):
        phantom.write(tmp_path / "set", n=8, size=32)
    assert len(calls) >= 3 and not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CbirError, match="cannot be written") as raised:
        phantom.write(tmp_path / "file" / "set", n=1, size=32)
    assert "\n" not in str(raised.value)


# Raters


def _truth_table(folder, severities):
    lines = ["Image Index,severity_right,severity_left"]
    lines += [f"{name}.png,{right},{left}" for name, (right, left) in severities.items()]
    (folder / "severity.csv").write_text("\n".join(lines) + "\n")


def _split(rows):
    return io.StringIO("seed\tset\trole\tid\n" + "".join("\t".join(r) + "\n" for r in rows))


HAND = {"q": (0.4, 0.0), "a": (0.0, 0.0), "b": (0.5, 0.0), "c": (0.0, 0.4), "d": (0.9, 0.3), "e": (0.0, 0.0)}


def test_truth_ranks_by_severity_and_side(tmp_path):
    _truth_table(tmp_path, HAND)
    split = _split([("7", "test", "query", "q"), *(("7", "test", "catalogue", i) for i in "edcba")])
    rows = list(phantom.rank(tmp_path, split, raters=1))
    # b: 0.1; d: 0.5 + 0.3; c: 0.4 + 0.4; a and e: 0.4 + 0.5 for the missing effusion. Ties by id.
    assert [(r.rank, r.id) for r in rows] == [(1, "b"), (2, "c"), (3, "d"), (4, "a"), (5, "e")]
    assert {(r.query, r.rater, r.seed, r.set) for r in rows} == {("q", "R1", "7", "test")}


def test_ids_stand_as_in_the_split_and_match_by_stem(tmp_path):
    _truth_table(tmp_path, HAND)
    path = tmp_path / "split.tsv"
    rows = [("1", "s", "query", "images/q.png"), ("1", "s", "catalogue", "x/y/a.png"), ("1", "s", "catalogue", "b")]
    path.write_text(_split([*rows, ("1", "s", "train", "not in this set")]).getvalue())
    ranked = list(phantom.rank(tmp_path, path, raters=2))
    assert [(r.query, r.rater, r.rank, r.id) for r in ranked] == [
        ("images/q.png", "R1", 1, "b"),
        ("images/q.png", "R1", 2, "x/y/a.png"),
        ("images/q.png", "R2", 1, "b"),
        ("images/q.png", "R2", 2, "x/y/a.png"),
    ]


def test_each_query_is_ranked_within_its_own_catalogue(tmp_path):
    _truth_table(tmp_path, HAND)
    split = [("1", "s", "query", "q"), ("1", "s", "catalogue", "a"), ("1", "s", "catalogue", "b")]
    split += [("2", "s", "query", "c"), ("2", "s", "query", "d"), ("2", "s", "catalogue", "e")]
    ranked = list(phantom.rank(tmp_path, _split(split), raters=1))
    assert [(r.seed, r.query, r.id) for r in ranked] == [
        ("1", "q", "b"),
        ("1", "q", "a"),
        ("2", "c", "e"),
        ("2", "d", "e"),
    ]


def test_readers_nearly_agree(made):
    names = [row["Image Index"] for row in csv.DictReader((made / "severity.csv").open())]
    split = []
    for seed in range(12):
        picked = np.random.default_rng(seed).permutation(names)[:21]
        split += [(str(seed), "s", "query", str(picked[0]))]
        split += [(str(seed), "s", "catalogue", str(i)) for i in picked[1:]]
    ranked = list(phantom.rank(made, _split(split), raters=4, seed=5))
    assert ranked == list(phantom.rank(made, _split(split), raters=4, seed=5))
    order: dict[tuple[str, str], dict[str, int]] = {}
    for row in ranked:
        order.setdefault((row.rater, row.seed), {})[row.id] = row.rank
    taus = {rater: [] for rater in ("R2", "R3", "R4")}
    for (rater, seed), places in order.items():
        assert sorted(places.values()) == list(range(1, 21))
        if rater != "R1":
            truth = order["R1", seed]
            taus[rater].append(kendalltau([truth[i] for i in truth], [places[i] for i in truth]).statistic)
    means = {rater: np.mean(values) for rater, values in taus.items()}
    assert all(0.55 < mean < 0.95 for mean in means.values()), means
    assert 0.65 < np.mean(list(means.values())) < 0.9, means
    assert order["R2", "0"] != order["R3", "0"]
    assert ranked != list(phantom.rank(made, _split(split), raters=4, seed=6))


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_dissimilarity_against_its_plain_twin(query, catalogue):
    got = dissimilarity(np.array(query), np.array(catalogue))
    for value, (right, left) in zip(got, catalogue, strict=True):
        plain = abs(right - query[0]) + abs(left - query[1])
        plain += 0.5 if (max(query) > 0) != (max(right, left) > 0) else 0
        assert value == pytest.approx(plain, abs=1e-6)


def test_bad_rank_inputs_are_named(tmp_path):
    good = _split([("1", "s", "query", "q")])
    with pytest.raises(SourceError, match=r"severity\.csv"):
        list(phantom.rank(tmp_path, good))
    _truth_table(tmp_path, HAND)
    with pytest.raises(SourceError, match="zz"):
        list(phantom.rank(tmp_path, _split([("1", "s", "query", "zz")])))
    with pytest.raises(SourceError, match="role"):
        list(phantom.rank(tmp_path, io.StringIO("seed\tset\tid\n1\ts\tq\n")))
    with pytest.raises(SourceError, match=r"none\.tsv"):
        list(phantom.rank(tmp_path, tmp_path / "none.tsv"))
    with pytest.raises(UsageError, match="rater"):
        list(phantom.rank(tmp_path, good, raters=0))
    (tmp_path / "severity.csv").write_text("Image Index,severity_right\nq.png,0.1\n")
    with pytest.raises(SourceError, match="severity_left"):
        list(phantom.rank(tmp_path, good))


@pytest.mark.parametrize("option", [("-n", "5"), ("--findings", "effusion"), ("--layout", "nih"), ("--format", "png")])
def test_what_is_for_a_new_set_does_not_go_with_ranking(cbir, tmp_path, option):
    ran = cbir("phantom", tmp_path, "--rank", tmp_path / "none.tsv", *option)
    assert ran.status == 2 and f"{option[0]} does not go with --rank" in ran.error
