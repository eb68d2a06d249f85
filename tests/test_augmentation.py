import numpy as np
import pytest

from cbir_cli.augmentation import augment, move
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
