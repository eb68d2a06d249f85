"""Miniature data sets in the layouts of the real ones, awkward rows included."""

import os
from pathlib import Path

import pytest
from PIL import Image

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


@pytest.fixture
def put():
    """Write tiny images: ``put(root, "a/b.png", ...)``."""

    def write(root, *names):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2)).save(path)
        return root

    return write


@pytest.fixture
def table():
    """Write a table from lines."""

    def write(path, *lines):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def nih(tmp_path, put, table):
    """Six rows: two folders of images and a loose one, one file missing, a strange age, two splits."""
    root = put(
        tmp_path / "nih",
        "images_001/images/00000001_000.png",
        "images_001/images/00000001_001.png",
        "images_012/images/00000002_000.png",
        "images/00000003_000.png",
        "00030805_000.png",
        "images/00009999_000.png",  # in no row
    )
    table(
        root / "Data_Entry_2017_v2020.csv",
        NIH_HEADER,
        "00000001_000.png,Effusion|Pleural_Thickening,0,1,57,M,PA,2682,2749,0.143,0.143",
        "00000001_001.png,No Finding,1,1,58,M,AP,2894,2729,0.143,0.143",
        "00000002_000.png,Hernia,0,2,411,F,PA,2500,2048,0.168,0.168",
        "00000003_000.png,Infiltration,0,3,018M,F,AP,2500,2048,0.168,0.168",
        "00000004_000.png,Mass|Nodule,0,4,82,M,AP,2500,2048,0.168,0.168",
        "00030805_000.png,No Finding,0,30805,27,M,PA,2048,2500,0.171,0.171",
    )
    table(root / "train_val_list.txt", "00000001_000.png", "00000001_001.png", "00000004_000.png")
    table(root / "test_list.txt", "00000002_000.png")
    return root


@pytest.fixture
def chexpert(tmp_path, put, table):
    """``CheXpert-v1.0-small`` with seven rows: lateral, LL frontal, unknown sex, age 0, all four codes, one missing."""
    root = put(
        tmp_path / "CheXpert-v1.0-small",
        "train/patient00001/study1/view1_frontal.jpg",
        "train/patient00002/study1/view1_frontal.jpg",
        "train/patient00002/study1/view2_lateral.jpg",
        "train/patient00002/study2/view1_frontal.jpg",
        "valid/patient64541/study1/view1_frontal.jpg",
        "valid/patient64542/study1/view1_frontal.jpg",
    )
    name = root.name
    table(
        root / "train.csv",
        CHEXPERT_HEADER,
        f"{name}/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
        f"{name}/train/patient00002/study1/view1_frontal.jpg,Unknown,0,Frontal,LL,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
        f"{name}/train/patient00002/study1/view2_lateral.jpg,Unknown,0,Lateral,,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
        f"{name}/train/patient00002/study2/view1_frontal.jpg,Male,90,Frontal,PA,,,,,,,,,,,1.0,,,",
        f"{name}/train/patient00003/study1/view1_frontal.jpg,Male,41,Frontal,AP,,,,,,1.0,,,,0.0,,,,",
    )
    zeros = ",".join(["0.0"] * 13)
    table(
        root / "valid.csv",
        CHEXPERT_HEADER,
        f"{name}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,1.0,{zeros}",
        f"{name}/valid/patient64542/study1/view1_frontal.jpg,Female,70,Frontal,PA,0.0,{zeros}",
    )
    return root


@pytest.fixture
def classes(tmp_path, put):
    """Three classes, one name used twice, Kermany's file names, an empty class and things that are no images."""
    root = put(
        tmp_path / "classes",
        "NORMAL/IM-0115-0001.jpeg",
        "NORMAL/NORMAL2-IM-0115-0001.jpeg",
        "PNEUMONIA/person12_bacteria_46.jpeg",
        "PNEUMONIA/person12_virus_47.jpeg",
        "OTHER/deep/er/scan.png",
        "OTHER/scan.png",
        "OTHER/scan.jpg",
    )
    (root / "EMPTY").mkdir()
    (root / "notes.txt").touch()
    return root


@pytest.fixture
def plain(tmp_path, put):
    """Images at the top and below, hidden ones, a link to a file, one to nothing, one to a folder, other files."""
    root = put(
        tmp_path / "plain",
        "b.png",
        "a.PNG",
        "sub/c.tiff",
        "sub/sub/d.bmp",
        ".hidden.png",
        "._e.png",
        ".cache/f.png",
    )
    for name in ("x.dcm", "y.dcm", "sub/z.dcm", "v.nii.gz", "README"):
        (root / name).touch()
    (root / "link.png").symlink_to(root / "b.png")
    (root / "broken.png").symlink_to(root / "gone.png")
    (root / "folder").symlink_to(root / "sub")
    return root


@pytest.fixture
def manifest(tmp_path, put, table):
    """Two images in a subfolder, one elsewhere by an absolute path, one missing."""
    put(tmp_path / "list", "img/a.png", "img/b.png")
    put(tmp_path / "elsewhere", "c.png")
    return table(
        tmp_path / "list" / "all.csv",
        "path,id,patient,study,view,source,split,sex,age,label:Effusion,label:Edema,remark",
        "img/a.png,,p1,s1,PA,mercy,train,female,61,1,0,",
        "img/b.png,bee,p2,,AP,,val,M,,-1,,good",
        f"{tmp_path}/elsewhere/c.png,,,,,,,,7.5,0.0,1.0,",
        "img/gone.png,,p3,,,,,,,1,1,",
    )


@pytest.fixture(scope="session")
def real_data():
    """Folder of real images, see its README; tests that need it are skipped where it is absent."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("CBIR_REAL_DATA") or beside)
    if not root.is_dir():
        pytest.skip(f"no real images in {root}")
    return root
