"""No artifact, table or page tells a patient, a place on this machine or the machine itself."""

import shutil
import socket

import pytest
from small_chain import TRAINING

FOLDERS = "hospital-of-springfield", "dr.frink.private"
PATIENT, STUDY = "CANARY%dPATIENT", "ACCESSION%d#"


@pytest.fixture(scope="module")
def ward(tmp_path_factory, phantom):
    """A manifest with identifiers of its own, in a folder whose name is nobody's business."""
    folder = tmp_path_factory.mktemp("far").joinpath(*FOLDERS)
    folder.mkdir(parents=True)
    rows = ["path,patient,study,view,sex,age,Effusion"]
    for number, image in enumerate(sorted((phantom / "images").iterdir())[:24]):
        shutil.copy(image, folder / f"image{number}.png")
        labels = "AP", "F", 40 + number, number % 2
        rows.append(",".join(map(str, (f"image{number}.png", PATIENT % (number // 2), STUDY % number, *labels))))
    (folder / "ward.csv").write_text("\n".join(rows) + "\n")
    return folder


def products(good, ward, out, *options):
    """Run every command on absolute paths, and return the bytes of all that was written, standard error included."""
    source = ward / "ward.csv"
    said = []

    def make(*arguments):
        said.append(good(*arguments, cwd=out).err)

    make("train", "--task", "pleural", source, *TRAINING, "--epochs", "1", "-o", out / "cnn.h5", *options)
    make("saliency", "-m", out / "cnn.h5", source, "-o", out / "maps.h5", *options)
    make("finetune-ig", "-m", out / "cnn.h5", out / "maps.h5", "--epochs", "1", "-o", out / "ig.h5")
    make("embed", "-m", out / "ig.h5", source, "-o", out / "emb.h5", *options)
    for part in (1, 2):
        shard = ["--shard", f"{part}/2", "-o", out / f"s{part}.h5"]
        make("embed", "-m", "ssim", "--image-size", "16", source, *shard, *options)
    make("merge", out / "s1.h5", out / "s2.h5", "-o", out / "ssim.h5")
    make("index", out / "emb.h5", "-o", out / "idx.h5")
    split = good("split", out / "emb.h5", "--task", "pleural", "--catalogue", "4", cwd=out)
    (out / "split.tsv").write_bytes(split.data)
    run = good("query", out / "idx.h5", out / "emb.h5", "--split", out / "split.tsv", cwd=out)
    (out / "run.tsv").write_bytes(run.data)
    (out / "rows.json").write_bytes(good("query", out / "idx.h5", out / "emb.h5", "--format", "json", cwd=out).data)
    scores = good(
        "evaluate", "run.tsv", "--split", "split.tsv", "--items", "idx.h5", "--allow-leaks", "--format", "json", cwd=out
    )
    (out / "scores.json").write_bytes(scores.data)
    asked = ["--split", out / "split.tsv", "--root", ward]
    make("explain", out / "idx.h5", out / "emb.h5", *asked, "-o", out / "ex.h5", *options)
    make("report", out / "ex.h5", out / "ig.h5", out / "scores.json", "-o", out / "page.html")
    for name in ("ig.h5", "maps.h5", "emb.h5", "idx.h5", "ex.h5"):
        text = good("info", name, cwd=out).out + good("info", name, "--format", "json", cwd=out).out
        (out / f"{name}.txt").write_text(text)
    assert not any("CANARY" in text for text in said)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_nothing_is_told(good, ward, tmp_path):
    written = products(good, ward, tmp_path)
    assert len(written) >= 19
    secrets = [b"CANARY", b"ACCESSION", *(name.encode() for name in FOLDERS), str(tmp_path).encode()]
    secrets += [str(tmp_path).encode("utf-16-le"), str(ward.parent.parent).encode()]
    if len(socket.gethostname()) > 5:
        secrets.append(socket.gethostname().encode())
    found = {(name, secret) for name, data in written.items() for secret in secrets if secret in data}
    assert not found


def test_on_demand_identifiers_are_kept(good, ward, tmp_path):
    """Proves as well that the search above would have found them."""
    written = products(good, ward, tmp_path, "--keep-ids")
    for name in ("cnn.h5", "maps.h5", "ig.h5", "emb.h5", "ssim.h5", "idx.h5", "ex.h5"):
        assert b"CANARY3PATIENT" in written[name], name
    assert not any(str(tmp_path).encode() in data or FOLDERS[0].encode() in data for data in written.values())


def test_stand_ins_need_the_key(good, ward, tmp_path):
    """The same patient has the same stand-in under one key, and another under another."""
    import h5py

    columns = []
    for number, key in enumerate(["k" * 32, "k" * 32, "l" * 32]):
        (tmp_path / "key").write_text(key)
        options = ["--image-size", "16", "-o", tmp_path / f"{number}.h5"]
        good("embed", "-m", "ssim", ward / "ward.csv", *options, CBIR_KEY=tmp_path / "key")
        with h5py.File(tmp_path / f"{number}.h5") as file:
            columns.append(file["obs/patient"][()].tolist())
    assert columns[0] == columns[1]
    assert not set(columns[0]) & set(columns[2])
    assert len(set(columns[0])) == len(set(columns[2])) == 12


def test_the_key_is_made_once_and_for_the_user_alone(good, spawn, ward, tmp_path):
    line = ["embed", "-m", "ssim", "--image-size", "16", ward / "ward.csv", "-q"]
    home = {"HOME": str(tmp_path), "CBIR_KEY": ""}
    first = spawn(*line, env=home)
    key = tmp_path / ".config/cbir/key"
    assert first.status == 0 and key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    assert spawn(*line, env=home).data == first.data
    assert key.read_bytes() == before and len(before) > 32
    assert before.strip() not in first.data


@pytest.mark.parametrize("kind", ["absolute list", "absolute manifest", "folder", "image"])
def test_absolute_sources_lose_their_folders(good, ward, tmp_path, kind):
    names = [str(ward / f"image{i}.png") for i in range(3)]
    (tmp_path / "list").write_text("\n".join(names))
    (tmp_path / "m.csv").write_text("\n".join(["path", *names]))
    source = {"absolute list": "-", "absolute manifest": tmp_path / "m.csv", "folder": ward, "image": names[0]}[kind]
    line = ["embed", "-m", "ssim", "--image-size", "16", source]
    data = good(*line, stdin=(tmp_path / "list").read_bytes(), cwd="/usr").data
    assert str(ward).encode() not in data
    assert (b"image0" in data) and (kind not in ("folder", "image") or FOLDERS[0].encode() not in data)


def stored(path):
    import h5py

    with h5py.File(path) as file:
        return file["obs/path"].asstr()[()].tolist(), file["obs/_index"].asstr()[()].tolist()


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), ["other/plain.png", "patient00001/study1/view1.png"]),
        (("--patient", "^(other)"), ["patient00001/study1/view1.png"]),
        (("--patient", "^(.+)$"), []),
        (("--keep-ids",), None),
    ],
)
def test_names_of_plain_images(good, phantom, tmp_path, options, kept):
    """What looks like an identifier is hidden, what --patient says as well; the rest is the user's."""
    names = ["DOE^JANE/a.png", "other/plain.png", "other/19620304.png", "patient00001/study1/view1.png"]
    for name, image in zip(names, sorted((phantom / "images").iterdir()), strict=False):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, tmp_path / "set" / name)
    out = tmp_path / "a.h5"
    ran = good("embed", "-m", "ssim", "--image-size", "16", tmp_path / "set", *options, "-o", out)
    paths, _ = stored(out)
    assert len(set(paths)) == 4
    assert [path for path in sorted(paths) if path in names] == (sorted(names) if kept is None else sorted(kept))
    told = out.read_bytes() + ran.err.encode()
    assert all((secret in told) is (kept is None) for secret in (b"DOE^JANE", b"19620304"))


def test_names_that_hold_the_stated_patient(good, cbir, phantom, tmp_path):
    """A table says whose the images are: such names are hidden, in ids, in messages about files, and in labels."""
    rows = ["path,patient,Effusion", "smith_ap.png,SMITH,1", "gone_smith.png,SMITH,0", "b.png,JONES,0", "jones1.png,,1"]
    image = sorted((phantom / "images").iterdir())[0]
    for name in ("smith_ap.png", "b.png"):
        shutil.copy(image, tmp_path / name)
    (tmp_path / "jones1.png").write_bytes(b"")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    ran = cbir("embed", "-m", "ssim", "--image-size", "16", tmp_path / "t.csv", "-o", tmp_path / "a.h5")
    assert ran.status == 3
    paths, ids = stored(tmp_path / "a.h5")
    assert "b.png" in paths and "b" in ids and len(set(ids)) == 2
    told = (tmp_path / "a.h5").read_bytes() + ran.err.encode()
    assert b"smith" not in told.lower()
    assert b"jones1.png: empty file" in told  # of that one nobody said whose it is
