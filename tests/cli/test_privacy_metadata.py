"""Words inside PNG, JPEG, TIFF, NIfTI and npz files are nowhere in what commands write or say."""

import json
import re
import warnings
import zipfile

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from small_chain import TRAINING

CANARY = "KANARIE"
FOUND = re.compile(rb"kanarie|k\x00a\x00n\x00a\x00r")
_TEXT_TAGS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 333, 33432)
"""Document and page name, description, make, model, software, date, artist, host, ink names, copyright."""


def exif():
    """Return EXIF with words in the picture's, the camera's and the place's part."""
    made = Image.Exif()
    for tag in (270, 271, 272, 305, 306, 315, 33432):
        made[tag] = f"{CANARY} {tag}"
    made.get_ifd(0x8769)[0x9286] = f"ASCII\0\0\0{CANARY}".encode()
    made.get_ifd(0x8769)[0xA430] = f"{CANARY} OWNER"
    made.get_ifd(0x8825)[27] = CANARY.encode()
    return made.tobytes()


def picture(path, number):
    """Write a picture of one of three formats, with words wherever the format takes some."""
    rng = np.random.default_rng(number)
    pixels = (rng.normal(100 + 60 * (number % 2), 20, (40, 40))).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if path.suffix == ".png":
        words = PngImagePlugin.PngInfo()
        words.add_text("Title", f"{CANARY} plain")
        words.add_text(f"{CANARY} key", "packed", zip=True)
        words.add_itxt("Comment", f"{CANARY} ü", lang="de", tkey=CANARY, zip=number % 2 == 0)
        words.add(b"prVt", CANARY.encode())
        image.save(path, pnginfo=words, exif=exif())
    elif path.suffix == ".jpg":
        image.save(path, comment=f"{CANARY} comment", exif=exif(), quality=95)
    else:
        tags = ImageFileDirectory_v2()
        for tag in _TEXT_TAGS:
            tags[tag] = f"{CANARY} {tag}"
        tags[700] = f"<x>{CANARY}</x>".encode()
        tags.tagtype[700] = 1
        image.save(path, tiffinfo=tags)
    assert FOUND.search(path.read_bytes().lower())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of pictures and a table of them; some are damaged behind their words."""
    root = tmp_path_factory.mktemp("pictures") / "set"
    root.mkdir()
    lines = ["path,patient,view,label:Effusion"]
    for number in range(24):
        name = f"{number:02d}{('.png', '.jpg', '.tif')[number % 3]}"
        picture(root / name, number)
        lines.append(f"{name},p{number // 2},AP,{number % 2}")
    for name in ("00.png", "01.jpg", "02.tif"):
        data = (root / name).read_bytes()
        (root / f"cut{name[2:]}").write_bytes(data[: int(len(data) * 0.9)])
        place = data.index(CANARY.encode())
        (root / f"short{name[2:]}").write_bytes(data[: place + len(CANARY)])
        (root / f"odd{name[2:]}").write_bytes(data[:30] + CANARY.encode() + data[30:])
    lines += [f"{path.name},q,AP,1" for path in sorted(root.iterdir()) if not path.stem.isdecimal()]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return root


def liver(root):
    """Write the Decathlon's layout with words in the headers of volumes, an extension and the description."""
    training = []
    for number in range(4):
        hounsfield = np.full((16, 16, 12), -1000, np.int16)
        hounsfield[4:12, 4:12] = 60 + number
        labels = np.zeros((16, 16, 12), np.uint8)
        labels[6:10, 6:10, 3:9] = 1
        pair = {"image": f"imagesTr/liver_{number}.nii.gz", "label": f"labelsTr/liver_{number}.nii.gz"}
        for values, name in ((hounsfield, pair["image"]), (labels, pair["label"])):
            image = nibabel.Nifti1Image(values, np.eye(4))
            for field in ("descrip", "aux_file", "db_name", "intent_name"):
                image.header[field] = f"{CANARY} {field}"[: image.header[field].dtype.itemsize]
            image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"{CANARY} comment".encode()))
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(image, root / name)
            assert image.header["aux_file"].item().startswith(CANARY.encode())
        training.append(pair)
    description = {"name": CANARY, "description": CANARY, "reference": CANARY, "training": training, CANARY: CANARY}
    description["labels"] = {"0": "background", "1": "liver", "2": "cancer"}
    (root / "dataset.json").write_text(json.dumps(description))
    whole = (root / training[3]["image"]).read_bytes()
    (root / training[3]["image"]).write_bytes(whole[:-40])
    return root


def archive(root):
    """Write ``pneumoniamnist.npz`` with further members, and an archive whose arrays are none."""
    root.mkdir()
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    arrays[f"{CANARY}_names"] = np.array([CANARY])
    path = root / "pneumoniamnist.npz"
    np.savez(path, **arrays)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr(f"{CANARY}/note.txt", CANARY)
        file.comment = CANARY.encode()
    np.savez(root / "other.npz", **{f"{CANARY}_images": arrays["val_images"]})
    np.savez(root / "objects.npz", train_images=np.array([{CANARY: CANARY}], dtype=object))
    np.savez(root / "fields.npz", train_images=np.zeros(3, dtype=[(CANARY, "u1")]))
    with zipfile.ZipFile(root / "header.npz", "w") as file:
        header = f"{{'descr': '|u1', '{CANARY}".ljust(117) + "\n"
        file.writestr("train_images.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode())
    return path


def everything(cbir, out, make, said):
    """Return the bytes of all that was written and said, with a description and an audit of each artifact."""
    for path in sorted(out.glob("*.h5")):
        for arguments in (["info", path, "--format", "json"], ["info", path], ["embed", "--audit", path]):
            make(f"{arguments[0]} {path.name}", *arguments)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} | said


@pytest.fixture
def maker(cbir, tmp_path):
    said = {}

    def make(name, *arguments, status=(0,), **options):
        ran = cbir(*arguments, cwd=tmp_path, **options)
        assert ran.status in status, (name, ran.err)
        said[f"{name} stderr"], said[f"{name} stdout"] = ran.err.encode(), ran.data
        return ran

    return make, said


def check(written, artifacts):
    found = {name: FOUND.findall(data.lower())[:3] for name, data in written.items() if FOUND.search(data.lower())}
    assert not found and artifacts <= written.keys()


def test_pictures(cbir, pictures, tmp_path, maker):
    make, said = maker
    for name, source in (("folder", pictures), ("table", pictures / "t.csv")):
        out = ["-o", tmp_path / f"{name}.h5"]
        make(name, "embed", "-m", "ssim", "--image-size", "16", source, "-v", *out, status=(3,))
    assert said["folder stderr"].count(b"damaged") >= 3
    make("index", "index", "table.h5", "-o", "i.h5", "--allow-leaks")
    rows = make("query", "query", "i.h5", pictures / "00.png", "--format", "json").out
    assert rows.count("\n") == 10
    make("explain", "explain", "i.h5", pictures / "01.jpg", "--root", pictures, "-o", "ex.h5")
    train = ["train", "--task", "pleural", pictures / "t.csv", *TRAINING, "--epochs", "1", "-o", "m.h5"]
    make("train", *train, status=(0, 3))
    maps = ["saliency", "-m", "m.h5", pictures / "t.csv", "--preview", "previews", "-o", "maps.h5"]
    make("maps", *maps, status=(0, 3))
    make("page", "report", "ex.h5", "m.h5", "-o", "page.html")
    make("page of maps", "report", "maps.h5", "--root", pictures, "-o", "maps.html")
    check(everything(cbir, tmp_path, make, said), {"folder.h5", "table.h5", "ex.h5", "maps.h5", "page.html"})
    assert list((tmp_path / "previews").rglob("*.png"))


def test_volumes(cbir, tmp_path, maker):
    make, said = maker
    root = liver(tmp_path.parent / f"{tmp_path.name}-Task03_Liver")
    small = [*TRAINING, "--set", "window=-200,300", "--epochs", "1"]
    make("train", "train", "--task", "liver", f"msd-liver:{root}", *small, "-o", "m.h5", status=(3,))
    assert b"damaged" in said["train stderr"]
    make("embed", "embed", "-m", "m.h5", f"msd-liver:{root}", "-o", "e.h5", status=(3,))
    make("index", "index", "e.h5", "-o", "i.h5", "--allow-leaks")
    plain = ["--method", "none"]  # a network without outputs has no maps
    make("explain", "explain", "i.h5", "e.h5", "-m", "m.h5", "--root", root, "-k", "1", *plain, "-o", "ex.h5")
    make("page", "report", "ex.h5", "m.h5", "-o", "page.html")
    make("one", "embed", "-m", "m.h5", root / "imagesTr" / "liver_0.nii.gz", "-o", "one.h5")
    bad = root / "imagesTr" / "liver_3.nii.gz"
    make("bad", "embed", "-m", "m.h5", bad, "-o", "bad.h5", status=(1, 3))
    make("unwindowed", "embed", "-m", "ssim", root / "imagesTr" / "liver_0.nii.gz", "-o", "none.h5", status=(1,))
    check(everything(cbir, tmp_path, make, said), {"m.h5", "e.h5", "ex.h5", "page.html", "one.h5"})


def test_archives(cbir, tmp_path, maker):
    make, said = maker
    path = archive(tmp_path.parent / f"{tmp_path.name}-mnist")
    make("embed", "embed", "-m", "ssim", "--image-size", "16", f"medmnist:{path}", "-o", "e.h5")
    make("index", "index", "e.h5", "-o", "i.h5", "--allow-leaks")
    make("explain", "explain", "i.h5", "e.h5", "--root", path.parent, "-o", "ex.h5")
    make("page", "report", "ex.h5", "-o", "page.html")
    for name in ("other.npz", "objects.npz", "fields.npz", "header.npz"):
        line = ["embed", "-m", "ssim", "--image-size", "16", path.parent / name, "-o", "x.h5"]
        make(name, *line, status=(1,))
        assert said[f"{name} stderr"].count(b"\n") == 5
    check(everything(cbir, tmp_path, make, said), {"e.h5", "i.h5", "ex.h5", "page.html"})
