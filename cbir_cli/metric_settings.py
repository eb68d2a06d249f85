"""Parameters of metrics of classifiers: how they are spelt behind a metric's name, and what the metric is called with.

``sensitivity@95specificity`` is ``score(..., specificity=0.95)`` of ``metrics/classification/sensitivity.py``, whose
``SPELT`` is that parameter; fractions are spelt in percent, numbers as they are: ``ece@10bins``.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.errors import UsageError

Setting = tuple[str, float]
"""A parameter and its value."""


def parse(name: str, module: Any, text: str | None) -> Setting | None:
    """Read a parameter.

    Parameters
    ----------
    name : str
        Of the metric.
    module : module
        Its file.
    text : str or None
        What stands behind the ``@``, such as ``95specificity``; None where nothing does. Then a fraction has its
        default, since the metric's name alone would not say which it is, and a number is not named.

    Raises
    ------
    UsageError
        If it is spelt in another way, or no fraction between 0 and 1, or no number of at least 1.
    """
    parameter = module.SPELT
    default = registry.parameters(module.score)[parameter]
    fraction = isinstance(default, float)
    if text is None:
        return (parameter, default) if fraction else None
    number = text.removesuffix(parameter)
    if number != text and re.fullmatch(r"\d+(\.\d+)?" if fraction else r"\d+", number, re.ASCII):
        value = round(float(number) / 100, 12) if fraction else int(number)
        if (0 < value < 1) if fraction else value > 0:
            return parameter, value
    wanted = "percent between 0 and 100" if fraction else "a number of at least 1"
    raise UsageError(f"metric '{name}@{text}': expected {wanted}, such as {name}@{spelt((parameter, default))}")


def spelt(setting: Setting) -> str:
    """Return a parameter as it is spelt."""
    parameter, value = setting
    return f"{round(100 * value, 9):g}{parameter}" if isinstance(value, float) else f"{value}{parameter}"


def bound(module: Any, function: str, setting: Setting | None) -> Callable[..., float | None]:
    """Return ``score`` or ``expected`` of a metric, with its parameters for logits.

    Logits rank as probabilities do, without the sigmoid's ties at its ends; a logit of 0 is a probability of 0.5.
    """
    settings: dict[str, float] = dict([setting] if setting else [])
    if "threshold" in registry.parameters(module.score):
        settings["threshold"] = 0.0
    return partial(getattr(module, function), **settings)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities that logits stand for."""
    from scipy.special import expit

    return np.asarray(expit(logits))
