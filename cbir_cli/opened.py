"""A retrieval network opened for gradients: what it is fed, its last feature maps, and its vectors, as torch tensors.

What is explained is the network that gives the vectors. For an interpretability-guided model that is the second of two:
it is fed the saliency maps that the first one makes, which lie on the same pixels as the image.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.progress import track

T = TypeVar("T")

_TO_A_GRID = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
_POOLINGS = {*_TO_A_GRID, torch.mean, Tensor.mean, torch.amax, Tensor.amax}
_AVERAGES = {F.adaptive_avg_pool2d, torch.mean, Tensor.mean}
_UNCHANGED = {
    F.dropout,
    torch.flatten,
    torch.reshape,
    torch.squeeze,
    Tensor.flatten,
    Tensor.reshape,
    Tensor.view,
    Tensor.squeeze,
    Tensor.contiguous,
    Tensor.__getitem__,
}
"""What, after the pooling and in evaluation, moves numbers and changes none."""


class Opened:
    """The retrieval network of an encoder.

    Parameters
    ----------
    module : torch.nn.Module
        Network input (N, 3, S, S) to vectors (N, D), as ``encode`` gives them, before any normalisation. It is put into
        evaluation mode, and its parameters get no gradients.
    prepare : callable
        Pixels (N, S, S) or (N, S, S, 3) float32 in [0, 1] to what the network is fed, (N, 3, S, S) float32.
    name : str
        Of the network, for messages.
    device : str
    threads : int
        CPU threads that ``spread`` uses. Changes no byte.

    Attributes
    ----------
    module, name, device : as above
    """

    def __init__(
        self,
        module: nn.Module,
        prepare: Callable[[np.ndarray], np.ndarray],
        *,
        name: str,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        self.module = module.eval().requires_grad_(False).to(device)
        self.name, self.device = name, device
        self._prepare, self._threads = prepare, threads
        self._poolings: int | None = None

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """Return what the network is given of pixels, (N, 3, S, S); an IG model's saliency maps, made ready.

        Parameters
        ----------
        pixels : ndarray (N, S, S) or (N, S, S, 3), float32
            In [0, 1].
        """
        return torch.from_numpy(np.ascontiguousarray(self._prepare(pixels))).to(self.device)

    def features(self, inputs: Tensor, *, method: str = "this method") -> tuple[Tensor, Tensor]:
        """Return the feature maps that the vector is pooled from, and the vectors.

        The vectors hang on the maps by a graph; the maps hang on ``inputs`` where these want a gradient.

        Parameters
        ----------
        inputs : Tensor (N, 3, S, S)
        method : str
            For the message.

        Returns
        -------
        maps : Tensor (N, C, h, w)
        vectors : Tensor (N, D)

        Raises
        ------
        UsageError
            If the network pools no feature map of more than one position.
        """
        seen, vectors = self._run(inputs, method)
        return seen.maps, vectors

    def parts(self, inputs: Tensor, *, method: str = "this method") -> tuple[Tensor, Tensor]:
        """Return what each position of the feature maps adds to the vectors, and the vectors.

        Where a vector is an average over positions, or a linear layer of one, it is the sum of what the layer makes of
        each position, divided by their number, with an equal share of the bias: exactly, and for any image.

        Parameters
        ----------
        inputs : Tensor (N, 3, S, S)
        method : str
            For the message.

        Returns
        -------
        parts : Tensor (N, D, h, w)
            Without graph; the sum over positions is the vector.
        vectors : Tensor (N, D)

        Raises
        ------
        UsageError
            If the network pools no feature map of more than one position, or its vector is no sum over positions.
        """
        seen, vectors = self._run(inputs, method)
        if seen.other:
            raise UsageError(
                f"{method}: the vector of {self.name} is no sum over places of the image (between the feature maps and "
                f"it is {seen.other}); take --method attention or occlusion"
            )
        maps = seen.maps.detach()
        with torch.no_grad():
            for weight, bias in seen.linear:
                # A bias is added once; each position has its share when the average is divided at the end.
                maps = F.conv2d(maps, weight[:, :, None, None], bias)
            parts = maps / (maps.shape[2] * maps.shape[3])
        return parts, vectors.detach()

    def _run(self, inputs: Tensor, method: str) -> tuple["_Pooled", Tensor]:
        # Graphs on, whichever way the caller has switched them off.
        with torch.inference_mode(False), torch.enable_grad():
            if self._poolings is None:
                with torch.no_grad(), _Pooled() as every:
                    self.module(inputs[:1])
                self._poolings = every.count
            with _Pooled(self._poolings) as seen:
                vectors = self.module(inputs)
        if not self._poolings:
            raise UsageError(
                f"{method}: {self.name} has no feature map that its vector is pooled from; take --method occlusion"
            )
        if seen.maps.shape[2] * seen.maps.shape[3] == 1:
            raise UsageError(
                f"{method}: at {inputs.shape[-1]} px the last feature map of {self.name} has a single position, and "
                "there is nothing to choose from; take --method occlusion, or larger images"
            )
        if vectors.ndim != 2 or not torch.isfinite(vectors).all():
            raise ShapeError(f"{method}: expected finite vectors (N, D) of {self.name}, found {tuple(vectors.shape)}")
        return seen, vectors

    def spread(self, work: Callable[[int], T], count: int, description: str = "") -> list[T]:
        """Return ``[work(0), work(1), ...]``: each on one thread of torch, on a CPU several at a time.

        Progress is shown where there is a description.

        Torch's results depend in the last bit on the size of a batch and the number of threads. Work on one image, on
        one thread, has neither, so its bytes do not depend on the others; and memory is that of a few images.
        """
        workers = min(self._threads, count) if self.device == "cpu" else 1
        with self.one_thread(), ThreadPoolExecutor(max(workers, 1)) as pool:
            done = pool.map(work, range(count))
            return list(track(done, count, description) if description else done)

    @staticmethod
    @contextmanager
    def one_thread() -> Iterator[None]:
        """Context in which torch computes each operation on one thread, and without TF32, its default on a GPU."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.backends.cudnn.flags(allow_tf32=False):
                yield
        finally:
            torch.set_num_threads(before)


class _Pooled(TorchFunctionMode):
    """Context that remembers the last pooling over positions, and what follows it.

    Parameters
    ----------
    chosen : int
        Which pooling counts, from 1: squeeze and excitation pools in every block. 0 to count them only.

    Attributes
    ----------
    count : int
        Poolings that were seen.
    maps : Tensor (N, C, h, w)
        What the chosen pooling was given, with a graph from there on.
    linear : list of (weight, bias)
        Of the linear layers after it.
    other : str
        The first operation that is no average over all positions and no linear layer; empty if there is none.
    """

    def __init__(self, chosen: int = 0) -> None:
        super().__init__()
        self.count, self._chosen = 0, chosen
        self.maps: Tensor
        self.linear: list[tuple[Tensor, Tensor | None]] = []
        self.other = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as the function does."""
        kwargs = kwargs or {}
        if not (func in _POOLINGS and args and isinstance(args[0], Tensor) and args[0].ndim == 4):
            output = func(*args, **kwargs)
            if self._chosen and self.count == self._chosen and isinstance(output, Tensor):
                self._follow(func, args, kwargs)
            return output
        source = args[0]
        if self.count + 1 == self._chosen and not source.requires_grad:
            source = source.detach().requires_grad_()
        output = func(source, *args[1:], **kwargs)
        alone = output.shape[:2] == source.shape[:2] and output.shape[2:].numel() == 1
        if func not in _TO_A_GRID and not alone:
            return output  # a mean over channels
        self.count += 1
        if self.count == self._chosen:
            self.maps = source
            if func not in _AVERAGES or not alone:
                self.other = (
                    _name(func) if alone else f"an average over a grid of {output.shape[2]} x {output.shape[3]}"
                )
        return output

    def _follow(self, func: Any, args: Any, kwargs: Any) -> None:
        if func is F.linear:
            weight, bias = (*args[1:], None)[:2] if not kwargs else (args[1], kwargs.get("bias"))
            self.linear.append((weight.detach(), None if bias is None else bias.detach()))
        elif func not in _UNCHANGED:
            self.other = self.other or _name(func)


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", func)).strip("_")
