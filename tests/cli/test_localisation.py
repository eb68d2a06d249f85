"""``cbir evaluate --masks``: whether maps point at the lesions, whose mask is whose, and what is left out."""

import json
import logging
import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image

from cbir_cli.artifacts import saliency
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import SourceError
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages import lesions, localisation

SIDE = 8


@pytest.fixture
def make(tmp_path):
    """Write a maps artifact of some images, by path, and a mask for each that has one."""

    def write(name="maps.h5", maps=None, form="sum-repeat", contents=None, **masks):
        maps = np.zeros((len(masks), SIDE, SIDE)) if maps is None else np.asarray(maps)
        relatives = [f"images/{key}.png" for key in masks]
        records = [Record(id=Path(r).stem, path=tmp_path / r, relative=r) for r in relatives]
        for key, mask in masks.items():
            if mask is not None:
                save(tmp_path / "masks" / f"{key}.png", mask)
        attributes = {"method": "m", "parameters": {}, "input": form, "target": "t"}
        attributes |= {"model": "0", "model-space": "0", "source": "set", "reader": "directory"}
        table = from_records(records, contents or [f"{i:016x}" for i in range(len(records))], Pseudonyms(None))
        scale = np.abs(maps).max(axis=tuple(range(1, maps.ndim)), initial=0)
        saliency.write(
            str(tmp_path / name),
            maps.astype(np.float16),
            scale,
            table,
            attributes=attributes,
            unreadable={},
            history=[],
        )
        return name

    return write


def save(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(path)


def square(top=2, left=2, side=3, size=SIDE, value=255):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = value
    return mask


def rows(text):
    """Scores as JSON, by file and metric."""
    return {(row["file"], row["metric"]): row for row in map(json.loads, text.splitlines())}


# --- the phantom ------------------------------------------------------------------------------------------------------


def doubled(map_):
    """Bilinear interpolation to twice the size: each new pixel lies a quarter of a pixel from an old one."""
    for _ in range(2):
        padded = np.pad(map_, ((1, 1), (0, 0)), mode="edge")
        above, below = 0.75 * map_ + 0.25 * padded[:-2], 0.75 * map_ + 0.25 * padded[2:]
        map_ = np.stack([above, below], axis=1).reshape(-1, map_.shape[1]).T
    return map_


def test_scores_of_the_phantom_are_those_of_the_definition(good, chain):
    ran = good("evaluate", "maps.h5", "--masks", "set/masks", "--format", "json", cwd=chain)
    found = rows(ran.out)
    with h5py.File(chain / "maps.h5") as file:
        ids, maps = file["obs/_index"].asstr()[()].tolist(), file["maps"][()].astype(np.float64)
    names = sorted(path.stem for path in (chain / "set/masks").iterdir())
    assert 0 < len(names) < len(ids) == 40
    words = f", {len(names)} of them of patients that the network was trained or selected on"
    left_out = f"left out: {40 - len(names)} without a mask, 0 with an empty one"
    assert ran.error == f"maps.h5: {len(names)} of 40 images scored{words}; {left_out}"
    ranks, hits, chance = {}, {}, {}
    for name in names:
        lesion = np.asarray(Image.open(chain / f"set/masks/{name}.png")) > 0
        relevance = doubled(maps[ids.index(name)])
        assert relevance.shape == lesion.shape == (64, 64)
        order = np.argsort(-relevance, axis=None, kind="stable")
        ranks[name] = lesion.ravel()[order[: lesion.sum()]].mean()
        hits[name] = float(lesion.ravel()[order[0]])
        chance[name] = lesion.mean()
    for metric, expected in (("relevance-rank", ranks), ("pointing-game", hits)):
        row = found["maps.h5", metric]
        values = {one["image"]: one["value"] for one in row["images"]}
        assert values == pytest.approx(expected, abs=0.02)  # no more than a few pixels are tied
        assert {one["image"]: one["random"] for one in row["images"]} == pytest.approx(chance)
        assert (row["n"], row["left_out"], row["against"]) == (len(names), 40 - len(names), "masks set/masks")
        assert row["mean"] == pytest.approx(np.mean(list(values.values())))
        assert row["sd"] == pytest.approx(np.std(list(values.values()), ddof=1))
        assert (row["min"], row["max"]) == (min(values.values()), max(values.values()))
        assert row["random"] == pytest.approx(np.mean(list(chance.values())))


def test_nothing_of_pytorch_is_loaded(spawn, chain):
    code = "import sys\nsys.modules.update(torch=None, torchvision=None, zennit=None, pandas=None)"
    ran = spawn("evaluate", "maps.h5", "--masks", "set/masks", cwd=chain, code=code)
    assert ran.status == 0 and ran.out.count("\n") == 3, ran.err


def test_through_a_pipe(good, chain):
    ran = good("evaluate", "-", "--masks", "set/masks", stdin=(chain / "maps.h5").read_bytes(), cwd=chain)
    direct = good("evaluate", "maps.h5", "--masks", "set/masks", cwd=chain)
    assert ran.out.replace("standard input", "maps.h5") == direct.out
    assert direct.out.startswith(
        "file\tmetric\tgroup\tn\tmean\tlow\thigh\tmin\tmax\tsd\trandom\tp_random\nmaps.h5\trelevance-rank\t"
    )


def test_the_images_themselves_are_no_masks(cbir, chain):
    ran = cbir("evaluate", "maps.h5", "--masks", "set", cwd=chain)
    assert ran.status == 1
    assert ran.error.startswith("cbir evaluate: set/images/") and ran.error.endswith(
        "is the image itself, not its mask"
    )


def test_one_image_among_the_masks_is_found(cbir, make, tmp_path):
    make(a=square(), b=square(size=9))
    make(contents=["0" * 16, content_hash(tmp_path / "masks/b.png")], a=square(), b=square(size=9))
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir evaluate: masks/b.png: is the image itself, not its mask")


# --- methods side by side ---------------------------------------------------------------------------------------------


def test_a_user_can_choose_a_method(good, make, tmp_path):
    masks = {"a": square(), "b": square(1, 4, 2), "c": None}
    good_maps = np.stack([square() / 255, square(1, 4, 2) / 255, square()])
    make("right.h5", good_maps, **masks)
    make("wrong.h5", -good_maps, **masks)
    make("blind.h5", **masks)
    names = ["right.h5", "wrong.h5", "blind.h5"]
    ran = good("evaluate", *names, "--masks", "masks", cwd=tmp_path)
    table = [line.split("\t") for line in ran.out.splitlines()]
    assert [line[:2] for line in table[1:]] == [[n, m] for n in names for m in ("relevance-rank", "pointing-game")]
    chance = (9 + 4) / 2 / SIDE**2
    table = [dict(zip(table[0], line, strict=True)) for line in table[1:]]
    assert [line["mean"] for line in table[:2]] == ["1.0000"] * 2
    assert (
        float(table[2]["mean"]) == 0 and float(table[3]["mean"]) < chance
    )  # no place in a lesion is among the largest
    assert [[line[name] for name in ("mean", "min", "max")] for line in table[4:]] == [
        [f"{v:.4f}" for v in (chance, 4 / 64, 9 / 64)]
    ] * 2
    assert {line["random"] for line in table} == {f"{chance:.4f}"} and {line["n"] for line in table} == {"2"}
    counted = "2 of 3 images scored; left out: 1 without a mask, 0 with an empty one"
    assert ran.err.splitlines() == [f"{name}: {counted}" for name in names]
    shown = good("evaluate", *names, "--masks", "masks", "--format", "table", "-q", cwd=tmp_path)
    assert "1.00 [1.00, 1.00]" in shown.out and "0.10 [0.06, 0.14]" in shown.out and not shown.err
    assert shown.out.split()[:5] == ["metric", "right", "wrong", "blind", "random"]


def test_maps_of_other_images_do_not_compare(good, make, tmp_path):
    make("one.h5", a=square())
    make("two.h5", b=square(side=4))
    ran = good("evaluate", "one.h5", "two.h5", "--masks", "masks", "--format", "table", cwd=tmp_path)
    assert ran.err.splitlines()[-1] == (
        "warning: the files were scored on different images: their scores do not compare"
    )
    assert "0.14 to 0.25" in ran.out


def test_one_metric_of_two(good, make, tmp_path):
    make(a=square())
    ran = good(
        "evaluate", "maps.h5", "--masks", "masks", "--metrics", "pointing-game", "--format", "json", cwd=tmp_path
    )
    (row,) = rows(ran.out).values()
    assert row["metric"] == "pointing-game" and "queries" not in row
    assert row["images"] == [{"image": "a", "value": 9 / 64, "random": 9 / 64}] and row["sd"] is None


def test_channels_are_summed(good, make, tmp_path):
    """The largest sum is in the lesion, where no channel has its largest value."""
    maps = np.zeros((1, 3, SIDE, SIDE))
    maps[0, :, 3, 3] = 0.5
    maps[0, 0, 7, 7], maps[0, 1, 7, 7] = 1, -1
    make(maps=maps, form="rgb", a=square(3, 3, 1))
    ran = good("evaluate", "maps.h5", "--masks", "masks", "--format", "json", cwd=tmp_path)
    assert [row["mean"] for row in rows(ran.out).values()] == [1, 1]


@pytest.mark.parametrize("mode", ["RGB", "1", "P", "I;16"])
def test_what_is_not_zero_is_lesion(good, make, tmp_path, mode):
    """Whatever the values: 1 for one kind of tissue, 2 for another, in any kind of image."""
    mask = square(value=1)
    make(maps=mask[None], a=None)
    image = {
        "RGB": lambda: Image.fromarray(np.stack([mask * 0, mask * 0, mask], axis=-1)),
        "1": lambda: Image.fromarray(mask.astype(bool)),
        "P": lambda: Image.fromarray(mask * 255).convert("P"),
        "I;16": lambda: Image.fromarray(mask.astype(np.uint16)),
    }[mode]()
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks/a.png")
    ran = good("evaluate", "maps.h5", "--masks", "masks", "--format", "json", cwd=tmp_path)
    row = rows(ran.out)["maps.h5", "relevance-rank"]
    assert row["mean"] == 1 and row["random"] == 9 / 64


def test_a_map_is_brought_to_the_size_of_a_mask_that_is_not_square(good, make, tmp_path):
    """The lower right quarter stays that, whatever the sides of the mask."""
    maps = square(4, 4, 4)[None] / 255
    mask = np.zeros((40, 24), np.uint8)
    mask[20:, 12:] = 255
    make(maps=maps, a=mask)
    ran = good("evaluate", "maps.h5", "--masks", "masks", "--format", "json", cwd=tmp_path)
    found = rows(ran.out)
    assert found["maps.h5", "relevance-rank"]["mean"] == pytest.approx(1, abs=0.1)
    assert found["maps.h5", "pointing-game"]["mean"] == 1
    turned = np.zeros((40, 24), np.uint8)
    turned[:20, 12:] = 255
    save(tmp_path / "masks/a.png", turned)
    ran = good("evaluate", "maps.h5", "--masks", "masks", "--format", "json", cwd=tmp_path)
    assert rows(ran.out)["maps.h5", "pointing-game"]["mean"] == 0


def test_interpolation_is_pytorchs():
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float16)
    (theirs,) = torch.nn.functional.interpolate(
        torch.from_numpy(maps.astype(np.float32))[None, None], (23, 31), mode="bilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(localisation.at_size(maps, (23, 31)), theirs, atol=1e-5)
    assert (localisation.at_size(maps, (5, 7)) == maps).all()


def test_one_map_is_read_at_a_time(make, tmp_path, monkeypatch):
    make(**{f"i{n}": square() for n in range(5)})
    read = saliency.read

    asked = []

    class Rows:
        def __init__(self, maps):
            self.maps = maps

        def __getitem__(self, row):
            assert isinstance(row, int)
            asked.append(row)
            return self.maps[row]

    def spied(artifact):
        maps = read(artifact)
        object.__setattr__(maps, "maps", Rows(maps.maps))
        return maps

    monkeypatch.setattr(saliency, "read", spied)
    localisation.evaluate([str(tmp_path / "maps.h5")], str(tmp_path / "masks"))
    assert asked == [0, 1, 2, 3, 4]


# --- whose mask is whose ----------------------------------------------------------------------------------------------


def known(*names):
    found = {}
    for name in names:
        found.setdefault(str(Path(name).with_suffix("")), []).append(name)
    return found


@pytest.mark.parametrize(
    ("image", "masks", "found"),
    [
        ("a/b/1.png", ["a/b/1.png", "b/1.png", "1.png"], "a/b/1.png"),
        ("a/b/1.png", ["b/1.tif", "1.png"], "b/1.tif"),
        ("a/b/1.png", ["1.BMP", "2.png"], "1.BMP"),
        ("a/b/1.png", ["c/1.png", "b/2.png", "11.png", "a/1.png"], None),
        ("1.png", ["a/1.png"], None),
        ("1.2.840.3", ["1.2.840.3.png", "1.2.840.4.png"], "1.2.840.3.png"),
        ("x.jpg", ["x.jpg.png"], "x.jpg.png"),
        ("x", ["x.png"], "x.png"),
        ("a.b/x", ["a.png", "x.png"], "x.png"),
    ],
)
def test_whose_mask_it_is(image, masks, found):
    assert lesions.pair([image], known(*masks), Path("m")) == ({} if found is None else {0: found})


def test_rows_are_those_of_the_images():
    images = ["p1/view.png", "p2/view.png", "p3/view.png"]
    assert lesions.pair(images, known("p3/view.png", "p1/view.png"), Path("m")) == {
        0: "p1/view.png",
        2: "p3/view.png",
    }


def test_names_that_fit_twice_are_errors():
    with pytest.raises(SourceError, match=r"^m: ambiguous: 1\.png, 1\.tif all fit the image a/1\.jpg$"):
        lesions.pair(["a/1.jpg"], known("1.png", "1.tif"), Path("m"))
    with pytest.raises(SourceError, match=r"^m: ambiguous: 1\.png fits the images a/1\.jpg, b/1\.jpg; name masks by"):
        lesions.pair(["a/1.jpg", "b/1.jpg"], known("1.png"), Path("m"))
    with pytest.raises(SourceError, match=r"c5/1.jpg, \.\.\.; name"):
        lesions.pair([f"c{n}/1.jpg" for n in range(1, 9)], known("1.png"), Path("m"))


# --- what is left out, and what is wrong ------------------------------------------------------------------------------


def test_empty_masks_are_left_out_and_counted(good, make, tmp_path):
    make(a=square(), b=np.zeros((SIDE, SIDE)), c=None, d=None)
    ran = good("evaluate", "maps.h5", "--masks", "masks", "--format", "json", cwd=tmp_path)
    assert ran.error == "maps.h5: 1 of 4 images scored; left out: 2 without a mask, 1 with an empty one"
    assert all((row["n"], row["left_out"]) == (1, 3) for row in rows(ran.out).values())


def test_noise_of_jpeg_is_said(good, make, tmp_path):
    make(a=None)
    (tmp_path / "masks").mkdir()
    Image.fromarray(square()).save(tmp_path / "masks/a.JPG")
    ran = good("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert "warning: 1 masks are JPEG, whose noise around a lesion is not zero" in ran.err


def test_a_damaged_mask_is_named(cbir, make, tmp_path):
    make(a=square())
    (tmp_path / "masks/a.png").write_text("no image")
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir evaluate: mask a.png: not a DICOM, NIfTI, PNG, JPEG, TIFF or BMP image")


def test_a_map_that_is_not_finite_is_refused(cbir, make, tmp_path):
    make(maps=np.full((1, SIDE, SIDE), np.nan), a=square())
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir evaluate: maps.h5: damaged: the map of a is not finite")


def test_no_mask_at_all(cbir, make, tmp_path):
    make(a=None, b=None)
    (tmp_path / "masks").mkdir()
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert ran.status == 1
    assert ran.error == (
        "cbir evaluate: maps.h5: none of 2 images has a mask in masks; of images/a.png it would be images/a or a, with "
        "the ending of an image"
    )
    save(tmp_path / "masks/a.png", np.zeros((SIDE, SIDE)))
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir evaluate: maps.h5: all 1 masks are empty")


def test_ambiguous_masks_stop_the_command(cbir, make, tmp_path):
    make(a=square())
    shutil.copy(tmp_path / "masks/a.png", tmp_path / "masks/a.bmp")
    ran = cbir("evaluate", "maps.h5", "--masks", "masks", cwd=tmp_path)
    assert (ran.status, ran.error) == (
        1,
        "cbir evaluate: masks: ambiguous: a.bmp, a.png all fit the image images/a.png",
    )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["maps.h5"], 2, "maps.h5: saliency maps are scored against masks of what they should show (--masks DIR)"),
        (["ig.tsv", "--metrics", "pointing-game"], 2, "metric pointing-game scores saliency maps: give masks of what"),
        (["maps.h5", "--masks", "set/masks", "--metrics", "f1"], 2, "metric f1 scores an embedding's logits, not"),
        (["maps.h5", "--masks", "set/masks", "--metrics", "relevance"], 2, "unknown metric 'relevance': did you mean"),
        (["maps.h5", "--masks", "set/masks", "--metrics", "pointing-game@5"], 2, "metric 'pointing-game@5': pointing-"),
        (["maps.h5", "--masks", "set/masks", "--raters", "ranks.csv"], 2, "--raters does not go with --masks"),
        (["maps.h5", "--masks", "set/masks", "--label", "Effusion"], 2, "--label does not go with --masks"),
        (["cnn.emb.h5", "--masks", "set/masks"], 1, "cnn.emb.h5: expected a cbir-saliency artifact, found cbir-emb"),
        (["ig.tsv", "--masks", "set/masks"], 1, "ig.tsv: is not an HDF5 file"),
        (["maps.h5", "--masks", "gone"], 1, "gone: No such file or directory"),
        (["maps.h5", "--masks", "cnn.emb.h5"], 1, "cnn.emb.h5: Not a directory"),
        (["maps.h5", "--masks", ""], 2, "--masks: expected the name of a folder, found nothing"),
    ],
)
def test_wrong_lines(cbir, chain, arguments, status, words):
    ran = cbir("evaluate", *arguments, cwd=chain)
    assert ran.status == status
    assert ran.error.startswith(f"cbir evaluate: {words}"), ran.err


def test_the_library_says_what_it_left_out(make, tmp_path, caplog):
    make(a=square(), b=None)
    with caplog.at_level(logging.INFO, logger="cbir"):
        scores = localisation.evaluate([str(tmp_path / "maps.h5")], str(tmp_path / "masks"))
    assert [(s.metric, s.n, s.left_out, s.unit, s.mean) for s in scores] == [
        (name, 1, 1, "image", 9 / 64) for name in ("relevance-rank", "pointing-game")
    ]
    assert "1 of 2 images scored; left out: 1 without a mask" in caplog.text


@pytest.mark.parametrize("turned", [False, True])
def test_masks_of_slices_of_volumes(make, tmp_path, cbir, turned):
    """Each slice has its own slice of the volume of labels, laid out as the image's even where the affines differ."""
    marks = np.zeros((SIDE, SIDE, 4), np.uint8)  # right, anterior, superior, as stored
    marks[1:3, 5:8, 1], marks[4:6, 0:2, 2] = 1, 2
    affine = np.diag([-1.0, 1, 1, 1]) if turned else np.eye(4)
    nibabel.save(nibabel.Nifti1Image(np.zeros(marks.shape, np.int16), affine), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(marks, np.eye(4)), tmp_path / "seg.nii.gz")
    rows = [f"ct.nii.gz,slice{part},{part},seg.nii.gz" for part in range(4)]
    (tmp_path / "m.csv").write_text("\n".join(["path,id,part,mask", *rows]) + "\n")
    # On a light box front is on top, and the patient's right on the left: rows go down anterior, columns down right.
    right_to_left = marks[::-1] if turned else marks
    maps = np.stack([right_to_left[::-1, ::-1, part].T != 0 for part in range(4)]).astype(float)
    if not turned:
        maps[3, 0, 0] = 1
    name = make(maps=maps, slice0=None, slice1=None, slice2=None, slice3=None)
    ran = cbir("evaluate", name, "--masks", "m.csv", "--metrics", "relevance-rank", "--format", "json", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert "2 of 4 images scored; left out: 0 without a mask, 2 with an empty one" in ran.err
    assert json.loads(ran.out.splitlines()[0])["mean"] == 1
    wrong = make(name="wrong.h5", maps=maps[::-1], slice0=None, slice1=None, slice2=None, slice3=None)
    ran = cbir("evaluate", wrong, "--masks", "m.csv", "--metrics", "relevance-rank", "--format", "json", cwd=tmp_path)
    assert json.loads(ran.out.splitlines()[0])["mean"] < 0.5


def test_a_source_without_masks_or_of_other_images(make, tmp_path, cbir):
    name = make(maps=np.ones((1, SIDE, SIDE)), a=square())
    (tmp_path / "none.csv").write_text("path\nmasks/a.png\n")
    ran = cbir("evaluate", name, "--masks", "none.csv", "-q", cwd=tmp_path)
    assert ran.status == 1 and ran.error == "cbir evaluate: none.csv: states no masks"
    (tmp_path / "other.csv").write_text("path,id,mask\nmasks/a.png,b,masks/a.png\n")
    ran = cbir("evaluate", name, "--masks", "other.csv", "-q", cwd=tmp_path)
    assert ran.status == 1 and ran.error == "cbir evaluate: maps.h5: none of 1 image has a mask in other.csv"
