"""Files that hold several images: each of them by default, or the one that is asked for."""

import io
import json

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from cbir_cli import reading
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError

RGB = get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)


@pytest.fixture
def several(tmp_path):
    """A DICOM file of two frames, one of one, a volume of five slices, an archive of three images, a picture."""
    (tmp_path / "two.dcm").write_bytes(open(RGB, "rb").read())
    (tmp_path / "one.dcm").write_bytes(open(get_testdata_file("SC_rgb_rle.dcm", download=False), "rb").read())
    values = np.random.default_rng(0).normal(-200, 300, (6, 6, 5)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "volume.nii.gz")
    np.savez(
        tmp_path / "set.npz", train_images=np.zeros((2, 4, 4), np.uint8), test_images=np.zeros((1, 4, 4), np.uint8)
    )
    Image.new("L", (4, 4)).save(tmp_path / "picture.png")
    return tmp_path


def listed(folder, names, monkeypatch, **options):
    monkeypatch.chdir(folder)
    return read_source("-", stdin=io.BytesIO("\n".join(names).encode()), **options)


def test_every_image_of_a_listed_file(several, monkeypatch):
    source = listed(several, ["two.dcm", "one.dcm", "volume.nii.gz", "set.npz", "picture.png"], monkeypatch)
    counts = {name: sorted(r.part for r in source.records if r.relative == name) for name in ("two.dcm", "set.npz")}
    assert counts == {"two.dcm": [0, 1], "set.npz": [0, 1, 2]}
    assert [r.id for r in source.records if r.relative == "volume.nii.gz"] == [f"volume.nii/000{i}" for i in range(5)]
    assert {r.id: r.part for r in source.records if r.relative in ("one.dcm", "picture.png")} == {
        "one": None,
        "picture": None,
    }
    assert source.flow.read == source.flow.kept == len(source.records) == 12


def test_one_frame_of_each_file_that_has_several(several, monkeypatch):
    names = ["two.dcm", "one.dcm", "volume.nii.gz", "set.npz", "picture.png"]
    source = listed(several, names, monkeypatch, frame=1)
    assert {r.relative: r.part for r in source.records} == {
        "two.dcm": 1,
        "volume.nii.gz": 1,
        "set.npz": 1,
        "one.dcm": None,
        "picture.png": None,
    }
    assert dict(source.flow.dropped) == {"another frame than 1": 1 + 4 + 2} and source.flow.kept == 5
    source = listed(several, names, monkeypatch, frame=4)
    assert {r.relative for r in source.records} == {"volume.nii.gz", "one.dcm", "picture.png"}
    assert source.flow.dropped["no frame 4"] == 2 + 3
    assert "no frame 4: two.dcm (the last is 1), set.npz (the last is 2)" in source.flow.notes


@pytest.mark.parametrize(("name", "last"), [("two.dcm", 1), ("volume.nii.gz", 4)])
def test_one_file_by_its_name(several, name, last):
    assert [r.part for r in read_source(str(several / name)).records] == list(range(last + 1))
    (only,) = read_source(str(several / name), frame=last).records
    assert only.part == last
    with pytest.raises(SourceError, match=rf"holds no images that can be read \(no frame {last + 1} {last + 1}\)"):
        read_source(str(several / name), frame=last + 1)


def test_frames_of_a_folder_and_of_a_table(several, tmp_path):
    folder = tmp_path / "dicom"
    folder.mkdir()
    for name in ("two.dcm", "one.dcm"):
        (several / name).rename(folder / name)
    assert [(r.relative, r.part) for r in read_source(str(folder), frame=0).records] == [
        ("one.dcm", None),
        ("two.dcm", 0),
    ]
    (tmp_path / "m.csv").write_text("path,part\nvolume.nii.gz,1\nvolume.nii.gz,3\npicture.png,\n")
    found = read_source(str(tmp_path / "m.csv"), frame=3)
    assert [(r.relative, r.part) for r in found.records] == [("picture.png", None), ("volume.nii.gz", 3)]


def test_damaged_files_are_left_to_the_decoder(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(bytes(344) + b"n+1\0" + bytes(100))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "c.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    assert [r.part for r in listed(tmp_path, ["a.nii", "b.npz", "c.dcm"], monkeypatch).records] == [None] * 3


@pytest.mark.parametrize("command", ["embed", "query"])
def test_the_option(cbir, good, several, command, tmp_path):
    (several / "all").mkdir()
    (several / "two.dcm").rename(several / "all/two.dcm")
    (several / "one.dcm").rename(several / "all/one.dcm")
    line = ["embed", "-m", "ssim", "--image-size", "16", "all", "--keep-ids"]
    good(*line, "-o", tmp_path / "emb.h5", cwd=several)
    if command == "embed":
        with h5py.File(tmp_path / "emb.h5") as file:
            assert len(file["X"]) == 3
            entry = json.loads(file.attrs["history"])[-1] if "history" in file.attrs else None
        good(*line, "--frame", "1", "-o", tmp_path / "one.h5", cwd=several)
        with h5py.File(tmp_path / "one.h5") as file:
            assert [key.decode() for key in file["obs/_index"][()]] == ["one", "two/0001"]
        assert entry is None or "pydicom" in entry["libraries"]
        ran = cbir(*line, "--frame", "7", cwd=several)
        assert ran.status == 0 and "no frame 7: two.dcm (the last is 1)" in ran.err
    else:
        good("index", tmp_path / "emb.h5", "-o", tmp_path / "idx.h5", cwd=several)
        asked = ["query", tmp_path / "idx.h5", "all/two.dcm", "--include-same", "-k", "1"]
        assert good(*asked, cwd=several).out.count("\n") == 3
        (row,) = good(*asked, "--frame", "1", cwd=several).out.splitlines()[1:]
        assert row.split("\t")[0] == "two/0001"
        ran = cbir(*asked, "--frame", "2", "-q", cwd=several)
        assert ran.status == 1 and ran.error.endswith("holds no images that can be read (no frame 2 2)")


def test_libraries_of_an_artifact_are_those_that_read_its_images(several, monkeypatch):
    records = listed(several, ["two.dcm", "volume.nii.gz", "picture.png"], monkeypatch).records
    assert reading.libraries(records) == ("nibabel", "pillow", "pydicom")
    assert reading.libraries([r for r in records if r.relative == "picture.png"]) == ("pillow",)
