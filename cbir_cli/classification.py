"""How good a classifier is: the library behind ``cbir evaluate`` of an embedding's logits."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import bootstrap, metric_settings, relevance
from cbir_cli.errors import ShapeError, SourceError, UsageError
from cbir_cli.metric_names import CLASSIFICATION, CLASSIFICATION_DEFAULTS, WHAT, parse_metrics
from cbir_cli.scores import Score

_LOG = logging.getLogger("cbir")


def classification(
    logits: ArrayLike,
    truth: ArrayLike,
    *,
    metrics: Sequence[str] = CLASSIFICATION_DEFAULTS,
    method: str = "",
    label: str = "",
    keep: ArrayLike | None = None,
    patients: Sequence[str] | None = None,
) -> list[Score]:
    """Score a classifier from the logits of one class; an image is called positive if its probability is above 0.5.

    Parameters
    ----------
    logits : array (N,) of float
        Before the sigmoid.
    truth : array (N,) of int
        Raw label codes; images whose label is uncertain or missing are left out.
    metrics : sequence of str
        As on the command line.
    method, label : str
        Names for the result.
    keep : array (N,) of bool, optional
        False for images to leave out: those of patients that a network was trained or selected on.
    patients : sequence of str, (N,), optional
        Patient of each image; with them scores have intervals.

    Returns
    -------
    list of Score
        One a metric, in the order asked for; ``mean`` is None where the metric is not defined, which is also said.

    Raises
    ------
    UsageError
        If a metric is unknown or scores runs.
    ShapeError
        If lengths differ or a logit is not finite.
    SourceError
        If no image is left.
    """
    values, codes = np.asarray(logits, dtype=np.float64), np.asarray(truth)
    kept = np.ones(codes.shape, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
    if not values.shape == codes.shape == kept.shape or values.ndim != 1:
        raise ShapeError(f"expected logits, labels and mask (N,), found {values.shape}, {codes.shape}, {kept.shape}")
    unstated = int((kept & ~relevance.stated(codes)).sum())
    chosen = kept & relevance.stated(codes)
    if not chosen.any():
        raise SourceError(
            f"no image to score: of {len(codes)}, {(~kept).sum()} are not held out, {unstated} have no label"
        )
    _LOG.info(
        "%d images scored; left out: %d not held out, %d uncertain or without label",
        chosen.sum(),
        (~kept).sum(),
        unstated,
    )
    scores = []
    for metric in parse_metrics(metrics):
        if metric.folder != CLASSIFICATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not {WHAT[CLASSIFICATION]}")
        score, given = metric_settings.bound(metric.module, "score", metric.setting), values[chosen]
        if getattr(metric.module, "TAKES", "") == "probability":
            given = metric_settings.sigmoid(given)
        mean = score(codes[chosen], given)
        random = metric_settings.bound(metric.module, "expected", metric.setting)(codes[chosen], given)
        if mean is None:
            _LOG.warning("%s is not defined: %s", metric, _classes(codes[chosen]))
        n = int(chosen.sum())
        ends = None
        if patients is not None and getattr(metric.module, "BOOTSTRAP", True):
            ends = bootstrap.of_score(score, codes[chosen], given, np.asarray(patients)[chosen])
        low, high = ends or (None, None)
        against = f"label {label}"
        scores.append(Score(method, str(metric), against, n, len(codes) - n, mean, random=random, low=low, high=high))
    return scores


def _classes(codes: NDArray[Any]) -> str:
    return f"{(codes == 1).sum()} positive and {(codes == 0).sum()} negative images"
