"""What an index knows of its own distances: ``uns/index/calibration`` (see ``index``)."""

import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from cbir_cli.artifacts import _anndata


@dataclass(frozen=True)
class Calibration:
    """What distances in an index mean.

    Attributes
    ----------
    labels : list of str
        Images with the same codes of these are of one class.
    distance, probability : ndarray (T,), float64
        Probability that query and result are of one class, at ascending distances; it never rises.
    nearest : ndarray (S,), float32
        Distance of the nearest image of another patient, of each of S images, ascending.
    facts : dict
        How it was measured, and how good it is.
    """

    labels: list[str]
    distance: np.ndarray
    probability: np.ndarray
    nearest: np.ndarray
    facts: dict[str, Any]


def write(parent: h5py.Group, calibration: Calibration) -> None:
    """Write a calibration into the group of an index."""
    group = _anndata.dictionary(parent, "calibration")
    _anndata.texts(group, "labels", calibration.labels)
    for name in ("distance", "probability", "nearest"):
        _anndata.array(group, name, getattr(calibration, name))
    _anndata.text(group, "facts", json.dumps(calibration.facts, sort_keys=True))


def read(parent: h5py.Group) -> Calibration | None:
    """Read the calibration of an index, None where it has none.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something of it is missing or does not fit together.
    """
    if "calibration" not in parent:
        return None
    group = parent["calibration"]
    distance, probability, nearest = (group[name][()] for name in ("distance", "probability", "nearest"))
    arrays = (distance, np.float64), (probability, np.float64), (nearest, np.float32)
    if any(array.ndim != 1 or array.dtype != kind or not np.isfinite(array).all() for array, kind in arrays):
        raise ValueError("its calibration holds no finite numbers")
    fits = len(distance) == len(probability) > 0 and len(nearest) > 0
    if not fits or (np.diff(distance) <= 0).any() or (np.diff(probability) > 0).any() or (np.diff(nearest) < 0).any():
        raise ValueError("its calibration is not in order")
    if probability[0] > 1 or probability[-1] < 0:
        raise ValueError("its calibration holds no probabilities")
    facts = json.loads(group["facts"].asstr()[()])
    return Calibration(_anndata.column(group, "labels").tolist(), distance, probability, nearest, dict(facts))
