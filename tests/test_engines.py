"""Engines: features against torch eager, the same bytes for any batch, and maps that do not depend on their company."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli import engines, mappers, registry
from cbir_cli.errors import CbirError, ShapeError, UsageError, WeightsError
from cbir_cli.maps import INPUTS, finish
from cbir_cli.saliency.deep_taylor import explain


@pytest.fixture(autouse=True)
def threads_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(architecture, n_outputs=2):
    """A network with weights and statistics as training would leave them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = registry.load("models", architecture).build(n_outputs)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.data.uniform_(-0.2, 1.5)
                layer.bias.data.uniform_(-0.3, 0.3)
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
    return net.eval()


def weights(architecture, n_outputs=2):
    return {name: tensor.numpy() for name, tensor in network(architecture, n_outputs).state_dict().items()}


def images(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def eager(architecture, batch, n_outputs=2):
    net = network(architecture, n_outputs)
    with torch.no_grad():
        x = torch.from_numpy(batch)
        return net.features(x).clamp(min=0).mean(dim=(2, 3)).numpy(), net(x).numpy()


# --- features ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("densenet-tiny", 32),
        ("densenet-small", 64),
        pytest.param("densenet121", 224, marks=pytest.mark.densenet121),
    ],
)
def test_features_are_those_of_eager_torch(architecture, size, engine):
    batch = images(2, size)
    run = engines.encoder(architecture, weights(architecture), engine=engine, device="cpu", threads=1)
    assert (run.engine, run.device) == (engine, "cpu")
    features, logits = run(batch)
    expected = eager(architecture, batch)
    assert features.dtype == logits.dtype == np.float32
    assert np.ptp(expected[0]) > 0.1
    np.testing.assert_allclose(features, expected[0], atol=1e-5)
    np.testing.assert_allclose(logits, expected[1], atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("architecture", ["densenet-tiny", "densenet-small", "resnet-tiny"])
def test_an_image_has_the_same_bytes_in_any_batch(architecture, threads):
    batch = images(11, 64)
    run = engines.encoder(architecture, weights(architecture), device="cpu", threads=threads)
    features, logits = run(batch)
    for size in (1, 3):
        for start in range(0, 11, size):
            part = run(batch[start : start + size])
            assert part[0].tobytes() == features[start : start + size].tobytes()
            assert part[1].tobytes() == logits[start : start + size].tobytes()
    assert run(batch[::-1])[0].tobytes() == features[::-1].tobytes()


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
@pytest.mark.parametrize("architecture", ["densenet-tiny", "resnet-tiny"])
def test_without_a_last_layer_both_results_are_the_vector(architecture, engine):
    without = {name: value for name, value in weights(architecture).items() if not name.startswith(("class", "fc"))}
    batch = images(3, 32)
    expected = engines.encoder(architecture, weights(architecture), engine=engine, device="cpu", threads=1)(batch)[0]
    inputs, outputs = engines.encoder(architecture, without, engine=engine, device="cpu", threads=1)(batch)
    assert inputs.tobytes() == outputs.tobytes() == expected.tobytes()


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_no_images(engine):
    run = engines.encoder("densenet-tiny", weights("densenet-tiny"), engine=engine, device="cpu", threads=1)
    features, logits = run(np.zeros((0, 3, 32, 32), np.float32))
    assert features.shape == (0, 16) and logits.shape == (0, 2)


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_input_that_does_not_fit(engine):
    run = engines.encoder("densenet-tiny", weights("densenet-tiny"), engine=engine, device="cpu", threads=1)
    for bad in (np.zeros((2, 32, 32), np.float32), np.zeros((2, 1, 32, 32), np.float32), np.zeros((2, 3, 32, 32))):
        with pytest.raises(ShapeError, match=r"expected images \(N, 3, S, S\) float32"):
            run(bad)
    with pytest.raises(ShapeError, match="of 4 px are too small; the network needs 5 px"):
        run(np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(CbirError, match="not finite"):
        run(np.full((1, 3, 32, 32), np.nan, np.float32))


def test_requests_that_do_not_go_together(monkeypatch):
    given = ("densenet-tiny", weights("densenet-tiny"))
    with pytest.raises(UsageError, match="did you mean onnxruntime"):
        engines.encoder(*given, engine="onnx-runtime")
    with pytest.raises(UsageError, match="known: auto, cpu, cuda"):
        engines.encoder(*given, device="tpu9")
    with pytest.raises(UsageError, match="runs on the CPU only"):
        engines.encoder(*given, engine="onnxruntime", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        engines.encoder(*given, device="cuda")
    monkeypatch.delattr("cbir_cli.models.densenet_tiny.graph")
    with pytest.raises(UsageError, match="densenet-tiny has no ONNX graph"):
        engines.encoder(*given, engine="onnxruntime")
    assert engines.encoder(*given, device="cpu").engine == "torch"


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_weights_of_another_network(engine):
    with pytest.raises(WeightsError) as error:
        engines.encoder("densenet-tiny", {"layer1.weight": np.zeros(3)}, engine=engine, device="cpu")
    assert "\n" not in str(error.value)


def test_the_cpu_path_imports_no_torch_and_says_nothing():
    code = """
        import sys, numpy as np
        from cbir_cli import engines
        rng = np.random.default_rng(0)
        def norm(name, n):
            parts = ("weight", "bias", "running_mean", "running_var")
            return {f"{name}.{part}": rng.random(n, np.float32) for part in parts}
        def conv(name, *shape):
            return {f"{name}.weight": rng.random(shape, np.float32)}
        layer = "features.denseblock1.denselayer1"
        weights = (conv("features.conv0", 4, 3, 7, 7) | norm("features.norm0", 4) | norm(f"{layer}.norm1", 4)
                   | conv(f"{layer}.conv1", 8, 4, 1, 1) | norm(f"{layer}.norm2", 8) | conv(f"{layer}.conv2", 2, 8, 3, 3)
                   | norm("features.norm5", 6) | conv("classifier", 1, 6))
        weights["classifier.bias"] = rng.random(1, np.float32)
        run = engines.encoder("densenet-tiny", weights, engine="auto", device="cpu")
        assert run.engine == "onnxruntime"
        assert run(np.zeros((2, 3, 32, 32), np.float32))[0].shape == (2, 6)
        try:
            run._session.run(None, {"images": np.zeros((1, 4, 32, 32), np.float32)})
        except Exception:
            pass
        heavy = {"torch", "torchvision", "zennit"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- threads and devices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "expected"), [("", 4), ("2", 2), ("64", 4), ("0", 4), ("two", 4)], ids=lambda v: repr(v)
)
def test_threads_are_those_granted(monkeypatch, granted, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 5, 7})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", granted)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert engines.cpu_threads() == expected


@pytest.mark.parametrize(
    ("node", "tasks", "expected"),
    [("3", "", 3), ("3", "1", 3), ("3", "3(x2)", 1), ("16", "4", 4), ("16", "8", 2), ("2", "4", 1), ("x", "2", 4)],
)
def test_threads_without_cpus_per_task(monkeypatch, node, tasks, expected):
    """What the job has on the node, shared by the tasks of the step."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 5, 7})
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", node)
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    assert engines.cpu_threads() == expected


def test_auto_device_is_the_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(engines, "_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engines.choose_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engines.choose_device("auto") == "cpu"
    monkeypatch.setattr(engines, "_gpu_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engines.choose_device("auto") == "cpu"  # without asking torch, which would have to be imported


# --- maps ----------------------------------------------------------------------------------------------------------


def mapper(architecture="densenet-small", **options):
    given = {"device": "cpu", "threads": 2} | options
    return mappers.saliency_mapper(architecture, weights(architecture), explain, **given)


def test_maps_are_those_of_the_method():
    batch = images(3, 48)
    maps, scale = mapper(parameters={"target": 1, "start": "one"})(batch)
    expected = finish(explain(network("densenet-small"), torch.from_numpy(batch), 1, start="one"))
    assert maps.dtype == np.float16 and scale.dtype == np.float32
    np.testing.assert_allclose(maps.astype(float), expected[0].astype(float), atol=1e-3)
    np.testing.assert_allclose(scale, expected[1], rtol=1e-5)


@pytest.mark.parametrize("architecture", ["densenet-tiny", "densenet-small"])
def test_a_map_has_the_same_bytes_in_any_batch_order_and_on_any_threads(architecture):
    torch.set_num_threads(2)  # torch's own threads must not matter
    batch = images(6, 64)
    whole = mapper(architecture, threads=1)(batch)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    run = mapper(architecture, threads=3)
    for size in (1, 2, 4, 6):
        order = rng.permutation(6)
        parts = [run(batch[order[i : i + size]]) for i in range(0, 6, size)]
        assert np.concatenate([p[0] for p in parts]).tobytes() == whole[0][order].tobytes()
        assert np.concatenate([p[1] for p in parts]).tobytes() == whole[1][order].tobytes()


@pytest.mark.densenet121
def test_a_densenet121_map_has_the_same_bytes_in_any_batch():
    batch = images(2, 112)
    whole = mapper("densenet121", threads=2)(batch)
    alone = mapper("densenet121", threads=1)(batch[1:])
    assert whole[0][1:].tobytes() == alone[0].tobytes() and whole[1][1:].tobytes() == alone[1].tobytes()


def test_a_short_micro_batch_is_filled_up():
    torch.set_num_threads(2)
    batch, sizes, threads = images(5, 32), [], set()

    def recorded(module, pixels, **parameters):
        sizes.append((len(pixels), bool(pixels[-1].any())))
        threads.add(torch.get_num_threads())
        return explain(module, pixels, **parameters)

    run = mappers.saliency_mapper(
        "densenet-tiny", weights("densenet-tiny"), recorded, device="cpu", threads=1, micro_batch=4
    )
    maps, scale = run(batch)
    assert sizes == [(4, True), (4, False)]
    assert threads == {1}  # more could change the last bit
    one = mapper("densenet-tiny")(batch)
    np.testing.assert_allclose(maps.astype(float), one[0].astype(float), atol=1e-3)
    np.testing.assert_allclose(scale, one[1], rtol=1e-5)


def test_each_thread_explains_with_its_own_copy():
    both, used = threading.Barrier(2, timeout=20), set()

    def recorded(module, pixels):
        both.wait()  # so that neither thread can do all the work
        used.add((threading.get_ident(), id(module)))
        return pixels

    given = ("densenet-tiny", weights("densenet-tiny"))
    mappers.saliency_mapper(*given, recorded, device="cpu", threads=2)(images(4, 32))
    assert len(used) == len({thread for thread, _ in used}) == len({module for _, module in used}) == 2


@pytest.mark.parametrize("form", INPUTS)
def test_every_form_is_that_of_the_relevance(form):
    batch = images(3, 32)
    maps, scale = mapper("densenet-tiny", form=form)(batch)
    expected = finish(explain(network("densenet-tiny"), torch.from_numpy(batch)), form)
    assert maps.shape == expected[0].shape == ((3, 3, 32, 32) if form == "rgb" else (3, 32, 32))
    np.testing.assert_allclose(maps.astype(float), expected[0].astype(float), atol=1e-3)
    np.testing.assert_allclose(scale, expected[1], rtol=1e-5)


def noise(module, images, target=None, *, scale=1.0, generator):
    """A method that draws: the same noise on every image of the batch."""
    return images * 0 + scale * torch.randn(images.shape[1:], generator=generator, device=images.device)


@pytest.mark.parametrize("size", [1, 4])
def test_draws_follow_from_the_seed_alone(size):
    given = ("densenet-tiny", weights("densenet-tiny"), noise)
    options = {"device": "cpu", "threads": 3, "micro_batch": size}
    maps, scale = mappers.saliency_mapper(*given, **options, seed=7, parameters={"scale": 2.0})(images(6, 32))
    drawn = 2 * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(7))
    expected, largest = finish(drawn[None].numpy())
    for one, much in zip(maps, scale, strict=True):
        np.testing.assert_array_equal(one, expected[0])
        assert much == largest[0]
    other = mappers.saliency_mapper(*given, **options, seed=8)(images(1, 32))[0]
    assert not np.array_equal(other[0], expected[0])
    assert mappers.saliency_mapper(*given, **options, seed=2**70)(images(1, 32))[0].any()


def test_a_method_is_told_what_it_was_fitted_to_and_no_other_is():
    seen = {}

    def fitted_to(module, images, target=None, *, fitted):
        seen.update(fitted)
        return images

    values = {"mean": np.arange(3, dtype=np.float32), "norm": np.ones((2, 2))}
    given = ("densenet-tiny", weights("densenet-tiny"))
    mappers.saliency_mapper(*given, fitted_to, device="cpu", fitted=values)(images(1, 32))
    assert {name: type(value) for name, value in seen.items()} == {"mean": torch.Tensor, "norm": torch.Tensor}
    for name, value in values.items():
        np.testing.assert_array_equal(seen[name], value)
    mappers.saliency_mapper(*given, explain, device="cpu", fitted=values, seed=3)(images(1, 32))


def test_fitting_sees_every_batch_as_often_as_it_likes_on_one_thread():
    torch.set_num_threads(2)
    batches, threads = [images(4, 32), images(3, 32, seed=1)], set()

    def fit(module, given):
        threads.add(torch.get_num_threads())
        mean = sum(batch.sum(0) for batch in given) / 7
        spread = sum(((batch - mean) ** 2).sum(0) for batch in given) / 7
        with torch.no_grad():
            return {"mean": mean, "spread": spread, "logits": torch.cat([module(batch) for batch in given])}

    found = mappers.fit_method("densenet-tiny", weights("densenet-tiny"), fit, lambda: iter(batches))
    whole = np.concatenate(batches)
    np.testing.assert_allclose(found["mean"], whole.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["spread"], whole.var(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["logits"], eager("densenet-tiny", whole)[1], atol=1e-5)
    assert threads == {1} and torch.get_num_threads() == 2


def test_fitting_to_what_is_not_finite():
    given = ("densenet-tiny", weights("densenet-tiny"))
    torch.set_num_threads(2)
    with pytest.raises(CbirError, match=r"fitted to \(b\) is not finite"):
        mappers.fit_method(*given, lambda *_: {"a": torch.ones(2), "b": torch.tensor([1, torch.nan])}, lambda: [])
    with pytest.raises(ShapeError, match="too small"):
        mappers.fit_method(*given, lambda _, batches: list(batches), lambda: [images(1, 4)])
    assert torch.get_num_threads() == 2


def test_maps_of_too_small_images():
    with pytest.raises(ShapeError, match="too small"):
        mapper("densenet-tiny")(np.zeros((1, 3, 4, 4), np.float32))


def test_no_images_have_no_maps():
    maps, scale = mapper("densenet-tiny")(np.zeros((0, 3, 32, 32), np.float32))
    assert maps.shape == (0, 32, 32) and scale.shape == (0,)


def test_an_error_in_a_worker_reaches_the_caller_and_threads_are_put_back():
    batch = images(4, 32)
    batch[3, 0, 0, 0] = np.nan
    torch.set_num_threads(2)
    with pytest.raises(CbirError, match="not finite"):
        mapper("densenet-tiny")(batch)
    assert torch.get_num_threads() == 2
