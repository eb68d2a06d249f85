"""SmoothGrad: the mean gradient over copies of the image with noise added.

Gradients of deep networks change quickly from one input to the next; the mean over a neighbourhood keeps what they have
in common.

Reference
---------
D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg. SmoothGrad: removing noise by adding noise. 2017.
arXiv:1706.03825.

Differs from the authors' code
------------------------------
The paper's noise is 10 to 20 % of the image's range. After ImageNet's normalisation, where black and white are about
4.4 apart, that is a ``noise_scale`` of .44 to .89; the default 1 is iNNvestigate's, whose own parameter has no effect.
All images of a batch get the same noise, so that a map does not depend on the batch. The sign is kept.
"""

import math

import torch
from torch import Tensor, nn

from cbir_cli.errors import UsageError
from cbir_cli.saliency import _output
from cbir_cli.saliency._mean_gradient import mean_gradient

EXPLAINS = "output"


def explain(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    generator: torch.Generator,
    augment_by_n: int = 64,
    noise_scale: float = 1.0,
) -> Tensor:
    """Mean over noisy copies of the gradient of one logit by every input value.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits. It runs in evaluation mode and is handed back as it came, after an
        exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit of the image without noise.
    generator : torch.Generator
        Only source of randomness: same state, same maps.
    augment_by_n : int
        Noisy copies of each image, at least 1. Time grows linearly with it, memory does not.
    noise_scale : float
        Standard deviation of the noise, in normalised units, at least 0; at 0 the map is that of ``gradient``.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Logits per unit of the normalised input.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``augment_by_n`` or ``noise_scale`` is out of range.
    CbirError
        If the result is not finite.
    """
    if augment_by_n < 1:
        raise UsageError(f"augment_by_n of smoothgrad: expected at least 1, found {augment_by_n}")
    if not (noise_scale >= 0 and math.isfinite(noise_scale)):
        raise UsageError(f"noise_scale of smoothgrad: expected a finite number of at least 0, found {noise_scale}")
    _output.check(images)

    def noisy() -> Tensor:
        noise = torch.randn(images.shape[1:], generator=generator, device=generator.device, dtype=images.dtype)
        return images.detach() + noise_scale * noise.to(images.device)

    copies = (noisy() for _ in range(augment_by_n))
    return _output.finite(mean_gradient(model, images, target, copies, "smoothgrad"), "smoothgrad")
