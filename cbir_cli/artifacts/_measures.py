"""What an explanation artifact may hold beside its maps: measures of them, and averages of classes.

The schema is in ``explanation``, which writes and reads these groups.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

_BASELINES = {"random-map": "random_map", "random-model": "random_model"}
_SIGNS = ("signed", "absolute")


@dataclass(frozen=True)
class Curves:
    """Insertion and deletion curves of M0 maps over T steps; None where not computed.

    Attributes
    ----------
    insertion, deletion : ndarray (M0, T), float32, or None
        From 0 to 1.
    """

    insertion: np.ndarray | None = None
    deletion: np.ndarray | None = None


@dataclass(frozen=True)
class Measures(Curves):
    """Curves of the maps, and those of what has to be worse.

    Attributes
    ----------
    insertion, deletion : ndarray (M0, T), float32, or None
        Of the maps themselves.
    random_map, random_model : Curves
        Of a random map, and of the maps of a network with fresh weights.
    parameters : dict
        How the curves were made.
    fractions : ndarray (T,), float64
        Share of the pixels that have changed after each step, from 0 to 1.
    """

    random_map: Curves = field(default_factory=Curves)
    random_model: Curves = field(default_factory=Curves)
    parameters: dict[str, Any] = field(default_factory=dict)
    fractions: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Randomisation:
    """Rank correlation of M0 maps with those of networks that lost L layers.

    Attributes
    ----------
    layers : list of str
        The one nearest to the output first.
    sign : str
        ``signed``, or ``absolute`` where magnitudes were ranked.
    cascade, independent : ndarray (M0, L), float32, or None
        NaN where a map has no ranks.
    """

    layers: list[str]
    sign: str
    cascade: np.ndarray | None = None
    independent: np.ndarray | None = None


@dataclass(frozen=True)
class Classes:
    """Average image and average map of C classes.

    Attributes
    ----------
    names : list of str
    images : ndarray (C, S, S) or (C, S, S, 3), uint8
    maps : ndarray (C, S, S), float32
    count : ndarray (C,), int32
        Images of each class.
    """

    names: list[str]
    images: np.ndarray
    maps: np.ndarray
    count: np.ndarray


def write_measures(file: h5py.File, measures: Measures) -> None:
    """Write the group ``measures``."""
    group = file.create_group("measures")
    group.attrs["parameters"] = json.dumps(measures.parameters, sort_keys=True)
    group.attrs["fractions"] = json.dumps(np.asarray(measures.fractions, np.float64).tolist())
    _write_tables(group, measures, ("insertion", "deletion"))
    for name, attribute in _BASELINES.items():
        curves = getattr(measures, attribute)
        if curves.insertion is not None or curves.deletion is not None:
            _write_tables(group.create_group(name), curves, ("insertion", "deletion"))


def read_measures(file: h5py.File, maps: int) -> Measures | None:
    """Return the measures of so many importance maps, if there are any; ValueError if they are not those."""
    if "measures" not in file:
        return None
    group = file["measures"]
    fractions = np.array(json.loads(group.attrs["fractions"]), np.float64)
    steps = len(fractions)
    if (
        fractions.ndim != 1
        or steps < 2
        or fractions[0] != 0
        or fractions[-1] != 1
        or not (np.diff(fractions) > 0).all()
    ):
        raise ValueError("the fractions of its measures do not rise from 0 to 1")
    found = [_read_tables(part, ("insertion", "deletion"), (maps, steps)) for part in _parts(group)]
    for curves in found:
        for curve in curves.values():
            if not (np.isfinite(curve).all() and (curve >= 0).all() and (curve <= 1 + 1e-4).all()):
                raise ValueError("a curve of its measures is not from 0 to 1")
    own, random_map, random_model = found
    return Measures(
        **own,
        random_map=Curves(**random_map),
        random_model=Curves(**random_model),
        parameters=dict(json.loads(group.attrs["parameters"])),
        fractions=fractions,
    )


def _parts(group: h5py.Group) -> list[Mapping[str, Any]]:
    return [group, *(group[name] if name in group else {} for name in _BASELINES)]


def write_randomisation(file: h5py.File, randomisation: Randomisation) -> None:
    """Write the group ``randomisation``."""
    group = file.create_group("randomisation")
    group.attrs["layers"] = json.dumps(randomisation.layers)
    group.attrs["sign"] = randomisation.sign
    _write_tables(group, randomisation, ("cascade", "independent"))


def read_randomisation(file: h5py.File, maps: int) -> Randomisation | None:
    """Return the correlations of so many importance maps, if there are any; ValueError if they are not those."""
    if "randomisation" not in file:
        return None
    group = file["randomisation"]
    layers, sign = names(group, "layers"), str(group.attrs["sign"])
    if sign not in _SIGNS:
        raise ValueError(f"the sign of its randomisation is {sign!r}")
    tables = _read_tables(group, ("cascade", "independent"), (maps, len(layers)))
    if any((np.abs(table) > 1 + 1e-4).any() for table in tables.values()):
        raise ValueError("a correlation of its randomisation is not from -1 to 1")
    return Randomisation(layers, sign, **tables)


def write_classes(file: h5py.File, classes: Classes) -> None:
    """Write the group ``classes``."""
    group = file.create_group("classes")
    group.attrs["names"] = json.dumps(classes.names)
    for name, dtype in (("images", np.uint8), ("maps", np.float32), ("count", np.int32)):
        group.create_dataset(name, data=np.asarray(getattr(classes, name), dtype))


def read_classes(file: h5py.File, picture: tuple[int, ...]) -> Classes | None:
    """Return the averages of classes of pictures of one shape, if there are any; ValueError if they are not those."""
    if "classes" not in file:
        return None
    group = file["classes"]
    called = names(group, "names")
    classes = Classes(
        called,
        array(group, "images", np.uint8, (len(called), *picture)),
        array(group, "maps", np.float32, (len(called), *picture[:2])),
        array(group, "count", np.int32, (len(called),)),
    )
    if not np.isfinite(classes.maps).all() or (classes.count < 1).any():
        raise ValueError("its classes hold no averages")
    return classes


def array(group: Mapping[str, Any], name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Return a dataset of one type and shape, checked before it is read."""
    found = group[name]
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{found.name} of shape {found.shape}, {found.dtype}")
    return np.asarray(found[()])


def _write_tables(group: h5py.Group, tables: object, names: Sequence[str]) -> None:
    for name in names:
        if (table := getattr(tables, name)) is not None:
            group.create_dataset(name, data=np.asarray(table, np.float32))


def _read_tables(group: Mapping[str, Any], names: Sequence[str], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: array(group, name, np.float32, shape) for name in names if name in group}


def names(group: h5py.Group, attribute: str) -> list[str]:
    """Return an attribute that is a JSON list of names; ValueError if it is another thing."""
    found = json.loads(group.attrs[attribute])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{attribute} is no list of names")
    return found
