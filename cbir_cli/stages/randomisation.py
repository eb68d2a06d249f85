"""How much maps change when layers lose what they have learnt: the library behind ``cbir saliency --randomize``."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from cbir_cli import randomisation, reading, registry
from cbir_cli.artifacts.model import Model
from cbir_cli.errors import SourceError
from cbir_cli.records import Record
from cbir_cli.stages.network_maps import Mapper
from cbir_cli.stages.streaming import nothing

log = logging.getLogger("cbir")


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


COLUMNS = [field.name for field in fields(Row)]


def randomise(
    make: Callable[[Model], Mapper],
    model: Model,
    records: Sequence[Record],
    way: str,
    *,
    seed: int,
    batch: int,
    workers: int,
    fail: bool = False,
) -> tuple[list[Row], dict[str, str]]:
    """Compare the maps of a network with those of networks that have lost layers.

    One network and one batch of images are in memory at a time; the trained network's maps lie in a temporary file.

    Parameters
    ----------
    make : callable
        Model to what makes its maps. A method that is fitted to images has to be fitted to them with that model: else
        it would go on showing what the layer had learnt.
    model : Model
        The trained network.
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
    SourceError
        If no image can be read.
    """
    fresh = fresh_weights(model, seed)
    lost = list(randomisation.networks({name: model.weights[name] for name in fresh}, fresh, way))
    unreadable: dict[str, str] = {}

    def batches(some: Sequence[Record], title: str) -> Iterator[np.ndarray]:
        how = {"workers": workers, "batch": batch, "fail": fail, "title": title}
        for _, pixels in reading.each(some, model.input.load, unreadable=unreadable, **how):  # type: ignore[arg-type]
            if pixels:
                yield np.stack(pixels)

    with tempfile.TemporaryFile() as trained:
        mapper, shape = make(model), (0,)
        for pixels in batches(records, "maps"):
            maps, _ = mapper(pixels)
            shape = maps.shape[1:]
            trained.write(maps.tobytes())
        if len(unreadable) == len(records):
            raise SourceError(nothing(len(records)))
        readable = [record for record in records if record.id not in unreadable]
        trained.flush()
        before = np.memmap(trained, np.float16, "r", shape=(len(readable), *shape))
        rows = []
        for layer, weights in lost:
            mapper = make(replace(model, weights=weights))
            done, signed, bare = 0, [], []
            for pixels in batches(readable, f"maps without {layer}"):
                maps, _ = mapper(pixels)
                pair = before[done : done + len(maps)], maps
                signed.append(randomisation.correlation(*pair))
                bare.append(randomisation.correlation(*pair, sign=False))
                done += len(maps)
            rows.append(_row(layer, np.concatenate(signed), np.concatenate(bare)))
    return rows, unreadable


def fresh_weights(model: Model, seed: int) -> dict[str, np.ndarray]:
    """Return the weights of the same network before training, drawn from a seed; UsageError if it is out of range."""
    from cbir_cli import engines
    from cbir_cli.models import _weights

    randomisation.check_seed(seed)
    outputs = engines.last_width(registry.load("models", model.architecture), model.weights)
    module = _weights.fresh(model.architecture, outputs, seed=seed)
    return {name: value.numpy() for name, value in module.state_dict().items()}


def cells(row: Row) -> list[str]:
    """Return a row as text, four decimals, empty where not defined."""
    return ["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in asdict(row).values()]


def tsv(rows: Sequence[Row]) -> str:
    """Return the rows as TSV, with a header."""
    return "".join("\t".join(line) + "\n" for line in [COLUMNS, *map(cells, rows)])


def json_lines(rows: Sequence[Row]) -> str:
    """Return the rows as JSON, one object a line, unrounded."""
    return "".join(json.dumps(asdict(row)) + "\n" for row in rows)


def _row(layer: str, signed: np.ndarray, bare: np.ndarray) -> Row:
    ranked = np.isfinite(signed) & np.isfinite(bare)
    return Row(layer, int(ranked.sum()), _mean(signed[ranked]), _mean(bare[ranked]), int((~ranked).sum()))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
