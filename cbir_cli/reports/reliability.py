"""Reliability diagrams: how often predicted probabilities come true.

Reference
---------
C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017, Fig. 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.drawing import INK, MUTED, SERIES, Drawing, plain


@dataclass(frozen=True, eq=False)
class Reliability:
    """What one panel shows.

    Parameters
    ----------
    lower, upper : ndarray (B,), float
        Ends of the bins.
    count : ndarray (B,), int
        Images in each bin.
    predicted, observed : ndarray (B,), float
        Mean prediction and share of positive images; not finite where a bin is empty.
    said : str
        Said in the panel, for instance the calibration error.

    Raises
    ------
    ShapeError
        If there is no image, or the arrays do not fit together.
    """

    lower: np.ndarray
    upper: np.ndarray
    count: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    said: str = ""

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.lower, self.upper, self.count, self.predicted, self.observed)}
        if len(shapes) > 1 or self.count.ndim != 1 or not self.count.sum():
            raise ShapeError(f"a reliability diagram needs bins with images, found {shapes}")


def reliability(panels: Mapping[str, Reliability]) -> Drawing:
    """Draw the share of positive images over the predicted probability, and below how many images there are.

    Parameters
    ----------
    panels : mapping of str to Reliability

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If there is nothing to draw.
    """
    if not panels:
        raise ShapeError("a reliability diagram needs at least one panel")

    def draw(figure: Any) -> None:
        grid = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=(3, 1))
        for column, (name, one) in enumerate(panels.items()):
            upper, lower = grid[:, column]
            there = one.count > 0
            wide = (one.upper - one.lower)[there]
            ideal = upper.plot((0, 1), (0, 1), color=MUTED, linestyle="--", linewidth=1)[0]
            bars = upper.bar(
                one.lower[there],
                one.observed[there],
                wide,
                align="edge",
                facecolor="#e6eef6",
                edgecolor=INK,
                linewidth=0.8,
            )
            style = {"color": SERIES[1], "marker": "o", "markersize": 3.6, "linewidth": 1.2}
            line = upper.plot(one.predicted[there], one.observed[there], **style)[0]
            upper.set(xlim=(0, 1), ylim=(0, 1.02))
            upper.set_title("\n".join(filter(None, (plain(name), one.said))), fontsize=9)
            lower.bar(
                one.lower[there],
                one.count[there],
                wide,
                align="edge",
                facecolor="#b9c2cc",
                edgecolor=INK,
                linewidth=0.8,
            )
            lower.set_xlabel("predicted probability")
            if column == 0:
                upper.set_ylabel("share of positive images")
                lower.set_ylabel("images")
                keys = {"share in each bin": bars, "at its mean prediction": line, "perfectly calibrated": ideal}
        figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=min(3, 2 * len(panels)), fontsize=8)

    return Drawing(draw, (max(4.0, 2.9 * len(panels)), 4.4))
