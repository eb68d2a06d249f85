"""How much maps change when layers lose what they have learnt: the library behind ``cbir saliency --randomize``."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cbir_cli import images, randomisation
from cbir_cli.errors import CbirError, ImageError
from cbir_cli.progress import Progress
from cbir_cli.records import Record
from cbir_cli.stages.encoders import Mapper
from cbir_cli.stages.streaming import named

log = logging.getLogger("cbir")

COLUMNS = ("layer", "images", "spearman", "spearman_abs", "flat")


@dataclass(frozen=True)
class Row:
    """Means over the images of one network without a layer.

    Attributes
    ----------
    layer : str
        The last one that was drawn anew.
    images : int
        Maps that have ranks, before and after.
    spearman, spearman_abs : float or None
        Mean rank correlation with the trained network's maps, with the sign of relevance and without.
    flat : int
        Maps without ranks, since all their values are equal.
    """

    layer: str
    images: int
    spearman: float | None
    spearman_abs: float | None
    flat: int

    def line(self) -> str:
        """Return the row as TSV."""
        means = ["" if value is None else f"{value:.4f}" for value in (self.spearman, self.spearman_abs)]
        return "\t".join([self.layer, str(self.images), *means, str(self.flat)])


def randomise(
    mapper: Mapper, records: Sequence[Record], way: str, *, seed: int, batch: int, workers: int, fail: bool = False
) -> tuple[list[Row], dict[str, str]]:
    """Compare the maps of a network with those of networks that have lost layers.

    Parameters
    ----------
    mapper : Mapper
        Makes the maps of the trained network.
    records : sequence of Record
    way : str
        ``cascade`` or ``independent``.
    seed : int
        Of the weights that are drawn.
    batch, workers : int
        Images at a time, and threads that decode.
    fail : bool
        Raise at the first image that cannot be read.

    Returns
    -------
    rows : list of Row
        A row a layer, the one nearest to the output first.
    unreadable : dict of str to str
        Why each image that could not be read is left out.

    Raises
    ------
    CbirError
        If no image can be read.
    """
    from cbir_cli.models import _weights

    model = mapper.model
    module = _weights.fresh(model.architecture, len(model.outputs), seed=seed)
    fresh = {name: value.numpy() for name, value in module.state_dict().items()}
    ordered = {name: model.weights[name] for name in fresh}
    lost = [(layer, mapper.of(replace(model, weights=w))) for layer, w in randomisation.networks(ordered, fresh, way)]
    signed: dict[str, list[np.ndarray]] = {layer: [] for layer, _ in lost}
    bare: dict[str, list[np.ndarray]] = {layer: [] for layer, _ in lost}
    unreadable: dict[str, str] = {}
    progress = Progress(len(records) * len(lost), "maps")
    for some, outcomes in images.stream(records, model.input.load, workers=workers, batch=batch):
        pixels = []
        for record, outcome in zip(some, outcomes, strict=True):
            if isinstance(outcome, ImageError):
                error = named(record, outcome)
                if fail:
                    raise error
                log.warning("%s", error)
                unreadable[record.id] = str(error)
            else:
                pixels.append(outcome)
        if pixels:
            stacked = np.stack(pixels)
            maps, _ = mapper(stacked)
            for layer, other in lost:
                others, _ = other(stacked)
                signed[layer].append(randomisation.correlation(maps, others))
                bare[layer].append(randomisation.correlation(maps, others, sign=False))
                progress.advance(len(some))
    progress.close()
    if len(unreadable) == len(records):
        raise CbirError("no image could be read")
    return _rows(signed, bare), unreadable


def table(rows: Sequence[Row]) -> str:
    """Return the rows as TSV, with a header."""
    return "".join(f"{line}\n" for line in ["\t".join(COLUMNS), *(row.line() for row in rows)])


def _rows(signed: Mapping[str, list[np.ndarray]], bare: Mapping[str, list[np.ndarray]]) -> list[Row]:
    rows = []
    for layer, parts in signed.items():
        with_sign, without = np.concatenate(parts), np.concatenate(bare[layer])
        known, ranked = with_sign[np.isfinite(with_sign)], without[np.isfinite(without)]
        rows.append(Row(layer, len(known), _mean(known), _mean(ranked), len(with_sign) - len(known)))
    return rows


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
