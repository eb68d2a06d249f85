"""What every saliency method begins and ends with: the output that is explained, and a model that is left as it was."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.propagation import Propagation, Rules
from cbir_cli.registry import unknown

STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "probability": torch.sigmoid,
    "logit": lambda logits: logits,
    "relu-logit": torch.relu,
    "one": torch.ones_like,
}
"""What an explanation starts with at the explained output, as a function of its logit."""


def attribute(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None,
    *,
    method: str,
    start: str = "one",
    rules: Rules | None = None,
) -> Tensor:
    """Hand a start value back from one output of the model to the images.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits. Runs in evaluation mode and is handed back as it came.
    images : Tensor (N, C, H, W), float32 or float64
    target : Tensor (N,) of int64, int or None
        Output explained for each image; None takes the highest.
    method : str
        For messages.
    start : str
        One of ``STARTS``.
    rules : Rules, optional
        What hands the value down in place of the gradient.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    CbirError
        If the result is not finite, or the rules are not defined for the network.
    """
    check(images)
    if not len(images):
        return torch.zeros_like(images)
    with undisturbed(model):
        pixels = images.detach().clone().requires_grad_()
        with Propagation(rules, method) if rules else nullcontext():
            logits = model(pixels)
        chosen = choose(logits, target, len(images))
        # Not every method's map would show it: a gradient does not depend on the last bias.
        values = finite(logits.detach().gather(1, chosen), method)
        seed = torch.zeros_like(logits).scatter(1, chosen, STARTS[start](values))
        (relevance,) = torch.autograd.grad(logits, pixels, seed)
    return finite(relevance, method)


def check_start(start: str, known: Iterable[str], method: str) -> None:
    """Refuse a start that a method does not offer.

    Raises
    ------
    UsageError
    """
    if start not in known:
        raise unknown(f"start of {method}", start, known)


def check(images: Tensor) -> None:
    """Refuse anything but a batch of images."""
    if images.ndim != 4:
        raise ShapeError(f"expected images (N, C, H, W), found {tuple(images.shape)}")


def choose(logits: Tensor, target: Tensor | int | None, count: int) -> Tensor:
    """Return the explained outputs as (N, 1) int64."""
    if logits.ndim != 2 or len(logits) != count:
        raise ShapeError(f"expected logits ({count}, K) from the model, found {tuple(logits.shape)}")
    if target is None:
        return logits.detach().argmax(1, keepdim=True)
    chosen = torch.as_tensor(target, device=logits.device)
    if chosen.ndim == 0:
        chosen = chosen.expand(count)
    if chosen.shape != (count,) or chosen.is_floating_point():
        raise ShapeError(f"expected target ({count},) of integers, found {tuple(chosen.shape)} of {chosen.dtype}")
    if count and not (0 <= int(chosen.min()) and int(chosen.max()) < logits.shape[1]):
        raise ShapeError(f"expected targets from 0 to {logits.shape[1] - 1}, found {chosen.unique().tolist()}")
    return chosen.long().unsqueeze(1)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, graphs but no parameter gradients inside, and everything as it was outside."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        # Switches graphs on, whichever way the caller has switched them off.
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in wanted:
            parameter.requires_grad_()


def finite(values: Tensor, method: str) -> Tensor:
    """Return the values, or raise if one is not finite.

    Raises
    ------
    CbirError
    """
    if not torch.isfinite(values).all():
        raise CbirError(f"{method}: a value is not finite; the network's weights or the images are damaged")
    return values
