"""The maps of several explainers over one image: their places, scales and legends, and which of them a switch shows.

Every map over a picture is there from the start, and the page shows those of one explainer and one kind at a time:
importance ``m``, its uncertainty ``u``, or importance where it is certain ``c``. A row with a single explainer always
shows that one, whatever the switch says.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cbir_cli.reports import overlay
from cbir_cli.reports.curves import KINDS, OF_MAP, OF_RANDOM_MAP, Axes, Curves
from cbir_cli.reports.gallery import Case, Row
from cbir_cli.reports.look import Look
from cbir_cli.reports.pictures import Pictures, Place
from cbir_cli.reports.tables import spell

IMPORTANCE, UNCERTAINTY, CERTAIN = "m", "u", "c"


class Layers:
    """The explainers of a page.

    Parameters
    ----------
    cases : sequence of Case
    pictures : Pictures
        Get the maps, in the order in which they are asked for.

    Attributes
    ----------
    names : list of str
        Explainers that the switch offers: those of rows that have several.
    uncertain : bool
        Whether any map has an uncertainty.
    axes : Axes
        Of the curves that were asked for so far.
    """

    def __init__(self, cases: Sequence[Case], pictures: Pictures) -> None:
        self._pictures = pictures
        self.axes = Axes()
        rows: dict[str, list[Row]] = {}
        for case in cases:
            for row in case.rows:
                rows.setdefault(row.method, []).append(row)
        self._explainers = {
            method: list(dict.fromkeys(name for row in alike for name in row.explainers))
            for method, alike in rows.items()
        }
        several = [names for names in self._explainers.values() if len(names) > 1]
        self.names = list(dict.fromkeys(name for names in several for name in names))
        self._scales: dict[tuple[str, str, str], overlay.Scale | None] = {}
        for method, alike in rows.items():
            for name in self._explainers[method]:
                looks = [look for row in alike for look in _looks(row, name)]
                importance = overlay.scale(look.map for look in looks if look.map is not None)
                uncertainty = overlay.scale(
                    (look.uncertainty for look in looks if look.uncertainty is not None), uncertainty=True
                )
                self._scales[method, name, IMPORTANCE] = self._scales[method, name, CERTAIN] = importance
                self._scales[method, name, UNCERTAINTY] = uncertainty
        self.uncertain = any(scale is not None and scale.uncertainty for scale in self._scales.values())

    def bars(self, method: str) -> list[dict[str, Any]]:
        """Return the legend of each explainer of a row: its name, place in the switch, and colour bars."""
        return [
            {
                "name": name,
                "layer": self._layer(method, name),
                IMPORTANCE: self._pictures.bar(self._scales[method, name, IMPORTANCE]),
                UNCERTAINTY: self._pictures.bar(self._scales[method, name, UNCERTAINTY]),
            }
            for name in self._explainers[method]
        ]

    def over(self, method: str, image: Place, looks: Mapping[str, Look]) -> list[dict[str, Any]]:
        """Return what each explainer of a row shows over an image: its maps, and what is said of them below it.

        Where there is a switch, those that have no map of the image are there as well, and say so.
        """
        if not looks:
            return []
        absent = Look()
        names = self._explainers[method] if len(self._explainers[method]) > 1 else list(looks)
        return [self._view(method, name, image, looks.get(name, absent)) for name in names]

    def _view(self, method: str, name: str, image: Place, look: Look) -> dict[str, Any]:
        kinds = {IMPORTANCE: look.map, UNCERTAINTY: look.uncertainty, CERTAIN: look.certain}
        return {
            "name": name,
            "layer": self._layer(method, name),
            "maps": [
                (kind, self._pictures.over(image, values, self._scales[method, name, kind]))
                for kind, values in kinds.items()
                if values is not None
            ],
            "absent": look.map is None,
            "zero": look.map is not None and not look.map.any(),
            "areas": _areas(look.curves) if look.curves else [],
            "warnings": look.warnings,
            "curves": look.curves.packed(self.axes) if look.curves else None,
        }

    def _layer(self, method: str, name: str) -> int | None:
        return self.names.index(name) if len(self._explainers[method]) > 1 else None


def _looks(row: Row, name: str) -> list[Look]:
    seen = [row.query_looks, *(n.tile.looks for n in row.neighbours), *(n.query_looks for n in row.neighbours)]
    return [looks[name] for looks in seen if name in looks]


def _areas(curves: Curves) -> list[tuple[str, str, str]]:
    """Spell the areas of a map: insertion or deletion, the area, and that of a random map or nothing."""
    said = []
    for kind in KINDS:
        lines = curves.of(kind)
        if OF_MAP in lines:
            random = spell(lines[OF_RANDOM_MAP].area) if OF_RANDOM_MAP in lines else ""
            said.append((kind, spell(lines[OF_MAP].area), random))
    return said
