"""From the logits of embeddings to reliability diagrams: the part of ``cbir report`` that shows calibration.

Counted are images of patients that the network was neither trained nor selected on, whose label is stated.
"""

from collections.abc import Sequence

import numpy as np

from cbir_cli import calibration, classes, metric_settings
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.records import NEGATIVE, POSITIVE
from cbir_cli.reports.drawing import Drawing
from cbir_cli.reports.reliability import Reliability, reliability
from cbir_cli.stages import report_names
from cbir_cli.tasks import find_label

_BINS = 10
_MOST = 4
"""Panels of a figure."""


def figures_of(made: Sequence[tuple[str, Embedding]], label: str | None) -> list[tuple[str, Drawing]]:
    """Return reliability diagrams, a panel for each file and label, of files whose network classifies.

    Parameters
    ----------
    made : sequence of (str, Embedding)
        File and content, still open.
    label : str, optional
        The only label shown; a file whose network does not classify it has no panel.

    Returns
    -------
    list of (str, Drawing)
    """
    names = report_names.of_files([name for name, _ in made])
    panels: dict[str, Reliability] = {}
    for name, one in made:
        for target, column in _columns(one).items():
            if label in (None, classes.ALL, target) and (panel := _panel(one, target, column)):
                panels[f"{names[name]}, {target}"] = panel
    every = list(panels.items())
    figures = [dict(every[start : start + _MOST]) for start in range(0, len(every), _MOST)]
    said = f"Calibration: how often predictions come true, in {_BINS} bins, on images of held-out patients"
    return [(said, reliability(some)) for some in figures]


def _columns(one: Embedding) -> dict[str, int]:
    """Return the logit of each label; none where it is not known which label a logit stands for."""
    count = 0 if one.logits is None else one.logits.shape[1]
    if count == 1:
        return {one.space.targets[0]: 0} if len(one.space.targets) == 1 else {}
    if len(one.space.outputs) != count:
        return {}
    found = {find_label(one.items.label_names, [name]): column for column, name in enumerate(one.space.outputs)}
    return {name: column for name, column in found.items() if name}


def _panel(one: Embedding, target: str, column: int) -> Reliability | None:
    codes = one.items.label(target)
    kept = one.items.held_out & np.isin(codes, (NEGATIVE, POSITIVE))
    if one.logits is None or not kept.any():
        return None
    logits = np.asarray(one.logits[:, column], np.float64)[kept]
    curve = calibration.curve((codes[kept] == POSITIVE).astype(int), metric_settings.sigmoid(logits), _BINS)
    said = f"ECE {curve.error:.3f}, n {int(kept.sum()):,}"
    return Reliability(curve.lower, curve.upper, curve.count, curve.predicted, curve.observed, said)
