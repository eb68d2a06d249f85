"""Running saliency methods: maps of image batches, over numpy arrays."""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.engines import Floats, check_images, choose_device, cpu_threads, network
from cbir_cli.errors import CbirError
from cbir_cli.maps import finish, shape

if TYPE_CHECKING:
    import torch


def saliency_mapper(
    architecture: str,
    weights: Mapping[str, NDArray[Any]],
    explain: "Callable[..., torch.Tensor | tuple[torch.Tensor, torch.Tensor]]",
    *,
    device: str = "auto",
    threads: int | None = None,
    micro_batch: int | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    form: str = "sum-repeat",
    seed: int = 0,
    fitted: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    vectors: Callable[[Floats], Floats] | None = None,
    uncertain: bool = False,
) -> "SaliencyMapper":
    """Make a network ready to explain itself.

    Parameters
    ----------
    architecture, weights, device
        As for ``engines.encoder``.
    explain : callable
        ``explain`` of a saliency method: (module, images, **parameters) to relevance (N, C, H, W), or if ``uncertain``
        to that and its uncertainty (N, 1, H, W).
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
    vectors : callable, optional
        For a method that explains a representation, which asks for no gradients: what gives it, prepared images
        (B, 3, S, S) to (B, D), in place of the network; its threads are its own.

    Raises
    ------
    WeightsError
        If the weights are not those of the architecture.
    """
    import torch

    device = choose_device(device)
    module = registry.load("models", architecture)
    alone = device == "cpu"
    workers = (threads or cpu_threads()) if alone else 1
    size = micro_batch or (1 if alone else 16)
    if vectors:
        made, workers, size = _as_module(vectors), 1, 1  # such a method fills batches with copies of one image
    else:
        made = network(module, weights).to(device)
    keywords = dict(parameters)
    if takes(explain, "fitted"):
        keywords["fitted"] = {name: torch.from_numpy(np.array(value)).to(device) for name, value in fitted.items()}
    draws = seed if takes(explain, "generator") else None
    return SaliencyMapper(made, explain, device, workers, size, module, keywords, form, draws, uncertain)


def _as_module(vectors: Callable[[Floats], Floats]) -> "torch.nn.Module":
    import torch

    class Vectors(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(vectors(images.cpu().numpy())).to(images.device)

    return Vectors()


class SaliencyMapper:
    """Saliency maps as they are stored; on a CPU the same bytes however the images are batched or ordered.

    On a CPU images run one at a time, one on each thread. Torch's results depend in the last bit on the size of a
    batch, the place in it and the number of threads; an image alone on one thread has none of these. It is no slower
    either: threads that share one image mostly wait for each other.
    """

    def __init__(
        self,
        network: "torch.nn.Module",
        explain: "Callable[..., torch.Tensor | tuple[torch.Tensor, torch.Tensor]]",
        device: str,
        workers: int,
        micro_batch: int,
        architecture: Any,
        keywords: Mapping[str, Any],
        form: str,
        seed: int | None,
        uncertain: bool,
    ) -> None:
        self.device = device
        self._explain, self._keywords, self._form, self._seed = explain, keywords, form, seed
        self._workers, self._size, self._architecture = workers, micro_batch, architecture
        self._networks, self._uncertain = [network], uncertain

    def __call__(self, images: Floats) -> tuple[NDArray[np.float16], Floats]:
        """Return maps and scale (N,) float32 of images (N, 3, S, S), as ``maps.finish`` has them."""
        rows = self.rows(images)
        return rows["maps"], rows["scale"]

    def rows(self, images: Floats) -> dict[str, NDArray[Any]]:
        """Return ``maps`` and ``scale`` of images; ``uncertainty`` and ``uncertainty_scale`` where the method has it.

        The uncertainty (N, H, W) float16 is divided by its largest value, as a map is, which is its scale.
        """
        import torch

        check_images(images, self._architecture)
        rows: dict[str, NDArray[Any]] = {
            "maps": np.zeros((len(images), *shape(self._form, *images.shape[2:])), np.float16),
            "scale": np.zeros(len(images), np.float32),
        }
        if self._uncertain:
            rows["uncertainty"] = np.zeros((len(images), *images.shape[2:]), np.float16)
            rows["uncertainty_scale"] = np.zeros(len(images), np.float32)
        starts = range(0, len(images), self._size)
        workers = min(self._workers, len(starts))
        # Each worker has its own copy: a method may hook the network while it runs.
        self._networks += [copy.deepcopy(self._networks[0]) for _ in range(workers - len(self._networks))]
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(max(workers, 1)) as pool:
                jobs = [pool.submit(self._run, i, starts[i::workers], images, rows) for i in range(workers)]
                for job in jobs:
                    job.result()
        finally:
            torch.set_num_threads(before)
        return rows

    def _run(self, worker: int, starts: range, images: Floats, made: dict[str, NDArray[Any]]) -> None:
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
            # No TF32, torch's default on a GPU, and no bfloat16: with the latter maps are off by 3 to 15 %.
            with torch.backends.cudnn.flags(allow_tf32=False):
                found = self._explain(self._networks[worker], pixels, **self._keywords, **drawn)
            relevance, *more = found if isinstance(found, tuple) else (found,)
            made["maps"][rows], made["scale"][rows] = finish(relevance[: rows.stop - start].cpu().numpy(), self._form)
            for uncertainty in more:
                made["uncertainty"][rows], made["uncertainty_scale"][rows] = finish(
                    uncertainty[: rows.stop - start].cpu().numpy()
                )


def takes(explain: Callable[..., Any], keyword: str) -> bool:
    """Say whether a saliency method has a keyword: ``generator`` where it draws, ``fitted`` where it is fitted."""
    return keyword in inspect.signature(explain).parameters


def fit_method(
    architecture: str,
    weights: Mapping[str, NDArray[Any]],
    fit: "Callable[..., Mapping[str, torch.Tensor]]",
    read: Callable[[], Iterable[Floats]],
) -> dict[str, NDArray[Any]]:
    """Learn what a saliency method needs to know from images.

    It always runs on one thread of the CPU: a maps file is made in shards and goes on after a kill, each time with the
    same fitted values to the byte, wherever it runs.

    Parameters
    ----------
    architecture, weights
        As for ``engines.encoder``.
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
    made = network(module, weights)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values = fit(made, _Batches(read, module))
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

    def __init__(self, read: Callable[[], Iterable[Floats]], architecture: Any) -> None:
        self._read, self._architecture = read, architecture

    def __iter__(self) -> "Iterator[torch.Tensor]":
        import torch

        for images in self._read():
            check_images(images, self._architecture)
            yield torch.from_numpy(images)
