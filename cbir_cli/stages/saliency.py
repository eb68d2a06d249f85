"""From images to a saliency artifact: the library behind ``cbir saliency``."""

import logging
from collections.abc import Sequence

import numpy as np

from cbir_cli.artifacts import history, saliency
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record
from cbir_cli.stages import streaming
from cbir_cli.stages.embed import table_of
from cbir_cli.stages.encoders import Mapper

log = logging.getLogger("cbir")


def map_images(
    mapper: Mapper,
    records: Sequence[Record],
    job: streaming.Job,
    pseudonyms: Pseudonyms,
    *,
    source: str,
    reader: str,
) -> dict[str, str]:
    """Make a map of each image and write the artifact.

    Parameters
    ----------
    mapper : Mapper
    records : sequence of Record
    job : streaming.Job
        Also names the output.
    pseudonyms : Pseudonyms
    source, reader : str
        As the artifact remembers them.

    Returns
    -------
    dict of str to str
        Why each image that could not be read has no map.
    """
    model, size = mapper.model, mapper.model.input.size

    def process(pixels: np.ndarray) -> dict[str, np.ndarray]:
        maps, scale = mapper(pixels)
        return {"maps": maps, "scale": scale}

    fields = {"maps": ((size, size), "<f2"), "scale": ((), "<f4")}
    with streaming.extract(records, model.input.load, process, fields, job) as done:
        flat = int(np.count_nonzero(done.rows["scale"] == 0))
        if flat:
            log.warning(
                "%d of %d maps are flat: the method found nothing that speaks for the answer", flat, len(done.records)
            )
        entry = history.entry(
            "saliency",
            {"source": source, "reader": reader, "method": mapper.method, **mapper.parameters},
            inputs={"model": model.fingerprint},
            libraries=("numpy", "pillow", "torch", "zennit"),
        )
        saliency.write(
            job.output,
            done.rows["maps"],
            done.rows["scale"],
            table_of(done.records, done.contents, pseudonyms, model),
            attributes={
                "method": mapper.method,
                "parameters": mapper.parameters,
                "target": model.outputs[0] if len(model.outputs) == 1 else "highest output",
                "model": model.fingerprint,
                "model-space": model.space(),
                "source": source,
                "reader": reader,
            },
            unreadable=done.unreadable,
            history=history.join(model.history, [entry]),
            shard=job.shard,
        )
        return done.unreadable
