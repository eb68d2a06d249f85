"""``cbir rate``: from an index to pages, from what raters sent back to a rank table that ``evaluate`` reads."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from cbir_cli.artifacts import ranks, ratings
from cbir_cli.artifacts.split import read_split


def told(page):
    """What a page is given besides its program."""
    return json.loads(re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)[1])


def answered(folder, rater="R1", order=sorted, finished=lambda place: True):
    """What a rater's page would save: images in an order of their ids, severity 2 and present for each."""
    key, page = ratings.read_key(folder / "key.tsv"), told((folder / f"{rater}.html").read_text())
    lines = [",".join(ratings.EXPORT)]
    for place, case in enumerate(page["cases"]):
        known = key.cases[case["code"]]
        for rank, code in enumerate(order(case["images"], key=known.images.get), start=1):
            lines.append(f"{key.study},{rater},{case['code']},{finished(place):d},{rank},{code},1,2,1,1,")
    return "\n".join([*lines, ""])


@pytest.fixture(scope="module")
def queries(chain, tmp_path_factory):
    """Three images of the set, in a folder of their own."""
    folder = tmp_path_factory.mktemp("asked")
    for path in sorted((chain / "set" / "images").iterdir())[:30:10]:
        shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def study(chain, queries, good, tmp_path_factory):
    """A study of three queries with catalogues of six images, by two raters."""
    folder = tmp_path_factory.mktemp("rate") / "study"
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "6", "--seed", "1", "--raters", "R1,R2", "-o", folder]
    return folder, good(*line, cwd=chain)


def test_what_is_written(study, queries):
    folder, ran = study
    assert sorted(path.name for path in folder.iterdir()) == ["R1.html", "R2.html", "key.tsv", "split.tsv"]
    assert (
        ran.data == b""
        and "send each rater one page and nothing else" in ran.err
        and "R1.html: 3 queries of up to 6" in ran.err
    )
    rows = read_split(folder / "split.tsv")
    assert [row.id for row in rows if row.role == "query"] == sorted(path.stem for path in queries.iterdir())
    assert [row.set for row in rows if row.role == "query"] == [1, 2, 3] and {row.seed for row in rows} == {1}
    assert all(sum(row.set == n and row.role == "catalogue" for row in rows) == 6 for n in (1, 2, 3))
    key = ratings.read_key(folder / "key.tsv")
    sets = {(c.seed, c.set): (c.query[1], set(c.images.values())) for c in key.cases.values()}
    assert sets == {(1, n): (rows[7 * (n - 1)].id, {row.id for row in rows[7 * n - 6 : 7 * n]}) for n in (1, 2, 3)}


def test_catalogues_are_of_other_patients_and_keep_the_proportion(study, chain):
    rows = read_split(study[0] / "split.tsv")
    with (chain / "set" / "Data_Entry_2017_v2020.csv").open() as file:
        codes = {row["Image Index"][:-4]: "Effusion" in row["Finding Labels"] for row in csv.DictReader(file)}
    wanted = round(6 * sum(codes.values()) / len(codes))
    for number in (1, 2, 3):
        query, *catalogue = [row.id for row in rows if row.set == number]
        owners = [name.partition("_")[0] for name in catalogue]
        assert query.partition("_")[0] not in owners and len(set(owners)) == 6
        assert sum(codes[name] for name in catalogue) == wanted


def test_a_copy_of_an_image_is_not_ranked_with_its_own_patient(chain, good, cbir, tmp_path):
    """As large a catalogue as other patients allow is all of their images; one more cannot be drawn."""
    names = sorted(path.stem for path in (chain / "set" / "images").iterdir())
    owners = [name.partition("_")[0] for name in names]
    query = next(name for name, owner in zip(names, owners, strict=True) if owners.count(owner) > 2)
    others = {name for name, owner in zip(names, owners, strict=True) if owner != query.partition("_")[0]}
    (tmp_path / "asked").mkdir()
    shutil.copy(chain / "set" / "images" / f"{query}.png", tmp_path / "asked" / "copy.png")
    line = ["rate", "cnn.idx.h5", tmp_path / "asked", "--label", "", "-o"]
    good(*line, tmp_path / "study", "--catalogue", len(others), cwd=chain)
    rows = read_split(tmp_path / "study" / "split.tsv")
    assert {row.id for row in rows if row.role == "catalogue"} == others
    ran = cbir(*line, tmp_path / "more", "--catalogue", len(others) + 1, "-q", cwd=chain)
    assert ran.status == 1 and "cannot be drawn" in ran.error


def test_pages_are_blinded(study, chain):
    folder, _ = study
    table = list(csv.DictReader((chain / "set" / "Data_Entry_2017_v2020.csv").open()))
    names = {row["Image Index"].partition(".")[0] for row in table}
    patients = {row["Patient ID"] for row in table} | {name.partition("_")[0] for name in names}
    with h5py.File(chain / "cnn.idx.h5") as file:
        hidden = {
            name.decode() for column in ("patient", "study", "content", "phash") for name in file[f"obs/{column}"]
        }
    for rater in ("R1", "R2"):
        page = (folder / f"{rater}.html").read_text()
        words = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", page)
        assert not [name for name in names | hidden if name and name in words]
        assert not [number for number in patients if re.search(rf"(?<!\d){number}(?!\d)", words) and len(number) > 3]
        assert not re.search(r"No Finding|_\d{3}|\.png|phantom|nih|cnn|/set/|distance|Patient|seed", words)
        data = told(page)
        assert set(data) == {"study", "rater", "label", "times", "cases", "aspect", "pictures"}
        assert all(set(case) == {"code", "query", "images"} for case in data["cases"])
        codes = [case["code"] for case in data["cases"]] + list(data["pictures"])
        assert all(re.fullmatch("[bcdfghjkmnpqrstvwxz]{8}", code) for code in [*codes, data["study"]])
        for address in data["pictures"].values():
            with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
                assert not image.getexif() and set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_each_code_is_its_image(study, chain):
    folder, _ = study
    key, page = ratings.read_key(folder / "key.tsv"), told((folder / "R1.html").read_text())
    for case in page["cases"]:
        known = key.cases[case["code"]]
        assert sorted(case["images"]) == sorted(known.images) and case["query"] == known.query[0]
        for code, name in [*known.images.items(), known.query]:
            with Image.open(io.BytesIO(base64.b64decode(page["pictures"][code].partition(",")[2]))) as image:
                seen = np.asarray(image, dtype=float)
            with Image.open(chain / "set" / "images" / f"{name}.png") as image:
                assert seen.shape == (64, 64) and abs(seen - np.asarray(image.convert("L"), float)).mean() < 2


def test_the_order_is_of_the_rater_and_says_nothing(study):
    folder, _ = study
    key = ratings.read_key(folder / "key.tsv")
    pages = [told((folder / f"{rater}.html").read_text()) for rater in ("R1", "R2")]
    orders = [{case["code"]: case["images"] for case in page["cases"]} for page in pages]
    assert orders[0] != orders[1] and orders[0].keys() == orders[1].keys()
    for rater, order in zip(("R1", "R2"), orders, strict=True):
        for case, shown in order.items():  # as the documents say it: by the digest of seed, rater and codes alone

            def place(code, case=case, rater=rater):
                return hashlib.sha256("\0".join(["1", "image", rater, case, code]).encode()).digest()

            assert shown == sorted(key.cases[case].images, key=place)


def test_the_same_bytes_twice_and_other_words_for_another_key(study, chain, queries, good, tmp_path):
    folder, _ = study
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "6", "--seed", "1", "--raters", "R1,R2", "-o"]
    good(*line, tmp_path / "again", cwd=chain)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    (tmp_path / "key").write_text("f" * 32)
    good(*line, tmp_path / "other", cwd=chain, CBIR_KEY=tmp_path / "key")
    one, other = (ratings.read_key(path / "key.tsv") for path in (folder, tmp_path / "other"))
    assert not set(one.cases) & set(other.cases) and one.study != other.study
    assert (tmp_path / "other" / "split.tsv").read_bytes() == (folder / "split.tsv").read_bytes()


def test_another_rater_joins_but_another_study_does_not_replace_it(chain, queries, cbir, good, tmp_path):
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "6", "-o", tmp_path / "study"]
    good(*line, cwd=chain)
    before = (tmp_path / "study" / "key.tsv").read_bytes()
    good(*line, "--raters", "R2", cwd=chain)
    assert (tmp_path / "study" / "key.tsv").read_bytes() == before
    ran = cbir(*line, "--seed", "5", "-q", cwd=chain)
    assert ran.status == 1 and "holds another study, whose key would be lost" in ran.error
    assert (tmp_path / "study" / "key.tsv").read_bytes() == before


def test_a_split_table_that_is_no_studys_is_not_replaced(chain, queries, cbir, good, tmp_path):
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "6", "-q", "-o"]
    good(*line, tmp_path / "study", cwd=chain)
    drawn = (tmp_path / "study" / "split.tsv").read_bytes()
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "split.tsv"
    mine.write_bytes(drawn + b"0\t9\ttrain\tother\n")
    ran = cbir(*line, tmp_path / "mine", cwd=chain)
    assert ran.status == 1 and "is another split table, which would be lost" in ran.error
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["split.tsv"]
    assert mine.read_bytes().endswith(b"other\n")
    mine.write_bytes(drawn)
    good(*line, tmp_path / "mine", cwd=chain)
    assert (tmp_path / "mine" / "key.tsv").exists() and mine.read_bytes() == drawn


def test_a_study_appears_whole(chain, queries, cbir, tmp_path, monkeypatch):
    from cbir_cli.artifacts import ratings as stored

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "key_tsv", full)
    ran = cbir("rate", "cnn.idx.h5", queries, "--catalogue", "6", "-q", "-o", tmp_path / "study", cwd=chain)
    assert ran.status == 1 and "no space left" in ran.error and not list(tmp_path.iterdir())


def test_the_loop_closes(study, chain, queries, good, tmp_path):
    """What is drawn is what query ranks, and what the raters rank is what evaluate scores it by."""
    folder, _ = study
    (tmp_path / "R1.csv").write_text(answered(folder))
    (tmp_path / "R2.csv").write_text(answered(folder, "R2"))
    ran = good("rate", "--decode", folder, tmp_path / "R1.csv", tmp_path / "R2.csv")
    assert ran.err.splitlines() == ["R1: 3 of 3 queries finished", "R2: 3 of 3 queries finished"]
    (tmp_path / "ranks.csv").write_text(ran.out)
    rows = list(csv.DictReader(ran.out.splitlines()))
    assert {(row["severity"], row["labels"]) for row in rows} == {("2", "Effusion=1")}
    table = tmp_path / "ranks.csv"
    assert [row.id for row in ranks.read_ranks(table)] == [row["id"] for row in rows]
    split = read_split(folder / "split.tsv")
    wanted = {(row.set, row.id) for row in split if row.role == "catalogue"}
    assert {(int(row["set"]), row["id"]) for row in rows} == wanted and len(rows) == 36
    for source in ("cnn.emb.h5", queries):
        run = good("query", "cnn.idx.h5", source, "--split", folder / "split.tsv", cwd=chain).out
        found = list(csv.DictReader(run.splitlines(), delimiter="\t"))
        assert {(int(row["set"]), row["id"]) for row in found} == wanted
        # In the raters' own order the run is perfect.
        by_id = sorted(found, key=lambda row: (int(row["set"]), row["id"]))
        for place, row in enumerate(by_id):
            row["rank"], row["distance"] = str(place % 6 + 1), str(place % 6)
        lines = ["\t".join(found[0]), *("\t".join(row.values()) for row in by_id), ""]
        for name, text, least in (("run.tsv", run, 0.0), ("best.tsv", "\n".join(lines), 1.0)):
            (tmp_path / name).write_text(text)
            done = good("evaluate", tmp_path / name, "--raters", table, "--metrics", "ndcg@6", "--format", "json")
            value = json.loads(done.out.splitlines()[0])["mean"]
            assert least <= value <= 1 and (value < 1 or name == "best.tsv")


def test_only_what_is_finished_counts(study, cbir, good, tmp_path):
    folder, _ = study
    path = tmp_path / "R1.csv"
    path.write_text(answered(folder, finished=lambda place: place == 1))
    ran = good("rate", "--decode", folder, path, "-o", tmp_path / "ranks.csv")
    assert ran.err == "R1: 1 of 3 queries finished; the others are left out\n"
    assert len((tmp_path / "ranks.csv").read_text().splitlines()) == 7
    later = tmp_path / "later.csv"
    later.write_text(answered(folder))
    assert good("rate", "--decode", folder, path, later).err == "R1: 3 of 3 queries finished\n"
    later.write_text(answered(folder, order=lambda codes, key: sorted(codes, key=key)[::-1]))
    ran = cbir("rate", "--decode", folder, path, later, "-q")
    assert (
        ran.status == 1 and "later.csv, line " in ran.error and "R1.csv, line 8; give the file that counts" in ran.error
    )
    path.write_text(answered(folder, finished=lambda place: False))
    assert "no query is finished" in cbir("rate", "--decode", folder, path, "-q").error


def test_a_file_from_another_study(study, cbir, tmp_path):
    path = tmp_path / "R1.csv"
    path.write_text(answered(study[0]).replace(ratings.read_key(study[0] / "key.tsv").study, "zzzz"))
    ran = cbir("rate", "--decode", study[0], path)
    assert ran.status == 1 and ran.error.startswith(f"cbir rate: {path}, line 2: is of the study 'zzzz'")
    assert "key.tsv: cannot be read" in cbir("rate", "--decode", tmp_path, path).error


def test_the_catalogues_of_a_split_table(chain, good, cbir, tmp_path):
    ran = good("rate", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv", "-o", tmp_path, cwd=chain)
    rows = read_split(chain / "split.tsv")
    assert read_split(tmp_path / "split.tsv") == [row for row in rows if row.role in ("query", "catalogue")]
    key = ratings.read_key(tmp_path / "key.tsv")
    assert {c.seed for c in key.cases.values()} == {1, 2} and "2 queries of up to 6 images" in ran.err
    (tmp_path / "bad.tsv").write_text((chain / "split.tsv").read_text().replace(rows[0].id, "nobody"))
    ran = cbir("rate", "ig.idx.h5", "nih:set", "--split", tmp_path / "bad.tsv", "-o", tmp_path / "x", "-q", cwd=chain)
    assert ran.status == 1 and "'nobody' is not in the query images" in ran.error and not (tmp_path / "x").exists()


def test_where_and_label(chain, queries, good, cbir, tmp_path):
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "4", "-o"]
    good(*line, tmp_path / "pa", "--where", "view == 'PA'", cwd=chain)
    with h5py.File(chain / "cnn.idx.h5") as file:
        views = dict(zip(file["obs/_index"][()], file["obs/view"][()], strict=True))
    rows = read_split(tmp_path / "pa" / "split.tsv")
    assert {views[row.id.encode()] for row in rows if row.role == "catalogue"} == {b"PA"}
    good(*line, tmp_path / "none", "--label", "", cwd=chain)
    assert told((tmp_path / "none" / "R1.html").read_text())["label"] == ""
    ran = cbir(*line, tmp_path / "x", "--label", "Gout", "-q", cwd=chain)
    assert ran.status == 2 and "--label Gout: the index has no such label" in ran.error
    ran = cbir(*line, tmp_path / "x", "--where", "view == 'OBLIQUE'", "-q", cwd=chain)
    assert ran.status == 1 and "no image of the index is left" in ran.error and not (tmp_path / "x").exists()


def test_images_that_are_not_there_or_not_the_same(chain, queries, cbir, linked, tmp_path):
    folder = linked("moved")
    (folder / "set").unlink()
    line = ["rate", "cnn.idx.h5", queries, "--catalogue", "4", "-o", tmp_path / "x", "-q"]
    ran = cbir(*line, cwd=folder)
    assert ran.status == 1 and "no such image; give the folder" in ran.error and not (tmp_path / "x").exists()
    assert cbir(*line, "--root", chain / "set", cwd=folder).status == 0
    broken = tmp_path / "asked"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    ran = cbir("rate", "cnn.idx.h5", broken, "--catalogue", "4", "-o", tmp_path / "y", "-q", cwd=chain)
    assert ran.status == 1 and "a.png" in ran.error and not (tmp_path / "y").exists()


HOSTILE = ['a"b, c.png', "<script>pwned=1<", "'};alert(1);.png", "=SUM(A1).png", "q\u0301\u00fc \u202egnp.png"]


def test_hostile_names_come_back_and_are_on_no_page(chain, good, tmp_path):
    asked = tmp_path / "asked"
    asked.mkdir()
    images = sorted((chain / "set" / "images").iterdir())
    names = [name if name.endswith(".png") else f"{name}.png" for name in HOSTILE]
    for name, path in zip(names, images[::8], strict=True):
        shutil.copy(path, asked / name)
    good("rate", "cnn.idx.h5", asked, "--catalogue", "3", "-o", tmp_path / "study", cwd=chain)
    page = (tmp_path / "study" / "R1.html").read_text()
    assert not [name for name in HOSTILE if name in page or name.removesuffix(".png") in page]
    (tmp_path / "R1.csv").write_text(answered(tmp_path / "study"))
    ran = good("rate", "--decode", tmp_path / "study", tmp_path / "R1.csv")
    found = {row["query"] for row in csv.DictReader(ran.out.splitlines())}
    assert found == {name.removesuffix(".png") for name in names}


def test_dicom_files_are_shown_in_their_window_and_their_names_are_hidden(good, tmp_path):
    good("phantom", "set", "-n", "16", "--size", "64", "--format", "dicom", "-q", cwd=tmp_path)
    good("embed", "-m", "ssim", "--image-size", "32", "set/dicom", "-o", "emb.h5", "-q", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", "-q", cwd=tmp_path)
    good("rate", "idx.h5", "set/dicom", "--label", "", "--catalogue", "3", "-o", "study", cwd=tmp_path)
    good("rate", "idx.h5", "emb.h5", "--label", "", "--catalogue", "3", "-o", "again", cwd=tmp_path)
    for name in ("key.tsv", "split.tsv", "R1.html"):
        text = (tmp_path / "study" / name).read_text()
        assert text == (tmp_path / "again" / name).read_text()
        assert not [path.stem for path in (tmp_path / "set").rglob("*.dcm") if path.stem in text]
        assert not re.search(r"P000\d\d", text)
    key, page = ratings.read_key(tmp_path / "study" / "key.tsv"), told((tmp_path / "study" / "R1.html").read_text())
    shown = []
    for case in key.cases.values():
        with Image.open(io.BytesIO(base64.b64decode(page["pictures"][case.query[0]].partition(",")[2]))) as image:
            shown.append(np.asarray(image, float))
    assert len(shown) == 16 and all(np.ptp(pixels) > 150 for pixels in shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cnn.idx.h5"], "expected IDX and QUERY, found cnn.idx.h5; --decode"),
        (["cnn.idx.h5", "set", "--catalogue", "5", "--split", "split.tsv"], "--catalogue does not go with --split"),
        (["cnn.idx.h5", "set", "-o", "-"], "-o: expected the name of a folder"),
        (["cnn.idx.h5", "set", "--raters", "R1,r1"], "--raters R1,r1: a rater is named twice"),
        (["cnn.idx.h5", "set", "--raters", "../x"], "--raters ../x: rater: expected up to 32 letters"),
        (["cnn.idx.h5", "set", "--raters", ""], "rater: expected up to 32 letters"),
        (["cnn.idx.h5", "set", "--window", "bone"], "bone"),
        (["--decode", "study", "back.csv", "--times"], "--times does not go with --decode"),
    ],
)
def test_command_lines_that_are_wrong(chain, cbir, arguments, said):
    ran = cbir("rate", *arguments, "-q", cwd=chain)
    assert ran.status == 2 and said in ran.error


def test_no_torch(chain, tmp_path):
    code = "import atexit, sys\natexit.register(lambda: print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn')"
    code += " if m in sys.modules], file=sys.stderr))\nfrom cbir_cli.cli.main import main\nsys.exit(main())"
    line = ["rate", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "-o", str(tmp_path / "study"), "-q"]
    done = subprocess.run([sys.executable, "-c", code, *line], cwd=chain, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "[]\n", done.stderr
