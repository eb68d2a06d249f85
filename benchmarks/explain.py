"""What explanations cost: occlusion against other ways to compute it, and every method in forward passes.

    python benchmarks/explain.py --threads 2                          both parts; DenseNet-121 at 224 pixels
    python benchmarks/explain.py --methods occlusion relax --quick    64 pixels and few boxes, in a minute or two

Occlusion: three ways to one map of one pair, with the same boxes, fill and distance. They take turns at a hundred boxes
each, so that whatever else the machine does slows all of them, and the figures are ratios of their sums.

outside
    xaitk-saliency's ``PerturbationOcclusion`` with its ``SimilarityScoring``, driving eager PyTorch in batches. It is
    given our boxes; its own ``SlidingWindow`` has fewer at the borders. Left out where it is not installed.
loop
    Our engine, ONNX Runtime, fed with batches of images that have a box drawn.
ours
    ``encode_hidden``: only what a box changes is computed again.

Methods: all modules of ``similarity/``, with their defaults, on a pair, and on a second pair with the same query. A
forward pass is one image through ``encode``, timed before and after each method.
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from cbir_cli import engines, registry, sliding_boxes
from cbir_cli.artifacts.model import Model
from cbir_cli.errors import CbirError
from cbir_cli.images import InputSpec
from cbir_cli.similarity import occlusion
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

FILL = 0.449
BATCH = 16
LONG = 60.0
"""Seconds; a method that takes longer for one pair is not timed on two."""
QUICK = {"box": 16, "stride": 16, "masks": 64, "n_masks": 64, "samples": 8}
"""Parameters with ``--quick``, of methods that have them."""


def model(architecture, size):
    """A network with weights and statistics as training would leave them."""
    torch.manual_seed(0)
    kind = registry.load("models", architecture)
    module = kind.build(2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.3, 0.3)
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval(), Model(
        architecture=architecture,
        weights={name: tensor.numpy() for name, tensor in module.state_dict().items()},
        outputs=["one", "two"],
        task={"name": "none", "labels": ["one", "two"]},
        objective="multilabel",
        feature_layer=f"{kind.HEAD}.input",
        feature_width=kind.FEATURES,
        input=InputSpec(size=size),
        name="benchmark",
    )


def pictures(count, size):
    """Smooth noise in [0, 1], (count, size, size) float32."""
    coarse = torch.rand((count, 1, 9, 9), generator=torch.Generator().manual_seed(1))
    fine = nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)[:, 0].clamp(0, 1)
    return fine.numpy()


class Clock:
    """Adds up wall and CPU seconds."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += time.process_time() - self._start[1]


# --- occlusion -----------------------------------------------------------------------------------------------------


def outside(module, spec):
    """Return what runs xaitk-saliency on some boxes and gives vectors, and its scoring; None where it is missing."""
    try:
        from smqtk_descriptors.interfaces.image_descriptor_generator import ImageDescriptorGenerator
        from xaitk_saliency import PerturbImage
        from xaitk_saliency.impls.gen_descriptor_sim_sal.similarity_scoring import SimilarityScoring
        from xaitk_saliency.impls.gen_image_similarity_blackbox_sal.occlusion_based import PerturbationOcclusion
        from xaitk_saliency.impls.perturb_image.sliding_window import SlidingWindow
    except ImportError:
        return None

    class Eager(ImageDescriptorGenerator):
        """Vectors by eager PyTorch, and what was given last."""

        def generate_arrays_from_images(self, images):
            images = np.stack(list(images))
            with torch.inference_mode():
                parts = [
                    module.features(torch.from_numpy(spec.prepare(images[start : start + BATCH]))).relu().mean((2, 3))
                    for start in range(0, len(images), BATCH)
                ]
            self.last = torch.cat(parts).numpy()
            return list(self.last)

        def get_config(self):
            return {}

    class Given(PerturbImage):
        """Our boxes."""

        def __init__(self, boxes):
            self.boxes = boxes

        def perturb(self, image):
            return hidden(self.boxes, image.shape)

        def get_config(self):
            return {}

    def run(query, result, boxes):
        eager = Eager()
        PerturbationOcclusion(Given(boxes), SimilarityScoring("euclidean"), fill=FILL)(result, [query], eager)
        return eager.last

    eager = Eager()
    return run, eager.generate_arrays_from_images, SimilarityScoring("euclidean").generate, SlidingWindow


def hidden(boxes, shape):
    """Masks (N, H, W) bool, False where a box hides."""
    shown = np.ones((len(boxes), *shape), bool)
    for one, (y0, y1, x0, x1) in zip(shown, boxes, strict=True):
        one[y0:y1, x0:x1] = False
    return shown


def of_occlusion(network, module, options):
    query, result = pictures(2, options.size)
    box, stride = options.box, options.stride
    boxes = list(sliding_boxes.sliding(*result.shape, box=box, stride=stride))
    turns = max(1, len(boxes) // 100)
    other = outside(module, network.input)
    print(f"Occlusion, {len(boxes)} boxes of {box} pixels every {stride}, {turns} turns, {options.threads} threads")
    ways = {
        "loop": lambda some: occlusion._encode_hidden(network, result, some, FILL, batch=32),
        "ours": lambda some: network.encode_hidden(result, some, FILL),
    }
    if other:
        ways = {"outside": lambda some: [(np.arange(len(some)), other[0](query, result, some))], **ways}
    else:
        print("  xaitk-saliency is not installed: no comparison with it (pip install xaitk-saliency)")
    vectors = {name: np.empty((len(boxes), network.width), np.float32) for name in ways}
    clocks = {name: Clock() for name in ways}
    for run in ways.values():  # opens what is opened once
        list(run(boxes[:: max(1, len(boxes) // 8)]))
    for turn in range(turns):
        places = np.arange(turn, len(boxes), turns)
        for name, run in ways.items():
            with clocks[name]:
                for rows, found in run([boxes[place] for place in places]):
                    vectors[name][places[rows]] = found
    last = clocks["ours"]
    for name, clock in clocks.items():
        print(
            f"  {name:<8}{1000 * clock.wall / len(boxes):8.1f} ms a box ({1000 * clock.cpu / len(boxes):.1f} CPU)"
            f"   {clock.wall / last.wall:5.2f} times ours, CPU time {clock.cpu / last.cpu:.2f}"
        )
    found = {name: scored(network, query, result, rows, box, stride) for name, rows in vectors.items()}
    difference = np.abs(found["ours"] - found["loop"]).max() / found["ours"].max()
    print(f"  ours against the loop: largest difference {difference:.1e} of the map")
    if other:
        against_outside(other, network, query, result, boxes, vectors, found["ours"], options)


def scored(network, query, result, rows, box, stride):
    """Our map from vectors that are already there."""

    def replay(image, asked, fill):
        yield np.arange(1), network.encode(image[None])
        yield np.arange(1, len(asked)), rows

    encoder = SimpleNamespace(similarity="l2", encode=network.encode, encode_hidden=replay)
    return occlusion.explain(encoder, query[None], result[None], box=box, stride=stride, fill=FILL)[1][0]


def against_outside(other, network, query, result, boxes, vectors, ours, options):
    _, encode, score, sliding = other
    query_vector, vector = encode([query, result])
    shown = hidden(boxes, result.shape)
    theirs = score(vector, query_vector[None], vectors["outside"], shown)[0]
    query_vector, vector = network.encode(np.stack([query, result]))
    same = score(vector, query_vector[None], vectors["ours"], shown)[0]
    top = ours.max()
    print(f"  ours against outside: largest difference {np.abs(ours / top - theirs).max():.1e} of the map")
    print(f"  our vectors, scored by both: largest difference {np.abs(ours / top - same).max():.1e} of the map")
    grid = sliding((options.box,) * 2, (options.stride,) * 2)(result)
    print(f"  its own grid has {len(grid)} boxes, ours {len(boxes)}")


# --- all methods ---------------------------------------------------------------------------------------------------


def of_methods(network, names, options):
    images = pictures(3, options.size)
    print(f"Methods, in forward passes of one image, {options.threads} threads")
    print(f"  {'':<16}{'a pair':>10}{'one more':>10}   CPU: {'a pair':>8}   maps of")
    for name in names:
        method = registry.load("similarity", name)
        known = registry.parameters(method.explain)
        parameters = {key: value for key, value in QUICK.items() if options.quick and key in known}
        short = {key: value for key, value in QUICK.items() if key in known}
        try:
            if short or not known:
                method.explain(network, images[:1], images[1:2], **short)  # opens what is opened once
            alone, both, forward = Clock(), Clock(), [passes(network, images)]
            with alone:
                method.explain(network, images[:1], images[1:2], **parameters)
            forward.append(passes(network, images))
            if alone.wall < LONG:
                with both:
                    method.explain(network, images[[0, 0]], images[1:], **parameters)
                forward.append(passes(network, images))
        except CbirError as error:
            print(f"  {name:<16}skipped: {error}")
            continue
        wall, cpu = (statistics.median(times) for times in zip(*forward, strict=True))
        more = f"{(both.wall - alone.wall) / wall:10.1f}" if both.wall else f"{'-':>10}"
        print(f"  {name:<16}{alone.wall / wall:10.1f}{more}        {alone.cpu / cpu:8.1f}   {method.MAPS}")


def passes(network, images):
    """Wall and CPU seconds of one image through the network."""
    clock = Clock()
    network.encode(images)
    with clock:
        for _ in range(4):
            network.encode(images)
    return clock.wall / 4 / len(images), clock.cpu / 4 / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="*", help="default: all; none for occlusion against the other ways alone")
    parser.add_argument("--architecture", default="densenet121", help="a DenseNet")
    parser.add_argument("--size", type=int, help="pixels; default 224, with --quick 64")
    parser.add_argument("--threads", type=int, default=engines.cpu_threads())
    parser.add_argument("--box", type=int, help="default 24, with --quick 16")
    parser.add_argument("--stride", type=int, help="default 5, with --quick 8")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name, (full, short) in {"size": (224, 64), "box": (24, 16), "stride": (5, 8)}.items():
        if getattr(options, name) is None:
            setattr(options, name, short if options.quick else full)
    torch.set_num_threads(options.threads)
    module, made = model(options.architecture, options.size)
    network = Network(made, Settings(device="cpu", threads=options.threads))
    names = registry.names("similarity") if options.methods is None else options.methods
    if not names or "occlusion" in names:
        of_occlusion(network, module, options)
    if names:
        of_methods(network, [registry.canonical(name) for name in names], options)


if __name__ == "__main__":
    main()
