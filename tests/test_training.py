import copy
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from cbir_cli import batches, checkpoints, optimisation, passes, reading, training
from cbir_cli.errors import CbirError, ImageError, ShapeError, UsageError, WeightsError
from cbir_cli.images import InputSpec
from cbir_cli.metrics.classification import auroc, f1
from cbir_cli.objectives import binary, simsiam, triplet
from cbir_cli.passes import Aim
from cbir_cli.recipe import Recipe
from cbir_cli.records import Record
from cbir_cli.signals import Terminated

SPEC = InputSpec(size=32)
RETRIEVAL = ("mean-precision@5", "knn-accuracy@5")
METRICS = {"f1": f1.score, "auroc": auroc.score}
RECIPE = Recipe(epochs=3, batch_size=4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def maps(count, seed, targets=None):
    """Noise, with a bright square in positive ones."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 2 if targets is None else np.asarray(targets)
    pixels = generator.random((count, 32, 32)) * 0.5
    pixels[:, 8:24, 8:24] += 0.4 * targets[:, None, None]
    return batches.Maps(pixels.astype(np.float16), targets, SPEC)


DATA, VALIDATION = maps(13, 0), maps(6, 1)


def network(seed=0, dropout=0.2):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(4, 1),
        )


def run(recipe=RECIPE, data=DATA, validation=VALIDATION, module=None, metrics=METRICS, head="6", **options):
    owners = [str(i) for i in range(len(validation))] if validation else []
    aim = Aim(binary, head, 4, metrics)
    options = {"aim": aim, "owners": owners, "seed": 5} | options
    return training.train(module or network(), data, recipe, validation=validation, **options)


def blob(state):
    return b"".join(name.encode() + array.dtype.str.encode() + array.tobytes() for name, array in state.items())


def same(one, other):
    about = [json.dumps([result.history, result.best_epoch, result.scores]) for result in (one, other)]
    return blob(one.state) == blob(other.state) and about[0] == about[1]


# The loop


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(optimizer="adam", lr=1e-3, betas=(0.8, 0.99))])
def test_equals_a_plain_loop(recipe):
    recipe = replace(recipe, epochs=2, batch_size=4, rotation=0, shift=0, selection="last")
    module = network(dropout=0)
    plain = copy.deepcopy(module)
    result = run(recipe, module=module)

    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, betas=(0.8, 0.99), eps=1e-7)
    else:
        optimizer = torch.optim.Adadelta(plain.parameters(), lr=1.0, rho=0.95, eps=1e-7)
    weights = 13 / 2 / torch.tensor([7.0, 6.0])
    pixels = torch.from_numpy(SPEC.prepare(DATA.maps.astype(np.float32)))
    targets = torch.from_numpy(DATA.targets)
    for epoch in (1, 2):
        plain.train()
        total = 0.0
        for rows in batches.order(13, size=4, sampler="permutation", seed=5, epoch=epoch):
            p = plain(pixels[rows])[:, 0].sigmoid()
            y = targets[rows]
            loss = (weights[y] * -(y * p.log() + (1 - y) * (1 - p).log())).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows) / 13
        assert result.history[epoch - 1]["loss"] == pytest.approx(total, rel=1e-4)
    for name, value in plain.state_dict().items():
        np.testing.assert_allclose(result.state[name], value.numpy(), rtol=1e-3, atol=1e-5)

    plain.eval()
    with torch.no_grad():
        logits = plain(torch.from_numpy(SPEC.prepare(VALIDATION.maps.astype(np.float32))))[:, 0]
    y = VALIDATION.targets
    probability = logits.sigmoid().numpy()
    expected = (weights.numpy()[y] * -np.log(np.where(y, probability, 1 - probability))).mean()
    assert result.scores["validation_loss"] == pytest.approx(expected, rel=1e-3)
    assert result.scores["f1"] == f1.score(y, probability)
    assert result.scores["auroc"] == auroc.score(y, probability)


def test_it_learns():
    result = run(Recipe(epochs=15, batch_size=4, optimizer="adam", lr=0.05), data=maps(24, 2))
    assert result.scores["f1"] == result.scores["auroc"] == 1
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_module_ends_with_the_weights_that_are_returned():
    module = network()
    result = run(module=module)
    assert not module.training
    assert {name: value.tolist() for name, value in module.state_dict().items()} == {
        name: value.tolist() for name, value in result.state.items()
    }
    assert all(array.flags.c_contiguous for array in result.state.values())
    assert json.loads(json.dumps(result.history, allow_nan=False)) == result.history
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3]
    assert list(result.history[0]) == ["epoch", "lr", "loss", "validation_loss", "f1", "auroc", *RETRIEVAL]


def test_same_seed_same_bytes_for_any_number_of_workers():
    first = run(workers=0)
    assert same(first, run(workers=1))
    assert same(first, run(workers=4))
    assert not same(first, run(seed=6))


def test_the_global_generators_are_left_alone():
    torch.manual_seed(1)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = run()
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
    torch.manual_seed(2)
    assert same(first, run())


def test_augmentation_reaches_training_but_not_validation():
    changed = []

    class Spy(batches.Maps):
        size = 32

        def __init__(self, like):
            super().__init__(like.maps, like.targets, replace(SPEC, size=32))
            self.spec = self

        def prepare(self, pixels):
            changed.append(pixels.copy())
            return SPEC.prepare(pixels)

        def to_dict(self):
            return {}

    def seen(data):
        return {pixels.tobytes() for batch in changed for pixels in batch} & {
            pixels.tobytes() for pixels in data.maps.astype(np.float32)
        }

    run(replace(RECIPE, epochs=1), data=Spy(DATA), validation=None)
    assert len(changed) == 3 and not seen(DATA)
    changed.clear()
    run(replace(RECIPE, epochs=1), validation=Spy(VALIDATION))
    assert len(seen(VALIDATION)) == 6
    changed.clear()
    run(replace(RECIPE, epochs=1, rotation=0, shift=0), data=Spy(DATA), validation=None)
    assert len(seen(DATA)) == 13


def test_zero_epochs_return_the_initial_weights_and_their_scores():
    module = network()
    initial = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    one_class = maps(4, 0, targets=[1, 1, 1, 1])
    result = run(Recipe(epochs=0), data=one_class, module=module)
    assert blob(result.state) == blob(initial)
    assert (result.history, result.best_epoch) == ([], 0)
    assert result.scores["validation_loss"] > 0 and 0 <= result.scores["auroc"] <= 1
    assert run(Recipe(epochs=0), validation=None).scores == dict.fromkeys(
        ["validation_loss", "f1", "auroc", *RETRIEVAL]
    )


def test_on_epoch_gets_entries_and_seconds():
    told = []
    result = run(on_epoch=lambda entry, seconds: told.append((entry, seconds)))
    assert [entry for entry, _ in told] == result.history
    assert all(seconds > 0 for _, seconds in told)


# Which epoch is kept


def scripted(f1s, aurocs):
    values = {"f1": iter(f1s), "auroc": iter(aurocs)}
    return {name: lambda truth, probability, it=it: next(it) for name, it in values.items()}


@pytest.mark.parametrize(
    ("f1s", "aurocs", "selection", "best"),
    [
        ([0.5, 0.8, 0.7], [0.9, 0.1, 0.9], "f1", 2),
        ([0.8, 0.8, 0.8], [0.5, 0.6, 0.6], "f1", 2),
        ([0.8, 0.8, 0.8], [0.6, 0.6, 0.6], "f1", 1),
        ([None, 0.0, 0.0], [0.6, 0.6, 0.6], "f1", 2),
        ([0.9, 0.1, 0.2], [0.5, 0.7, 0.7], "auroc", 3),
        ([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], "last", 3),
    ],
)
def test_the_best_epoch_is_kept(f1s, aurocs, selection, best):
    result = run(replace(RECIPE, selection=selection), metrics=scripted(f1s, aurocs))
    assert result.best_epoch == best
    assert result.scores["f1"] == f1s[best - 1]
    until = run(replace(RECIPE, selection="last", epochs=best))
    assert blob(result.state) == blob(until.state)


def test_selection_by_loss_or_without_validation():
    result = run(replace(RECIPE, epochs=4, selection="loss"))
    losses = [entry["validation_loss"] for entry in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    result = run(validation=None)
    assert result.best_epoch == 3
    assert result.scores == dict.fromkeys(["validation_loss", "f1", "auroc", *RETRIEVAL])
    with pytest.raises(UsageError, match="knn-accuracy@5, loss, last"):
        run(replace(RECIPE, selection="accuracy"))


def test_validation_of_one_class_has_no_auroc_and_chooses_by_loss(caplog):
    result = run(validation=maps(3, 1, targets=[0, 0, 0]))
    assert [entry["auroc"] for entry in result.history] == [None, None, None]
    assert json.dumps(result.history, allow_nan=False)
    losses = [entry["validation_loss"] for entry in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert "one class" in caplog.text


# What cannot be trained


def test_one_class_is_refused():
    with pytest.raises(CbirError, match="both classes: found 4 positive and 0 negative"):
        run(data=maps(4, 0, targets=[1, 1, 1, 1]))


def test_a_loss_that_is_not_finite_names_epoch_and_step():
    broken = maps(13, 0)
    broken.maps = broken.maps.copy()
    second = batches.order(13, size=4, sampler="permutation", seed=5, epoch=1)[1]
    broken.maps[second[0]] = np.nan
    with pytest.raises(CbirError, match=r"nan in epoch 1, step 2 of 3; try a smaller lr"):
        run(data=broken)


class Poisoned(torch.nn.Module):
    def __init__(self, weight=0.0, prediction=0.0):
        super().__init__()
        self.inner, self.prediction = network(), prediction
        self.register_buffer("other", torch.zeros(1))
        self.weight = weight

    def forward(self, x):
        self.other += self.weight
        return self.inner(x) + (0 if self.training else self.prediction)


def test_numbers_that_are_not_finite_never_leave():
    with pytest.raises(CbirError, match="diverged: other holds numbers that are not finite after epoch 1"):
        run(module=Poisoned(weight=np.inf), head="inner.6")
    with pytest.raises(CbirError, match="diverged: predictions of the validation images"):
        run(module=Poisoned(prediction=np.nan), head="inner.6")
    broken = network()
    with torch.no_grad():
        broken[0].weight[0, 0, 0, 0] = np.nan
    for epochs in (0, 1):
        with pytest.raises(WeightsError, match=r"initial weights: 0\.weight"):
            run(Recipe(epochs=epochs), module=broken)


def test_an_unreadable_image_is_named(tmp_path):
    data = images(tmp_path)
    data.records[3].path.write_text("not an image")
    with pytest.raises(ImageError, match=r"3\.png"):
        run(data=data)
    sound, unreadable = reading.readable(data.records, SPEC.load, workers=2)
    assert [r.id for r in sound] == ["0", "1", "2", "4", "5"]
    assert list(unreadable) == ["3"] and unreadable["3"].startswith("3.png: ")


# Optimisers


def gradients(steps):
    generator = np.random.default_rng(0)
    return generator.normal(size=(steps, 5)) * 10.0 ** generator.integers(-4, 2, size=(steps, 5))


def torch_steps(recipe, gradient):
    module = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.fill_(1.0)
    optimizer = optimisation.optimizer(module, recipe)
    for g in gradient:
        module.weight.grad = torch.from_numpy(g[None])
        optimizer.step()
    return module.weight.detach().numpy()[0]


def test_adadelta_is_that_of_keras():
    parameter, a, d = np.ones(5), np.zeros(5), np.zeros(5)
    for g in gradients(60):
        a = 0.95 * a + 0.05 * g**2
        update = g * np.sqrt(d + 1e-7) / np.sqrt(a + 1e-7)
        parameter = parameter - 1.0 * update
        d = 0.95 * d + 0.05 * update**2
    np.testing.assert_allclose(torch_steps(Recipe(), gradients(60)), parameter, rtol=1e-12)


def test_adam_is_that_of_keras_but_for_where_eps_stands():
    def plain(keras):
        parameter, m, v = np.ones(5), np.zeros(5), np.zeros(5)
        for t, g in enumerate(gradients(60), start=1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            if keras:
                rate = 1e-4 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                parameter = parameter - rate * m / (np.sqrt(v) + 1e-7)
            else:
                parameter = parameter - 1e-4 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        return parameter

    got = torch_steps(Recipe(optimizer="adam", lr=1e-4), gradients(60))
    np.testing.assert_allclose(got, plain(keras=False), rtol=1e-12)
    moved = np.abs(1 - plain(keras=True))
    assert np.abs(got - plain(keras=True)).max() < 0.05 * moved.max()


# Order of the images


def test_a_permutation_shows_every_image_once():
    order = batches.order(13, size=4, sampler="permutation", seed=1, epoch=1)
    assert [len(batch) for batch in order] == [4, 4, 5]  # a last batch of one joins the batch before
    assert sorted(np.concatenate(order)) == list(range(13))
    lengths = [[len(b) for b in batches.cut(np.arange(n), 4)] for n in (1, 2, 4, 5, 6, 8)]
    assert lengths == [[1], [2], [4], [5], [4, 2], [4, 4]]


def test_a_bootstrap_draws_whole_batches_with_replacement():
    order = batches.order(1000, size=32, sampler="bootstrap", seed=1, epoch=1)
    assert [len(batch) for batch in order] == [32] * 32
    drawn = np.concatenate(order)
    assert drawn.min() >= 0 and drawn.max() < 1000
    # 1 - (1 - 1/N)^n of the images are expected to be drawn; the standard deviation is about 0.01.
    assert len(np.unique(drawn)) / 1000 == pytest.approx(1 - (1 - 1 / 1000) ** 1024, abs=0.05)


@pytest.mark.parametrize("sampler", batches.SAMPLERS)
def test_the_order_follows_from_seed_and_epoch(sampler):
    def order(seed, epoch):
        drawn = batches.order(50, size=8, sampler=sampler, seed=seed, epoch=epoch, targets=np.arange(50) % 2)
        return np.concatenate(drawn).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 1) != order(0, 1)


def test_bootstrap_trains():
    assert len(run(replace(RECIPE, sampler="bootstrap")).history) == 3


# Data


def images(folder):
    records = []
    for i in range(6):
        path = folder / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 128, (40, 40)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        records.append(Record(id=str(i), path=path, relative=path.name))
    return batches.Images(records, [i % 2 for i in range(6)], SPEC)


def test_images_come_decoded_in_order(tmp_path):
    data = images(tmp_path)
    pixels = data.pixels(np.array([4, 1]))
    assert pixels.shape == (2, 32, 32) and pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[0], SPEC.load(data.records[4]))
    assert len(run(data=data, validation=data).history) == 3
    with pytest.raises(ShapeError, match="expected 6 targets"):
        batches.Images(data.records, [0, 1], SPEC)


def test_maps_come_from_hdf5_in_any_order(tmp_path):
    array = np.random.default_rng(0).random((7, 32, 32)).astype(np.float16)
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        stored = file.create_dataset("maps", data=array, chunks=(1, 32, 32))
        data = batches.Maps(stored, [0, 1, 0, 1], SPEC, rows=[6, 2, 0, 5])
        np.testing.assert_array_equal(data.pixels(np.array([1, 0, 3])), array[[2, 6, 5]].astype(np.float32))
        assert len(data) == 4
        in_memory = batches.Maps(array[[6, 2, 0, 5]], [0, 1, 0, 1], SPEC)
        assert blob(run(data=data).state) == blob(run(data=in_memory).state)
        with pytest.raises(ShapeError, match="64 x 64"):
            batches.Maps(stored, [0] * 7, InputSpec(size=64))


# Kill and resume


class Killed(Exception):
    pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def kill_after(epoch):
    def stop(entry, seconds):
        if entry["epoch"] == epoch:
            raise Killed

    return stop


class Dying(batches.Maps):
    """Kills the run when it asks for its n-th batch."""

    def __init__(self, like, batch):
        super().__init__(like.maps, like.targets, like.spec)
        self.left = batch

    def pixels(self, indices):
        self.left -= 1
        if not self.left:
            raise Killed
        return super().pixels(indices)


ADAM = Recipe(epochs=4, batch_size=4, optimizer="adam", lr=0.01)


@pytest.mark.parametrize("recipe", [replace(RECIPE, epochs=4), ADAM, replace(ADAM, sampler="bootstrap")])
def test_a_run_that_was_killed_twice_ends_in_the_same_bytes(path, recipe):
    whole = run(recipe)
    with pytest.raises(Killed):
        run(recipe, checkpoint=path, on_epoch=kill_after(1))
    with pytest.raises(Killed):
        run(recipe, data=Dying(DATA, batch=6), checkpoint=path, resume=True, workers=1)  # in the third epoch
    assert len(checkpoints.read(path, json.loads(about(path))["configuration"]).history) == 2
    told = []
    resumed = run(recipe, checkpoint=path, resume=True, on_epoch=lambda entry, _: told.append(entry["epoch"]))
    assert told == [3, 4]
    assert same(whole, resumed)
    # The checkpoint of the last epoch gives the result without training.
    assert same(whole, run(recipe, checkpoint=path, resume=True, on_epoch=kill_after(4)))


def about(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata()["cbir"]


def test_a_checkpoint_has_the_same_bytes_every_time(path, tmp_path):
    other = tmp_path / "other.safetensors"
    run(checkpoint=path)
    run(checkpoint=other, workers=3)
    assert path.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, path.name]


def test_more_epochs_go_on_where_fewer_ended(path):
    run(replace(ADAM, epochs=2), checkpoint=path)
    assert same(run(ADAM), run(ADAM, checkpoint=path, resume=True))
    with pytest.raises(CbirError, match="has 4 epochs already, 3 were asked for"):
        run(replace(ADAM, epochs=3), checkpoint=path, resume=True)


def test_without_a_checkpoint_resume_begins(path):
    assert same(run(), run(checkpoint=path, resume=True))


def test_without_resume_a_checkpoint_is_begun_anew(path):
    run(ADAM, checkpoint=path)
    assert same(run(), run(checkpoint=path))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": replace(RECIPE, lr=0.5)}, "lr is 1.0 there and 0.5 here"),
        ({"recipe": replace(RECIPE, rotation=0.0, shift=0.0)}, "rotation is 10.0 there and 0.0 here; shift"),
        ({"seed": 6}, "seed is 5 there and 6 here"),
        ({"data": maps(12, 0)}, "training data"),
        ({"data": maps(13, 0, targets=np.arange(13) < 5)}, "training data"),
        ({"data": batches.Maps(DATA.maps, DATA.targets, SPEC, source="other")}, "training data"),
        ({"validation": None}, "validation data"),
        ({"module": network(seed=1)}, "initial weights"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(path, options, says):
    run(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(CbirError, match=says) as caught:
        run(checkpoint=path, resume=True, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(path):
    run(checkpoint=path)
    whole = path.read_bytes()
    for part in (whole[:-1], whole[: len(whole) // 2], whole[:20], b"", b"text", whole + b"x"):
        path.write_bytes(part)
        module = network()
        before = blob(training._state(module))
        with pytest.raises(CbirError, match="not a whole checkpoint"):
            run(module=module, checkpoint=path, resume=True)
        assert blob(training._state(module)) == before


def test_a_write_that_fails_leaves_the_old_checkpoint(path, monkeypatch):
    run(replace(RECIPE, epochs=1), checkpoint=path)
    before = path.read_bytes()

    def full(arrays, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(CbirError, match=r"cannot be written: .*No space left"):
        run(checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_checkpoint_needs_its_folder(tmp_path):
    with pytest.raises(CbirError, match="cannot be written"):
        run(checkpoint=tmp_path / "absent" / "run.safetensors")


# Within an epoch


def stop_after(steps):
    """Ask for the end, as a signal does, after some steps in all."""
    left = iter(range(steps - 1, -1, -1))
    return lambda: 0 if next(left) else 15


@pytest.mark.parametrize(
    "recipe", [replace(RECIPE, epochs=2), replace(ADAM, epochs=2, sampler="bootstrap", accumulate=2)]
)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_run_that_is_ended_within_an_epoch_ends_in_the_same_bytes(path, recipe, steps):
    whole = run(recipe)
    with pytest.raises(Terminated) as ended:
        run(recipe, checkpoint=path, stop=stop_after(steps))
    assert ended.value.code == 128 + 15
    about_it = json.loads(about(path))
    per_epoch = 4 if recipe.sampler == "bootstrap" else 3  # steps; after each epoch it is asked once more
    assert (len(about_it["history"]), about_it["step"]) == ((0, steps) if steps <= per_epoch else (1, 0))
    assert same(whole, run(recipe, checkpoint=path, resume=True))


def test_a_long_epoch_is_saved_on_the_way(path, monkeypatch):
    monkeypatch.setattr(passes, "_SAVED_EVERY", 0.0)
    with pytest.raises(Killed):
        run(data=Dying(DATA, batch=3), checkpoint=path, workers=0)
    assert json.loads(about(path))["step"] == 2
    assert same(run(), run(checkpoint=path, resume=True))


def test_parts_of_a_batch_add_up_to_it():
    """Without batch norm a batch that is cut into parts gives the same step."""

    def plain():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(4, 1),
        )

    recipe = replace(ADAM, batch_size=6, epochs=2, optimizer="sgd", lr=0.1)
    whole = run(recipe, module=plain(), head="4")
    for parts in (2, 3):
        cut = run(replace(recipe, accumulate=parts), module=plain(), head="4")
        for one, two in zip(whole.history, cut.history, strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        for name, array in whole.state.items():
            np.testing.assert_allclose(cut.state[name], array, rtol=1e-4, atol=1e-6)


class Narrow(torch.nn.Module):
    """Has memory for a few images only."""

    def __init__(self, most):
        super().__init__()
        self.inner, self.most, self.sizes = network(), most, []

    def forward(self, x):
        if self.training:
            self.sizes.append(len(x))
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(x)


def test_a_batch_that_does_not_fit_is_cut_and_it_is_said(caplog):
    module = Narrow(3)
    recipe = replace(ADAM, batch_size=8, epochs=1)
    result = run(recipe, data=maps(24, 0), module=module, head="inner.6")
    assert module.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "in 2 parts" in caplog.text and "in 4 parts" in caplog.text
    in_parts = run(replace(recipe, accumulate=4), data=maps(24, 0))
    assert result.history[0]["loss"] == pytest.approx(in_parts.history[0]["loss"], rel=1e-6)
    with pytest.raises(CbirError, match="out of memory: give a smaller --batch-size"):
        run(recipe, module=Narrow(1), head="inner.6")


def test_long_gradients_are_shortened():
    recipe = Recipe(epochs=1, batch_size=13, optimizer="sgd", lr=1.0, momentum=0.0, rotation=0.0, shift=0.0, clip=1e-3)
    module = network(dropout=0)
    before = [p.detach().clone() for p in module.parameters()]
    run(recipe, module=module)
    moved = torch.cat([(p - b).flatten() for p, b in zip(module.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_training_ends_when_nothing_gets_better():
    scores = [0.5, 0.7, 0.6, 0.6, 0.9, 0.9]
    result = run(replace(RECIPE, epochs=6, patience=2), metrics=scripted(scores, scores))
    assert (result.best_epoch, len(result.history)) == (2, 4)
    result = run(replace(RECIPE, epochs=6, patience=3), metrics=scripted(scores, scores))
    assert (result.best_epoch, len(result.history)) == (5, 6)


def test_the_rate_of_each_epoch_is_noted_and_used():
    recipe = replace(ADAM, optimizer="sgd", lr=0.1, schedule="cosine", epochs=4)
    assert [round(entry["lr"], 6) for entry in run(recipe).history] == [0.1, 0.085355, 0.05, 0.014645]


# Objectives that train vectors


def test_simsiam_trains_its_heads_and_leaves_them_behind(path):
    draw = np.random.default_rng(0)
    pixels = draw.random((12, 32, 32)).astype(np.float32)

    class Views(batches.Maps):
        changes = batches.augmentation.SETTINGS

        def pixels(self, indices):
            return np.repeat(super().pixels(indices)[:, None], 2, axis=1)

    def backbone():
        return torch.nn.Sequential(*list(network(dropout=0))[:-1], torch.nn.Identity())

    data, held = Views(pixels, np.arange(12) % 2, SPEC), Views(pixels, np.arange(12) % 2, SPEC)
    recipe = Recipe(
        epochs=3,
        batch_size=4,
        optimizer="sgd",
        lr=0.1,
        class_weights="none",
        selection="last",
        rotation=0.0,
        shift=0.0,
        crop=0.5,
    )
    options = {"data": data, "validation": held, "aim": Aim(simsiam, "6", 4)}
    whole = run(recipe, module=backbone(), **options)
    assert set(whole.state) == set(backbone().state_dict())
    assert all(-1 <= e["loss"] <= 1 and 0 < e["spread"] < 1.5 and e["validation_loss"] <= 1 for e in whole.history)
    assert list(whole.scores) == ["validation_loss", *RETRIEVAL]
    with pytest.raises(Terminated):
        run(recipe, module=backbone(), checkpoint=path, stop=stop_after(5), **options)
    assert same(whole, run(recipe, module=backbone(), checkpoint=path, resume=True, **options))


def test_triplets_learn_classes_and_are_scored_by_retrieval():
    aim = Aim(triplet, "6", 4, parameters={"margin": 0.2})
    recipe = Recipe(
        epochs=8,
        batch_size=8,
        optimizer="adam",
        lr=0.05,
        class_weights="none",
        selection="mean-precision@5",
        sampler="balanced",
        per_class=4,
        rotation=0.0,
        shift=0.0,
    )
    module = torch.nn.Sequential(*list(network(dropout=0))[:-1], torch.nn.Linear(4, 3))
    result = run(recipe, module=module, data=maps(24, 2), validation=maps(12, 3), aim=aim)
    assert result.scores["mean-precision@5"] == 1 and result.scores["validation_loss"] is None
    with pytest.raises(UsageError, match="compares the images of a batch"):
        run(replace(recipe, accumulate=2), module=module, aim=aim)


def test_what_an_objective_cannot_be_chosen_by_is_refused():
    aim = Aim(triplet, "6", 4)
    module = torch.nn.Sequential(*list(network())[:-1], torch.nn.Linear(4, 3))
    with pytest.raises(UsageError, match="no loss of single images"):
        run(replace(RECIPE, selection="loss", class_weights="none"), module=module, aim=aim)
    with pytest.raises(UsageError, match="no better epoch"):
        Recipe(patience=2, selection="last")


def test_where_no_score_is_defined_the_last_epoch_is_kept_and_it_is_said(caplog):
    recipe = replace(RECIPE, selection="mean-precision@5")
    few = maps(4, 1)
    result = run(recipe, validation=few, metrics={})
    assert result.scores["mean-precision@5"] is None and result.best_epoch == 3
    assert "too few validation images for mean-precision@5" in caplog.text


def test_other_pixels_under_the_same_names_are_another_run(tmp_path, path):
    data = images(tmp_path)
    options = {"targets": data.targets, "spec": data.spec}
    first = batches.Images(data.records, **options, contents=["a"] * len(data.records))
    other = batches.Images(data.records, **options, contents=["b"] * len(data.records))
    recipe = Recipe(epochs=1, batch_size=4)
    run(recipe, data=first, checkpoint=path)
    with pytest.raises(CbirError, match="training data"):
        run(replace(recipe, epochs=2), data=other, checkpoint=path, resume=True)
