"""Running networks: what goes into the last layer and what comes out of it, of image batches, over numpy arrays.

On a CPU features come from ONNX Runtime, on a graph made from the weights alone: neither torch nor torchvision is
imported, and an image's features are the same bytes in any batch. Torch runs on a GPU, where an architecture has no
graph, and on request as the reference.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.distributed import launched
from cbir_cli.errors import CbirError, ShapeError, UsageError, WeightsError

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

    from cbir_cli.occluded import Occluded

log = logging.getLogger("cbir")

Floats = NDArray[np.float32]
Results = tuple[Floats, Floats]
Box = tuple[int, int, int, int]
ENGINES = ("auto", "onnxruntime", "torch")
DEVICES = ("auto", "cpu", "cuda")

_TOGETHER = 8
"""Images that ONNX Runtime gets at a time: more are slower (their activations leave the cache) and need more memory."""

_FILLS = 256
"""Images that keep a GPU busy."""


class Encoder(Protocol):
    """A network that is ready to run."""

    engine: str
    device: str

    def __call__(self, images: Floats) -> Results:
        """Return what the last layer is given and what the network returns, of images as ``prepare`` gives them.

        Parameters
        ----------
        images : ndarray (N, 3, S, S), float32

        Returns
        -------
        inputs : ndarray (N, D), float32
            Features.
        outputs : ndarray (N, K), float32
            Logits, or an embedding; the features once more where the network has no last layer.
        """
        ...

    def hidden(self, image: Floats, boxes: Sequence[Box], fill: Floats) -> Iterator[tuple[NDArray[np.intp], Results]]:
        """Yield the same of one image with a box hidden, some rows of ``boxes`` at a time, until all are done.

        Parameters
        ----------
        image : ndarray (3, S, S), float32
            As ``prepare`` gives it.
        boxes : sequence of (y0, y1, x0, x1)
            ``image[:, y0:y1, x0:x1]`` is hidden; an empty box hides nothing.
        fill : ndarray (3,), float32
            What hides, for each channel.

        Yields
        ------
        rows : ndarray (N,), int
            Of ``boxes``; not in order.
        inputs, outputs : ndarray (N, D) and (N, K), float32
        """
        ...


def cpu_threads() -> int:
    """Return how many CPU threads this process may use: what SLURM gave the task, within its CPU affinity.

    Without ``--cpus-per-task`` the tasks of a step share what SLURM gave the job on this node. The processes that
    torchrun starts on one machine share what they are given.
    """
    # Not the machine's CPU count: on a shared node that starts far more threads than there are cores for them.
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if granted := _number("SLURM_CPUS_PER_TASK"):
        available = min(available, granted)
    elif granted := _number("SLURM_CPUS_ON_NODE"):
        available = min(available, granted // max(1, _number("SLURM_STEP_TASKS_PER_NODE")))
    return max(1, available // launched().neighbours)


def _number(variable: str) -> int:
    """Return the number that SLURM has in a variable, as in ``4`` or ``4(x2)``; 0 if it has none."""
    number, _, _ = os.environ.get(variable, "").partition("(")
    return int(number) if number.isdecimal() else 0


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
        The network's whole state dict. Whether it has a last layer, and how wide, is read off it.
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
    return _Torch(module, weights, device, threads)


class _Onnx:
    engine, device = "onnxruntime", "cpu"

    def __init__(self, architecture: Any, weights: Mapping[str, NDArray[Any]], threads: int) -> None:
        self._architecture, self._weights, self._threads = architecture, weights, threads
        self._session = _session(architecture.graph(weights), threads)
        self._names = [output.name for output in self._session.get_outputs()]
        self._widths = [output.shape[1] for output in self._session.get_outputs()]

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        check_images(images, self._architecture)
        results = [np.empty((len(images), width), np.float32) for width in self._widths]
        for start in range(0, len(images), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            feed = {"images": np.ascontiguousarray(images[rows])}
            for result, values in zip(results, self._session.run(self._names, feed), strict=True):
                result[rows] = values
        return _finite(results[0], results[-1])

    @cached_property
    def _occluded(self) -> "Occluded":
        from cbir_cli.occluded import Occluded

        return Occluded(self._architecture, self._weights, _session, self._threads)

    def hidden(self, image: Floats, boxes: Sequence[Box], fill: Floats) -> Iterator[tuple[NDArray[np.intp], Results]]:
        check_images(image[None], self._architecture)
        if hasattr(self._architecture, "steps"):
            for rows, results in self._occluded(image, boxes, fill):
                yield rows, _finite(results[0], results[-1])
            return
        for start in range(0, len(boxes), _TOGETHER):
            rows = np.arange(start, min(start + _TOGETHER, len(boxes)))
            images = np.repeat(image[None], len(rows), axis=0)
            for hidden, row in zip(images, rows.tolist(), strict=True):
                y0, y1, x0, x1 = boxes[row]
                hidden[:, y0:y1, x0:x1] = fill[:, None, None]
            yield rows, self(images)


def _session(graph: bytes, threads: int = 1) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; printing it as well clutters stderr
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Threads that wait must sleep: spinning ones take the cores that decode the next images, and on a busy machine
    # two threads that spin are slower than one (1.5 times the time per image where others use the cores as well).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class _Torch:
    engine = "torch"

    def __init__(self, architecture: Any, weights: Mapping[str, NDArray[Any]], device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.device = device
        self._layout = torch.channels_last if device == "cuda" else torch.contiguous_format
        self._module = network(architecture, weights).to(device).to(memory_format=self._layout)
        self._module.get_submodule(architecture.HEAD).register_forward_pre_hook(self._keep)
        self._architecture = architecture
        self._features: torch.Tensor

    def _keep(self, _module: "torch.nn.Module", inputs: "tuple[torch.Tensor, ...]") -> None:
        self._features = inputs[0]

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        import torch

        check_images(images, self._architecture)
        return self._run(torch.from_numpy(np.ascontiguousarray(images)))

    def _run(self, images: "torch.Tensor") -> Results:
        import torch

        # TF32 is torch's default for convolutions on a GPU, and is off by a hundred times what the engines agree to.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            outputs = self._module(images.to(self.device, memory_format=self._layout))
            return _finite(self._features.cpu().numpy(), outputs.cpu().numpy())

    def hidden(self, image: Floats, boxes: Sequence[Box], fill: Floats) -> Iterator[tuple[NDArray[np.intp], Results]]:
        import torch

        check_images(image[None], self._architecture)
        # Boxes are drawn on the device: to carry every image there takes longer than to run a network on it.
        whole = torch.tensor(image, device=self.device)
        cover = torch.tensor(fill, device=self.device)[:, None, None]
        start, together = 0, _TOGETHER
        while start < len(boxes):
            rows = np.arange(start, min(start + together, len(boxes)))
            images = whole.repeat(len(rows), 1, 1, 1)
            for hidden, row in zip(images, rows.tolist(), strict=True):
                y0, y1, x0, x1 = boxes[row]
                hidden[:, y0:y1, x0:x1] = cover
            if self.device == "cuda" and not start:
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            yield rows, self._run(images)
            if self.device == "cuda" and not start:
                # Half of what is free, by what the first batch needed; more images at once are not faster.
                needed = max(torch.cuda.max_memory_allocated() - before, 1) / len(rows)
                together = int(min(max(torch.cuda.mem_get_info()[0] / 2 / needed, 1), _FILLS))
            start = rows[-1] + 1


def network(architecture: Any, weights: Mapping[str, NDArray[Any]]) -> "torch.nn.Module":
    """Return the network of a module of ``models/`` in evaluation mode, with exactly these weights.

    Raises
    ------
    WeightsError
        If the weights are not those of the architecture.
    """
    module: torch.nn.Module = architecture.build(last_width(architecture, weights))
    try:
        fill(module, weights)
    except RuntimeError as error:
        raise WeightsError(f"the weights are not those of the network: {' '.join(str(error).split())}") from error
    return module.eval()


def fill(module: "torch.nn.Module", weights: Mapping[str, NDArray[Any]]) -> None:
    """Give a network exactly these weights.

    Raises
    ------
    RuntimeError
        If they are not those of the network.
    """
    import torch

    state = OrderedDict((name, torch.from_numpy(np.array(value))) for name, value in weights.items())
    # The layers' versions, without which some (MNASNet) refuse to load; arrays do not carry them.
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state)


def last_width(architecture: Any, weights: Mapping[str, NDArray[Any]]) -> int:
    """Return the width of the last layer of a network of ``models/``, read off its weights; 0 if it has none."""
    last = weights.get(f"{architecture.HEAD}.weight")
    return 0 if last is None else len(last)


def check_images(images: Floats, architecture: Any) -> None:
    """Refuse what is not a batch of images of a size that the network of a module of ``models/`` takes.

    Raises
    ------
    ShapeError
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32:
        raise ShapeError(f"expected images (N, 3, S, S) float32, found {images.shape} {images.dtype}")
    check_size(min(images.shape[2:]), architecture)
    check_size(max(images.shape[2:]), architecture)


def check_size(size: int, architecture: Any) -> None:
    """Refuse a side in pixels that the network of a module of ``models/`` does not take.

    Raises
    ------
    ShapeError
        If it is below ``MIN_SIZE``, or is not ``ONLY_SIZE`` where the module has that.
    """
    only = getattr(architecture, "ONLY_SIZE", None)
    if only and size != only:
        raise ShapeError(f"images of {size} px: the network takes {only} px alone")
    # ONNX Runtime would make zeros of an image that pooling has used up.
    if size < architecture.MIN_SIZE:
        raise ShapeError(f"images of {size} px are too small; the network needs {architecture.MIN_SIZE} px")


def _finite(inputs: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    if not (np.isfinite(inputs).all() and np.isfinite(outputs).all()):
        raise CbirError("the network's output is not finite; its weights or the images are damaged")
    return inputs, outputs


def _gpu_driver() -> bool:
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
