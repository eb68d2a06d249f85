"""Volumes of the Decathlon: which slices, with which labels, in which part of the split."""

import json
import os

import nibabel
import numpy as np
import pytest
from nibabel import orientations

from cbir_cli.data import msd_liver, read_source
from cbir_cli.errors import SourceError
from cbir_cli.images import InputSpec
from cbir_cli.records import NEGATIVE, POSITIVE, Flow
from cbir_cli.volumes import labels

DECATHLON = {"0": "background", "1": "liver", "2": "cancer"}
NNUNET = {"background": 0, "liver": 1, "tumor": 2}


@pytest.fixture
def build(tmp_path):
    """Write volumes: ``build([2, 10, 1], form="decathlon")``; liver from slice 8 to 17 of 24, cancer in 9 and 10."""

    def write(numbers, form="decathlon", codes="RAS", test=()):
        root = tmp_path / "Task03_Liver"
        entries = []
        for number in numbers:
            units = np.full((6, 5, 24), -1000, np.int16)
            units[1:5, 1:4] = np.arange(24) * 10
            marks = np.zeros(units.shape, np.uint8)
            marks[2:4, 2, 8:18] = 1
            marks[2, 2, 9] = marks[3, 2, 10] = 2
            ending = "_0000" if form == "nnunet" else ""
            pair = f"imagesTr/liver_{number}{ending}.nii.gz", f"labelsTr/liver_{number}.nii.gz"
            turn = orientations.ornt_transform(
                orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(codes))
            )
            for values, name in zip((units, marks), pair, strict=True):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(values, np.eye(4)).as_reoriented(turn), root / name)
            entries.append({"image": f"./{pair[0]}", "label": f"./{pair[1]}"})
        description = {"name": "Liver", "labels": DECATHLON, "training": entries, "test": list(test)}
        if form == "nnunet":
            description = {"channel_names": {"0": "CT"}, "labels": NNUNET, "file_ending": ".nii.gz"}
        (root / "dataset.json").write_text(json.dumps(description))
        return root

    return write


def read(root):
    flow = Flow()
    return list(msd_liver.read(root, flow=flow)), flow


@pytest.mark.parametrize("form", ["decathlon", "nnunet"])
@pytest.mark.parametrize("codes", ["RAS", "LPI", "PSR"])
def test_five_slices_with_liver_and_five_without(build, form, codes):
    root = build([0], form, codes)
    records, flow = read(root)
    assert len(records) == 10 and flow.read == flow.kept == 10
    for record in records:
        with_liver, with_cancer = 8 <= record.part < 18, record.part in (9, 10)
        assert record.labels == {
            "liver": POSITIVE if with_liver else NEGATIVE,
            "cancer": POSITIVE if with_cancer else NEGATIVE,
        }
        assert (record.patient, record.study, record.id) == ("liver_0", "liver_0", f"liver_0/{record.part:04d}")
        mask = labels(record.mask, record.part, like=record.path)
        assert (mask > 0).any() == with_liver and (mask == 2).any() == with_cancer
        pixels = InputSpec(size=4, window=(-1000, 1000)).load(record)
        assert pixels.max() == pytest.approx((10 * record.part + 1000) / 2000, abs=0.2)
    assert sum(record.labels["liver"] for record in records) == 5


def test_the_choice_is_the_same_every_time_and_for_every_copy(build, tmp_path):
    first = {record.id for record in read(build([0, 1, 2]))[0]}
    again = {record.id for record in read(build([2, 1, 0], "nnunet"))[0]}
    assert first == again
    alone = {record.id for record in read(build([1]))[0]}
    assert alone == {key for key in first if key.startswith("liver_1/")}
    parts = [{key.split("/")[1] for key in first if key.startswith(f"liver_{n}/")} for n in range(3)]
    assert parts[0] != parts[1] != parts[2]


def test_the_first_hundred_are_for_training_by_number(build, monkeypatch):
    monkeypatch.setattr(msd_liver, "SLICES", 1)
    root = build([*range(99, 131), *range(99)])
    records, flow = read(root)
    assert {r.patient for r in records if r.split == "train"} == {f"liver_{i}" for i in range(100)}
    assert {r.patient for r in records if r.split == "test"} == {f"liver_{i}" for i in range(100, 131)}
    assert any(n.startswith("train: 100 volumes: liver_0, liver_1, liver_2, liver_3") for n in flow.notes)
    assert any(n.startswith("test: 31 volumes: liver_100, liver_101") for n in flow.notes)


@pytest.mark.parametrize(("count", "training"), [(1, 1), (2, 1), (3, 2), (10, 8)])
def test_fewer_volumes_are_cut_at_the_same_share(build, count, training):
    records, _ = read(build(list(range(count))))
    assert len({r.patient for r in records if r.split == "train"}) == training


def test_missing_damaged_and_hidden_files(build):
    root = build([0, 1, 2, 3], test=["./imagesTs/liver_9.nii.gz"])
    os.remove(root / "imagesTr/liver_1.nii.gz")
    whole = (root / "labelsTr/liver_2.nii.gz").read_bytes()
    (root / "labelsTr/liver_2.nii.gz").write_bytes(whole[: len(whole) // 2])
    (root / "labelsTr/._liver_0.nii.gz").write_bytes(b"\0\5\x16\7")
    other = np.zeros((6, 5, 23), np.uint8)
    nibabel.save(nibabel.Nifti1Image(other, np.eye(4)), root / "labelsTr/liver_3.nii.gz")
    records, flow = read(root)
    assert {record.patient for record in records} == {"liver_0"}
    assert flow.dropped == {"volume or its labels missing": 1, "damaged volume or labels": 2}
    assert flow.kept == 10
    notes = "\n".join(flow.notes)
    assert "missing file: imagesTr/liver_1.nii.gz" in notes and "damaged: liver_2: " in notes
    assert "damaged: liver_3: labels of (6, 5, 23), expected the image's (6, 5, 24)" in notes
    assert "volumes without labels, left out: 1" in notes
    root = build([0], "nnunet")
    (root / "labelsTr/._liver_0.nii.gz").write_bytes(b"\0\5\x16\7")
    assert {record.patient for record in read(root)[0]} >= {"liver_0"}


def test_few_slices_are_all_taken(build):
    root = build([0])
    marks = np.zeros((6, 5, 24), np.uint8)
    marks[2, 2, 3:6] = 1
    nibabel.save(nibabel.Nifti1Image(marks, np.eye(4)), root / "labelsTr/liver_0.nii.gz")
    records, flow = read(root)
    assert [r.part for r in records if r.labels["liver"] == POSITIVE] == [3, 4, 5]
    assert len(records) == 8
    assert "volumes with fewer than 5 slices with or without liver: 1; all are taken" in flow.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        (
            '{"labels": {"0": "background", "1": "spleen"}}',
            "expected labels liver and cancer, found backgr",
        ),
        ('{"labels": {"1": "liver", "2": "cancer"}, "training": [3]}', "expected image and label"),
        (
            '{"labels": {"1": "liver", "2": "cancer"}, "training": [{"image": "/etc/a.nii", "label": "b.nii"}]}',
            "outside of the folder",
        ),
    ],
)
def test_wrong_descriptions(build, content, message):
    root = build([0])
    (root / "dataset.json").write_text(content)
    with pytest.raises(SourceError, match=message) as caught:
        read(root)
    assert "\n" not in str(caught.value) and "dataset.json" in str(caught.value)


def test_recognised(build, tmp_path):
    root = build([0])
    assert read_source(str(root)).reader == "msd-liver"
    (root / "dataset.json").write_text(json.dumps({"labels": {"1": "spleen"}}))
    assert not msd_liver.recognise(root)
    assert not msd_liver.recognise(tmp_path)


def test_a_slice_of_cancer_alone_is_one_of_the_liver(build):
    root = build([0])
    marks = np.zeros((6, 5, 24), np.uint8)
    marks[2, 2, 8:12], marks[2, 2, 12] = 2, 1
    nibabel.save(nibabel.Nifti1Image(marks, np.eye(4)), root / "labelsTr/liver_0.nii.gz")
    records, _ = read(root)
    assert [r.part for r in records if r.labels["liver"] == POSITIVE] == [8, 9, 10, 11, 12]
    assert [r.part for r in records if r.labels["cancer"] == POSITIVE] == [8, 9, 10, 11]
    assert len(records) == 10
