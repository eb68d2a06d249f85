import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from cbir_cli import colour
from cbir_cli.augmentation import SETTINGS, augment, draw, move, two_views
from cbir_cli.errors import ShapeError


@pytest.fixture
def images():
    return np.random.default_rng(3).random((6, 17, 17), dtype=np.float32)


def plain(image, degrees, down, right):
    """Every output pixel looks up, bilinearly, where it came from; beyond the edge it sees the edge."""
    side = len(image)
    centre, angle = (side - 1) / 2, np.radians(degrees)
    result = np.empty((side, side))
    for r in range(side):
        for c in range(side):
            y, x = r - down - centre, c - right - centre
            row = centre + y * np.cos(angle) + x * np.sin(angle)
            column = centre - y * np.sin(angle) + x * np.cos(angle)
            row, column = np.clip(row, 0, side - 1), np.clip(column, 0, side - 1)
            top, left = min(int(row), side - 2), min(int(column), side - 2)
            v, u = row - top, column - left
            result[r, c] = (
                image[top, left] * (1 - v) * (1 - u)
                + image[top, left + 1] * (1 - v) * u
                + image[top + 1, left] * v * (1 - u)
                + image[top + 1, left + 1] * v * u
            )
    return result


@pytest.mark.parametrize(("degrees", "down", "right"), [(10, 0, 0), (-7.5, 1.2, -0.4), (0, -2.5, 3.5), (90, 0, 0)])
def test_equals_a_plain_lookup(images, degrees, down, right):
    got = move(images[0], degrees=degrees, down=down, right=right)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, plain(images[0], degrees, down, right), atol=1e-6)


def test_a_quarter_turn_is_counter_clockwise(images):
    np.testing.assert_allclose(move(images[0], degrees=90), np.rot90(images[0]), atol=1e-6)


def test_a_shift_continues_the_edge(images):
    moved = move(images[0], down=2, right=-3)
    np.testing.assert_array_equal(moved[2:, :-3], images[0][:-2, 3:])
    np.testing.assert_array_equal(moved[:2, :-3], np.repeat(images[0][:1, 3:], 2, axis=0))
    np.testing.assert_array_equal(moved[2:, -3:], np.repeat(images[0][:-2, -1:], 3, axis=1))


def test_colour_moves_as_one(images):
    colour = np.stack([images[0], images[1], images[2]], axis=-1)
    moved = move(colour, degrees=5, down=1)
    for channel in range(3):
        np.testing.assert_array_equal(moved[..., channel], move(images[channel], degrees=5, down=1))


def test_nothing_at_zero_magnitude(images):
    np.testing.assert_array_equal(augment(images, range(6), rotation=0, shift=0, seed=1, epoch=1), images)
    np.testing.assert_array_equal(move(images[0]), images[0])


def test_an_image_moves_alike_in_any_batch(images):
    settings = {"rotation": 10.0, "shift": 0.05, "seed": 4, "epoch": 2}
    whole = augment(images, range(6), **settings)
    turned = augment(images[::-1], range(5, -1, -1), **settings)
    np.testing.assert_array_equal(whole, turned[::-1])
    for i in range(6):
        np.testing.assert_array_equal(whole[i : i + 1], augment(images[i : i + 1], [i], **settings))


def test_amounts_of_earlier_models_are_kept(images):
    """Networks trained before there were other changes saw these."""
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence(4, spawn_key=(1, 2, 3)))).uniform(-1, 1, 3)
    degrees, down, right = draws * (10, 0.05 * 17, 0.05 * 17)
    got = augment(images[:1], [3], rotation=10, shift=0.05, seed=4, epoch=2)[0]
    np.testing.assert_array_equal(got, move(images[0], degrees=degrees, down=down, right=right))


def test_every_image_epoch_and_seed_moves_otherwise(images):
    same = np.stack([images[0]] * 3)
    moved = [
        *augment(same, [0, 1, 2], rotation=10, shift=0.05, seed=0, epoch=1),
        *augment(same[:1], [0], rotation=10, shift=0.05, seed=0, epoch=2),
        *augment(same[:1], [0], rotation=10, shift=0.05, seed=1, epoch=1),
    ]
    assert len({image.tobytes() for image in moved}) == 5


def test_amounts_fill_the_range_and_stay_in_it(monkeypatch):
    amounts = []
    monkeypatch.setattr("cbir_cli.augmentation.move", lambda image, **values: amounts.append(values) or image)
    augment(np.zeros((400, 20, 20), np.float32), range(400), rotation=10, shift=0.1, seed=0, epoch=1)
    for name, most in (("degrees", 10), ("down", 2), ("right", 2)):
        values = np.array([a[name] for a in amounts])
        assert np.abs(values).max() <= most
        assert values.min() < -0.95 * most and values.max() > 0.95 * most
        assert abs(values.mean()) < 0.1 * most


def test_input_is_left_untouched_and_values_stay_in_range(images):
    before = images.copy()
    moved = augment(images, range(6), rotation=30, shift=0.3, seed=0, epoch=1)
    np.testing.assert_array_equal(images, before)
    assert moved.min() >= images.min() - 1e-6 and moved.max() <= images.max() + 1e-6


def test_only_square_images():
    with pytest.raises(ShapeError):
        move(np.zeros((4, 5), np.float32))


# Crop, mirroring, colour, blur

XMIR = {"crop": 0.08, "flip": 0.5}
LIVER = {
    "crop": 0.2, "flip": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "jitter": 0.8,
    "greyscale": 0.2,
}  # fmt: skip
OFFICIAL = LIVER | {"saturation": 0.4, "blur": 0.5}
OFF = dict.fromkeys(SETTINGS, 0.0)


def photographs(count=6, side=20, channels=3):
    shape = (count, side, side, channels)[: 4 if channels else 3]
    return np.random.default_rng(5).random(shape, dtype=np.float32)


def drawn(number, epoch=1, seed=0, view=0, side=20, out=20, **settings):
    return draw(seed, epoch, number, view, side=side, out=out, **OFF | settings)


def as_torch(image):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]))


def torchvision(image, change, size):
    """The same change, operation by operation, by another library."""
    x = as_torch(image)
    if change.box:
        x = F.resized_crop(x, *change.box, [size, size], antialias=True)
    for name, factor in change.colours:
        x = getattr(F, f"adjust_{name}")(x, factor)
    if change.grey:
        x = F.rgb_to_grayscale(x, num_output_channels=len(x))
    if change.sigma:
        reach = 2 * int(4 * change.sigma + 0.5) + 1
        x = F.gaussian_blur(x, [reach, reach], [change.sigma, change.sigma]) if reach > 1 else x
    if change.mirrored:
        x = F.horizontal_flip(x)
    return np.moveaxis(x.numpy(), 0, -1) if image.ndim == 3 else x[0].numpy()


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("settings", [XMIR, LIVER, OFFICIAL])
def test_equals_torchvision_with_the_same_amounts(settings, channels):
    pixels = photographs(40, 32, channels)
    got = augment(pixels, range(40), seed=1, epoch=2, size=28, **settings)
    assert got.shape == (40, 28, 28, 3)[: 4 if channels else 3] and got.dtype == np.float32
    for number, (before, after) in enumerate(zip(pixels, got, strict=True)):
        expected = torchvision(before, drawn(number, 2, 1, side=32, out=28, **settings), 28)
        np.testing.assert_allclose(after, expected, atol=5e-4)  # their weights of the luma have four digits


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("amount", [-0.5, -0.13, 0.0, 0.3, 0.5])
def test_each_colour_change_equals_torchvisions(name, amount):
    factor = amount if name == "hue" else 1 + 2 * amount
    image = photographs(1)[0]
    image[:3] = image[:3, :, :1]  # grey rows, which have no hue
    image[3, :3] = [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    expected = np.moveaxis(getattr(F, f"adjust_{name}")(as_torch(image), factor).numpy(), 0, -1)
    np.testing.assert_allclose(getattr(colour, name)(image, factor), expected, atol=5e-4)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("channels", [0, 3])
def test_blur_equals_torchvisions(sigma, channels):
    image = photographs(1, 24, channels)[0]
    reach = 2 * int(4 * sigma + 0.5) + 1
    x = F.gaussian_blur(as_torch(image), [reach, reach], [sigma, sigma]).numpy()
    np.testing.assert_allclose(colour.blur(image, sigma), np.moveaxis(x, 0, -1) if channels else x[0], atol=1e-5)


def test_grey_pixels_have_neither_saturation_nor_hue_nor_a_grey_copy():
    pixels = photographs(channels=0)
    got = augment(pixels, range(6), seed=0, epoch=1, saturation=0.4, hue=0.5, greyscale=1.0)
    np.testing.assert_array_equal(got, pixels)


def test_an_image_of_three_equal_channels_is_changed_like_a_grey_one():
    grey = photographs(channels=0)
    got = augment(np.repeat(grey[..., None], 3, axis=-1), range(6), seed=0, epoch=1, **OFFICIAL)
    for channel in range(3):
        np.testing.assert_allclose(got[..., channel], augment(grey, range(6), seed=0, epoch=1, **OFFICIAL), atol=2e-6)


def test_crops_follow_torchvisions_rule():
    boxes = np.array([drawn(i, side=200, crop=0.2).box for i in range(3000)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= 200).all() and (left + width <= 200).all()
    share, aspect = height * width / 200**2, width / height
    assert (
        0.19 < share.min() < 0.21 and share.max() > 0.98 and 0.73 < aspect.min() < 0.78 and 1.28 < aspect.max() < 1.36
    )
    torch.manual_seed(0)
    crop = RandomResizedCrop(200, scale=(0.2, 1.0))
    theirs = [crop.make_params([torch.zeros(1, 200, 200)]) for _ in range(3000)]
    for mine, key in ((height, "height"), (width, "width"), (top, "top"), (left, "left")):
        assert ks_2samp(mine, [t[key] for t in theirs]).pvalue > 1e-3, key


def test_a_part_that_never_fits_becomes_the_whole():
    assert drawn(0, side=1, crop=1.0).box == (0, 0, 1, 1)
    assert all(drawn(i, side=50, crop=1.0).box[2:] == (50, 50) for i in range(200) if drawn(i, side=50, crop=1.0).box)


def test_shares_and_ranges_of_what_is_drawn():
    changes = [drawn(i, out=224, **OFFICIAL) for i in range(4000)]
    shares = {
        "flip": [c.mirrored for c in changes],
        "jitter": [bool(c.colours) for c in changes],
        "greyscale": [c.grey for c in changes],
        "blur": [c.sigma > 0 for c in changes],
    }
    for name, found in shares.items():
        assert np.mean(found) == pytest.approx(OFFICIAL[name], abs=0.03), name
    sigmas = [c.sigma for c in changes if c.sigma]
    assert 0.1 <= min(sigmas) < 0.12 and 1.98 < max(sigmas) <= 2.0
    factors = {name: [dict(c.colours)[name] for c in changes if c.colours] for name, _ in changes[0].colours}
    assert len(factors) == 4
    for name, values in factors.items():
        low, high = (-0.1, 0.1) if name == "hue" else (1 - OFFICIAL[name], 1 + OFFICIAL[name])
        assert low <= min(values) < low + 0.01 and high - 0.01 < max(values) <= high, name
    orders = {tuple(name for name, _ in c.colours) for c in changes if c.colours}
    assert len(orders) == 24


@pytest.mark.parametrize("name", ["rotation", "crop", "flip", "brightness", "blur", "greyscale"])
def test_what_one_setting_draws_does_not_depend_on_the_others(name):
    alone, among = (
        drawn(3, **{name: 1.0}, jitter=1.0),
        drawn(3, **OFFICIAL | {"rotation": 1.0, name: 1.0, "jitter": 1.0}),
    )
    field = {"rotation": "degrees", "crop": "box", "flip": "mirrored", "blur": "sigma", "greyscale": "grey"}.get(name)
    if field:
        assert getattr(alone, field) == getattr(among, field)
    else:
        assert dict(alone.colours)[name] == dict(among.colours)[name]


@pytest.mark.parametrize("channels", [0, 3])
def test_two_views_are_changed_each_by_its_own_amounts(channels):
    one = photographs(5, 20, channels)
    pair = np.stack([one, one], axis=1)
    assert two_views(pair) and not two_views(one)
    got = augment(pair, range(5), seed=0, epoch=1, size=16, **OFFICIAL)
    assert got.shape == (5, 2, 16, 16, 3)[: 5 if channels else 4]
    np.testing.assert_array_equal(got[:, 0], augment(one, range(5), seed=0, epoch=1, size=16, **OFFICIAL))
    for number in range(5):
        assert not np.allclose(got[number, 0], got[number, 1])
        expected = torchvision(one[number], drawn(number, view=1, out=16, **OFFICIAL), 16)
        np.testing.assert_allclose(got[number, 1], expected, atol=5e-4)


def test_pixels_are_told_from_views_by_their_shape():
    assert not two_views(np.zeros((2, 8, 8))) and not two_views(np.zeros((4, 2, 2, 3)))
    assert not two_views(np.zeros((4, 3, 3, 3))) and two_views(np.zeros((4, 2, 3, 3)))
    assert two_views(np.zeros((1, 2, 8, 8))) and two_views(np.zeros((1, 2, 8, 8, 3)))


@pytest.mark.parametrize("settings", [XMIR, OFFICIAL])
def test_changes_follow_from_seed_epoch_and_number_alone(settings):
    pixels = photographs()
    before = pixels.copy()
    whole = augment(pixels, range(6), seed=4, epoch=2, **settings)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(whole[::-1], augment(pixels[::-1], range(5, -1, -1), seed=4, epoch=2, **settings))
    same = np.stack([pixels[0]] * 3)
    three = [
        *augment(same, [0, 1, 2], seed=0, epoch=1, **settings),
        *augment(same[:1], [0], seed=0, epoch=2, **settings),
        *augment(same[:1], [0], seed=1, epoch=1, **settings),
    ]
    assert len({image.tobytes() for image in three}) == 5


def test_nothing_on_gives_the_same_array():
    pixels = photographs()
    assert augment(pixels, range(6), seed=0, epoch=1) is pixels
    assert augment(pixels, range(6), seed=0, epoch=1, jitter=0.8, size=10) is pixels
