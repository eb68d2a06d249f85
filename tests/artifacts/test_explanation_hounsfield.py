"""Images in Hounsfield units in an explanation artifact: from the volume to the file, and back."""

import dataclasses

import h5py
import numpy as np
import pytest
from explained import made, write

from cbir_cli import volumes
from cbir_cli.artifacts import explanation, files, items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ArtifactError
from cbir_cli.images import InputSpec
from cbir_cli.reading import content_of
from cbir_cli.records import Record
from cbir_cli.stages.pictures import Pictures

WINDOW = (-200.0, 300.0)


def read(path):
    with files.open_artifact(str(path), explanation.KIND) as artifact:
        return explanation.read(artifact)


@pytest.fixture
def whole():
    one = made("occlusion")
    units = [
        np.arange(images.size).reshape(images.shape) % 4096 - 1024 for images in (one.query_images, one.result_images)
    ]
    return dataclasses.replace(
        one,
        query_hounsfield=units[0].astype(np.int16),
        result_hounsfield=units[1].astype(np.int16),
        window=WINDOW,
    )


def test_they_come_back_and_other_files_have_none(tmp_path, whole):
    found = read(write(tmp_path, "ct.h5", whole))
    assert found.window == WINDOW and found.query_hounsfield.dtype == np.int16
    np.testing.assert_array_equal(found.query_hounsfield, whole.query_hounsfield)
    np.testing.assert_array_equal(found.result_hounsfield, whole.result_hounsfield)
    none = read(write(tmp_path, "plain.h5", made("occlusion")))
    assert none.window is none.query_hounsfield is none.result_hounsfield is None
    with h5py.File(tmp_path / "plain.h5") as file:
        assert "window" not in file.attrs and "hounsfield" not in file["queries"]


@pytest.mark.parametrize(
    "values",
    [np.zeros((3, 16, 15), np.int16), np.zeros((3, 16, 16), np.int32), np.zeros((2, 16, 16), np.int16)],
    ids=str,
)
def test_what_does_not_fit_is_refused(tmp_path, whole, values):
    path = write(tmp_path, "ct.h5", whole)
    with h5py.File(path, "r+") as file:
        del file["queries/hounsfield"]
        file["queries/hounsfield"] = values
    with pytest.raises(ArtifactError, match="hounsfield"):
        read(path)


@pytest.mark.parametrize("window", ["[1]", "[300, -200]", "{}"])
def test_an_odd_window_is_refused(tmp_path, whole, window):
    path = write(tmp_path, "ct.h5", whole)
    with h5py.File(path, "r+") as file:
        file.attrs["window"] = window
    with pytest.raises(ArtifactError):
        read(path)


def test_units_of_a_volume_are_those_of_its_voxels(tmp_path):
    import nibabel

    rng = np.random.default_rng(0)
    stored = rng.integers(-2000, 4000, (16, 16, 4)).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-1.0, -1, 1, 1])), path)
    record = Record(id="a", path=path, relative=path.name, part=2)
    table = items.from_records([record], [content_of(record)], Pseudonyms(None))
    spec = InputSpec(size=16, window=WINDOW, colour="rgb")
    units = Pictures(spec, {"a": path}, {}).hounsfield({"a": path}, table)
    assert units.dtype == np.int16 and units.shape == (1, 16, 16)
    whole = volumes.pixels(path, 2, (-3000.0, 5000.0)) * 8000 - 3000  # through a window that cuts nothing
    np.testing.assert_array_equal(units[0], np.rint(np.clip(whole, -1024, 3071)).astype(np.int16))
    assert (units == -1024).any() and (units == 3071).any() and len(np.unique(units)) > 150
    seen = Pictures(spec, {"a": path}, {}).load({"a": path}, table)[0, ..., 0]
    np.testing.assert_allclose(np.clip((units[0] + 200) / 500, 0, 1), seen, atol=2e-3)
    assert Pictures(InputSpec(size=16), {}, {}).hounsfield({}, table) is None
