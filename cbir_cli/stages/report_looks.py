"""What an explanation artifact says of each of its images: the part of ``cbir report`` that reads and judges maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from cbir_cli.artifacts.explanation import Curves as Stored
from cbir_cli.artifacts.explanation import Explanation, Measures
from cbir_cli.metrics.explanation import border_mass, deletion, insertion
from cbir_cli.reports import curves
from cbir_cli.reports.look import Look

BORDER_ALARM = 1.5
"""How many times the border's share of the image a map may have there before it is marked; a choice of ours."""

_TOGETHER = 64
"""Maps that are looked at at a time: bounds memory."""

SCORES = {"insertion": insertion.score, "deletion": deletion.score}


class Looks:
    """The maps of one artifact with what is known of each.

    Parameters
    ----------
    one : Explanation

    Attributes
    ----------
    areas : mapping
        ``areas[kind, line]``: area under each curve (M0,), in the order of the importance maps; what is not stored is
        not there. Kinds and lines as in ``reports.curves``.
    border, even : ndarray (M0,), float64
        Share of each map that lies on the border, NaN where a map has no relevance; and that of a map that is the same
        everywhere.
    on : ndarray (M0,) of str
        What each map lies on: ``query`` or ``result``.
    """

    def __init__(self, one: Explanation) -> None:
        self._one = one
        self._rows = {
            (int(pair), int(on), int(what)): row
            for row, (pair, on, what) in reversed(
                list(enumerate(zip(one.map_pair, one.map_on, one.map_what, strict=True)))
            )
        }
        self._order = {int(row): place for place, row in enumerate(one.importance)}
        self._lines: dict[tuple[str, str], np.ndarray] = {}
        if one.measures:
            for line, stored in lines_of(one.measures).items():
                for kind in curves.KINDS:
                    if (values := getattr(stored, kind)) is not None:
                        self._lines[kind, line] = values
        self.areas = {
            key: np.asarray(SCORES[key[0]](values), np.float64)
            for key, values in self._lines.items()
            if values.shape[0]
        }
        self.on = np.array(["query", "result"])[one.map_on[one.importance]]
        self.border, self.even = _border(one)

    def of(self, pair: int, on: int) -> Look | None:
        """Return what is known of the map of one pair on the query or on the result; None without a map."""
        row = self._rows.get((pair, on, 0))
        if row is None:
            return None
        uncertain = self._rows.get((pair, on, 1))
        place = self._order[row]
        return Look(
            self._one.maps[row],
            None if uncertain is None else self._one.maps[uncertain],
            self._curves(place),
            self._remarks(place),
        )

    def _curves(self, place: int) -> curves.Curves | None:
        if not self.areas or self._one.measures is None:
            return None
        found: dict[str, dict[str, curves.Curve]] = {kind: {} for kind in curves.KINDS}
        for (kind, line), areas in self.areas.items():
            found[kind][line] = curves.Curve(self._lines[kind, line][place], float(areas[place]))
        return curves.Curves(np.asarray(self._one.measures.fractions), **found)

    def _remarks(self, place: int) -> Sequence[str]:
        share, even = self.border[place], self.even[place]
        if not share > BORDER_ALARM * even:  # NaN is no alarm
            return ()
        return (f"{share:.0%} lies on the border (even map: {even:.0%})",)


def _border(one: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each importance map on the border, and that of an even map, a few maps at a time."""
    rows, share, even = one.importance, [np.zeros(0)], [np.zeros(0)]
    for start in range(0, len(rows), _TOGETHER):
        maps = one.maps[rows[start : start + _TOGETHER]].astype(np.float32)
        share.append(border_mass.score(maps).filled(np.nan))
        even.append(border_mass.expected(maps).filled(np.nan))
    return np.concatenate(share), np.concatenate(even)


def lines_of(measures: Measures) -> Mapping[str, Stored]:
    """Return the curves of maps and of their baselines by the names that the page has for them."""
    return {
        curves.OF_MAP: measures,
        curves.OF_RANDOM_MAP: measures.random_map,
        curves.OF_RANDOM_MODEL: measures.random_model,
    }
