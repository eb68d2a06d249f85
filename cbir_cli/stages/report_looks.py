"""What an explanation artifact says of each of its images: the part of ``cbir report`` that reads and judges maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from cbir_cli.artifacts.explanation import Curves as Stored
from cbir_cli.artifacts.explanation import Explanation, Measures
from cbir_cli.metric_names import parse_metrics
from cbir_cli.reports import curves
from cbir_cli.reports.look import Look
from cbir_cli.stages import explanation_values, localisation
from cbir_cli.stages.explanation_sums import SIDES

BORDER_ALARM = 1.5
"""How many times the border's share of the image a map may have there before it is marked; a choice of ours."""

BORDER = "border-mass"

_AREAS = {curves.OF_MAP: "own", curves.OF_RANDOM_MAP: "random", curves.OF_RANDOM_NETWORK: "network"}
"""Where ``Values`` has the area of each line."""


class Looks:
    """The maps of one artifact with what is known of each.

    Parameters
    ----------
    one : Explanation
    file : str
        For messages.

    Attributes
    ----------
    values : mapping of str to Values
        What each importance map gets, as ``cbir evaluate`` has it: the areas that are stored, the share on the border,
        and correlations with the maps of randomised networks.
    on : ndarray (M0,) of str
        What each map lies on: ``query`` or ``result``.
    marked : ndarray (M0,) of bool
        Whether a map has so much of its relevance on the border that a reader is told.
    """

    def __init__(self, one: Explanation, file: str) -> None:
        self._one = one
        chosen = localisation.parametrised(parse_metrics([*curves.KINDS, BORDER]), [])
        self.values = explanation_values.measured(one, file, chosen)
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
                    if kind in self.values and (values := getattr(stored, kind)) is not None:
                        self._lines[kind, line] = values
        self.on = np.array(SIDES)[one.map_on[one.importance]]
        border = self.values[BORDER]
        self._border, self._chance = border.own, np.asarray(border.random)  # border mass has a baseline
        self.marked = self._border > BORDER_ALARM * self._chance  # NaN is no alarm

    @property
    def measured(self) -> bool:
        """Whether there are maps with curves."""
        return bool(self._lines) and len(self._order) > 0

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
        if self._one.measures is None:
            return None
        found: dict[str, dict[str, curves.Curve]] = {kind: {} for kind in curves.KINDS}
        for (kind, line), stored in self._lines.items():
            area = getattr(self.values[kind], _AREAS[line])[place]
            found[kind][line] = curves.Curve(stored[place], float(area))
        return curves.Curves(np.asarray(self._one.measures.fractions), **found)

    def _remarks(self, place: int) -> Sequence[str]:
        if not self.marked[place]:
            return ()
        return (f"{self._border[place]:.0%} lies on the border (random map: {self._chance[place]:.0%})",)


def lines_of(measures: Measures) -> Mapping[str, Stored]:
    """Return the curves of maps and of their baselines by the names that the page has for them."""
    return {
        curves.OF_MAP: measures,
        curves.OF_RANDOM_MAP: measures.random_map,
        curves.OF_RANDOM_NETWORK: measures.random_model,
    }
