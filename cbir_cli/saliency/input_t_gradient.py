"""Input times gradient: what every input value adds to the output, were the network linear.

For a network of ReLUs without biases the values of a map add up to the logit. The product depends on where the input
has its zero: here at the mean of ImageNet, not at black.

Reference
---------
A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje. Not Just a Black Box: Learning Important Features Through
Propagating Activation Differences. 2016. arXiv:1605.01713. (There "gradient*input".)

Differs from the authors' code
------------------------------
In nothing; iNNvestigate's ``input_t_gradient`` is the same.
"""

from torch import Tensor, nn

from cbir_cli.saliency import _output

EXPLAINS = "output"


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """Every input value times the gradient of one logit by it.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits. It runs in evaluation mode and is handed back as it came, after an
        exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Logits; positive where a value speaks for the output.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    CbirError
        If the result is not finite.
    """
    gradient = _output.attribute(model, images, target, method="input-t-gradient")
    return _output.finite(images.detach() * gradient, "input-t-gradient")
