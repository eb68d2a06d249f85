import threading
from collections import Counter

import nibabel
import numpy as np
import pytest
from PIL import Image

from cbir_cli import batches, windows
from cbir_cli.errors import CbirError, ImageError, ShapeError, UsageError
from cbir_cli.images import InputSpec, decode, resize
from cbir_cli.records import Record

WIDE, NARROW = windows.PRESETS["liver-wide"], windows.PRESETS["liver-narrow"]


# Order


def order(targets, size, sampler, per_class=0, seed=0, epoch=1):
    targets = np.asarray(targets)
    return batches.order(
        len(targets), size=size, sampler=sampler, per_class=per_class, seed=seed, epoch=epoch, targets=targets
    )


COVID = np.repeat([0, 1, 2], [7966, 5464, 505])
"""Classes of the paper's training images."""


def test_balanced_batches_show_every_image_and_as_many_of_each_class():
    drawn = order(COVID, 48, "balanced")
    assert len(drawn) == 498  # 7966 / 16, rounded up
    for numbers in drawn:
        assert numbers.dtype == np.int64 and Counter(COVID[numbers].tolist()) == {0: 16, 1: 16, 2: 16}
        assert len(set(numbers.tolist())) == 48
    times = np.bincount(np.concatenate(drawn), minlength=len(COVID))
    assert times.min() == 1
    for label in range(3):  # shuffled again only when used up
        assert np.ptp(times[label == COVID]) <= 1


def test_rarest_is_the_published_rule():
    drawn = order(COVID, 48, "balanced-rarest", per_class=16)
    assert len(drawn) == 31  # 505 / 16, rounded down
    for numbers in drawn:
        assert Counter(COVID[numbers].tolist()) == {0: 16, 1: 16, 2: 16}
    every = np.concatenate(drawn)
    assert len(set(every.tolist())) == len(every) == 31 * 48


def test_the_published_rule_takes_classes_at_random():
    targets = np.repeat(range(5), 40)
    first = {tuple(np.unique(targets[order(targets, 8, "balanced-rarest", 4, seed)[0]])) for seed in range(60)}
    assert len(first) == 10  # every pair of five


def test_more_classes_than_a_batch_holds():
    targets = np.repeat(range(7), [40, 9, 30, 12, 25, 40, 8])
    for sampler in ("balanced", "balanced-rarest"):
        drawn = order(targets, 12, sampler, per_class=4)
        assert all(sorted(Counter(targets[n].tolist()).values()) == [4, 4, 4] for n in drawn)
        every = np.concatenate(drawn)
        if sampler == "balanced":
            assert set(every.tolist()) == set(range(len(targets)))
            shown = Counter(targets[every].tolist()).values()
            assert max(shown) - min(shown) <= 4  # one turn
        else:
            assert len(set(every.tolist())) == len(every)
            left = [(c - n) // 4 for c, n in zip(np.bincount(targets), np.bincount(targets[every]), strict=True)]
            assert sum(turns >= 1 for turns in left) < 3


@pytest.mark.parametrize("sampler", ["balanced", "balanced-rarest"])
def test_order_follows_from_seed_and_epoch(sampler):
    def drawn(**changes):
        return np.concatenate(order(COVID[::20], 12, sampler, **changes)).tolist()

    assert drawn() == drawn()
    assert len({str(d) for d in (drawn(), drawn(epoch=2), drawn(seed=1))}) == 3


def test_a_class_smaller_than_its_share_is_repeated_or_refused():
    targets = [0] * 20 + [1] * 3
    drawn = order(targets, 16, "balanced")
    assert [sorted(Counter(n[n >= 20].tolist()).values()) for n in drawn[:1]] == [[2, 3, 3]]
    with pytest.raises(CbirError, match="a class has 3 images, a batch takes 8 of each"):
        order(targets, 16, "balanced-rarest")


@pytest.mark.parametrize(
    ("targets", "size", "per_class", "message"),
    [
        ([0, 1, 2] * 9, 9, 4, "a batch of 9 cannot hold 4 images of each class: there are 3"),
        ([0, 1, 2] * 9, 16, 4, "cannot hold 4"),
        ([0] * 30, 4, 0, "cannot hold 4"),
        ([0, 1, 2] * 9, 32, 0, "a batch of 32 cannot hold 10"),
        ([[0, 1], [1, 0]], 4, 2, "one class for each image"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(targets, size, per_class, message):
    with pytest.raises(UsageError, match=message):
        order(targets, size, "balanced", per_class)


def test_classes_are_needed_and_samplers_known():
    with pytest.raises(UsageError, match="one class for each image"):
        batches.order(4, size=2, sampler="balanced", seed=0, epoch=1)
    with pytest.raises(UsageError, match="balanced-rarest"):
        batches.order(4, size=2, sampler="weighted", seed=0, epoch=1)


# Views


@pytest.fixture
def slices(tmp_path):
    """Three slices of a volume in Hounsfield units."""
    values = np.random.default_rng(0).uniform(-1000, 1000, (40, 40, 3))
    image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([-1, -1, 1, 1]))
    nibabel.save(image, path := tmp_path / "v.nii.gz")
    return [Record(id=str(i), path=path, relative="v.nii.gz", part=i) for i in range(3)]


def hounsfield(record):
    """Values as stored: through a window that cuts nothing off."""
    return decode(record.path, part=record.part, window=(-1100.0, 1100.0)).astype(np.float64) * 2200 - 1100


@pytest.mark.parametrize("scaling", windows.SCALINGS)
def test_two_windows_are_cut_scaled_and_only_then_reduced(slices, scaling):
    views = windows.views("liver-wide/50,150", scaling, None)
    data = batches.Images(slices, [0, 1, 0], InputSpec(size=16, window=WIDE), views=views)
    pixels = data.pixels(np.array([2, 0]))
    assert pixels.shape == (2, 2, 16, 16) and pixels.dtype == np.float32
    for row, number in enumerate((2, 0)):
        values = hounsfield(slices[number])
        wide = (np.clip(values, -200, 300) + 200) / 500
        narrow = np.clip(values, 50, 150)
        narrow = (narrow + 200) / 500 if scaling == "shared" else (narrow - 50) / 100
        np.testing.assert_allclose(pixels[row, 0], resize(wide, 16), atol=1e-4)
        np.testing.assert_allclose(pixels[row, 1], resize(narrow, 16), atol=1e-4)
    low, high = (0.5, 0.7) if scaling == "shared" else (0, 1)
    assert low - 1e-6 <= pixels[:, 1].min() and pixels[:, 1].max() <= high + 1e-6


def test_equal_views_are_decoded_once_and_others_once_each(slices, monkeypatch):
    loaded, load = [], InputSpec.load
    monkeypatch.setattr(InputSpec, "load", lambda self, record: loaded.append(self.window) or load(self, record))
    spec = InputSpec(size=16, window=WIDE)
    same = batches.Images(slices, [0, 1, 0], spec, views=windows.views("", "shared", WIDE))
    pixels = same.pixels(np.arange(3))
    assert loaded == [WIDE] * 3
    np.testing.assert_array_equal(pixels[:, 0], pixels[:, 1])
    np.testing.assert_array_equal(pixels[:, 0], batches.Images(slices, [0, 1, 0], spec).pixels(np.arange(3)))
    loaded.clear()
    batches.Images(slices, [0, 1, 0], spec, views=windows.views("liver-wide/liver-narrow", "own", None)).pixels([0])
    assert loaded == [WIDE, NARROW]


def test_views_are_prepared_like_images(slices):
    spec = InputSpec(size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0), window=WIDE)
    data = batches.Images(slices, [0, 1, 0], spec, views=windows.views("liver-wide/liver-narrow", "shared", None))
    ready = list(batches.ahead(data, [np.array([0, 2]), np.array([1])], workers=2))
    assert [(x.shape, y.tolist()) for x, y in ready] == [((2, 2, 3, 16, 16), [0, 0]), ((1, 2, 3, 16, 16), [1])]
    pixels = data.pixels(np.array([0, 2]))
    for view in (0, 1):
        np.testing.assert_array_equal(ready[0][0][:, view], spec.prepare(pixels[:, view]))


@pytest.mark.parametrize(
    ("text", "scaling", "message"),
    [
        ("liver-wide", "shared", "expected two windows"),
        ("liver-wide/", "own", "expected two windows"),
        ("0,1/0,1/0,1", "own", "expected two windows"),
        ("liver-wide/lungs", "own", "liver-narrow"),
        ("liver-narrow/liver-wide", "shared", "expected within the first"),
        ("0,100/50,150", "shared", "expected within the first"),
        ("0,100/50,150", "both", "shared, own"),
        ("", "both", "shared, own"),
        ("0,100/150,50", "own", "LOW below HIGH"),
    ],
)
def test_windows_that_make_no_sense(text, scaling, message):
    with pytest.raises(UsageError, match=message):
        windows.views(text, scaling, None)


# Images and batches


def pictures(folder, colour=False):
    records = []
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (60, 60, 3) if colour else (60, 60)).astype(np.uint8)
        Image.fromarray(pixels).save(path := folder / f"{i}.png")
        records.append(Record(id=str(i), path=path, relative=path.name))
    return records


@pytest.mark.parametrize("colour", [False, True])
def test_images_that_will_be_cropped_are_larger_and_must_be_cropped(tmp_path, colour):
    records = pictures(tmp_path, colour)
    spec = InputSpec(size=28, colour="rgb" if colour else "grey")
    data = batches.Images(records, range(4), spec, cropped=True)
    pixels = data.pixels(np.arange(4))
    assert pixels.shape == (4, 32, 32, 3)[: 4 if colour else 3]  # 28 * 256 / 224
    np.testing.assert_array_equal(pixels[1], InputSpec(size=32, colour=spec.colour).load(records[1]))
    with pytest.raises(ShapeError, match="28 x 28"):
        list(batches.ahead(data, [np.arange(4)], workers=0))
    seen = []

    def change(pixels, numbers):
        seen.append(numbers.tolist())
        return pixels[:, 2:30, 2:30]

    ((ready, _),) = batches.ahead(data, [np.array([3, 1])], workers=0, change=change)
    np.testing.assert_array_equal(ready, spec.prepare(pixels[[3, 1], 2:30, 2:30]))
    assert seen == [[3, 1]]


def test_several_targets_an_image(tmp_path):
    targets = np.array([[0, 1], [1, -1], [0, 0], [1, 1]])
    data = batches.Images(pictures(tmp_path), targets, InputSpec(size=8))
    ((_, got),) = batches.ahead(data, [np.array([2, 1])], workers=1)
    np.testing.assert_array_equal(got, targets[[2, 1]])
    maps = batches.Maps(np.zeros((4, 8, 8), np.float16), targets, InputSpec(size=8))
    np.testing.assert_array_equal(maps.targets, targets)
    for wrong in (targets[:3], targets[None], 1):
        with pytest.raises(ShapeError):
            batches.Images(data.records, wrong, InputSpec(size=8))


def test_at_most_one_batch_more_than_threads_is_there_at_a_time(tmp_path):
    records = pictures(tmp_path)
    begun, lock = [0], threading.Lock()

    class Counting(batches.Images):
        def pixels(self, indices):
            with lock:
                begun[0] += 1
            return super().pixels(indices)

    data = Counting(records, range(4), InputSpec(size=8), views=windows.views("", "own", None))
    for taken, _ in enumerate(batches.ahead(data, [np.array([i % 4]) for i in range(12)], workers=2), start=1):
        assert begun[0] <= taken + 2


def test_an_unreadable_image_is_named(tmp_path):
    records = pictures(tmp_path)
    records[2].path.write_bytes(b"no image")
    data = batches.Images(records, range(4), InputSpec(size=8), views=windows.views("", "own", None))
    with pytest.raises(ImageError, match=r"2\.png"):
        data.pixels(np.array([1, 2]))
