"""Insertion and deletion curves of one map beside those of its baselines, as the page draws and judges them.

Insertion shows the similarity of a pair while pixels of a blurred image become sharp, deletion while pixels become
grey, the most important first. A map is judged by the area under its curve: it should be larger than that of a random
order of the pixels for insertion, and smaller for deletion.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. Section 3.5, Fig. 3, Table 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError

KINDS = ("insertion", "deletion")
OF_MAP, OF_RANDOM_MAP, OF_RANDOM_NETWORK = "map", "random map", "random network"
LINES = (OF_MAP, OF_RANDOM_MAP, OF_RANDOM_NETWORK)
POINTS = 33  # of a curve on the page; more are not told apart at its size, and cost bytes
_STEPS = 36**2 - 1  # two characters a value


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve.

    Parameters
    ----------
    values : ndarray (T,), float
        Similarity after each step, from 0 to 1; what is beyond is drawn at the edge.
    area : float
        Under the curve, as share of the whole.
    """

    values: np.ndarray
    area: float


@dataclass(frozen=True, eq=False)
class Curves:
    """What happens to the similarity of a pair while one image changes in the order of its map.

    Parameters
    ----------
    fractions : ndarray (T,), float
        Share of the pixels that have changed after each step, rising from 0 to 1.
    insertion, deletion : mapping of str to Curve
        By line: ``map``, ``random map``, ``random network``; a line may be missing.

    Raises
    ------
    ShapeError
        If a curve has not as many values as there are fractions, or holds what is not finite.
    """

    fractions: np.ndarray
    insertion: Mapping[str, Curve] = field(default_factory=dict)
    deletion: Mapping[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in KINDS:
            for line, curve in self.of(kind).items():
                if line not in LINES:
                    raise ShapeError(f"{kind}: expected one of {', '.join(LINES)}, found {line!r}")
                if curve.values.shape != self.fractions.shape or not np.isfinite([*curve.values, curve.area]).all():
                    raise ShapeError(
                        f"{kind} of {line}: expected {len(self.fractions)} finite values, found {curve.values.shape}"
                    )

    def of(self, kind: str) -> Mapping[str, Curve]:
        """Return the curves of ``insertion`` or of ``deletion``."""
        return self.insertion if kind == KINDS[0] else self.deletion

    def no_better(self, line: str = OF_RANDOM_MAP) -> list[str]:
        """Return those of insertion and deletion whose area is no better than that of a baseline."""
        worse = []
        for kind in KINDS:
            curves = self.of(kind)
            if OF_MAP in curves and line in curves:
                gain = curves[OF_MAP].area - curves[line].area
                if (gain if kind == "insertion" else -gain) <= 0:
                    worse.append(kind)
        return worse

    def compared(self, line: str = OF_RANDOM_MAP) -> int:
        """Return how many of insertion and deletion are known for both the map and a baseline."""
        return sum(OF_MAP in self.of(kind) and line in self.of(kind) for kind in KINDS)

    @property
    def verdict(self) -> str:
        """What a reader has to be warned of, in words; empty if there is nothing."""
        worse = self.no_better()
        if not worse:
            return ""
        if len(worse) == self.compared():
            return f"no better than a {OF_RANDOM_MAP}"
        return f"{worse[0]} no better than that of a {OF_RANDOM_MAP}"

    def packed(self, axes: "Axes") -> dict[str, Any]:
        """Return all curves as the script of the page reads them: ``axis``, and for each kind and line [area, values].

        Of many points 33 are kept, the first and the last among them; values are in steps of 1/1295.
        """
        rows = np.unique(np.rint(np.linspace(0, len(self.fractions) - 1, POINTS)).astype(int))
        kinds = {}
        for kind in KINDS:
            curves = self.of(kind)
            kinds[kind] = [_pack(curves[line], rows) if line in curves else None for line in LINES] if curves else None
        return {"axis": axes.place(self.fractions[rows]), **kinds}


class Axes:
    """The distinct axes of a page, which many curves share."""

    def __init__(self) -> None:
        self.fractions: list[list[float]] = []

    def place(self, fractions: np.ndarray) -> int:
        """Return the number of an axis."""
        spelled = [round(float(value), 4) for value in fractions]
        if spelled not in self.fractions:
            self.fractions.append(spelled)
        return self.fractions.index(spelled)


def _pack(curve: Curve, rows: np.ndarray) -> list[Any]:
    steps = np.rint(np.clip(curve.values[rows], 0, 1) * _STEPS).astype(int)
    return [round(curve.area, 3), "".join(np.base_repr(step, 36).zfill(2) for step in steps.tolist()).lower()]
