"""Names: those of files that the user typed with their folders, of DICOM files under other names, of masks."""

import csv
import io
import json
import logging
import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from small_chain import TRAINING

from cbir_cli import reading
from cbir_cli.artifacts.history import public_paths
from cbir_cli.data import read_source
from cbir_cli.images import InputSpec

SSIM = ["embed", "-m", "ssim", "--image-size", "16", "-q"]


@pytest.mark.parametrize(
    ("typed", "public"),
    [
        (["/a/b/run.tsv"], ["run.tsv"]),
        (["runs/a.tsv", "../b.tsv", "-"], ["runs/a.tsv", "../b.tsv", "-"]),
        (["/a/1/run.tsv", "/a/2/run.tsv", "/a/other.tsv"], ["1/run.tsv", "2/run.tsv", "other.tsv"]),
        (["/a/1/x/run.tsv", "/a/2/x/run.tsv"], ["1/x/run.tsv", "2/x/run.tsv"]),
        (["run.tsv", "/a/run.tsv"], ["run.tsv", "a/run.tsv"]),
        (["/run.tsv", "/a/run.tsv"], ["run.tsv", "a/run.tsv"]),
        (["/a/run.tsv", "/a/run.tsv"], ["run.tsv", "run.tsv"]),
        ([], []),
    ],
)
def test_absolute_paths_lose_what_does_not_tell_them_apart(typed, public):
    assert public_paths(typed) == public


def test_tables_name_no_folder(good, linked, tmp_path):
    """Scores, facts, proofs, and the page that is made of them, all from absolute paths."""
    chain = linked("secret-folder")
    (chain / "again").mkdir()
    shutil.copy(chain / "ig.tsv", chain / "again" / "ig.tsv")
    runs = [chain / "ig.tsv", chain / "again" / "ig.tsv"]
    for style in ("tsv", "json"):
        ran = good("evaluate", *runs, "--raters", chain / "ranks.csv", "--format", style, cwd=tmp_path)
        (tmp_path / f"scores.{style}").write_bytes(ran.data)
        assert "secret-folder" in str(chain) and "secret-folder" not in ran.out.replace(f"{chain.name}/ig.tsv", "")
        good("report", tmp_path / f"scores.{style}", chain / "ex.h5", "-o", tmp_path / f"{style}.html")
        page = (tmp_path / f"{style}.html").read_text()
        assert str(chain) not in page and "again/ig.tsv" in page
    files = {json.loads(line)["file"] for line in (tmp_path / "scores.json").read_text().splitlines()}
    assert {name for name in files if not name.startswith("rater ")} == {f"{chain.name}/ig.tsv", "again/ig.tsv"}
    masks = [chain / "maps.h5", "--masks", chain / "set" / "masks"]
    scored = good("evaluate", *masks, "--format", "json", cwd=tmp_path).out
    assert {(row["file"], row["against"]) for row in map(json.loads, scored.splitlines())} == {
        ("maps.h5", "masks masks")
    }
    for arguments in (["info", "--format", "json"], ["info"], ["verify"]):
        out = good(*arguments, chain / "ig.h5", cwd=tmp_path).out
        assert "ig.h5" in out and str(chain) not in out and "secret-folder" not in out


def test_an_old_table_with_folders_makes_a_page_without(good, tmp_path):
    lines = ["file\tmetric\tn\tmean\tmin\tmax\tsd\trandom"]
    lines += [f"/home/jane/{name}/run.tsv\tndcg@4\t2\t0.5\t0.4\t0.6\t0.1\t0.3" for name in ("one", "two")]
    (tmp_path / "scores.tsv").write_text("\n".join(lines) + "\n")
    page = good("report", tmp_path / "scores.tsv").out
    assert "one/run.tsv" in page and "two/run.tsv" in page and "jane" not in page


# --- DICOM files under other names ------------------------------------------------------------------------------------


@pytest.fixture
def disguised(tmp_path):
    """DICOM files called as pictures, and a picture, below a folder of a patient whom no rule tells."""
    root = tmp_path / "ward"
    (root / "jane_doe").mkdir(parents=True)
    content = Path(get_testdata_file("MR_small.dcm", download=False)).read_bytes()
    for name in ("jane_scan.png", "jane_more.tiff", "jane_volume.nii"):
        (root / "jane_doe" / name).write_bytes(content + name.encode())
    Image.new("L", (16, 16)).save(root / "jane_doe" / "picture.png")
    (root / "jane_table.csv").write_text("path\njane_doe/jane_scan.png\njane_doe/picture.png\n")
    return root


@pytest.mark.parametrize("how", ["folder", "manifest", "list", "image"])
def test_dicom_files_are_known_by_their_content(good, disguised, tmp_path, how):
    names = "\n".join(f"jane_doe/{name}" for name in ("jane_scan.png", "jane_volume.nii", "picture.png"))
    source = {
        "folder": ".",
        "manifest": "jane_table.csv",
        "list": "-",
        "image": "jane_doe/jane_scan.png",
    }[how]
    out = tmp_path / "a.h5"
    ran = good(*SSIM[:-1], source, "-o", out, stdin=names.encode(), cwd=disguised)
    told = out.read_bytes() + ran.err.encode()
    for secret in (b"jane_scan", b"jane_more", b"jane_volume", b"jane_table"):
        assert secret not in told, secret
    with h5py.File(out) as file:
        paths = file["obs/path"].asstr()[()].tolist()
    # The picture beside them keeps its name, with the folder that it is in: nobody said whose it is.
    assert sum(path == "jane_doe/picture.png" for path in paths) == (how != "image")
    assert all(path.endswith((".png", ".tiff", ".nii")) for path in paths)
    kept = good(*SSIM, source, "--keep-ids", "-o", out, stdin=names.encode(), cwd=disguised)
    assert b"jane_scan" in out.read_bytes() and kept.err == ""


def test_a_dicom_file_called_png_is_found_again(good, disguised, tmp_path):
    good(*SSIM, disguised, "-o", tmp_path / "a.h5")
    good("index", tmp_path / "a.h5", "-o", tmp_path / "i.h5", "-q", "--allow-leaks")
    good("explain", tmp_path / "i.h5", tmp_path / "a.h5", "--root", disguised, "-o", tmp_path / "ex.h5", "-q")


def test_a_single_image_asks_without_its_name(good, disguised, tmp_path):
    """In every form of the table, and in the messages; the query is DICOM, by name or by content."""
    good(*SSIM, disguised, "-o", tmp_path / "a.h5")
    good("index", tmp_path / "a.h5", "-o", tmp_path / "i.h5", "-q", "--allow-leaks")
    shutil.copy(get_testdata_file("MR_small.dcm", download=False), disguised / "jane_query.dcm")
    for query in (disguised / "jane_query.dcm", disguised / "jane_doe" / "jane_scan.png"):
        for style in ("tsv", "json", "trec", "table"):
            ran = good("query", tmp_path / "i.h5", query, "--format", style, "--include-same")
            assert ran.out.strip() and "jane" not in (ran.out + ran.err).replace("jane_doe/picture", "")
        asked = good("query", tmp_path / "i.h5", query, "--format", "tsv", "--keep-ids", "--include-same").out
        assert query.stem in asked


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_of_images_whose_names_are_hidden(good, tmp_path):
    """Hidden as a whole (DICOM) or in part (a table that states the patient): each image has its own mask."""
    made, masks = tmp_path / "made", tmp_path / "masks"
    good("phantom", made, "-n", "12", "--size", "32", "--format", "dicom", "--seed", "3")
    with (made / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = ["path,patient,view,label:Effusion"]
    whose = {}
    for number, row in enumerate(rows):
        patient = f"SMITH{number:02d}"
        name = f"x-{number:02d}.dcm"
        for folder in (tmp_path / "dicom" / patient, tmp_path / "plain" / patient, masks / patient):
            folder.mkdir(parents=True)
        shutil.copy(made / row["path"], tmp_path / "dicom" / patient / name)
        Image.fromarray(np.full((32, 32), number, np.uint8)).save(tmp_path / "plain" / patient / f"x-{number:02d}.png")
        lesion = np.zeros((32, 32), np.uint8)
        lesion[number, : number + 1] = 255
        Image.fromarray(lesion).save(masks / patient / f"x-{number:02d}.png")
        whose[patient] = number + 1
        lines.append(f"{patient}/{name},{patient},AP,{number % 2}")
    for folder, ending in (("dicom", ".dcm"), ("plain", ".png")):
        table = "\n".join(lines).replace(".dcm", ending)
        (tmp_path / folder / "t.csv").write_text(table + "\n")
    train = ["train", "--task", "pleural", tmp_path / "dicom" / "t.csv", *TRAINING, "--epochs", "1", "-q"]
    good(*train, "-o", tmp_path / "m.h5")
    for folder, reader in (("dicom", "manifest"), ("plain", "manifest"), ("dicom", "dicom")):
        source = tmp_path / folder / ("t.csv" if reader == "manifest" else "")
        good("saliency", "-m", tmp_path / "m.h5", source, "-o", tmp_path / "maps.h5", "-q")
        with h5py.File(tmp_path / "maps.h5") as file:
            paths = file["obs/path"].asstr()[()].tolist()
        assert len(set(paths)) == 12 and not any("SMITH" in path for path in paths)
        ran = good(
            "evaluate", tmp_path / "maps.h5", "--masks", masks, "--format", "json", "--metrics", "relevance-rank"
        )
        row = json.loads(ran.out)
        assert row["n"] == len(rows) == 12 and "SMITH" not in ran.out + ran.err
        # The chance of an image is the share of its mask, and each mask has another one.
        chance = sorted(round(query["random"] * 32 * 32) for query in row["images"])
        assert chance == sorted(whose.values())


# --- said once --------------------------------------------------------------------------------------------------------


def test_a_volume_without_a_window_is_named_once(tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.nii.gz", "b.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 5), np.int16), np.eye(4)), name)
    source = read_source("-", stdin=io.BytesIO(b"a.nii.gz\nb.nii.gz\n"))
    unreadable = {}
    with caplog.at_level(logging.WARNING):
        for _ in reading.each(source.records, InputSpec(8).load, workers=2, batch=3, unreadable=unreadable):
            pass
    assert len(unreadable) == 10
    assert [message.split(":")[0] for message in caplog.messages] == ["a.nii.gz", "b.nii.gz"]
