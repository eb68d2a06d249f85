"""What each paper's selection keeps: synthetic tables with every view, every code and a missing file, row by row."""

import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cbir_cli import tasks
from cbir_cli.data import chexpert, read_source
from cbir_cli.records import Flow


def flow_of(root, task):
    """Rows read, dropped by the reader and then by the task, and what is kept."""
    source = read_source(str(root))
    chosen = Flow(read=len(source.records))
    kept, targets = tasks.load(task).select(source.records, chosen)
    assert source.flow.kept == len(source.records) and chosen.kept == len(kept) == len(targets)
    return source.flow.read, dict(source.flow.dropped), dict(chosen.dropped), kept, targets


CHEXPERT = ",".join(("Path,Sex,Age,Frontal/Lateral,AP/PA", *chexpert.LABELS))
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
VIEWS = (("Frontal", "AP"), ("Frontal", "PA"), ("Lateral", ""), ("Frontal", "LL"), ("Frontal", "RL"))
CODES = ("1.0", "0.0", "-1.0", "")


@pytest.fixture
def every_view(tmp_path, put, table):
    """``train.csv`` with each view in each state of all labels, and one AP image that is not there."""
    rows = []
    for number, ((side, view), code) in enumerate((view, code) for view in VIEWS for code in CODES):
        inner = f"train/patient{number:05d}/study1/view1_{side.lower()}.jpg"
        put(tmp_path, inner)
        rows.append(f"CheXpert-v1.0/{inner},Male,41,{side},{view},{','.join([code] * 14)}")
    rows.append(
        f"CheXpert-v1.0/train/patient99999/study1/view1_frontal.jpg,Male,41,Frontal,AP,{','.join(['1.0'] * 14)}"
    )
    table(tmp_path / "train.csv", CHEXPERT, *rows)
    return tmp_path


@pytest.mark.parametrize(("task", "view"), [("pleural", "AP"), ("pneumonia", "PA")])
def test_chexpert(every_view, task, view):
    read, missing, dropped, kept, targets = flow_of(every_view, task)
    others = {f"view {name}": 4 for name in ("AP", "PA", "LATERAL", "LL", "RL") if name != view}
    assert (read, missing) == (21, {"missing file": 1})
    assert dropped == {**others, "label uncertain": 1, "label not stated": 1}
    assert [r.view for r in kept] == [view] * 2 and targets.tolist() == [1, 0]


def test_thirteen_findings_of_chexpert(every_view):
    """Every view; uncertain labels are ignored, so an image of nothing else is left out; silence is a 0."""
    read, missing, dropped, kept, targets = flow_of(every_view, "chexpert")
    assert (read, missing, dropped) == (21, {"missing file": 1}, {"label not stated": 5})
    names = tasks.load("chexpert").names
    assert set(chexpert.LABELS) - set(names) == {"No Finding"} and targets.shape == (15, 13)
    assert Counter(map(tuple, targets.tolist())) == {(1,) * 13: 5, (0,) * 13: 10}
    assert {r.view for r in kept} == {"AP", "PA", "LATERAL", "LL", "RL"}


def test_nih(tmp_path, put, table):
    findings = ("Effusion", "Pneumonia|Mass", "No Finding")
    rows = []
    for number, (view, found) in enumerate((view, found) for view in ("AP", "PA") for found in findings):
        put(tmp_path, f"images/{number:08d}_000.png")
        rows.append(f"{number:08d}_000.png,{found},0,{number},57,M,{view},2682,2749,0.143,0.143")
    rows.append("00000099_000.png,Effusion,0,99,57,M,AP,2682,2749,0.143,0.143")
    table(tmp_path / "Data_Entry_2017_v2020.csv", NIH, *rows)
    for task, view, other, codes in (("pleural", "AP", "PA", [1, 0, 0]), ("pneumonia", "PA", "AP", [0, 1, 0])):
        read, missing, dropped, kept, targets = flow_of(tmp_path, task)
        assert (read, missing, dropped) == (7, {"missing file": 1}, {f"view {other}": 3})
        assert [r.view for r in kept] == [view] * 3 and targets.tolist() == codes


def test_covidx(tmp_path, put, table):
    lines = {
        "train": ["1 a.png normal rsna", "2 b.png pneumonia rsna", "3 c.png COVID-19 sirm", "4 gone.png normal rsna"],
        "test": ["5 d.png COVID-19 cohen", "5 d.png COVID-19 cohen"],
    }
    for split, some in lines.items():
        table(tmp_path / f"{split}_COVIDx5.txt", *some)
    put(tmp_path, "train/a.png", "train/b.png", "train/c.png", "test/d.png")
    read, missing, dropped, kept, targets = flow_of(tmp_path, "covid")
    assert (read, missing, dropped) == (6, {"missing file": 1, "listed twice": 1}, {})
    names = [name.lower() for name in tasks.load("covid").names]
    classes = [names[row.index(1)] for row in targets.tolist()]
    assert {Path(r.relative).name: name for r, name in zip(kept, classes, strict=True)} == {
        "a.png": "normal",
        "b.png": "pneumonia",
        "c.png": "covid-19",
        "d.png": "covid-19",
    }
    assert targets.sum(axis=1).tolist() == [1] * 4


def test_isic(isic2017):
    """Five rows in three tables, a keratosis without its image; nobody states a view, so none is dropped for it."""
    read, missing, dropped, kept, targets = flow_of(isic2017, "isic")
    assert (read, missing, dropped) == (5, {"missing file": 1}, {})
    names = list(tasks.load("isic").names)
    found = {r.id: names[row.index(1)] for r, row in zip(kept, targets.tolist(), strict=True)}
    assert found == {
        "ISIC_0000000": "nevus",
        "ISIC_0000002": "melanoma",
        "ISIC_0001769": "seborrheic_keratosis",
        "ISIC_0012086": "nevus",
    }
    assert Counter(r.split for r in kept) == {"train": 2, "validation": 1, "test": 1}


def test_liver(tmp_path):
    """Ten slices of each of three volumes, five with liver; a fourth has no file."""
    root = tmp_path / "Task03_Liver"
    training = [{"image": f"imagesTr/liver_{n}.nii.gz", "label": f"labelsTr/liver_{n}.nii.gz"} for n in range(4)]
    for number, pair in enumerate(training[:3]):
        labels = np.zeros((6, 6, 14), np.uint8)
        labels[2:4, 2:4, 3:9] = 1
        labels[2, 2, 4 : 4 + number] = 2
        for name, values in ((pair["image"], labels.astype(np.int16) * 60 - 500), (pair["label"], labels)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / name)
    labels = {"0": "background", "1": "liver", "2": "cancer"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": training}))
    read, missing, dropped, kept, targets = flow_of(root, "liver")
    assert (read, missing, dropped) == (31, {"volume or its labels missing": 1}, {})
    assert Counter((r.patient, target) for r, target in zip(kept, targets.tolist(), strict=True)) == {
        (f"liver_{number}", target): 5 for number in range(3) for target in (0, 1)
    }
    assert all((3 <= r.part < 9) == target for r, target in zip(kept, targets.tolist(), strict=True))


def test_kermany(tmp_path, put):
    """Its archive's layout: a folder a split, a folder a class; a picture beside them, and a link to nothing."""
    names = ["train/NORMAL/IM-0115-0001.jpeg", "train/PNEUMONIA/person1_bacteria_1.jpeg"]
    names += ["val/PNEUMONIA/person2_virus_3.jpeg", "test/NORMAL/NORMAL2-IM-0116-0001.jpeg", "test/cover.png"]
    put(tmp_path, *names)
    (tmp_path / "train" / "NORMAL" / "IM-0117-0001.jpeg").symlink_to(tmp_path / "gone.jpeg")
    read, missing, dropped, kept, targets = flow_of(f"imagefolder:{tmp_path}", "pneumonia")
    assert (read, missing, dropped) == (6, {"missing file": 1, "not in a class folder": 1}, {})
    assert {(r.split, r.patient, target) for r, target in zip(kept, targets.tolist(), strict=True)} == {
        ("train", "IM-0115", 0),
        ("train", "person1", 1),
        ("validation", "person2", 1),
        ("test", "IM-0116", 0),
    }
