"""Running networks: features and logits of image batches, and their saliency maps, over numpy arrays.

On a CPU features come from ONNX Runtime, on a graph made from the weights alone: neither torch nor torchvision is
imported, and an image's features are the same bytes in any batch. Torch runs on a GPU, where an architecture has no
graph, and on request as the reference.
"""

import copy
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.errors import CbirError, ShapeError, UsageError, WeightsError
from cbir_cli.maps import finish, shape

if TYPE_CHECKING:
    import torch

log = logging.getLogger("cbir")

Floats = NDArray[np.float32]
ENGINES = ("auto", "onnxruntime", "torch")
DEVICES = ("auto", "cpu", "cuda")

_TOGETHER = 8
"""Images that ONNX Runtime gets at a time: more are slower (their activations leave the cache) and need more memory."""


class Encoder(Protocol):
    """A network that is ready to run."""

    engine: str
    device: str

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        """Return features (N, D) and logits (N, C), float32, of images (N, 3, S, S), float32, as ``prepare`` gives."""
        ...


def cpu_threads() -> int:
    """Return how many CPU threads this process may use: what SLURM gave the task, within its CPU affinity."""
    # Not the machine's CPU count: on a shared node that starts far more threads than there are cores for them.
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(available, int(granted)) if granted.isdecimal() and int(granted) > 0 else available


def choose_device(device: str = "auto") -> str:
    """Return ``cpu`` or ``cuda``; torch is only imported where there is a sign of a GPU.

    Raises
    ------
    UsageError
        If the name is unknown, or ``cuda`` is asked for and cannot be had.
    """
    if device not in DEVICES:
        raise registry.unknown("device", device, DEVICES)
    if device == "cpu" or (device == "auto" and not _gpu_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    return "cpu"


def encoder(
    architecture: str,
    weights: Mapping[str, NDArray[Any]],
    n_outputs: int,
    *,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Encoder:
    """Make a network ready to run.

    Parameters
    ----------
    architecture : str
        A name in ``models/``.
    weights : mapping of str to ndarray
        The network's whole state dict.
    n_outputs : int
        Logits of the network.
    engine : str
        ``onnxruntime``, ``torch``, or ``auto``: torch on a GPU or where the architecture has no graph.
    device : str
        ``cpu``, ``cuda``, or ``auto``: a GPU if there is one, except for ``onnxruntime``.
    threads : int, optional
        CPU threads; default all that the process may use. With torch they are set for the whole process.

    Returns
    -------
    Encoder
        Callable; on ONNX Runtime the result for an image does not depend on the batch it came in.

    Raises
    ------
    UsageError
        If engine, device and architecture do not go together.
    WeightsError
        If the weights are not those of the architecture.
    """
    if engine not in ENGINES:
        raise registry.unknown("engine", engine, ENGINES)
    module = registry.load("models", architecture)
    threads = threads or cpu_threads()
    if engine == "onnxruntime":
        if device == "cuda":
            raise UsageError("--engine onnxruntime runs on the CPU only; use --engine torch with --device cuda")
        if not hasattr(module, "graph"):
            raise UsageError(f"--engine onnxruntime: {architecture} has no ONNX graph; use --engine torch")
        return _Onnx(module, weights, threads)
    device = choose_device(device)
    if engine == "auto" and device == "cpu":
        if hasattr(module, "graph"):
            return _Onnx(module, weights, threads)
        log.info("%s has no ONNX graph: it runs on torch", architecture)
    return _Torch(module, weights, n_outputs, device, threads)


class _Onnx:
    engine, device = "onnxruntime", "cpu"

    def __init__(self, architecture: ModuleType, weights: Mapping[str, NDArray[Any]], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; printing it as well clutters stderr
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that wait must sleep: spinning ones take the cores that decode the next images, and on a busy machine
        # two threads that spin are slower than one (1.5 times the time per image where others use the cores as well).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = architecture.graph(weights)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._smallest = architecture.MIN_SIZE
        self._widths = [output.shape[1] for output in self._session.get_outputs()]

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        _check(images, self._smallest)
        features, logits = (np.empty((len(images), width), np.float32) for width in self._widths)
        for start in range(0, len(images), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            feed = {"images": np.ascontiguousarray(images[rows])}
            features[rows], logits[rows] = self._session.run(["features", "logits"], feed)
        return _finite(features, logits)


class _Torch:
    engine = "torch"

    def __init__(
        self, architecture: ModuleType, weights: Mapping[str, NDArray[Any]], n_outputs: int, device: str, threads: int
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.device = device
        self._layout = torch.channels_last if device == "cuda" else torch.contiguous_format
        self._module = _network(architecture, weights, n_outputs).to(device).to(memory_format=self._layout)
        layer = architecture.FEATURE_LAYER.removesuffix(".input")
        self._module.get_submodule(layer).register_forward_pre_hook(self._keep)
        self._smallest = architecture.MIN_SIZE
        self._features: torch.Tensor

    def _keep(self, _module: "torch.nn.Module", inputs: "tuple[torch.Tensor, ...]") -> None:
        self._features = inputs[0]

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        import torch

        _check(images, self._smallest)
        # TF32 is torch's default for convolutions on a GPU, and is off by a hundred times what the engines agree to.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device, memory_format=self._layout)
            logits = self._module(batch)
            return _finite(self._features.cpu().numpy(), logits.cpu().numpy())


def saliency_mapper(
    architecture: str,
    weights: Mapping[str, NDArray[Any]],
    n_outputs: int,
    explain: "Callable[..., torch.Tensor]",
    *,
    device: str = "auto",
    threads: int | None = None,
    micro_batch: int | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    form: str = "sum-repeat",
    seed: int = 0,
    fitted: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> "SaliencyMapper":
    """Make a network ready to explain itself.

    Parameters
    ----------
    architecture, weights, n_outputs, device
        As for ``encoder``.
    explain : callable
        ``explain`` of a saliency method: (module, images, **parameters) to relevance (N, C, H, W).
    threads : int, optional
        CPU threads; default all that the process may use. Changes no byte of a map.
    micro_batch : int, optional
        Images that run together; default 1 on a CPU and 16 on a GPU. A last one that is short is filled with zeros, so
        that all have the same size. On a CPU, more than 1 gives up that maps do not depend on the batch.
    parameters : mapping
        Passed to ``explain``.
    form : str
        How relevance becomes a map: one of ``maps.INPUTS``.
    seed : int
        Of the generator that ``explain`` gets where it has that keyword, seeded anew for each micro-batch.
    fitted : mapping of str to ndarray
        What ``fit_method`` gave, where ``explain`` has that keyword.

    Raises
    ------
    WeightsError
        If the weights are not those of the architecture.
    """
    import torch

    device = choose_device(device)
    module = registry.load("models", architecture)
    network = _network(module, weights, n_outputs).to(device)
    alone = device == "cpu"
    workers = (threads or cpu_threads()) if alone else 1
    size = micro_batch or (1 if alone else 16)
    keywords = dict(parameters)
    if takes(explain, "fitted"):
        keywords["fitted"] = {name: torch.from_numpy(np.array(value)).to(device) for name, value in fitted.items()}
    draws = seed if takes(explain, "generator") else None
    return SaliencyMapper(network, explain, device, workers, size, module.MIN_SIZE, keywords, form, draws)


class SaliencyMapper:
    """Saliency maps as they are stored; on a CPU the same bytes however the images are batched or ordered.

    On a CPU images run one at a time, one on each thread. Torch's results depend in the last bit on the size of a
    batch, the place in it and the number of threads; an image alone on one thread has none of these. It is no slower
    either: threads that share one image mostly wait for each other.
    """

    def __init__(
        self,
        network: "torch.nn.Module",
        explain: "Callable[..., torch.Tensor]",
        device: str,
        workers: int,
        micro_batch: int,
        smallest: int,
        keywords: Mapping[str, Any],
        form: str,
        seed: int | None,
    ) -> None:
        self.device = device
        self._explain, self._keywords, self._form, self._seed = explain, keywords, form, seed
        self._workers, self._size, self._smallest = workers, micro_batch, smallest
        self._networks = [network]

    def __call__(self, images: Floats) -> tuple[NDArray[np.float16], Floats]:
        """Return maps and scale (N,) float32 of images (N, 3, S, S), as ``maps.finish`` has them."""
        import torch

        _check(images, self._smallest)
        maps = np.zeros((len(images), *shape(self._form, *images.shape[2:])), np.float16)
        scale = np.zeros(len(images), np.float32)
        starts = range(0, len(images), self._size)
        workers = min(self._workers, len(starts))
        # Each worker has its own copy: a method may hook the network while it runs.
        self._networks += [copy.deepcopy(self._networks[0]) for _ in range(workers - len(self._networks))]
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(max(workers, 1)) as pool:
                jobs = [pool.submit(self._run, i, starts[i::workers], images, maps, scale) for i in range(workers)]
                for job in jobs:
                    job.result()
        finally:
            torch.set_num_threads(before)
        return maps, scale

    def _run(self, worker: int, starts: range, images: Floats, maps: NDArray[np.float16], scale: Floats) -> None:
        import torch

        for start in starts:
            rows = slice(start, min(start + self._size, len(images)))
            batch = np.zeros((self._size, *images.shape[1:]), np.float32)
            batch[: rows.stop - start] = images[rows]
            pixels = torch.from_numpy(batch).to(self.device)
            # Seeded anew each time, a method's draws are the same for every image, whatever it is batched with.
            drawn = {}
            if self._seed is not None:
                drawn["generator"] = torch.Generator(self.device).manual_seed(self._seed % 2**64)
            relevance = self._explain(self._networks[worker], pixels, **self._keywords, **drawn)
            maps[rows], scale[rows] = finish(relevance[: rows.stop - start].cpu().numpy(), self._form)


def takes(explain: Callable[..., Any], keyword: str) -> bool:
    """Say whether a saliency method has a keyword: ``generator`` where it draws, ``fitted`` where it is fitted."""
    return keyword in inspect.signature(explain).parameters


def fit_method(
    architecture: str,
    weights: Mapping[str, NDArray[Any]],
    n_outputs: int,
    fit: "Callable[..., Mapping[str, torch.Tensor]]",
    read: Callable[[], Iterable[Floats]],
) -> dict[str, NDArray[Any]]:
    """Learn what a saliency method needs to know from images.

    It always runs on one thread of the CPU: a maps file is made in shards and goes on after a kill, each time with the
    same fitted values to the byte, wherever it runs.

    Parameters
    ----------
    architecture, weights, n_outputs
        As for ``encoder``.
    fit : callable
        ``fit`` of a saliency method: (module, batches) to tensors by name.
    read : callable
        Yields prepared images (B, 3, S, S), float32, batch by batch; called each time the method goes through them.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    WeightsError
        If the weights are not those of the architecture.
    CbirError
        If a fitted value is not finite.
    """
    import torch

    module = registry.load("models", architecture)
    network = _network(module, weights, n_outputs)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values = fit(network, _Batches(read, module.MIN_SIZE))
    finally:
        torch.set_num_threads(before)
    arrays = {name: np.ascontiguousarray(value.detach().numpy()) for name, value in values.items()}
    if bad := [name for name, value in arrays.items() if not np.isfinite(value).all()]:
        raise CbirError(
            f"what the method was fitted to ({bad[0]}) is not finite; the network or the images are damaged"
        )
    return arrays


class _Batches:
    """Tensors of batches that are read; may be gone through more than once."""

    def __init__(self, read: Callable[[], Iterable[Floats]], smallest: int) -> None:
        self._read, self._smallest = read, smallest

    def __iter__(self) -> "Iterator[torch.Tensor]":
        import torch

        for images in self._read():
            _check(images, self._smallest)
            yield torch.from_numpy(images)


def _network(architecture: ModuleType, weights: Mapping[str, NDArray[Any]], n_outputs: int) -> "torch.nn.Module":
    """Return the network in evaluation mode, with exactly these weights."""
    import torch

    module: torch.nn.Module = architecture.build(n_outputs)
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    except RuntimeError as error:
        raise WeightsError(f"the weights are not those of the network: {' '.join(str(error).split())}") from error
    return module.eval()


def _check(images: Floats, smallest: int) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32:
        raise ShapeError(f"expected images (N, 3, S, S) float32, found {images.shape} {images.dtype}")
    # ONNX Runtime would make zeros of an image that pooling has used up.
    if min(images.shape[2:]) < smallest:
        raise ShapeError(
            f"images of {images.shape[2]}x{images.shape[3]} are too small; the network needs {smallest} px"
        )


def _finite(features: Floats, logits: Floats) -> tuple[Floats, Floats]:
    if not (np.isfinite(features).all() and np.isfinite(logits).all()):
        raise CbirError("the network's output is not finite; its weights or the images are damaged")
    return features, logits


def _gpu_driver() -> bool:
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
