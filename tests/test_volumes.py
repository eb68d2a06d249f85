"""Slices of NIfTI volumes: the way round, the units, and how often a file is read."""

import gzip
import struct
import tracemalloc
from functools import lru_cache

import h5py
import nibabel
import numpy as np
import pytest
from nibabel import orientations

from cbir_cli import volumes, windows
from cbir_cli.artifacts import items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ArtifactError, ImageError, SourceError, UsageError
from cbir_cli.images import InputSpec, decode
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages.pictures import Pictures

WIDE = (-1100.0, 1100.0)
FACTORS = {nibabel.Nifti1Image: 112, nibabel.Nifti2Image: 176}
"""Where the headers have slope and intercept."""


@pytest.fixture
def voxels():
    """A canonical volume (right, anterior, superior) in which every voxel has a value of its own."""
    values = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4) * 16 - 1000
    return values


@pytest.fixture
def save(tmp_path):
    """Write a canonical volume with its axes in another order: ``save(voxels, "LPI")``."""

    def write(values, codes="RAS", name="a.nii.gz", kind=nibabel.Nifti1Image):
        image = kind(values, np.diag([0.8, 0.7, 2.5, 1]))
        turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(codes)))
        nibabel.save(image.as_reoriented(turn), tmp_path / name)
        return tmp_path / name

    return write


def light_box(values, part):
    """The slice pixel by pixel: first row the most anterior, first column the patient's right."""
    right, anterior, _ = values.shape
    return np.array([[values[right - 1 - c, anterior - 1 - r, part] for c in range(right)] for r in range(anterior)])


def refused(path, **options):
    with pytest.raises(ImageError) as caught:
        decode(path, **options)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(path.name) and text.count(path.name) == 1
    return text


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "LPI", "PSR", "SRA", "IAL", "ARS"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_every_order_of_axes_gives_the_same_slices(save, voxels, codes, name):
    path = save(voxels, codes, name)
    assert volumes.depth(path) == 4
    for part in range(4):
        expected = np.clip((light_box(voxels, part) + 1100.0) / 2200, 0, 1)
        found = decode(path, part=part, window=WIDE)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slope_and_intercept_and_both_versions(save, name, kind):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = save(stored, name=name, kind=kind)
    blob = bytearray(gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes())
    # nibabel chooses the factors itself; these are put into the header by hand.
    struct.pack_into("<2f" if kind is nibabel.Nifti1Image else "<2d", blob, FACTORS[kind], 20, -1000)
    path.write_bytes(gzip.compress(bytes(blob)) if name.endswith("gz") else bytes(blob))
    expected = np.clip((light_box(stored, 2) * 20.0 - 1000 + 1100) / 2200, 0, 1)
    np.testing.assert_allclose(decode(path, part=2, window=WIDE), expected, atol=1e-6)


def test_a_series_of_dicom_is_the_same_picture(tmp_path, save, voxels):
    """One scan in both formats: a DICOM slice has its rows from front to back and its columns from right to left."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    path = save(voxels, "PSR")
    for part in range(4):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.{part + 1}"
        data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "CT", "MONOCHROME2", 1
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * part]
        slice_ = np.ascontiguousarray(voxels[::-1, ::-1, part].T) + 1024
        data.Rows, data.Columns = slice_.shape
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = slice_.astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
        data.save_as(tmp_path / f"{part}.dcm", enforce_file_format=True)
        found = decode(tmp_path / f"{part}.dcm", window=WIDE)
        np.testing.assert_array_equal(found, decode(path, part=part, window=WIDE))


def test_what_is_asked_for_is_named(save, voxels):
    path = save(voxels)
    assert "a volume of 4 slices" in refused(path)
    assert "needs a window" in refused(path, part=1)
    assert "has no slice 4: there are 4" in refused(path, part=4, window=WIDE)
    assert "has no slice -1" in refused(path, part=-1, window=WIDE)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_volumes_that_have_lost_their_units(save, voxels, name):
    for values in (
        np.linspace(0, 255, 120).astype(np.uint8).reshape(6, 5, 4),
        np.linspace(0, 4095, 120).astype(np.uint16).reshape(6, 5, 4),
        np.linspace(-1, 1, 120).astype(np.float32).reshape(6, 5, 4),
    ):
        assert "has lost its Hounsfield units" in refused(save(values, name=name), part=0, window=WIDE)
    decode(save(voxels, name=name), part=0, window=WIDE)


def test_a_slice_of_tissue_alone_is_no_reason_to_refuse(save):
    values = np.full((6, 5, 8), -1000, np.int16)
    values[1:5, 1:4] = 60
    values[:, :, 7] = 40
    found = decode(save(values), part=7, window=(-200, 300))
    np.testing.assert_allclose(found, 240 / 500, atol=1e-6)


def test_what_is_no_volume(tmp_path, save, voxels):
    several = np.zeros((4, 4, 4, 2), np.int16)
    nibabel.save(nibabel.Nifti1Image(several, np.eye(4)), tmp_path / "several.nii")
    assert "expected a volume of three axes, found 4 x 4 x 4 x 2" in refused(
        tmp_path / "several.nii", part=0, window=WIDE
    )
    single = voxels[..., None]
    nibabel.save(nibabel.Nifti1Image(single, np.eye(4)), tmp_path / "single.nii.gz")
    np.testing.assert_allclose(
        decode(tmp_path / "single.nii.gz", part=1, window=WIDE),
        np.clip((light_box(voxels, 1) + 1100.0) / 2200, 0, 1),
        atol=1e-6,
    )
    hole = voxels.astype(np.float32)
    hole[2, 2, 2] = np.nan
    assert "NaN" in refused(save(hole), part=2, window=WIDE)
    for name in ("a.nii.gz", "a.nii"):
        path = save(voxels, name=name)
        path.write_bytes(path.read_bytes()[:-60])
        refused(path, part=3, window=WIDE)
    (tmp_path / "text.nii.gz").write_bytes(b"\x1f\x8b" + b"no archive" * 50)
    assert "not a DICOM, NIfTI" in refused(tmp_path / "text.nii.gz", part=0, window=WIDE).replace(
        "is one image, it has no part 0", "not a DICOM, NIfTI"
    )


def test_compressed_volumes_are_inflated_once(save, voxels, monkeypatch):
    path = save(voxels, name="once.nii.gz")
    reads = []
    original = volumes._inflated.__wrapped__

    def counting(key):
        reads.append(key)
        return original(key)

    monkeypatch.setattr(volumes, "_inflated", lru_cache(maxsize=2)(counting))
    for part in (2, 0, 3, 1, 2):
        decode(path, part=part, window=WIDE)
    assert len(reads) == 1
    others = [save(voxels, name=f"{i}.nii.gz") for i in range(3)]
    for _ in range(3):
        for other in (path, *others):
            decode(other, part=1, window=WIDE)
    assert len(reads) == 4  # slices stay when their volume goes


def test_a_changed_file_is_read_again(save, voxels):
    first = decode(save(voxels), part=1, window=WIDE)
    second = decode(save(voxels[::-1].copy() + 100), part=1, window=WIDE)
    assert np.abs(first - second).max() > 0.04


def test_plain_volumes_are_not_read_whole(tmp_path):
    values = np.zeros((64, 64, 400), np.int16)
    values[:, ::2] = -1000
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    decode(tmp_path / "a.nii", part=3, window=WIDE)
    tracemalloc.start()
    decode(tmp_path / "a.nii", part=5, window=WIDE)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < values.nbytes / 4


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PSR"])
def test_labels_are_turned_as_their_image(save, voxels, codes, tmp_path):
    marks = np.zeros(voxels.shape, np.uint8)
    marks[1, 2, 3], marks[4, 1, 0] = 2, 1
    image, labels = save(voxels, codes), save(marks, codes, "labels.nii.gz")
    for part in range(4):
        np.testing.assert_array_equal(volumes.labels(labels, part, like=image), light_box(marks, part))
    np.testing.assert_array_equal(
        volumes.present(labels, (1, 2), like=image),
        [[True, False], [False, False], [False, False], [False, True]],
    )
    # A file of labels whose affine was lost is stored as its image is.
    stored = nibabel.load(labels)
    nibabel.save(nibabel.Nifti1Image(np.asarray(stored.dataobj), np.eye(4)), tmp_path / "lost.nii.gz")
    np.testing.assert_array_equal(volumes.labels(tmp_path / "lost.nii.gz", 3, like=image), light_box(marks, 3))
    other = save(marks[:-1], codes, "other.nii.gz")
    with pytest.raises(ImageError, match="expected the image's"):
        volumes.labels(other, 0, like=image)


# Windows


def test_windows():
    assert windows.parse("") is windows.parse("  ") is None
    assert windows.parse("liver-wide") == (-200, 300)
    assert windows.parse("liver-narrow") == (50, 150)
    assert windows.parse("lung") == (-600 - 750, -600 + 750)
    assert windows.parse("mediastinum") == (40 - 200, 40 + 200)
    assert windows.parse("-1, 2.5") == (-1, 2.5)
    for text in ("liver", "1", "1,2,3", "2,1", "1,1", "nan,1", "0,inf", "a,b"):
        with pytest.raises(UsageError, match="window"):
            windows.parse(text)


def test_the_window_is_part_of_the_input(save, voxels):
    path = save(voxels)
    record = Record(id="a", path=path, relative=path.name, part=2)
    spec = InputSpec(size=5, window=(-1000, -500))
    assert InputSpec.from_dict(spec.to_dict()) == spec
    assert "window" not in InputSpec().to_dict() and InputSpec.from_dict(InputSpec().to_dict()) == InputSpec()
    with pytest.raises(ArtifactError):
        InputSpec.from_dict({**spec.to_dict(), "window": [1]})
    with pytest.raises(UsageError):
        InputSpec(window=(3.0, 2.0))
    other = InputSpec(size=5, window=(-1000, 1000)).load(record)
    assert spec.load(record).shape == other.shape == (5, 5)
    assert np.abs(spec.load(record) - other).max() > 0.3


# Slices through the artifacts


def test_the_slice_is_found_again(save, voxels, tmp_path):
    """The item table keeps the part, two slices of a file are two images, and explain loads the right one."""
    path = save(voxels)
    records = [Record(id=f"v/{part}", path=path, relative=path.name, part=part) for part in (3, 0)]
    records.append(Record(id="whole", path=path, relative=path.name))
    contents = [content_hash(record.path, record.part) for record in records]
    assert len(set(contents)) == 3
    with h5py.File(tmp_path / "t.h5", "w") as file:
        items.write(file, items.from_records(records, contents, Pseudonyms(None)))
    with h5py.File(tmp_path / "t.h5") as file:
        assert list(file["obs/part/values"]) == [3, 0, -1]
        table = items.read(file, "t.h5")
        assert [record.part for record in table.records()] == [3, 0, None]
        table = table.take([0, 1])
        spec = InputSpec(size=5, window=WIDE)
        pictures = Pictures(spec, {record.id: path for record in records}, {})
        loaded = pictures.load(pictures.results, table)
        np.testing.assert_array_equal(loaded, [spec.load(record) for record in records[:2]])
        with pytest.raises(SourceError, match="is not the image that v/0 was made from"):
            pictures.load(pictures.results, table.replace(part=np.array([3, 1], np.int32)))


def test_item_tables_of_older_versions_have_no_parts(save, voxels, tmp_path):
    record = Record(id="a", path=save(voxels), relative="a.nii.gz")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        old = items.from_records([record], ["0"], Pseudonyms(None))
        columns = {name: old[name] for name in old if name != "part"}
        items.write(file, items.Items(old.ids, columns, ""))
        assert "part" not in file["obs"]
        assert items.read(file, "t.h5").records()[0].part is None
