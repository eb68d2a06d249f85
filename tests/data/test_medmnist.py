import numpy as np
import pytest

from cbir_cli import npz
from cbir_cli.data import medmnist as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError
from cbir_cli.images import InputSpec


def write(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def grey(count, side=28):
    return np.zeros((count, side, side), np.uint8)


def test_rows(medmnist):
    source = read_source(str(medmnist))
    assert source.reader == "medmnist"
    assert [(r.id, r.part, r.split, dict(r.labels)) for r in source.records] == [
        ("test/0", 4, "test", {"normal": 0, "pneumonia": 1}),
        ("test/1", 5, "test", {"normal": 1, "pneumonia": 0}),
        ("train/0", 0, "train", {"normal": 1, "pneumonia": 0}),
        ("train/1", 1, "train", {"normal": 0, "pneumonia": 1}),
        ("train/2", 2, "train", {"normal": 0, "pneumonia": 1}),
        ("validation/0", 3, "validation", {"normal": 1, "pneumonia": 0}),
    ]
    assert {r.relative for r in source.records} == {"pneumoniamnist.npz"}
    # The part leads to the image: its grey was counted from 10, 40 and 50.
    greys = {r.id: int(npz.stored(r.path, r.part)[0, 0]) for r in source.records}
    assert list(greys.values()) == [50, 51, 10, 11, 12, 40]


def test_images_are_decoded_by_their_part(medmnist):
    spec = InputSpec(size=32)
    for record, value in zip(read_source(str(medmnist)).records, (50, 51, 10, 11, 12, 40), strict=True):
        found = spec.load(record)
        assert found.shape == (32, 32)
        np.testing.assert_allclose(found, value / 255, atol=1e-6)


def test_flow(medmnist):
    flow = read_source(str(medmnist)).flow
    assert (flow.read, flow.kept) == (6, 6)
    assert flow.notes == [
        "pneumoniamnist.npz: 3 images for train, as published 4,708",
        "pneumoniamnist.npz: 1 images for val, as published 524",
        "pneumoniamnist.npz: 2 images for test, as published 624",
    ]


def test_the_file_itself_and_two_sizes_in_one_folder(medmnist):
    expected = read_source(str(medmnist)).records
    path = medmnist / "pneumoniamnist.npz"
    for text in (str(path), f"medmnist:{path}"):
        source = read_source(text)
        assert (source.reader, source.root, source.records) == ("medmnist", medmnist, expected)
    write(medmnist / "pneumoniamnist_64.npz", train_images=grey(1, 64), train_labels=np.zeros((1, 1), int))
    with pytest.raises(SourceError, match=r"holds 2 archives \(pneumoniamnist.npz, pneumoniamnist_64.npz\); name one"):
        read_source(str(medmnist))
    source = read_source(str(medmnist / "pneumoniamnist_64.npz"))
    assert len(source.records) == 1
    assert "pneumoniamnist_64.npz: lacks val, test" in source.flow.notes


def test_findings_of_chestmnist(tmp_path):
    labels = np.zeros((2, 14), np.uint8)
    labels[0, [2, 12]] = 1
    write(tmp_path / "chestmnist_224.npz", train_images=grey(2, 224), train_labels=labels)
    first, second = read_source(str(tmp_path)).records
    assert {name for name, code in first.labels.items() if code} == {"effusion", "pleural"}
    assert set(second.labels.values()) == {0}
    assert len(second.labels) == 14


def test_classes_of_colour_images(tmp_path):
    labels = np.arange(9)[:, None]
    write(tmp_path / "pathmnist.npz", test_images=np.zeros((9, 28, 28, 3), np.uint8), test_labels=labels)
    records = read_source(str(tmp_path)).records
    assert [next(name for name, code in r.labels.items() if code) for r in records] == list(reader.CLASSES["pathmnist"])


def test_numbers_of_the_published_sets():
    assert reader.ROWS.keys() == reader.CLASSES.keys()
    # The paper has 708,069 2D images; the edition that is read here, 3.0, lost 107 of the organs.
    assert sum(sum(counts) for counts in reader.ROWS.values()) == 708069 - 107
    assert sum(reader.ROWS["chestmnist"]) == 112120


@pytest.mark.parametrize(
    ("name", "arrays", "expected"),
    [
        ("organmnist3d", {}, "organmnist3d is not read; known: pathmnist, chestmnist"),
        ("catmnist", {}, "catmnist is not read"),
        ("breastmnist", {}, r"breastmnist\.npz: expected arrays train_images, val_images or test_images"),
        ("breastmnist", {"train_images": grey(2)}, "lacks the array train_labels"),
        ("breastmnist", {"train_images": grey(2), "train_labels": np.zeros((3, 1), int)}, "2 images and 3 labels"),
        ("breastmnist", {"train_images": grey(1), "train_labels": np.full((1, 1), 2)}, "expected 1 from 0 to 1"),
        ("breastmnist", {"train_images": grey(1), "train_labels": np.zeros((1, 2), int)}, "expected 1 from 0 to 1"),
        ("chestmnist", {"train_images": grey(1), "train_labels": np.full((1, 14), 2)}, "expected 14 from 0 to 1"),
        ("breastmnist", {"train_images": grey(1), "train_labels": np.zeros((1, 1))}, r"expected \(N, L\) integers"),
        ("breastmnist", {"train_images": np.zeros((1, 8, 8, 8), np.uint8)}, r"expected 8-bit images .* \(1, 8, 8, 8\)"),
        ("breastmnist", {"train_images": np.zeros((1, 8, 8))}, "expected 8-bit images .* float64"),
        ("breastmnist", {"train_images": np.array([[[None]]], object)}, "expected numbers in C order, found object"),
    ],
)
def test_archives_that_are_wrong(tmp_path, name, arrays, expected):
    path = write(tmp_path / f"{name}.npz", **arrays)
    with pytest.raises(SourceError, match=expected) as caught:
        read_source(f"medmnist:{path}")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_not_this_layout(tmp_path):
    write(tmp_path / "weights.npz", w=np.zeros(3))
    assert not reader.recognise(tmp_path)
    with pytest.raises(SourceError, match=r"expected an archive such as pneumoniamnist\.npz, found none"):
        read_source(f"medmnist:{tmp_path}")
