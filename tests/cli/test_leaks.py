"""What is on two sides is found, said and refused: patients, the same image, and nearly the same image."""

import shutil
from collections import Counter

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_chain import TRAINING

from cbir_cli import leaks, phash
from cbir_cli.errors import ArtifactError, CbirError, ShapeError
from cbir_cli.leaks import Side
from cbir_cli.splits import SplitRow
from cbir_cli.stages import leaks as stage
from cbir_cli.stages.leaks import Known

TINY = 0x0123456789ABCDEF


def side(name, images):
    """A set of (id, patient, content, hash)."""
    ids, patients, contents, hashes = zip(*images, strict=True) if images else ((), (), (), ())
    return Side(name, ids, patients, contents, np.array(hashes, np.uint64))


IMAGES = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from(["", "p", "q", "r"]),
        st.sampled_from(["", "x", "y", "z"]),
        st.sampled_from([0, TINY, TINY ^ 0b1111, TINY ^ 0b11111, 1]),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(IMAGES, IMAGES)
def test_every_pair_by_a_plain_loop(first, second):
    """An image leaks in its gravest way, and only there."""
    expected = Counter()
    for key, patient, content, bits in second:
        kinds = set()
        for other_key, other_patient, other_content, other_bits in first:
            if (patient and patient == other_patient) or (not patient and not other_patient and key == other_key):
                kinds.add("patient")
            if content and content == other_content:
                kinds.add("identical")
            if bits and other_bits and (bits ^ other_bits).bit_count() <= phash.NEAR:
                kinds.add("near")
        expected.update([next(kind for kind in leaks.KINDS if kind in kinds)] if kinds else [])
    found = leaks.compare(side("train", first), side("test", second))
    assert {leak.kind: leak.images for leak in found} == dict(expected)
    for leak in found:
        assert leak.size == len(second) and 1 <= leak.patients <= leak.images
        assert leak.example in {image[0] for image in second}


def test_patients_are_counted_and_said():
    first = side("train", [("a", "p", "", 0), ("b", "q", "", 0)])
    second = side("test", [("c", "p", "", 0), ("d", "p", "", 0), ("e", "q", "", 0), ("f", "", "", 0)])
    (leak,) = leaks.compare(first, second)
    assert str(leak) == "3 of 4 test images are of patients of train (2 patients)" and leak.example == "c"


def test_sides_of_other_lengths():
    with pytest.raises(ShapeError, match="side x"):
        Side("x", ["a"], [], ["c"], np.zeros(1, np.uint64))


def test_one_image_of_two_patients():
    patients, contents = ["p", "q", "p", "", "r", "r"], ["x", "x", "y", "x", "z", "z"]
    assert leaks.identities(patients, contents) == 2


def rows(*images):
    return [SplitRow(seed, number, role, key) for seed, number, role, key in images]


def test_only_sets_of_one_draw_are_compared():
    known = Known({"a": "p", "b": "p", "c": "q"}, {}, {})
    apart = rows((1, 0, "train", "a"), (1, 0, "test", "c"), (2, 0, "test", "b"), (2, 0, "train", "c"))
    assert stage.of_split(apart, known) == []
    (leak,) = stage.of_split([*apart, SplitRow(2, 0, "validation", "a")], known)
    assert (leak.kind, leak.first, leak.second, leak.seed, leak.set) == ("patient", "validation", "test", 2, 0)
    with pytest.raises(ArtifactError, match="'d' is not among the 3 images"):
        stage.of_split(rows((1, 0, "train", "d"), (1, 0, "test", "a")), known)


def test_near_images_are_said_and_never_refused(caplog):
    (near,) = leaks.compare(side("train", [("a", "p", "x", TINY)]), side("test", [("b", "q", "y", TINY ^ 3)]))
    stage.guard([near], allow=False)
    assert "1 of 1 test images look nearly the same as images of train" in caplog.text
    (same,) = leaks.compare(side("train", [("a", "p", "x", 0)]), side("test", [("b", "q", "x", 0)]))
    with pytest.raises(CbirError, match=r"1 of 1 test images are the same .*--allow-leaks"):
        stage.guard([near, same], allow=False)
    stage.guard([same], allow=True)
    assert "leak: 1 of 1 test images are the same" in caplog.text


# What the commands do.


@pytest.fixture
def pictures(tmp_path, phantom):
    """Eight images of eight patients, with a manifest; ``copy`` puts one of them in again."""
    names = sorted((phantom / "images").glob("*_000.png"))[:8]
    lines = [f"{path.name},{i},p{i},{i % 2}" for i, path in enumerate(names)]
    for path in names:
        shutil.copy(path, tmp_path)

    def write(*more):
        (tmp_path / "m.csv").write_text("\n".join(["path,id,patient,label:x", *lines, *more]) + "\n")
        return tmp_path

    write.first = names[0]
    return write


def table(folder, name, *images):
    (folder / name).write_text("seed\tset\trole\tid\n" + "".join(f"1\t0\t{role}\t{key}\n" for role, key in images))
    return name


def test_check_names_each_kind_of_leak(cbir, pictures):
    folder = pictures("other.png,8,p8,1", "small.png,9,p9,1", "again.png,10,p0,0")
    shutil.copy(pictures.first, folder / "other.png")
    with Image.open(pictures.first) as image:
        image.resize((50, 50), Image.Resampling.BILINEAR).save(folder / "small.png")
    shutil.copy(sorted(folder.glob("*_000.png"))[5], folder / "again.png")
    sets = [("train", n) for n in (0, 1, 2)] + [("test", n) for n in (3, 8, 9, 10)]
    ran = cbir("split", "m.csv", "--check", table(folder, "t.tsv", *sets), cwd=folder)
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "seed\tset\tkind\tfirst\tsecond\timages\tof\tpatients\texample",
        "1\t0\tpatient\ttrain\ttest\t1\t4\t1\t10",
        "1\t0\tidentical\ttrain\ttest\t1\t4\t1\t8",
        "1\t0\tnear\ttrain\ttest\t1\t4\t1\t9",
    ]
    assert "1 of 4 test images are of patients of train" in ran.err and "--allow-leaks" in ran.err
    allowed = cbir("split", "m.csv", "--check", "t.tsv", "--allow-leaks", cwd=folder)
    assert allowed.status == 0 and allowed.out == ran.out and "warning: leak: 1 of 4" in allowed.err
    sound = cbir("split", "m.csv", "--check", table(folder, "s.tsv", *sets[:4]), cwd=folder)
    assert sound.status == 0 and sound.out.count("\n") == 1


def test_check_says_which_images_cannot_be_read(cbir, pictures):
    folder = pictures("broken.png,8,p8,1")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    ran = cbir("split", "m.csv", "--check", table(folder, "t.tsv", ("train", 0), ("test", 8)), cwd=folder)
    assert ran.status == 0 and "warning: broken.png: not a DICOM" in ran.err


def test_an_image_that_is_not_there(cbir, pictures):
    folder = pictures()
    ran = cbir("split", "m.csv", "--check", table(folder, "t.tsv", ("train", 0), ("test", "zz")), cwd=folder)
    assert ran.status == 1 and "'zz' is not among" in ran.err


def test_a_split_of_an_artifact_knows_the_copies(cbir, good, pictures):
    """By studies, a patient is on two sides; of an artifact the content of each image is known too."""
    folder = pictures("other.png,8,p8,1")
    shutil.copy(pictures.first, folder / "other.png")
    good("embed", "-m", "ssim", "--image-size", "32", "m.csv", "-o", "e.h5", cwd=folder)
    found = set()
    for seed in range(12):
        ran = cbir("split", "e.h5", "--label", "x", "--test", "0.5", "--validation", "0", "--seeds", seed, cwd=folder)
        assert (ran.status == 1) == (ran.data == b"")
        if ran.status:
            assert "test images are the same as images of train" in ran.err
        found.add(ran.status)
    assert found == {0, 1}


def test_training_refuses_the_same_image_on_both_sides(cbir, pictures):
    folder = pictures("other.png,8,p8,1")
    shutil.copy(pictures.first, folder / "other.png")
    (folder / "x.toml").write_text('labels = ["x"]\n')
    options = ["--task", "x.toml", *TRAINING, "--set", "validation=0.5", "--epochs", "0", "-o", "m.h5", "m.csv"]
    found = set()
    for seed in range(12):
        ran = cbir("train", *options, "--seed", seed, cwd=folder)
        if ran.status:
            assert "validation images are the same as images of train" in ran.err
            assert "--allow-leaks" in ran.err and not (folder / "m.h5").exists()
            assert cbir("train", *options, "--seed", seed, "--allow-leaks", cwd=folder).status == 0
        (folder / "m.h5").unlink(missing_ok=True)
        found.add(ran.status)
    assert found == {0, 1}


def test_an_index_refuses_one_image_of_two_patients(cbir, good, pictures):
    folder = pictures("other.png,8,p8,1")
    shutil.copy(pictures.first, folder / "other.png")
    good("embed", "-m", "ssim", "--image-size", "32", "m.csv", "-o", "e.h5", cwd=folder)
    ran = cbir("index", "e.h5", "-o", "i.h5", cwd=folder)
    assert ran.status == 1 and not (folder / "i.h5").exists()
    assert "2 images have a copy under another patient's name" in ran.error
    ran = cbir("index", "e.h5", "-o", "i.h5", "--allow-leaks", cwd=folder)
    assert ran.status == 0 and "warning: leak: 2 images" in ran.err


def test_an_index_says_how_many_were_trained_on(good, chain, tmp_path):
    ran = good("index", "cnn.emb.h5", "-o", tmp_path / "i.h5", cwd=chain)
    with h5py.File(chain / "cnn.emb.h5") as file:
        seen = [value.decode() in ("train", "validation") for value in file["obs/seen"][()]]
    assert f"{sum(seen)} of {len(seen)} catalogue images are of patients of the training of cnn.h5" in ran.err


def test_evaluation_refuses_queries_that_were_trained_on(cbir, chain, tmp_path):
    ran = cbir("evaluate", "ig.tsv", "--split", "split.tsv", "--items", "ig.idx.h5", cwd=chain)
    assert ran.status == 1 and ran.out == ""
    assert "2 of 2 query images are of patients of the training of the network (1 patient)" in ran.err
    ran = cbir("evaluate", "ig.tsv", "--split", "split.tsv", "--items", "ig.idx.h5", "--allow-leaks", cwd=chain)
    assert ran.status == 0 and "warning: leak: 2 of 2" in ran.err and "r-precision" in ran.out


def test_evaluation_refuses_results_of_the_querys_own_patient(cbir, good, chain, tmp_path):
    good("embed", "-m", "ssim", "--image-size", "32", "nih:set", "-o", tmp_path / "e.h5", cwd=chain)
    good("index", "e.h5", "-o", "i.h5", cwd=tmp_path)
    (tmp_path / "own.tsv").write_bytes(good("query", "i.h5", "e.h5", "-k", "5", "--include-same", cwd=tmp_path).data)
    options = ["--items", "i.h5", "--label", "Effusion", "--metrics", "p@1"]
    ran = cbir("evaluate", "own.tsv", *options, cwd=tmp_path)
    assert ran.status == 1 and "result images are of patients of the query that they answer" in ran.err
    (tmp_path / "run.tsv").write_bytes(good("query", "i.h5", "e.h5", "-k", "5", cwd=tmp_path).data)
    good("evaluate", "run.tsv", *options, cwd=tmp_path)


def test_a_models_patients_in_a_table(cbir, chain, tmp_path):
    with h5py.File(chain / "cnn.emb.h5") as file:
        ids = [key.decode() for key in file["obs/_index"][()]]
        patients = [key.decode() for key in file["obs/patient"][()]]
        seen = [value.decode() for value in file["obs/seen"][()]]
    query = next(i for i, value in enumerate(seen) if value == "train")
    other = next(i for i, patient in enumerate(patients) if patient != patients[query])
    (tmp_path / "t.tsv").write_text(f"seed\tset\trole\tid\n1\t1\tquery\t{ids[query]}\n1\t1\tcatalogue\t{ids[other]}\n")
    ran = cbir("split", "cnn.emb.h5", "--check", tmp_path / "t.tsv", "-m", "cnn.h5", cwd=chain)
    assert ran.status == 1
    kinds = [line.split("\t")[2:5] for line in ran.out.splitlines()[1:]]
    assert ["patient", "the training of cnn.h5", "query"] in kinds
    # A search among the training images may be wanted: it is in the table, and no reason to refuse.
    assert ["patient", "the training of cnn.h5", "catalogue"] in kinds and "leak: 1 of 1 query images" in ran.err


def test_a_search_among_the_training_images_is_no_leak(good, chain, tmp_path):
    (tmp_path / "t.tsv").write_text("seed\tset\trole\tid\n1\t0\ttrain\t00000001_000\n")
    assert good("split", "cnn.emb.h5", "--check", tmp_path / "t.tsv", "-m", "cnn.h5", cwd=chain).out.count("\n") == 1


def test_a_model_of_another_key(cbir, chain, tmp_path):
    key = tmp_path / "key"
    key.write_text("another key of more than 16 bytes")
    (tmp_path / "t.tsv").write_text("seed\tset\trole\tid\n1\t0\ttest\t00000001_000\n")
    ran = cbir("split", "nih:set", "--check", tmp_path / "t.tsv", "-m", "cnn.h5", CBIR_KEY=key, cwd=chain)
    assert ran.status == 1 and "hidden with another key" in ran.err
