import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbir_cli import phantom
from cbir_cli.phantom import _dermoscope, _lesion, skin
from cbir_cli.phantom._texture import cells, clouds

HEADER = "image_id,melanoma,seborrheic_keratosis"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("skin") / "set"
    phantom.write(directory, kind="skin", n=120, size=64, seed=1)
    return directory


def files(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_layout_is_that_of_isic_2017(made):
    truth = made / "ISIC-2017_Training_Part3_GroundTruth.csv"
    assert truth.read_text().splitlines()[0] == HEADER
    table = pd.read_csv(truth)
    assert list(table.image_id) == [f"ISIC_{i:07d}" for i in range(120)]
    assert {tuple(r) for r in table.iloc[:, 1:].to_numpy()} == {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)}
    people = pd.read_csv(made / "images" / "ISIC-2017_Training_Data_metadata.csv", dtype=str)
    assert list(people) == ["image_id", "age_approximate", "sex"]
    assert set(people.sex) == {"female", "male", "unknown"} and "unknown" in set(people.age_approximate)
    shapes = set()
    for name in table.image_id:
        with Image.open(made / "images" / f"{name}.jpg") as image:
            assert image.mode == "RGB" and image.size[1] == 64
            shapes.add(image.size)
        with Image.open(made / skin.MASKS / f"{name}_segmentation.png") as mask:
            assert mask.size == image.size and set(np.unique(mask)) <= {0, 255} and np.asarray(mask).any()
    assert shapes == {(86, 64), (96, 64)}


def test_truth_agrees_with_classes_and_masks(made):
    table = pd.read_csv(made / "ISIC-2017_Training_Part3_GroundTruth.csv")
    truth = pd.read_csv(made / "severity.csv")
    assert list(truth.image_id) == list(table.image_id)
    np.testing.assert_array_equal(truth["class"] == "melanoma", table.melanoma)
    np.testing.assert_array_equal(truth["class"] == "seborrheic_keratosis", table.seborrheic_keratosis)
    np.testing.assert_array_equal(truth.severity > 0, table.melanoma)
    for row in truth.itertuples():
        mask = np.asarray(Image.open(made / skin.MASKS / f"{row.image_id}_segmentation.png"))
        assert (mask > 0).sum() == row.mask
    assert truth.patient.is_unique, "the layout knows no patients"


def test_a_manifest_tells_who_comes_again(tmp_path):
    phantom.write(tmp_path / "set", kind="skin", n=20, size=32, seed=1, layout="manifest")
    table, truth = (pd.read_csv(tmp_path / "set" / f"{name}.csv") for name in ("manifest", "severity"))
    assert 1 < table.patient.nunique() < 20 and table.study.is_unique
    assert (truth.groupby("patient")["class"].nunique() == 1).all()
    assert [int(p[1:]) for p in table.patient] == list(truth.patient)
    for row, kind in zip(table.itertuples(), truth["class"], strict=True):
        assert (tmp_path / "set" / row.path).is_file() and (tmp_path / "set" / row.mask).is_file()
        assert [kind == c for c in _lesion.CLASSES] == [bool(v) for v in row[-3:]]


def test_same_seed_same_bytes_and_a_longer_set_starts_alike(tmp_path):
    for name, n, seed in (("a", 5, 3), ("b", 5, 3), ("longer", 8, 3), ("other", 5, 4)):
        phantom.write(tmp_path / name, kind="skin", n=n, size=32, seed=seed)
    a, b, longer, other = (files(tmp_path / name) for name in ("a", "b", "longer", "other"))
    assert a == b
    pictures = [name for name in a if name.endswith((".jpg", ".png"))]
    assert len(pictures) == 10 and all(longer[name] == a[name] for name in pictures)
    assert all(other[name] != a[name] for name in pictures if name.endswith(".jpg"))


@pytest.mark.parametrize(("seed", "single"), [(1, False), (2, False), (1, True)])
def test_half_are_nevi_and_patients_come_again(seed, single):
    patients = list(skin.cohort(seed, 400, single=single))
    plans = list(itertools.chain(*patients))
    assert [p.number for p in plans] == list(range(400))
    shares = [np.mean([studies[0].kind == c for studies in patients]) for c in _lesion.CLASSES]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.02)
    assert {len(studies) for studies in patients} == ({1} if single else {1, 2, 3})


# Structure alone tells the class


def _logistic(features, labels, groups):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
    score = cross_val_predict(model, features, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")
    return roc_auc_score(labels, score, multi_class="ovr")


def test_colour_and_brightness_do_not_give_the_class_away(made):
    truth = pd.read_csv(made / "severity.csv")
    pixels = [np.asarray(Image.open(made / "images" / f"{n}.jpg"), float) / 255 for n in truth.image_id]
    features = np.array([[*p.mean(axis=(0, 1)), *p.std(axis=(0, 1))] for p in pixels])
    labels = truth["class"].factorize()[0]
    assert _logistic(features, labels, truth.patient) < 0.76
    leaky = features + 0.2 * labels[:, None]
    assert _logistic(leaky, labels, truth.patient) > 0.76, "the check notices a leak"


def test_what_is_drawn_beside_the_lesion_does_not_depend_on_it():
    plan = skin.Plan(seed=1, number=0, patient=3, visit=0, kind="nevus", growth=1.0, worse=0.0)
    person = _dermoscope.draw_person(np.random.default_rng(5))
    lesions = [_lesion.draw_lesion(np.random.default_rng(7), kind) for kind in _lesion.CLASSES]
    free = ("radius", "stretch", "turn", "tone", "hue", "blush", "pattern", "seed")
    assert len({tuple(getattr(lesion, f) for f in free) for lesion in lesions}) == 1
    shown = [skin.render(replace(plan, kind=lesion.kind), person, lesion, 64) for lesion in lesions]
    columns = list(shown[0][2])[list(shown[0][2]).index("radius") :]
    assert len({tuple(truth[c] for c in columns) for _, _, truth in shown}) == 1
    outside = np.logical_and.reduce([mask == 0 for _, mask, _ in shown])
    assert not np.array_equal(shown[0][0], shown[1][0])
    # The corners show skin, hair and the lens alone.
    corner = (slice(0, 4), slice(0, 4))
    assert outside[corner].all()
    for image, _, _ in shown[1:]:
        np.testing.assert_array_equal(image[corner], shown[0][0][corner])


def _pigment(kind, size=192, **changes):
    lesion = replace(_lesion.draw_lesion(np.random.default_rng(3), kind), radius=0.3, stretch=1.0, **changes)
    line = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    return _lesion.pigment(lesion, line[None].repeat(size, 0), line[:, None].repeat(size, 1), 1.0, lesion.severity)


def test_a_melanoma_is_less_even_than_a_nevus_and_more_so_with_severity():
    def uneven(kind, seed, **changes):
        found = _pigment(kind, seed=seed, pattern="plain", soft=0.2, **changes)
        density = (found.melanin + 2 * found.veil).astype(float)
        return np.abs(density - density[:, ::-1])[found.mask | found.mask[:, ::-1]].mean() / density[found.mask].mean()

    seeds = range(8)
    nevus = np.mean([uneven("nevus", s, atypia=0.05) for s in seeds])
    early = np.mean([uneven("melanoma", s, atypia=0.4, severity=0.2) for s in seeds])
    late = np.mean([uneven("melanoma", s, atypia=0.95, severity=0.95) for s in seeds])
    assert nevus < 0.8 * early < 0.8 * late


def test_only_a_keratosis_has_horn_and_its_edge_is_sharp():
    assert _pigment("seborrheic_keratosis").wax.any() and not _pigment("melanoma").wax.any()

    def edge(kind):
        found = _pigment(kind, soft=_lesion.draw_lesion(np.random.default_rng(3), kind).soft)
        row = found.melanin[96].astype(float)
        return np.abs(np.diff(row)).max() / row.max()

    assert edge("seborrheic_keratosis") > edge("nevus")


def test_a_lesion_is_the_same_at_any_size():
    fine, coarse = _pigment("nevus", 256), _pigment("nevus", 64)
    small = fine.melanin.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), coarse.melanin.ravel())[0, 1] > 0.95
    assert abs(fine.mask.mean() - coarse.mask.mean()) < 0.02


# Patterns


def test_cells_are_those_of_the_nearest_seeds():
    u, v = (g.astype(np.float32) for g in np.meshgrid(np.linspace(0.5, 6.5, 25), np.linspace(0.5, 4.5, 17)))
    first, second, tone = cells(np.random.default_rng(1), u, v, 0.8)
    # The same draws, and every seed of the grid looked at.
    rng = np.random.default_rng(1)
    rows, columns = 4 + 1 + 2, 6 + 1 + 2
    seeds = 0.5 + 0.8 * (rng.random((rows, columns, 2), np.float32) - 0.5)
    tones = rng.random((rows, columns), np.float32)
    j, i = np.meshgrid(np.arange(columns) - 1, np.arange(rows) - 1)
    off = np.hypot((j + seeds[..., 0])[..., None, None] - u, (i + seeds[..., 1])[..., None, None] - v).reshape(
        rows * columns, *u.shape
    )
    order = np.sort(off, axis=0)
    np.testing.assert_allclose(first, order[0], atol=1e-5)
    # The second nearest of a jittered grid may lie two cells away; it is then at most that much too far.
    assert (second >= order[1] - 1e-5).all() and np.isclose(second, order[1], atol=1e-5).mean() > 0.98
    np.testing.assert_array_equal(tone, tones.ravel()[off.argmin(axis=0)])


def test_clouds_are_the_same_at_any_size_and_of_unit_spread():
    fine = clouds(np.random.default_rng(2), (240, 320), 6)
    coarse = clouds(np.random.default_rng(2), (60, 80), 6)
    small = fine.reshape(60, 4, 80, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), coarse.ravel())[0, 1] > 0.95
    assert abs(fine.mean()) < 0.3 and 0.6 < fine.std() < 1.4
