"""Sources as they come: strange names, lists, manifests, copies, one image or none, other folders."""

import json
import os
import shutil

import h5py
import pytest
from PIL import Image

from cbir_cli.artifacts.run import read_run

ODD = ["a b.png", "ünï:ço.png", "-dash.png", "a=b|c.png", "<b>&\"'x.png", "100%.png", "{brace}.png", "\ufeffmark.png",
       "患者.png", "dot.in.name.png", "UPPER.PNG", "sub/deep/a b.png", "#hash.png", "~tilde.png", "$HOME.png",
       "`ls`.png"]  # fmt: skip
UNPRINTABLE = ["tab\there.png", "new\nline.png", "back\\slash\r.png"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory, chain):
    """Images with odd names, each of a patient of its own."""
    folder = tmp_path_factory.mktemp("odd") / "with spaces & ümläuts"
    images = sorted((chain / "set/images").iterdir())
    for number, name in enumerate(ODD):
        path = folder / "odd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[number], path)
    shutil.copytree(folder / "odd", folder / "worse")
    for number, name in enumerate(UNPRINTABLE):
        shutil.copy(images[-1 - number], folder / "worse" / name)
    for name in ("cnn.h5", "ig.h5"):
        (folder / name).symlink_to(chain / name)
    return folder


@pytest.fixture(scope="module")
def made(odd, good):
    for source in ("odd", "worse"):
        good("embed", "-m", "ig.h5", source, "-o", f"{source} emb.h5", cwd=odd)
        good("index", f"{source} emb.h5", "-o", f"{source}:idx.h5", cwd=odd)
    return odd


def names(given):
    """Ids: the paths without their endings."""
    return {os.path.splitext(name)[0] for name in given}


@pytest.mark.parametrize("form", ["tsv", "json", "trec"])
def test_odd_names_survive_every_format(good, made, tmp_path, form):
    ran = good("query", "odd:idx.h5", "odd emb.h5", "-k", "99", "--format", form, cwd=made)
    (tmp_path / "run").write_bytes(ran.data)
    rows = read_run(tmp_path / "run")
    assert {row.query for row in rows} == {row.id for row in rows} == names(ODD)
    assert len(rows) == len(ODD) * (len(ODD) - 1)


def test_names_that_break_lines_are_refused_before_the_first_line(cbir, made):
    ran = cbir("query", "worse:idx.h5", "worse emb.h5", "-q", cwd=made)
    assert (ran.status, ran.data) == (1, b"")
    assert "cannot be written to a text table" in ran.error and ran.error.endswith("; --format json can hold it")


@pytest.mark.parametrize("form", ["json", "trec", "table"])
def test_names_that_break_lines_in_other_formats(good, made, tmp_path, form):
    ran = good("query", "worse:idx.h5", "worse emb.h5", "-k", "3", "--format", form, cwd=made)
    if form != "table":
        (tmp_path / "run").write_bytes(ran.data)
        assert {row.query for row in read_run(tmp_path / "run")} == names(ODD + UNPRINTABLE)


def test_messages_stay_on_their_line(cbir, made):
    ran = cbir("query", "odd:idx.h5", "worse/new\nline.png", "-k", "1", "--format", "json", cwd=made)
    assert ran.status == 0
    assert "worse/new line.png: read as one image" in ran.err.splitlines()


def test_a_page_of_odd_names(good, made, tmp_path):
    good("explain", "worse:idx.h5", "worse emb.h5", "-k", "2", "-o", tmp_path / "ex.h5", cwd=made)
    page = good("report", tmp_path / "ex.h5", cwd=made).out
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page


@pytest.mark.parametrize("name", ODD)
def test_one_image_by_its_name(good, made, name):
    ran = good("query", "../odd:idx.h5", "-k", "1", "-q", "--", name, cwd=made / "odd")
    assert ran.out.count("\n") == 2


def test_lists_on_standard_input(good, made, tmp_path):
    listed = sorted(f"worse/{name}" for name in ODD + UNPRINTABLE)
    by_nul = good("embed", "-m", "ig.h5", "-", "-0", stdin="\0".join(listed).encode(), cwd=made)
    (tmp_path / "nul.h5").write_bytes(by_nul.data)
    with h5py.File(tmp_path / "nul.h5") as file:
        assert {key.decode() for key in file["obs/_index"][()]} == names(listed)
    plain = [name for name in listed if not set(name) & set("\n\r")]
    for end in ("\n", "\r\n"):
        by_line = good("embed", "-m", "ig.h5", "-", stdin=(end.join(plain) + end).encode(), cwd=made)
        (tmp_path / "line.h5").write_bytes(by_line.data)
        with h5py.File(tmp_path / "line.h5") as file:
            assert len(file["X"]) == len(plain)


def test_a_list_that_is_not_what_was_said(cbir, made):
    ran = cbir("embed", "-m", "ig.h5", "-", "-q", stdin=b"odd/a b.png\0odd/#hash.png\0", cwd=made)
    assert ran.status == 2 and ran.error.endswith("for paths that end with NUL give -0")
    ran = cbir("embed", "-m", "ig.h5", "-", "-0", "-q", stdin=b"odd/a b.png\nodd/#hash.png\n", cwd=made)
    assert ran.status == 1 and "none of 1 image exists" in ran.error
    ran = cbir("embed", "-m", "ig.h5", "-", "-q", stdin=b"", cwd=made)
    assert ran.status == 1 and ran.error == "cbir embed: -: holds no images that can be read"


EXPLAINED = {
    "folder": ("odd", {}),
    "list": ("-", {"stdin": "\n".join(f"odd/{name}" for name in ODD).encode()}),
    "manifest": ("m.csv", {}),
    "manifest below": ("tables/m.csv", {}),
    "image": ("odd/a b.png", {}),
}


@pytest.mark.parametrize("kind", EXPLAINED)
def test_explain_finds_the_images_of_any_relative_source(good, made, tmp_path, kind):
    source, given = EXPLAINED[kind]
    (made / "tables").mkdir(exist_ok=True)
    for table, lead in (("m.csv", "odd/"), ("tables/m.csv", "../odd/")):
        lines = ['"' + f"{lead}{name}".replace('"', '""') + '"' for name in ODD]
        (made / table).write_text("\n".join(["path", *lines]) + "\n")
    good("embed", "-m", "ig.h5", source, "-o", tmp_path / "emb.h5", cwd=made, **given)
    good("index", tmp_path / "emb.h5", "-o", tmp_path / "idx.h5", cwd=made)
    out = tmp_path / "ex.h5"
    good("explain", tmp_path / "idx.h5", "odd/#hash.png", "-m", "ig.h5", "-k", "1", "-o", out, cwd=made)
    with h5py.File(out) as file:
        assert len(file["pairs/rank"]) == 1


def test_explain_elsewhere(cbir, good, made, tmp_path):
    line = ["explain", made / "odd:idx.h5", made / "odd emb.h5", "-m", made / "ig.h5", "-k", "1", "-q"]
    ran = cbir(*line, cwd=tmp_path)
    assert ran.status == 1 and ran.error.endswith(
        "no such image; give the folder that the images are in with --root DIR"
    )
    there = good(*line, cwd=made).data
    assert good(*line, "--root", made / "odd", cwd=tmp_path).data == there
    (tmp_path / "moved").symlink_to(made / "odd")
    assert good(*line, "--root", "moved", cwd=tmp_path).data == there


def test_explain_takes_no_other_image_for_the_one_that_was_embedded(cbir, made, tmp_path):
    shutil.copytree(made / "odd", tmp_path / "odd")
    shutil.copy(tmp_path / "odd/UPPER.PNG", tmp_path / "odd/#hash.png")
    line = ["explain", made / "odd:idx.h5", made / "odd emb.h5", "-m", made / "ig.h5", "-k", "1", "-q"]
    ran = cbir(*line, cwd=tmp_path)
    assert ran.status == 1
    assert ran.error.startswith("cbir explain: odd/#hash.png: is not the image that #hash was made from")


def test_queries_of_another_source_are_found_under_it(good, made, chain, tmp_path):
    (tmp_path / "catalogue").symlink_to(made / "odd")
    (tmp_path / "asked").mkdir()
    shutil.copy(sorted((chain / "set/images").iterdir())[-1], tmp_path / "asked/someone.png")
    good("embed", "-m", chain / "ig.h5", "asked", "-o", "emb.h5", cwd=tmp_path)
    line = ["explain", made / "odd:idx.h5", "emb.h5", "-m", chain / "ig.h5", "-k", "1", "-o", "ex.h5"]
    good(*line, "--root", "catalogue", cwd=tmp_path)


def test_copies(good, chain, tmp_path):
    """Images that are the same file under several names are one image, whoever asks."""
    (tmp_path / "copies").mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(chain / "set/images/00000001_000.png", tmp_path / f"copies/{name}.png")
    shutil.copy(chain / "set/images/00000002_000.png", tmp_path / "copies/other.png")
    good("embed", "-m", chain / "cnn.h5", "copies", "-o", "emb.h5", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    (tmp_path / "run.tsv").write_bytes(good("query", "idx.h5", "emb.h5", cwd=tmp_path).data)
    found = {(row.query, row.id) for row in read_run(tmp_path / "run.tsv")}
    assert found == {(name, "other") for name in "abc"} | {("other", name) for name in "abc"}
    same = good("query", "idx.h5", "emb.h5", "--include-same", cwd=tmp_path).out.splitlines()[1:]
    ties = [line.split("\t")[2] for line in same if line.startswith("b\t") and line.split("\t")[3] == "0"]
    assert ties == ["a", "b", "c"]  # by id


def test_two_files_of_one_stem(good, chain, tmp_path):
    (tmp_path / "pair").mkdir()
    shutil.copy(chain / "set/images/00000001_000.png", tmp_path / "pair/x.png")
    Image.open(chain / "set/images/00000002_000.png").convert("L").save(tmp_path / "pair/x.jpg")
    good("embed", "-m", chain / "cnn.h5", "pair", "-o", "emb.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "emb.h5") as file:
        assert [key.decode() for key in file["obs/_index"][()]] == ["x.jpg", "x.png"]


@pytest.mark.parametrize("k", ["1", "40", "41", "1000000000000", "99999999999999999999999"])
def test_as_many_results_as_there_are(good, chain, k):
    rows = good("query", "ssim.idx.h5", "ssim.emb.h5", "-k", k, "--include-same", cwd=chain).out.count("\n") - 1
    assert rows == 40 * min(int(k), 40)


def test_one_image_and_none(cbir, good, chain, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(chain / "set/images/00000001_000.png", tmp_path / "one")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/a.png").write_text("no image")
    model = ["-m", chain / "ig.h5"]
    for line in (["saliency", "-m", chain / "cnn.h5"], ["embed", *model]):
        ran = cbir(*line, "none", "-q", "-o", "nothing.h5", cwd=tmp_path)
        assert ran.status == 1 and ran.err.splitlines()[1:] == [f"cbir {line[0]}: the only image cannot be read"]
        assert not list(tmp_path.glob("nothing.h5*"))
    # The first half of one image is none: the only way to an artifact without images.
    for name, which in (("one", []), ("none", ["--shard", "1/2"])):
        good("saliency", "-m", chain / "cnn.h5", "one", *which, "-o", f"{name}.maps.h5", cwd=tmp_path)
        good("embed", *model, "one", *which, "-o", f"{name}.emb.h5", cwd=tmp_path)
        good("embed", *model, f"{name}.maps.h5", "-o", f"{name}.again.h5", cwd=tmp_path)
        with h5py.File(tmp_path / f"{name}.emb.h5") as once, h5py.File(tmp_path / f"{name}.again.h5") as again:
            assert once["X"].shape == again["X"].shape == (int(name == "one"), 16)
            assert (once["X"][()] == again["X"][()]).all()
        good("index", f"{name}.emb.h5", "-o", f"{name}.idx.h5", cwd=tmp_path)
        good("verify", f"{name}.idx.h5", cwd=tmp_path)
        good("info", f"{name}.idx.h5", cwd=tmp_path)
    header = "query\trank\tid\tdistance\tquery_labels\tlabels\n"
    assert good("query", "none.idx.h5", "one.emb.h5", cwd=tmp_path).out == header
    assert good("query", "one.idx.h5", "none.emb.h5", cwd=tmp_path).out == header
    assert good("query", "none.idx.h5", "none.emb.h5", cwd=tmp_path).out == header
    assert good("query", "one.idx.h5", "one.emb.h5", "--include-same", cwd=tmp_path).out.count("\n") == 2
    good("explain", "none.idx.h5", "one.emb.h5", *model, "-o", "ex.h5", cwd=tmp_path)
    for options in ([], ["--failures-first"]):
        ran = cbir("report", "ex.h5", *options, cwd=tmp_path)
        assert (ran.status, ran.error) == (1, "cbir report: ex.h5: holds no pairs: no query has a result")


def test_an_empty_run(cbir, chain, tmp_path):
    (tmp_path / "run.tsv").write_text("query\trank\tid\tdistance\tquery_labels\tlabels\n")
    ran = cbir("evaluate", tmp_path / "run.tsv", "-q", cwd=chain)
    assert ran.status == 2 and ran.error.startswith(f"cbir evaluate: {tmp_path / 'run.tsv'}: nothing to evaluate: ")


def test_relative_and_absolute_sources_make_the_same_vectors(good, chain, tmp_path):
    columns = []
    for source, cwd in (("set/images", chain), (chain / "set/images", tmp_path), ("../images", chain / "set/masks")):
        good("embed", "-m", chain / "cnn.h5", source, "-o", tmp_path / "emb.h5", cwd=cwd)
        with h5py.File(tmp_path / "emb.h5") as file:
            columns.append((file["X"][()].tobytes(), file["obs/_index"][()].tolist(), file["obs/path"][()].tolist()))
            stored = file["uns/source"].asstr()[()]
            assert not os.path.isabs(stored)
    assert columns[0] == columns[1] == columns[2]


def test_patients_by_a_pattern(good, chain, tmp_path):
    (tmp_path / "ward").mkdir()
    for number in (1, 2, 3):
        shutil.copy(chain / f"set/images/0000000{number}_000.png", tmp_path / f"ward/bed{number // 2}_{number}.png")
    line = ["embed", "-m", chain / "cnn.h5", "ward", "--patient", r"bed(\d)_", "-o", "emb.h5"]
    good(*line, cwd=tmp_path)
    known = json.loads(good("info", "emb.h5", "--format", "json", cwd=tmp_path).out)
    assert known["patients"] == 2
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    ran = good("query", "idx.h5", "ward/bed1_2.png", "--patient", r"bed(\d)_", "-m", chain / "cnn.h5", cwd=tmp_path)
    assert [line.split("\t")[2] for line in ran.out.splitlines()[1:]] == ["bed0_1"]


def test_a_symbolic_link_as_output(good, chain, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.h5").symlink_to("real/emb.h5")
    good("embed", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "link.h5", cwd=chain)
    assert (tmp_path / "link.h5").is_symlink()
    assert (tmp_path / "real/emb.h5").read_bytes() == (chain / "cnn.emb.h5").read_bytes()


def test_an_output_that_is_its_own_input(cbir, chain, tmp_path):
    shutil.copy(chain / "cnn.emb.h5", tmp_path / "same.h5")
    ran = cbir("index", "same.h5", "-o", "same.h5", cwd=tmp_path)
    assert ran.status == 2 and ran.error == "cbir index: -o same.h5: is one of the inputs; name another file"
    assert (tmp_path / "same.h5").read_bytes() == (chain / "cnn.emb.h5").read_bytes()
