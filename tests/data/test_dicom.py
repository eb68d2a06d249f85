"""The reader of DICOM folders: what belongs together, in what order, whose it is, and what is left out by name."""

import logging

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from cbir_cli.data import _dicom_tags, dicom, read_source
from cbir_cli.errors import SourceError
from cbir_cli.images import InputSpec
from cbir_cli.records import Flow


@pytest.fixture
def put(tmp_path):
    """Write a tiny DICOM file: ``put("a/b", Modality="CT", ...)``; its pixels all have the value ``level``."""

    def write(name, level=100, frames=1, **tags):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        kind = CTImageStorage if tags.get("Modality") == "CT" else DigitalXRayImageStorageForPresentation
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.{abs(hash(name)) % 10**9}"
        data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "p1", "1.1", "1.1.1", "DX"
        data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
        data.Rows = data.Columns = 2
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = np.full((frames, 2, 2), level, "<u2").tobytes()
        data["PixelData"].VR = "OW"
        if frames > 1:
            data.NumberOfFrames = frames
        for key, value in tags.items():
            if value is None:
                delattr(data, key)
            else:
                setattr(data, key, value)
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return tmp_path / "set"

    return write


def read(root):
    flow = Flow()
    return {record.id: record for record in dicom.read(root, flow=flow)}, flow


def view_code(value, scheme="SCT", meaning=""):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return [code]


def test_whose_and_what(put):
    put("a.dcm", PatientID="7", PatientSex="F", PatientAge="045Y", ViewPosition="pa", InstitutionName="St. Elsewhere")
    put("deep/er/IM1", PatientSex="O", PatientBirthDate="19600520", StudyDate="20200519")
    root = put("deep/er/IM2", PatientID="", PatientAge="018M", ViewPosition="")
    found, flow = read(root)
    first, second, third = (found[key] for key in ("a", "deep/er/IM1", "deep/er/IM2"))
    assert (first.patient, first.study, first.sex, first.age, first.view) == ("7", "1.1", "F", 45, "PA")
    assert (second.patient, second.sex, second.age, second.view) == ("p1", "", 59, "")
    assert (third.patient, third.study, third.age) == ("1.1", "1.1", 1)
    assert not any(record.source or record.split or record.labels for record in found.values())
    assert flow.kept == flow.read == 3
    assert "without PatientID, the study stands for the patient: 1 files" in flow.notes


@pytest.mark.parametrize(
    ("stated", "born", "seen", "age"),
    [
        ("000D", "", "", 0),
        ("364D", "", "", 0),
        ("366D", "", "", 1),
        ("104W", "", "", 1),
        ("105W", "", "", 2),
        ("100Y", "", "", 100),
        ("45", "", "", None),
        ("xY", "", "", None),
        ("", "20000101", "20200101", 20),
        ("", "20000102", "20200101", 19),
        ("", "20300101", "20200101", None),
        ("", "", "20200101", None),
        ("007Y", "19000101", "20200101", 7),
    ],
)
def test_age(put, stated, born, seen, age):
    found, _ = read(put("a", PatientAge=stated, PatientBirthDate=born, StudyDate=seen))
    assert found["a"].age == age


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"ViewPosition": "AP", "ViewCodeSequence": view_code("272479007")}, "AP"),
        ({"ViewCodeSequence": view_code("272479007")}, "PA"),
        ({"ViewCodeSequence": view_code("399348003")}, "AP"),
        ({"ViewCodeSequence": view_code("R-10206", "SRT")}, "AP"),
        ({"ViewCodeSequence": view_code("R-10236", "SRT")}, "LL"),
        ({"ViewCodeSequence": view_code("99", "L", "Postero-Anterior")}, "PA"),
        ({"ViewCodeSequence": view_code("99", "L", "lateral")}, "LATERAL"),
        ({"ViewCodeSequence": view_code("99", "L", "from above")}, ""),
        ({}, ""),
    ],
)
def test_view(put, tags, view):
    found, _ = read(put("a", **tags))
    assert found["a"].view == view


def ct(put, name, position, level=1000, **tags):
    given = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "SeriesNumber": 3}
    given |= {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, position]}
    return put(name, level, **{**given, **tags})


def test_slices_are_in_the_order_of_their_positions(put):
    heights = {"z": -5.5, "c": 12.0, "b": 2.0, "a": -100.0}
    for number, (name, height) in enumerate(heights.items()):
        # Neither the names nor the numbers tell.
        root = ct(put, f"ct/{name}", height, level=1024 + int(height), InstanceNumber=number)
    found, _ = read(root)
    assert list(sorted(found)) == [f"ct/series-3/{i:04d}" for i in range(4)]
    assert [found[key].relative for key in sorted(found)] == ["ct/a", "ct/z", "ct/b", "ct/c"]
    source = read_source(str(root))
    assert source.reader == "dicom" and [r.relative for r in source.records] == ["ct/a", "ct/z", "ct/b", "ct/c"]
    spec = InputSpec(size=2, window=(-100, 100))
    levels = [float(spec.load(record).mean()) for record in source.records]
    np.testing.assert_allclose(levels, [0, (-5 + 100) / 200, 102 / 200, 112 / 200], atol=1e-6)


def test_tilted_and_sagittal_series_go_along_their_normal(put):
    turned = [0, 1, 0, 0, 0, -1]  # the normal is -x
    for name, x in (("a", 3.0), ("b", -3.0), ("c", 9.0)):
        root = ct(put, name, 0, ImageOrientationPatient=turned, ImagePositionPatient=[x, 50 - x, x])
    found, _ = read(root)
    assert [found[key].relative for key in sorted(found)] == ["c", "a", "b"]


def test_several_series_in_one_folder(put):
    for name, height in (("a", 1.0), ("b", 0.0)):
        ct(put, name, height)
        ct(put, f"{name}2", height, SeriesInstanceUID="1.1.2")
        ct(put, f"{name}3", height, SeriesInstanceUID="1.1.3", SeriesNumber=4)
    ct(put, "alone", 5.0, SeriesInstanceUID="1.1.4", SeriesNumber=5)
    root = ct(put, "flat", 5.0, SeriesInstanceUID="1.1.5", ImagePositionPatient=[])
    found, _ = read(root)
    assert {key: record.relative for key, record in found.items()} == {
        "series-3/0000": "b",
        "series-3/0001": "a",
        "series-3-2/0000": "b2",
        "series-3-2/0001": "a2",
        "series-4/0000": "b3",
        "series-4/0001": "a3",
        "alone": "alone",
        "flat": "flat",
    }


def test_same_position_twice_goes_by_instance_number(put):
    ct(put, "b", 1.0, InstanceNumber=2)
    root = ct(put, "c", 1.0, InstanceNumber=1)
    ct(put, "a", 0.0, InstanceNumber=10)
    found, _ = read(root)
    assert [found[key].relative for key in sorted(found)] == ["a", "c", "b"]


def test_frames(put):
    root = put("clip", frames=3, Modality="XA", WindowCenter=100, WindowWidth=50)
    found, flow = read(root)
    assert sorted(found) == ["clip/0000", "clip/0001", "clip/0002"]
    assert [found[key].part for key in sorted(found)] == [0, 1, 2]
    assert flow.read == flow.kept == 3
    put("still", PatientID="p2")
    assert read(root)[0]["still"].part is None


def test_what_is_left_out_is_counted_by_name(put):
    put("ok")
    put("mammogram", Modality="MG")
    put("dose", Modality="RTDOSE")
    put("raw", PresentationIntentType="FOR PROCESSING")
    put("clip", frames=2, Modality="US")
    ct(put, "scout", 0.0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    root = put("empty", Rows=None)
    (root / "cut.dcm").write_bytes((root / "ok").read_bytes()[:170])
    (root / "zero.dcm").touch()
    (root / "notes.txt").write_text("x")
    (root / "other.png").write_bytes(b"\x89PNG")
    found, flow = read(root)
    assert list(found) == ["ok"]
    assert flow.dropped["modality MG (mammography) is not supported"] == 1
    assert flow.dropped["modality RTDOSE (radiotherapy) is not supported"] == 1
    assert flow.dropped["raw detector values (FOR PROCESSING) are not supported"] == 1
    assert flow.dropped["ultrasound clips are not supported"] == 1
    assert flow.dropped["localizer of CT"] == 1
    assert sum(count for reason, count in flow.dropped.items() if reason.startswith("holds no image")) >= 1
    assert any(note.startswith("damaged file: zero.dcm: not DICOM") for note in flow.notes)
    assert "not images: .png 1, .txt 1" in flow.notes
    assert flow.read == 1 + flow.dropped.total()


def test_dicomdir_is_not_read(put):
    from pydicom.fileset import FileSet

    root = put("image", SeriesNumber=1, StudyID="1", StudyDate="20200101", StudyTime="1", InstanceNumber=1)
    made = FileSet()
    made.add(root / "image")
    made.write(root / "disc")
    found, flow = read(root)
    assert len(found) == 2 and all(key != "disc/DICOMDIR" for key in found)
    assert "not images: DICOMDIR 1" in flow.notes
    assert "files with the SOPInstanceUID of another: 1" in flow.notes


def test_burned_in_annotation_is_warned_of(put, caplog):
    put("a", BurnedInAnnotation="YES")
    root = put("b", BurnedInAnnotation="NO")
    with caplog.at_level(logging.WARNING, "cbir"):
        read(root)
    (text,) = caplog.messages
    assert text.startswith("1 of 2 DICOM files say that words are burned into their pixels")


def test_a_single_file_knows_its_patient(put):
    root = put("a.dcm", PatientID="p9")
    put("b.dcm")
    source = read_source(str(root / "a.dcm"))
    (record,) = source.records
    assert (source.reader, record.id, record.patient) == ("dicom", "a", "p9")
    assert source.root == root


def test_recognised_by_what_is_in_the_files(put, tmp_path):
    root = put("x/IM0001")
    assert dicom.recognise(root)
    (root / "README.txt").write_text("a disc")
    assert dicom.recognise(root) and dicom.recognise(root / "x/IM0001")
    assert not dicom.recognise(root / "README.txt")
    (root / "a.png").touch()
    assert not dicom.recognise(root)
    named = tmp_path / "named"
    named.mkdir()
    (named / "a.dcm").write_text("text")
    assert not dicom.recognise(named)
    with pytest.raises(SourceError, match=r"no images .*damaged file 1"):
        read_source(f"dicom:{named}")


@pytest.mark.parametrize("share", [1, 2, 4])
def test_many_files_are_read_by_several_processes(put, monkeypatch, share):
    for number in range(7):
        root = put(f"{number}", PatientID=f"p{number}", PatientAge="050Y")
    (root / "bad.dcm").touch()
    expected, flow = read(root)
    monkeypatch.setattr(_dicom_tags, "_SHARE", share)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    again, other = read(root)
    assert again == expected and len(again) == 7
    assert other.lines() == flow.lines()


def test_institution_and_name_go_nowhere(put):
    found, flow = read(put("a", PatientName="Doe^Jane", InstitutionName="St. Elsewhere", PatientAddress="Here"))
    assert not [word for word in ("Doe", "Jane", "Elsewhere", "Here") if word in f"{found}{flow.lines()}"]


def test_examinations_are_counted_in_the_order_of_their_dates(put):
    """Dates themselves go nowhere; a study without one, or of another patient, changes no number."""
    for name, study, date, time, patient in (
        ("a", "1.5", "20210301", "1200", "p"),
        ("b", "1.9", "20190301", "1200", "p"),
        ("c", "1.1", "20210301", "0900", "p"),
        ("d", "1.2", "", "", "p"),
        ("e", "1.3", "20180101", "0800", "q"),
        ("f", "1.5", "20210302", "0010", "p"),  # past midnight, of the first
    ):
        root = put(f"{name}.dcm", StudyInstanceUID=study, StudyDate=date, StudyTime=time, PatientID=patient)
    records, _ = read(root)
    places = {key.removesuffix(".dcm"): record.examination for key, record in records.items()}
    assert places == {"a": 2, "b": 0, "c": 1, "d": None, "e": 0, "f": 2}
    assert not any("20190301" in repr(record) for record in records.values())


def test_slices_know_their_series_and_place(put):
    for name, z in (("a", 5.0), ("b", -5.0), ("c", 0.0)):
        ct(put, name, z)
    root = put("film.dcm", PatientID="z")
    records, _ = read(root)
    slices = {record.relative: (record.series, record.position) for record in records.values()}
    assert slices["film.dcm"] == ("", None)
    assert sorted((place, name) for name, (series, place) in slices.items() if series == "1.1.1") == [
        (0, "b"),
        (1, "c"),
        (2, "a"),
    ]
