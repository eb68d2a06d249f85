"""Initial weights: fresh ones, torchvision's, or those of a foreign file, fitted to a network by name and shape.

Files are read with ``weights_only=True`` or as safetensors: nothing in them is ever run.
"""

import contextlib
import logging
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cbir_cli import registry
from cbir_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("cbir")

_PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Layer names of old DenseNet checkpoints, CheXNet's among them: denselayer1.norm.1.weight is now ...norm1.weight.
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def load_initial(init: str, architecture: str, n_outputs: int, *, seed: int) -> "nn.Module":
    """Return the network with its initial weights.

    Parameters
    ----------
    init : str
        ``none`` (fresh weights), ``imagenet`` (torchvision's, downloaded once) or a file: a PyTorch checkpoint or
        ``.safetensors``.
    architecture : str
        A name in ``models/``.
    n_outputs : int
        Width of the network's last layer; 0 for none.
    seed : int
        Seed of all weights that are not taken over.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode.

    Raises
    ------
    WeightsError
        If the weights cannot be had, or do not fit the architecture.
    """
    module = fresh(architecture, n_outputs, seed=seed)
    if init == "imagenet":
        fit_state(module, _imagenet(architecture), architecture=architecture, what="ImageNet weights")
    elif init != "none":
        fit_state(module, read_state(Path(init)), architecture=architecture, what=init)
    return module


def fresh(architecture: str, n_outputs: int, *, seed: int) -> "nn.Module":
    """Return the network with weights drawn from ``seed``; torch's global generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return cast("nn.Module", registry.load("models", architecture).build(n_outputs))


def fit_state(module: "nn.Module", state: Mapping[str, Any], *, architecture: str, what: str) -> list[str]:
    """Fill a network with weights that may come under other names; what is replaced or ignored is logged.

    Understood are wrappers such as ``{"state_dict": ...}``, any prefix before the network's own names (``module.``,
    ``module.densenet121.``, ``module.encoder.``) or none, the layer names of old DenseNet checkpoints, and a last layer
    in a Sequential. Weights without the last layer, with one of another width or with a projector in its place fit too,
    and so do those of a backbone without the parts that an architecture adds to it (its ``FRESH``).

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place, but not if an error is raised.
    state : mapping of str to Tensor or ndarray
        The weights.
    architecture : str
        Of the network, a name in ``models/``.
    what : str
        Where they come from, for messages.

    Returns
    -------
    list of str
        Names of the weights that kept the network's own values.

    Raises
    ------
    WeightsError
        If a weight that no part may go without is missing, has another shape, or is not finite.
    """
    import torch

    kind = registry.load("models", architecture)
    own = module.state_dict()
    parts = [[n for n in own if n.startswith(f"{part}.")] for part in (kind.HEAD, *getattr(kind, "FRESH", ()))]
    head, *added = parts
    given = _own_names(_unwrapped(state), list(own), kind.HEAD, what)
    # All of what an architecture adds is there, or nothing: half of it is a damaged file.
    fresh = {name for part in added for name in part}
    fresh = set() if fresh & given.keys() else fresh
    wrong, taken = [], {}
    for name, value in own.items():
        if name in fresh:
            continue
        found = given.pop(name, None)
        tensor = torch.as_tensor(found) if isinstance(found, (torch.Tensor, np.ndarray)) else None
        if tensor is not None and tensor.shape == value.shape:
            if not torch.isfinite(tensor).all():
                raise WeightsError(f"{what}: {name} holds values that are not finite")
            taken[name] = tensor
        # Checkpoints older than torch 0.4.1 lack this counter, and nothing here depends on it.
        elif name not in head and not name.endswith(".num_batches_tracked"):
            wrong.append(
                f"{name} " + (f"is {_shape(tensor)}, not {_shape(value)}" if tensor is not None else "missing")
            )
    if wrong:
        raise WeightsError(f"{what}: does not fit the network: {_some(wrong, '; ')}")
    if not taken.keys() >= set(head):  # weight and bias belong together
        taken = {name: value for name, value in taken.items() if name not in head}
        log.info("%s: no %s of this width, a fresh one is used (%s)", what, kind.HEAD, ", ".join(head))
    if fresh:
        log.info("%s: fills the backbone; fresh: %s", what, ", ".join(kind.FRESH))
    if given:
        log.info("%s: not used: %s", what, _some(sorted(given)))
    own.update(taken)
    module.load_state_dict(own)
    return [name for name in own if name not in taken and not name.endswith(".num_batches_tracked")]


def read_state(path: Path) -> Mapping[str, Any]:
    """Read a weights file without running anything in it.

    Raises
    ------
    WeightsError
        If the file is missing, of an unknown kind, unreadable, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise WeightsError(f"--init {path}: no such file; expected a weights file, 'imagenet' or 'none'")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return cast(Mapping[str, Any], load_file(path))
        if path.suffix in _PICKLES:
            import torch

            with warnings.catch_warnings():  # about unusual pickles; what cannot be read is an error below
                warnings.simplefilter("ignore")
                return cast(Mapping[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: damaged, or holds Python objects besides tensors, which are never loaded; "
            "save model.state_dict() alone, or as .safetensors"
        ) from error
    except Exception as error:  # readers of damaged files raise almost anything
        raise WeightsError(f"{path}: cannot be read as weights: {_first_line(error)}") from error
    raise WeightsError(f"{path}: unknown kind of weights file; known: {' '.join((*_PICKLES, '.safetensors'))}")


def _imagenet(architecture: str) -> Mapping[str, Any]:
    import torch
    from torchvision.models import get_weight

    name = getattr(registry.load("models", architecture), "IMAGENET", None)
    if name is None:
        raise WeightsError(f"there are no ImageNet weights for {architecture}; use --init none")
    weights = get_weight(name)
    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / weights.url.rpartition("/")[2]
    log.info("ImageNet weights: %s%s", file.name, "" if file.exists() else ", downloading")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch says there what it downloads
            return cast(Mapping[str, Any], weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # network, disk, hash and damaged files, each with its own kinds
        raise WeightsError(
            f"ImageNet weights cannot be had ({_first_line(error)}); put {file.name} into {folder}, or use --init none"
        ) from error


def _unwrapped(state: Any) -> Mapping[str, Any]:
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            return _unwrapped(state[wrapper])
    return state if isinstance(state, Mapping) else {}


def _own_names(state: Mapping[str, Any], own: list[str], head: str, what: str) -> dict[str, Any]:
    """Return the weights under the network's names, whatever prefix they came with."""
    named = {_OLD_NAME.sub(r"\1\2.", str(name)): value for name, value in state.items()}
    # Backbones that were saved without their last layer often lack what the network's own names begin with
    # ("features.") too.
    lead = f"{own[0].partition('.')[0]}."
    for cut in ("", lead) if all(name.startswith((lead, f"{head}.")) for name in own) else ("",):
        names = [name.removeprefix(cut) for name in own if name.startswith(cut)]
        # A prefix is what stands before the first name; a stage of the network may have a layer of that name too.
        found = {name.removesuffix(names[0]) for name in named if f".{name}".endswith(f".{names[0]}")}
        if found:
            break
    fitting = {prefix: sum(f"{prefix}{name}" in named for name in names) for prefix in found}
    best = sorted(prefix for prefix in found if fitting[prefix] == max(fitting.values(), default=0))
    # Another architecture may have a layer of that name here and there.
    if not found or (len(best) > 1 and 2 * fitting[best[0]] < len(names)):
        raise WeightsError(f"{what}: holds no {own[0]}; found {_some(list(named)) or 'no weights'}")
    if len(best) > 1 and "" not in best:
        raise WeightsError(f"{what}: holds several networks: {_some(best)}")
    prefix = best[0]
    bare = {cut + name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    inside = [name for name in bare if name.startswith(f"{head}.0.")]
    if len(inside) == sum(name.startswith(f"{head}.") for name in bare):  # followed by an activation, as in CheXNet
        for name in inside:
            bare[f"{head}.{name.removeprefix(f'{head}.0.')}"] = bare.pop(name)
    return bare


def _shape(tensor: "Tensor") -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _some(items: list[str], separator: str = ", ") -> str:
    rest = len(items) - 3
    return separator.join(items[:3]) + (f"{separator}and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
