"""Miniature data sets in the layouts of the real ones, awkward rows included."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
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
    """Write a table from lines, packed if its name ends in ``.gz``."""

    def write(path, *lines):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
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
    table(
        root / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "00000003_000.png,Infiltrate,512.0,256.0,128.0,64.5,,,",
        "00000003_000.png,Mass,0.0,0.0,1024.0,1024.0,,,",
        "00000004_000.png,Nodule,1.0,2.0,3.0,4.0,,,",  # its image is missing
        "00007777_000.png,Mass,1.0,2.0,3.0,4.0,,,",  # in no row
    )
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


MIMIC_FINDINGS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)


@pytest.fixture
def mimic(tmp_path, put, table):
    """Two images of one study, one of a study without labels, without a view and a split, one file missing."""
    root = put(
        tmp_path / "mimic-cxr-jpg",
        "files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg",
        "files/p10/p10000032/s50414267/174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962.jpg",
        "files/p10/p10000032/s53189527/2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab.jpg",
        "files/p19/p19999987/s58621812/aaaaaaaa-00000000-00000000-00000000-00000001.jpg",
    )
    table(
        root / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning",
        "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,"
        "213014.531,CHEST (PA AND LAT),postero-anterior,Erect",
        "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,"
        "213014.531,CHEST (PA AND LAT),lateral,Erect",
        "2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab,10000032,53189527,,,3056,2544,21800626,16.5,,,",
        "aaaaaaaa-00000000-00000000-00000000-00000001,19999987,58621812,CHEST (PORTABLE AP),AP AXIAL,2544,3056,"
        "21451102,202809.234,,,",
        "ffffffff-00000000-00000000-00000000-00000002,19999987,58621812,CHEST (PORTABLE AP),AP,2544,3056,21451102,"
        "202809.234,,,",
    )
    table(
        root / "mimic-cxr-2.0.0-split.csv",
        "dicom_id,study_id,subject_id,split",
        "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014,50414267,10000032,train",
        "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962,50414267,10000032,train",
        "aaaaaaaa-00000000-00000000-00000000-00000001,58621812,19999987,validate",
        "ffffffff-00000000-00000000-00000000-00000002,58621812,19999987,validate",
    )
    table(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        f"subject_id,study_id,{MIMIC_FINDINGS}",
        "10000032,50414267,,-1.0,,,,,,1.0,,0.0,,,0.0,1.0",
        "19999987,58621812,,,,,,,,,1.0,,,,,",
        "19999999,59999999,,,,,,,,,1.0,,,,,",  # no image
    )
    return root


@pytest.fixture
def covidx(tmp_path, put, table):
    """Lines of 3, 4 and 5 cells, a patient with a space, a misspelt source, one image twice, one file missing."""
    root = put(
        tmp_path / "covidx",
        "data/train/a.png",
        "data/train/b.jpeg",
        "data/train/COVID(1).png",
        "data/train/r.png",
        "data/train/unlisted.png",
        "data/test/t.png",
        "data/test/u.png",
    )
    table(
        root / "labels" / "train_COVIDx7A.txt",
        "3 a.png pneumonia cohen",
        "3 b.jpeg normal rsna",  # another patient 3
        "COVID 1 COVID(1).png COVID-19 sirm",
        "c1f7 r.png normal rnsa",
        "9 a.png pneumonia cohen",
        "77 gone.png COVID-19 fig1",
    )
    table(root / "labels" / "test_COVIDx7A.txt", "c1f7 t.png normal", "9 u.png COVID-19")
    return root


@pytest.fixture
def isic2017(tmp_path, put, table):
    """All three classes, a keratosis without its image, superpixels, a mask, unknown age and sex, three splits."""
    root = put(
        tmp_path / "isic",
        "ISIC-2017_Training_Data/ISIC_0000000.jpg",
        "ISIC-2017_Training_Data/ISIC_0000000_superpixels.png",
        "ISIC-2017_Training_Data/ISIC_0000002.jpg",
        "ISIC-2017_Training_Data/ISIC_0000002_superpixels.png",
        "ISIC-2017_Training_Part1_GroundTruth/ISIC_0000002_segmentation.png",
        "ISIC-2017_Validation_Data/ISIC_0001769.jpg",
        "images/ISIC_0012086.jpg",
    )
    header = "image_id,melanoma,seborrheic_keratosis"
    table(
        root / "ISIC-2017_Training_Part3_GroundTruth.csv",
        header,
        "ISIC_0000000,0.0,0.0",
        "ISIC_0000002,1.0,0.0",
        "ISIC_0000004,0.0,1.0",
    )
    table(root / "ISIC-2017_Validation_Part3_GroundTruth.csv", header, "ISIC_0001769,0.0,1.0")
    table(root / "ISIC-2017_Test_v2_Part3_GroundTruth.csv", header, "ISIC_0012086,0,0")
    table(
        root / "ISIC-2017_Training_Data" / "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex",
        "ISIC_0000000,55,female",
        "ISIC_0000002,unknown,unknown",
    )
    return root


@pytest.fixture
def medmnist(tmp_path):
    """``pneumoniamnist.npz`` with 3 + 1 + 2 images of 28 pixels, each of one grey."""
    root = tmp_path / "mnist"
    root.mkdir()
    arrays = {}
    for split, labels, first in (("train", [0, 1, 1], 10), ("val", [0], 40), ("test", [1, 0], 50)):
        greys = np.arange(first, first + len(labels), dtype=np.uint8)
        arrays[f"{split}_images"] = np.broadcast_to(greys[:, None, None], (len(labels), 28, 28))
        arrays[f"{split}_labels"] = np.array(labels, dtype=np.uint8)[:, None]
    np.savez_compressed(root / "pneumoniamnist.npz", **arrays)
    return root


@pytest.fixture
def dicoms(tmp_path):
    """One slice of CT and one of MR, as the package for DICOM ships them, without endings, and a file that is none."""
    from pydicom.data import get_testdata_file

    root = tmp_path / "dicom"
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm")):
        path = root / f"S{number}" / "IM0"
        path.parent.mkdir(parents=True)
        path.write_bytes(Path(get_testdata_file(name)).read_bytes())
    (root / "README").write_text("no image")
    return root


@pytest.fixture
def liver(tmp_path):
    """Three small volumes in the layout of the Decathlon, each with six slices of liver, one of them with cancer."""
    import nibabel

    root = tmp_path / "Task03_Liver"
    training = []
    for number in (2, 10, 1):
        hounsfield = np.full((8, 8, 12), -1000, np.int16)
        hounsfield[2:6, 2:6] = 60
        labels = np.zeros((8, 8, 12), np.uint8)
        labels[3:5, 3:5, 3:9] = 1
        labels[3, 3, 4] = 2
        pair = {"image": f"./imagesTr/liver_{number}.nii.gz", "label": f"./labelsTr/liver_{number}.nii.gz"}
        for values, name in ((hounsfield, pair["image"]), (labels, pair["label"])):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / name)
        training.append(pair)
    labels = {"0": "background", "1": "liver", "2": "cancer"}
    description = {"name": "Liver", "labels": labels, "numTraining": 3, "training": training, "test": []}
    (root / "dataset.json").write_text(json.dumps(description))
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
    """Two images in a subfolder, one elsewhere by an absolute path, one missing; a mask, boxes and parts."""
    put(tmp_path / "list", "img/a.png", "img/b.png", "masks/b.png")
    put(tmp_path / "elsewhere", "c.png")
    return table(
        tmp_path / "list" / "all.csv",
        "path,id,patient,study,view,source,split,sex,age,label:Effusion,label:Edema,remark,part,mask,boxes",
        "img/a.png,,p1,s1,PA,mercy,train,female,61,1,0,,,masks/gone.png,",
        "img/b.png,bee,p2,,AP,,val,M,,-1,,good,,masks/b.png,1 2 3 4.5; 0 0 7 7",
        f"{tmp_path}/elsewhere/c.png,,,,,,,,7.5,0.0,1.0,,2,,",
        f"{tmp_path}/elsewhere/c.png,,,,,,,,7.5,0.0,1.0,,10,,",
        "img/gone.png,,p3,,,,,,,1,1,,,,",
    )


@pytest.fixture(scope="session")
def real_data():
    """Folder of real images, see its README; tests that need it are skipped where it is absent."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("CBIR_REAL_DATA") or beside)
    if not root.is_dir():
        pytest.skip(f"no real images in {root}")
    return root
