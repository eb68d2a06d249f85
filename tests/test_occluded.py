"""Windows of a network: what a box changes, computed alone, is what the whole network gives."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cbir_cli import engines, occluded, registry, sliding_boxes
from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.models._onnx import Graph, Step

NETWORKS = ("densenet-tiny", "densenet-small", "resnet-tiny")
FILL = np.array([3.0, -2.0, 4.0], np.float32)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def always(monkeypatch):
    """Windows in every step, whether they are worth it or not."""
    monkeypatch.setattr(occluded, "_WORTH", 2.0)
    monkeypatch.setattr(occluded, "_CALL", 0.0)
    monkeypatch.setattr(occluded, "_COPY", 0.0)


def network(architecture, outputs=2):
    """A network with weights and statistics as training would leave them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = registry.load("models", architecture).build(outputs)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.data.uniform_(-0.2, 1.5)
                layer.bias.data.uniform_(-0.3, 0.3)
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
    return net.eval()


def engine(architecture, *, outputs=2, threads=1, kind="onnxruntime"):
    weights = {name: value.numpy() for name, value in network(architecture, outputs).state_dict().items()}
    return engines.encoder(architecture, weights, engine=kind, device="cpu", threads=threads)


def noise(height, width=None, seed=0):
    return np.random.default_rng(seed).normal(size=(3, height, width or height)).astype(np.float32)


def hide(image, boxes):
    """The images with one box hidden each."""
    hidden = np.repeat(image[None], len(boxes), axis=0)
    for one, (y0, y1, x0, x1) in zip(hidden, boxes, strict=True):
        one[:, y0:y1, x0:x1] = FILL[:, None, None]
    return hidden


def together(run, image, boxes, fill=FILL):
    """Features and outputs of each box, in the order of the boxes."""
    parts = list(run.hidden(image, boxes, fill))
    rows = np.concatenate([rows for rows, _ in parts])
    assert sorted(rows) == list(range(len(boxes)))
    return [np.concatenate([results[i] for _, results in parts])[np.argsort(rows)] for i in (0, 1)]


def eager(architecture, images):
    """The whole network in float64, whatever is hidden."""
    net, kept = network(architecture).double(), []
    head = net.get_submodule(registry.load("models", architecture).HEAD)
    head.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        outputs = torch.cat([net(part) for part in torch.from_numpy(images).double().split(32)])
    return torch.cat(kept).numpy(), outputs.numpy()


def close(found, expected):
    """To 1e-5 of the largest value; what the boxes change is far more than that."""
    for one, other in zip(found, expected, strict=True):
        tolerance = 1e-5 * np.abs(other).max()
        assert np.median(np.abs(other - other[0]).max(axis=1)) > 50 * tolerance
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def windows(run, image, boxes):
    """How many steps run on windows."""
    return len(run._occluded._keep(image, boxes)[1])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize(
    ("size", "box", "stride"), [(32, 6, 4), (64, 9, 9), (65, 7, 6), (96, 24, 13), (33, 1, 1), (64, 80, 50)]
)
def test_windows_give_what_the_whole_network_gives(architecture, size, box, stride):
    image, run = noise(size), engine(architecture)
    boxes = [(0, 0, 0, 0), *sliding_boxes.sliding(size, size, box=box, stride=stride)]
    boxes = boxes[:: max(1, len(boxes) // 150)]
    found = together(run, image, boxes)
    assert windows(run, image, boxes) == len(registry.load("models", architecture).steps(run._weights))
    np.testing.assert_allclose(found[0], run(hide(image, boxes))[0], rtol=0, atol=1e-6 * np.abs(found[0]).max())
    if box > 1:
        close(found, eager(architecture, hide(image, boxes)))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 65), (63, 63), (70, 47)])
def test_boxes_at_every_border(architecture, height, width):
    image, run = noise(height, width), engine(architecture)
    rows, columns = (
        [(0, 1), (0, 5), (1, 4), (3, n - 3), (n - 5, n), (n - 1, n), (n // 2, n // 2 + 3), (0, n)]
        for n in (height, width)
    )
    boxes = [(0, 0, 0, 0), *((*row, *column) for row in rows for column in columns)]
    close(together(run, image, boxes), eager(architecture, hide(image, boxes)))


@pytest.mark.parametrize(("architecture", "size", "box"), [("densenet-small", 128, 14), ("resnet-tiny", 96, 16)])
def test_from_where_windows_are_not_worth_it_the_rest_runs_whole(monkeypatch, architecture, size, box):
    if architecture == "resnet-tiny":  # calls take longer than all of its products, and its windows stay small
        monkeypatch.setattr(occluded, "_WORTH", 0.2)
        monkeypatch.setattr(occluded, "_CALL", 0.0)
        monkeypatch.setattr(occluded, "_COPY", 0.0)
    image, run = noise(size), engine(architecture)
    boxes = [(0, 0, 0, 0), *sliding_boxes.sliding(size, size, box=box, stride=box)][::5]
    assert 0 < windows(run, image, boxes) < len(registry.load("models", architecture).steps(run._weights))
    close(together(run, image, boxes), eager(architecture, hide(image, boxes)))


def test_a_network_that_is_too_small_for_windows_runs_whole():
    image, run = noise(32), engine("densenet-tiny")
    boxes = list(sliding_boxes.sliding(32, 32, box=8, stride=8))
    assert not windows(run, image, boxes)
    found = together(run, image, boxes)
    np.testing.assert_array_equal(found[0], run(hide(image, boxes))[0])


@pytest.mark.densenet121
def test_densenet121():
    image, run = noise(224), engine("densenet121")
    boxes = [(0, 0, 0, 0), *list(sliding_boxes.sliding(224, 224, box=24, stride=5))[::120]]
    assert windows(run, image, boxes) > 10
    close(together(run, image, boxes), eager("densenet121", hide(image, boxes)))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_box_has_the_same_bytes_in_any_company_order_and_number_of_threads(architecture):
    image = noise(65)
    boxes = list(sliding_boxes.sliding(65, 65, box=11, stride=9))
    alone = engine(architecture)
    expected = together(alone, image, boxes)
    for run in (alone, engine(architecture, threads=3)):
        backwards = together(run, image, boxes[::-1])
        some = together(run, image, boxes[3:20:4])
        for whole, other, few in zip(expected, backwards, some, strict=True):
            assert whole.tobytes() == other[::-1].tobytes()
            assert whole[3:20:4].tobytes() == few.tobytes()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_box_that_changes_no_pixel_changes_no_bit(architecture):
    image = noise(64)
    image[:, 20:] = FILL[:, None, None]
    boxes = [(0, 0, 0, 0), (20, 30, 0, 9), (40, 64, 50, 64), (31, 32, 31, 32), (60, 60, 3, 9), (4, 9, 4, 9)]
    features, outputs = together(engine(architecture), image, boxes)
    for found in (features, outputs):
        assert all(row.tobytes() == found[0].tobytes() for row in found[:-1])
        assert (found[-1] != found[0]).any()


@pytest.mark.usefixtures("always")
def test_who_stops_listening_spoils_nothing():
    image, run = noise(64), engine("densenet-small", threads=2)
    boxes = list(sliding_boxes.sliding(64, 64, box=9, stride=9))
    expected = together(run, image, boxes)
    listening = run.hidden(image, boxes, FILL)
    next(listening)
    listening.close()
    assert together(run, image, boxes)[0].tobytes() == expected[0].tobytes()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_thread_comes_out(monkeypatch, threads):
    def fail(*given):
        raise CbirError("no")

    monkeypatch.setattr(occluded, "_paste", fail)
    with pytest.raises(CbirError, match="no"):
        together(
            engine("densenet-tiny", threads=threads), noise(32), list(sliding_boxes.sliding(32, 32, box=8, stride=8))
        )


def test_memory_bounds_how_many_run_at_a_time(monkeypatch):
    image, run = noise(64), engine("densenet-tiny")
    boxes = [(y, y + 8, 0, 8) for y in range(0, 56)]
    assert max(len(rows) for rows, _ in run.hidden(image, boxes, FILL)) == occluded._TOGETHER
    monkeypatch.setattr(occluded, "_MEMORY", 3 * image.nbytes)
    assert max(len(rows) for rows, _ in run.hidden(image, boxes, FILL)) == 3
    monkeypatch.setattr(occluded, "_MEMORY", 1)
    assert {len(rows) for rows, _ in run.hidden(image, boxes, FILL)} == {1}


def test_no_boxes():
    for kind in ("onnxruntime", "torch"):
        assert list(engine("densenet-small", kind=kind).hidden(noise(64), [], FILL)) == []


# --- what a step depends on ----------------------------------------------------------------------------------------


@given(
    st.integers(1, 4),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_span_is_the_plain_search(stride, before, after, length, start, stop):
    start, stop = min(start, length), min(stop, length)
    step = Step(lambda net, x: x, stride=stride, before=before, after=after)
    result = -(-length // stride)
    needs = [set(range(stride * j - before, stride * j + after + 1)) for j in range(result)]
    changed = [j for j in range(result) if needs[j] & set(range(start, stop))]
    found = occluded.span(start, stop, step, length, result)
    if not changed:
        assert found is None
        return
    assert list(range(result))[found.write] == changed
    read = range(length)[found.read]
    assert read.start % stride == 0
    assert all((needs[j] & set(range(length))) <= set(read) for j in changed)
    assert [read.start // stride + i for i in range(found.inner.start, found.inner.stop)] == changed


@pytest.mark.parametrize("architecture", NETWORKS)
def test_steps_depend_on_what_they_say_and_on_all_of_it(architecture):
    module = registry.load("models", architecture)
    weights = {name: value.numpy() for name, value in network(architecture).state_dict().items()}
    channels = 3
    for step in module.steps(weights):
        net = Graph(weights, channels)
        session = engines._session(net.maps(step.add(net, "images")))
        rng = np.random.default_rng(0)
        maps = rng.normal(size=(1, channels, 40, 8)).astype(np.float32)
        reached = {}
        plain = session.run(None, {"images": maps})[0]
        for row in range(40):
            other = maps.copy()
            other[:, :, row] += rng.normal(size=(channels, 8)) * 9
            for j in np.flatnonzero((session.run(None, {"images": other})[0] != plain).any(axis=(0, 1, 3))):
                reached.setdefault(int(j), []).append(row)
        for j, rows in reached.items():
            said = range(max(0, step.stride * j - step.before), min(40, step.stride * j + step.after + 1))
            assert set(rows) <= set(said)
        whole = [j for j in reached if step.stride * j - step.before >= 0 and step.stride * j + step.after < 40]
        assert any(reached[j][0] == step.stride * j - step.before for j in whole)
        assert any(reached[j][-1] == step.stride * j + step.after for j in whole)
        channels = plain.shape[1] + (channels if step.joins else 0)


# --- engines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["densenet-tiny", "mldam-tiny"])
def test_torch_gives_the_same(architecture):
    image, run = noise(64), engine(architecture, kind="torch")
    boxes = [(0, 0, 0, 0), *sliding_boxes.sliding(64, 64, box=24, stride=16)]
    close(together(run, image, boxes), eager(architecture, hide(image, boxes)))


def test_a_network_with_a_graph_and_without_steps_runs_whole(monkeypatch):
    image, run = noise(33), engine("densenet-tiny")
    boxes = list(sliding_boxes.sliding(33, 33, box=8, stride=5))
    expected = run(hide(image, boxes))
    members = dict(inspect.getmembers(run._architecture))
    monkeypatch.setattr(run, "_architecture", SimpleNamespace(**{n: m for n, m in members.items() if n != "steps"}))
    for found, wanted in zip(together(run, image, boxes), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["onnxruntime", "torch"])
def test_what_does_not_fit_is_refused(kind):
    run = engine("densenet-tiny", kind=kind)
    with pytest.raises(ShapeError, match="expected images"):
        list(run.hidden(np.zeros((1, 32, 32), np.float32), [(0, 4, 0, 4)], FILL))
    with pytest.raises(ShapeError, match="too small"):
        list(run.hidden(np.zeros((3, 4, 4), np.float32), [(0, 4, 0, 4)], FILL))
    with pytest.raises(CbirError, match="not finite"):
        list(run.hidden(noise(32), [(0, 4, 0, 4)], np.full(3, np.inf, np.float32)))
