import itertools
import json

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest

from cbir_cli import phantom
from cbir_cli.errors import UsageError
from cbir_cli.phantom import _abdomen, _organs, ct
from cbir_cli.phantom._volume import Volume, blob, tube


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ct") / "set"
    phantom.write(directory, kind="ct", n=5, size=48, seed=2)
    return directory


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    directory = tmp_path_factory.mktemp("series") / "set"
    phantom.write(directory, kind="ct", n=4, size=32, seed=1, format="dicom")
    return directory


def files(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def volume(directory, row, place="imagesTr"):
    return nibabel.load(directory / row.image.replace("imagesTr", place))


# The files


def test_layout_is_that_of_the_decathlon(made):
    content = json.loads((made / "dataset.json").read_text())
    assert content["labels"] == {"0": "background", "1": "liver", "2": "cancer"} and content["modality"] == {"0": "CT"}
    assert content["numTraining"] == len(content["training"]) == 5 and content["test"] == []
    assert {p["image"] for p in content["training"]} == {f"./imagesTr/liver_{i}.nii.gz" for i in range(5)}
    assert [p["image"] for p in content["training"]] != sorted(p["image"] for p in content["training"])
    for pair in content["training"]:
        image, label = (nibabel.load(made / pair[key]) for key in ("image", "label"))
        assert image.shape == label.shape and np.array_equal(image.affine, label.affine)
        assert image.get_data_dtype() == np.int16 and set(np.unique(label.dataobj)) <= {0, 1, 2}


def test_most_axes_are_not_canonical_and_the_body_lies_alike_once_they_are(made):
    table = pd.read_csv(made / "severity.csv")
    assert set(table.orientation) == set(ct.ORIENTATIONS)
    for row in table.itertuples():
        image = volume(made, row)
        assert "".join(nibabel.aff2axcodes(image.affine)) == row.orientation
        hu = np.asarray(nibabel.as_closest_canonical(image).dataobj)
        label = np.asarray(nibabel.as_closest_canonical(volume(made, row, "labelsTr")).dataobj)
        spacing = nibabel.as_closest_canonical(image).header.get_zooms()
        np.testing.assert_allclose(spacing, [row.pixel_mm, row.pixel_mm, row.slice_mm], rtol=1e-5)
        assert hu.shape == (48, 48, row.slices)
        # R, A, S: the liver lies on the right, the spine behind, the lungs on top.
        assert np.nonzero(label)[0].mean() > 27
        bone = np.nonzero(hu[20:28, :, :] > 400)[1]
        assert bone.mean() < 22
        air = ((hu < -700) & (hu > -950))[12:36, 16:40]  # without the couch
        assert air[..., -4:].sum() > 5 * air[..., :4].sum()


def test_hounsfield_units_are_those_of_tissue(made):
    for row in pd.read_csv(made / "severity.csv").itertuples():
        hu, label = np.asarray(volume(made, row).dataobj), np.asarray(volume(made, row, "labelsTr").dataobj)
        assert hu.min() < -900 and 300 < hu.max() < 2000
        assert 25 < np.median(hu[label == 1]) < 150
        assert (label == 1).sum() == row.liver_voxels and (label == 2).sum() == row.tumour_voxels
        litres = (label > 0).sum() * row.pixel_mm**2 * row.slice_mm / 1e6
        assert 0.9 < litres < 2.6, "a liver of an adult"
        shows = (label > 0).any(axis=tuple(i for i, c in enumerate(row.orientation) if c not in "SI"))
        assert 5 <= shows.sum() <= row.slices - 5, "slices with and without liver"


def test_truth_agrees_with_the_masks(made):
    table = pd.read_csv(made / "severity.csv")
    assert ((table.tumours > 0) == (table.tumour_voxels > 0)).all() and (table.tumours > 0).sum() == 3
    expected = (table.tumour_ml / 600).clip(upper=1) ** (1 / 3)
    np.testing.assert_allclose(table.severity, expected, atol=1e-3)
    assert len(set(table.patient)) == 5, "one volume a patient: the layout knows no patients"


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_same_seed_same_bytes(tmp_path, format):
    for name, seed in (("a", 3), ("b", 3), ("other", 4)):
        phantom.write(tmp_path / name, kind="ct", n=2, size=32, seed=seed, format=format)
    a, b, other = (files(tmp_path / name) for name in ("a", "b", "other"))
    assert a == b
    volumes = [name for name in a if name.endswith((".gz", ".dcm"))]
    assert volumes and all(other.get(name) != a[name] for name in volumes)
    assert all(a[name][4:8] == b"\0\0\0\0" for name in a if name.endswith(".gz")), "no clock time"


def test_series_have_what_an_archive_has(series):
    table = pd.read_csv(series / "severity.csv")
    assert len(table) == 4 and len(set(table.patient)) < 4, "several studies a patient"
    uids = set()
    for row in table.itertuples():
        slices = [pydicom.dcmread(p) for p in sorted((series / row.image).iterdir())]
        assert len(slices) == row.slices
        heights = [float(s.ImagePositionPatient[2]) for s in slices]
        assert heights != sorted(heights) and heights != sorted(heights, reverse=True), "names tell no order"
        slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
        steps = np.diff([float(s.ImagePositionPatient[2]) for s in slices])
        np.testing.assert_allclose(steps, row.slice_mm, atol=0.02)
        assert [s.InstanceNumber for s in slices] == list(range(len(slices), 0, -1))
        assert len({s.SeriesInstanceUID for s in slices}) == len({s.StudyInstanceUID for s in slices}) == 1
        uids |= {s.SOPInstanceUID for s in slices} | {slices[0].SeriesInstanceUID, slices[0].StudyInstanceUID}
        for s in slices:
            assert s.file_meta.MediaStorageSOPInstanceUID == s.SOPInstanceUID
            assert all(uid.is_valid for uid in (s.SOPInstanceUID, s.SeriesInstanceUID, s.StudyInstanceUID))
            assert (s.RescaleIntercept, s.RescaleSlope, s.BitsStored, s.Modality) == (-1024, 1, 12, "CT")
            assert "SYNTHETIC" in str(s.PatientName)
        hu = np.stack([s.pixel_array + float(s.RescaleIntercept) for s in slices])
        name = f"{row.image.split('/')[1]}_{row.image.split('/')[2]}.nii.gz"
        label = np.asarray(nibabel.load(series / "masks" / name).dataobj).T
        assert hu.shape == label.shape and 25 < np.median(hu[label == 1]) < 150
    assert len(uids) == table.slices.sum() + 2 * len(table)


def test_slices_table_agrees_with_the_masks(series):
    table = pd.read_csv(series / "slices.csv")
    assert table.path.is_unique and all((series / p).is_file() for p in table.path)
    for study, rows in table.groupby("study"):
        label = np.asarray(nibabel.load(series / "masks" / f"{study.replace('/', '_')}.nii.gz").dataobj).T
        rows = rows.sort_values("z_mm")
        np.testing.assert_array_equal(rows["label:liver"], (label > 0).any(axis=(1, 2)))
        np.testing.assert_array_equal(rows["label:tumour"], (label == 2).any(axis=(1, 2)))


def test_both_formats_show_the_same_patient(made, series, tmp_path):
    phantom.write(tmp_path / "nifti", kind="ct", n=1, size=32, seed=1)
    image = nibabel.load(tmp_path / "nifti" / "imagesTr" / "liver_0.nii.gz")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("LPS")
    )
    turned = image.as_reoriented(turn)
    slices = [pydicom.dcmread(p) for p in (series / "dicom" / "P00001" / "S1").iterdir()]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    np.testing.assert_array_equal(
        np.asarray(turned.dataobj).T, np.stack([s.pixel_array.astype(int) - 1024 for s in slices])
    )
    # The first voxel lies where the first slice says, in the axes of either format.
    np.testing.assert_allclose(turned.affine[:3, 3] * (-1, -1, 1), slices[0].ImagePositionPatient, atol=1e-3)


# Who has what


@pytest.mark.parametrize("single", [True, False])
def test_three_of_five_patients_have_tumours(single):
    patients = list(ct.cohort(3, 200, single=single))
    plans = list(itertools.chain(*patients))
    assert [p.number for p in plans] == list(range(200))
    assert abs(np.mean([studies[0].sick for studies in patients]) - 0.6) < 0.02
    assert {len(studies) for studies in patients} == ({1} if single else {1, 2, 3})
    assert all(studies[0].growth == 1 for studies in patients)


def test_tumours_lie_in_the_liver_and_grow(tmp_path):
    body = _abdomen.draw_abdomen(np.random.default_rng(1))
    tumours = _abdomen.draw_tumours(np.random.default_rng(2), body)
    assert tumours
    for t in tumours:
        assert body.hepatic(*(np.full((1, 1, 1), v, np.float32) for v in t.centre)) > 0
    small, large = (ct.render(ct.Plan(1, 0, 1, 0, growth, True), body, tumours, 64)[0].label for growth in (1.0, 1.5))
    assert (large == 2).sum() > 1.8 * (small == 2).sum() > 0
    assert not ((small == 2) & (large == 0)).any()


def test_nothing_but_the_tumours_depends_on_them():
    body = _abdomen.draw_abdomen(np.random.default_rng(1))
    tumours = _abdomen.draw_tumours(np.random.default_rng(2), body)
    (sick, _, truth), (well, _, other) = (ct.render(ct.Plan(1, 0, 1, 0, 1.0, True), body, t, 48) for t in (tumours, ()))
    free = list(truth)[list(truth).index("orientation") :]
    assert [truth[c] for c in free] == [other[c] for c in free]
    assert (sick.hu != well.hu).any() and (sick.label == 2).any() and not (well.label == 2).any()
    touched = sick.hu != well.hu
    far = np.ones(touched.shape, bool)
    for z, y, x in np.argwhere(sick.label == 2):
        far[max(0, z - 2) : z + 3, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = False
    assert not touched[far].any()


def test_a_tumour_smaller_than_a_voxel_is_still_marked():
    body = _abdomen.draw_abdomen(np.random.default_rng(1))
    axes = [np.arange(-16, 17, 4.0, np.float32)] * 3
    grid = Volume(axes[0][None, None], axes[1][None, :, None], axes[2][:, None, None])
    shape = np.zeros((1, 5), np.float32)
    tiny = _abdomen.Tumour((-7.1, 0.3, -7.2), 0.3, (1.0, 1.0, 1.0), shape, 40.0, 0.0, 0.0)
    assert _organs._tumour(grid, body, tiny, 1.0, 100.0) == 1
    assert (grid.label == 2).sum() == 1


# Painting


def _grid(size=64, field=8.0):
    line = (((np.arange(size) + 0.5) / size - 0.5) * field).astype(np.float32)
    return Volume(line[None, None], line[None, :, None], line[:, None, None])


def test_a_ball_has_its_volume_and_its_value():
    grid = _grid()
    depth, low, high = blob((0.3, -0.2, 0.4), (2.0, 2.0, 2.0))
    count = grid.paint(depth, 50.0, low, high, label=1)
    assert count == (grid.label == 1).sum()
    assert count * (8 / 64) ** 3 == pytest.approx(4 / 3 * np.pi * 8, rel=0.02)
    assert grid.hu[grid.label == 1].max() == 50 and (grid.hu == -1000).sum() > 0.7 * grid.hu.size
    middle = [
        np.average(v, weights=grid.label.sum(axis=a)) for v, a in ((grid.x[0, 0], (0, 1)), (grid.z[:, 0, 0], (1, 2)))
    ]
    np.testing.assert_allclose(middle, [0.3, 0.4], atol=0.02)


def test_boxes_hold_their_organs():
    waves = np.array([[1.0, 2.0, 0.5, 0.3, 0.2], [3.0, 0.0, 1.0, 1.0, 0.1]], np.float32)
    for depth, low, high in (
        blob((0.5, 0.0, -0.5), (2.0, 1.0, 1.5), 0.7, waves),
        tube((-1.0, 0.0, -2.0), (1.5, 1.0, 2.0), 0.6, 0.3),
    ):
        whole, boxed = _grid(), _grid()
        assert whole.paint(depth, 10.0) == boxed.paint(depth, 10.0, low, high) > 100
        np.testing.assert_array_equal(whole.hu, boxed.hu)


def test_what_a_ct_does_not_have_is_refused(tmp_path):
    with pytest.raises(UsageError, match="ct has no findings"):
        phantom.write(tmp_path / "x", kind="ct", n=1, size=32, findings=["effusion"])
    with pytest.raises(UsageError, match=r"png.*nifti"):
        phantom.write(tmp_path / "x", kind="ct", n=1, size=32, format="png")
    assert not list(tmp_path.iterdir())
