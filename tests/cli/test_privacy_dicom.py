"""An identifier in every tag, path and file name of DICOM files is nowhere in what commands write or say."""

import csv
import re

import numpy as np
import pytest
from small_chain import TRAINING

CANARY, NUMBER, UID = "KANARIE", "48151623", "1.2.826.48151623"
FOLDER = f"{CANARY}^JANE_19620304"
FOUND = re.compile(rb"(?i)kanarie|48151623|K\x00A\x00N\x00A\x00R|19620304")
SHOWN = (  # what the pixels and their place need; everything else is a canary
    "SOPClassUID Modality Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel PixelData "
    "PhotometricInterpretation WindowCenter WindowWidth RescaleIntercept RescaleSlope PresentationIntentType "
    "SpecificCharacterSet NumberOfFrames SOPInstanceUID ImageType PatientSex PatientAge VOILUTFunction RescaleType"
).split()


def poison(path, number, **tags):
    """Write a canary into every text tag of the dictionary, a private one, a sequence, the meta header and preamble."""
    import pydicom
    from pydicom.datadict import DicomDictionary

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    file = pydicom.dcmread(path)
    of = {
        **dict.fromkeys(("AE", "CS", "SH", "LO", "ST", "LT", "UC", "UR", "UT"), f"{CANARY}{number}"),
        "PN": f"{CANARY}{number}^JANE",
        "UI": f"{UID}.{number}",
        **dict.fromkeys(("DA", "TM", "DT", "IS", "DS"), NUMBER),
    }
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if vr in of and keyword and keyword not in SHOWN and not retired and group not in (0, 2, 4, 6, 0x5000):
            if ("LUT" not in keyword and group not in (0x0040,)) or keyword.startswith(
                ("Patient", "Study", "Scheduled")
            ):
                file.add_new(tag, vr, of[vr])
    file.private_block(0x0009, f"{CANARY} PRIVATE", create=True).add_new(1, "LO", f"{CANARY}{number}")
    item = pydicom.Dataset()
    item.PatientName = f"{CANARY}^IN^SEQUENCE"
    file.OtherPatientIDsSequence = [item]
    file.ViewPosition = f"{CANARY}{number}"
    file.SOPInstanceUID = f"{UID}.{number}.1"
    file.PatientID = f"{CANARY}{number // 2}PID"
    file.StudyInstanceUID = f"{UID}.{number}"
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.file_meta.ImplementationVersionName = CANARY
    file.file_meta.SourceApplicationEntityTitle = CANARY
    file.preamble = (CANARY * 20).encode()[:128]
    file.save_as(path)


@pytest.fixture(scope="module")
def ward(tmp_path_factory, good):
    """An export: a folder a patient, one a study, files by their UIDs; and a table of it with labels."""
    made = tmp_path_factory.mktemp("made") / "set"
    good("phantom", made, "-n", "20", "--size", "32", "--format", "dicom", "--seed", "3")
    root = tmp_path_factory.mktemp("far") / FOLDER
    root.mkdir()
    with (made / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (root / f"{CANARY}.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["path", "patient", "study", "view", "label:Effusion"])
        for number, row in enumerate(rows):
            # Names as archives give them: identifier and UID, with an ending and without.
            name = f"{UID}.{number}.1" + (".dcm" if number % 2 else "")
            path = root / "export" / f"{CANARY}{number // 2}PID" / f"{UID}.{number}" / name
            path.parent.mkdir(parents=True)
            path.write_bytes((made / row["path"]).read_bytes())
            poison(path, number)
            table.writerow(
                [path.relative_to(root), f"{CANARY}{number // 2}PID", f"{UID}.{number}", row["view"], number % 2]
            )
    whole = sorted((root / "export").rglob("*.1"))[0].read_bytes()
    bad = root / "export" / f"{CANARY}^BAD"
    bad.mkdir()
    (bad / f"{CANARY}.dcm").write_bytes(whole[:-600])
    (bad / f"note.{CANARY}").write_text("no image")
    (bad / "empty.dcm").write_bytes(b"")
    for number, (keyword, value) in enumerate(
        [
            ("Modality", CANARY),
            ("PhotometricInterpretation", CANARY),
            ("VOILUTFunction", CANARY),
            ("NumberOfFrames", CANARY),
            ("WindowCenter", CANARY),
            ("RescaleSlope", CANARY),
            ("ImagePositionPatient", CANARY),
        ]
    ):
        path = bad / f"{CANARY}{number}^X.dcm"
        path.write_bytes(whole)
        try:
            poison(path, 90 + number, **{keyword: value})
        except (ValueError, TypeError):  # pydicom refuses to write it
            path.unlink()
    return root


def run_all(cbir, ward, out, *options, cwd=None):
    """Run every command, and return the bytes of all that was written and said."""
    said = {}
    cwd = cwd or out

    def make(name, *arguments, status=(0,)):
        ran = cbir(*arguments, cwd=cwd)
        assert ran.status in status, (name, ran.err)
        said[f"{name} stderr"], said[f"{name} stdout"] = ran.err.encode(), ran.data
        return ran

    o = lambda name: ["-o", out / name]  # noqa: E731
    export, table = ward / "export", ward / f"{CANARY}.csv"
    make("train", "train", "--task", "pleural", table, *TRAINING, "--epochs", "1", *o("cnn.h5"), *options)
    make("maps", "saliency", "-m", out / "cnn.h5", table, "--preview", out / "pictures", *o("maps.h5"), *options)
    make("ig", "finetune-ig", "-m", out / "cnn.h5", out / "maps.h5", "--epochs", "1", *o("ig.h5"))
    make("embed", "embed", "-m", out / "ig.h5", table, *o("emb.h5"), *options)
    make("index", "index", out / "emb.h5", *o("idx.h5"), "--allow-leaks")
    make("raw", "embed", "-m", "ssim", "--image-size", "16", export, "-v", *o("raw.h5"), *options, status=(3,))
    make(
        "again", "embed", "-m", "ssim", "--image-size", "16", export, "--resume", *o("again.h5"), *options, status=(3,)
    )
    for part in (1, 2):
        line = ["--image-size", "16", export, "--shard", f"{part}/2", *o(f"s{part}.h5"), *options]
        make(f"shard {part}", "embed", "-m", "ssim", *line, status=(0, 3))
    make("merge", "merge", out / "s1.h5", out / "s2.h5", *o("whole.h5"))
    make("raw index", "index", out / "raw.h5", *o("raw.idx.h5"), "--allow-leaks")
    split = make("split", "split", table, "--task", "pleural", "--set", "views=any", "--catalogue", "4", *options)
    (out / "split.tsv").write_bytes(split.data)
    (out / "run.tsv").write_bytes(make("query", "query", out / "idx.h5", table, "-m", out / "ig.h5", *options).data)
    for style in ("json", "trec"):
        make(f"query {style}", "query", out / "raw.idx.h5", export, "--format", style, *options, status=(3,))
    make("check", "split", table, "--check", out / "split.tsv", *options)
    scores = make(
        "evaluate", "evaluate", out / "run.tsv", "--items", out / "idx.h5", "--allow-leaks", "--format", "json"
    )
    (out / "scores.json").write_bytes(scores.data)
    make("explain", "explain", out / "idx.h5", out / "emb.h5", "--root", ward, "-m", out / "ig.h5", *o("ex.h5"))
    raw = [out / "raw.idx.h5", next(export.rglob("*.1.dcm")), "--root", export]
    make("explain raw", "explain", *raw, *o("raw.ex.h5"), *options)
    make("report", "report", out / "ex.h5", out / "ig.h5", out / "scores.json", *o("page.html"))
    make("report maps", "report", out / "maps.h5", "--root", ward, *o("maps.html"))
    for name in ("ig.h5", "maps.h5", "emb.h5", "idx.h5", "ex.h5"):
        make(f"info {name}", "info", out / name, "--format", "json")
        make(f"verify {name}", "verify", out / name)
        make(f"audit {name}", "embed", "--audit", out / name)
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return files | {f"name {name}": name.encode() for name in files} | said


def test_nothing_is_told(cbir, ward, tmp_path):
    written = run_all(cbir, ward, tmp_path)
    found = {name: FOUND.findall(data)[:3] for name, data in written.items() if FOUND.search(data)}
    assert not found
    said = [data for name, data in written.items() if name.endswith(("stderr", "page.html", "maps.html"))]
    assert not any(str(ward.parent).encode() in data for data in said)
    assert b"damaged" in written["raw stderr"] and b".dcm" in written["raw stderr"]
    assert written["raw.h5"] == written["again.h5"]
    assert b"looks like an identifier" in written["audit emb.h5 stderr"]
    for name in ("ig.h5", "maps.h5", "emb.h5", "idx.h5", "ex.h5"):
        rows = list(csv.DictReader(written[f"audit {name} stdout"].decode().splitlines(), delimiter="\t"))
        assert not [row for row in rows if row["looks_like"]], name


def test_on_demand_everything_is_kept(cbir, ward, tmp_path):
    """Proves that the search above would have found it."""
    written = run_all(cbir, ward, tmp_path, "--keep-ids")
    files = "cnn.h5", "maps.h5", "ig.h5", "emb.h5", "idx.h5", "raw.h5", "whole.h5", "ex.h5", "run.tsv", "split.tsv"
    for name in (*files, "page.html", "maps.html", "raw stderr", "query trec stdout", "audit emb.h5 stdout"):
        assert FOUND.search(written[name]), name
    rows = list(csv.DictReader(written["audit emb.h5 stdout"].decode().splitlines(), delimiter="\t"))
    fields = {row["name"]: row["looks_like"] for row in rows if row["kind"] == "field"}
    assert "UID 20" in fields["obs/path"] and fields["obs/study"] == "UID 20" and fields["obs/content"] == ""


def columns(path, *names):
    import h5py

    with h5py.File(path) as file:
        return [file["obs"][name].asstr()[()].tolist() for name in names]


def test_names_follow_from_the_key(good, cbir, ward, tmp_path):
    """Same key, same unique names, in a folder or a table; the patient's folder is called like the patient."""
    line = ["embed", "-m", "ssim", "--image-size", "16", "-q"]
    cbir(*line, ward / "export", "-o", tmp_path / "a.h5")
    cbir(*line, ward / f"{CANARY}.csv", "-o", tmp_path / "b.h5")
    (tmp_path / "key").write_text("l" * 32)
    cbir(*line, ward / "export", "-o", tmp_path / "c.h5", CBIR_KEY=tmp_path / "key")
    (ids, paths, patients, studies), other, (there, *_) = (
        columns(tmp_path / f"{name}.h5", "_index", "path", "patient", "study") for name in "abc"
    )
    assert len(set(ids)) == len(ids) and len(set(paths)) == len(paths)
    assert not set(ids) & set(there)
    for path, patient, study in zip(paths, patients, studies, strict=True):
        if path.count("/") == 2:  # the others are the bad ones
            assert path.split("/")[:2] == [patient, study]
            assert re.fullmatch(r"2\.25\.\d{30,39}", study) and len(study) <= 64
    assert {key.split("/", 1)[1] for key in other[0]} <= set(ids)


def test_another_key_is_one_line(cbir, good, ward, tmp_path):
    line = ["embed", "-m", "ssim", "--image-size", "16", ward / f"{CANARY}.csv", "-o", tmp_path / "a.h5", "-q"]
    good(*line)
    good("index", tmp_path / "a.h5", "-o", tmp_path / "i.h5", "--allow-leaks", "-q")
    ask = ["explain", tmp_path / "i.h5", tmp_path / "a.h5", "--root", ward, "-q", "-o", tmp_path / "ex.h5"]
    good(*ask)
    (tmp_path / "key").write_text("l" * 32)
    ran = cbir(*ask, CBIR_KEY=tmp_path / "key")
    assert (
        ran.status == 1
        and "another key" in ran.error
        and not FOUND.search(ran.error.rpartition(": no such")[2].encode())
    )


def test_a_relative_source_is_found_without_root(good, ward, tmp_path):
    """Its name is hidden, and found again with the key in the working folder."""
    good("embed", "-m", "ssim", "--image-size", "16", f"{CANARY}.csv", "-o", tmp_path / "a.h5", "-q", cwd=ward)
    good("index", tmp_path / "a.h5", "-o", tmp_path / "i.h5", "--allow-leaks", "-q")
    good("explain", tmp_path / "i.h5", tmp_path / "a.h5", "-q", "-o", tmp_path / "ex.h5", cwd=ward)


def test_the_file_behind_a_name(good, cbir, ward):
    """What is said of a file that cannot be read leads to it, with the key."""
    ran = cbir("embed", "-m", "ssim", "--image-size", "16", ward / "export")
    named = re.findall(r"[0-9a-f]{16}/[0-9a-f]{16}\.dcm", ran.err)
    assert named
    rows = csv.reader(good("embed", "--audit", "--keep-ids", ward / "export", "-q").out.splitlines(), delimiter="\t")
    behind = dict(rows)
    assert all((ward / "export" / behind[name]).is_file() for name in named)
    assert cbir("embed", "--audit", ward / "export").status == 2


def test_pixels_are_those_of_the_file(good, ward, tmp_path):
    """What is written is the image, whatever its tags say."""
    import h5py
    import pydicom

    source = next((ward / "export").rglob("*.1.dcm"))
    good("embed", "-m", "ssim", "--image-size", "32", source, "-o", tmp_path / "a.h5", "-q")
    file = pydicom.dcmread(source)
    expected = np.clip((file.pixel_array - (2048 - 0.5 - 4095 / 2)) / 4095, 0, 1) * 255
    with h5py.File(tmp_path / "a.h5") as stored:
        assert np.abs(stored["X"][0].reshape(32, 32) - expected).max() <= 1
