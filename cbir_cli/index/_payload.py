"""Arrays of a payload, checked before they are used: a file may claim anything."""

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


def array(payload: dict[str, ndarray], name: str, shape: tuple[int, ...], kind: str) -> ndarray:
    """Return an array of a payload that has to have a shape and type; it may be a memory map.

    Parameters
    ----------
    payload : dict
    name : str
    shape : tuple of int
        With -1 for any length.
    kind : str
        As numpy writes a type: ``f4``.

    Raises
    ------
    ShapeError
        If it is not there or another, or holds a number that is not finite.
    """
    values = payload.get(name)
    if values is None:
        raise ShapeError(f"the payload has no {name}")
    fits = values.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, values.shape, strict=True))
    if not fits or values.dtype != np.dtype(kind):
        raise ShapeError(f"{name} of the payload: expected {shape} {kind}, found {values.shape} {values.dtype}")
    if kind[0] == "f" and not np.isfinite(values).all():
        raise ShapeError(f"{name} of the payload holds a number that is not finite")
    return np.asarray(values)


def rows(payload: dict[str, ndarray], count: int) -> ndarray:
    """Return ``rows`` of a payload, (P,) int64.

    Raises
    ------
    ShapeError
        If they are not rows of ``count`` vectors, each once, or -1.
    """
    found = array(payload, "rows", (-1,), "i8")
    if found.size and (found.min() < -1 or found.max() >= count or np.bincount(found[found >= 0]).max(initial=0) > 1):
        raise ShapeError(f"rows of the payload: expected rows of {count} vectors, each once")
    return found
