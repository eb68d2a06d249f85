"""From images to a saliency artifact: the library behind ``cbir saliency``."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cbir_cli import mappers, maps, reading, registry
from cbir_cli.artifacts import history, saliency
from cbir_cli.artifacts.model import Model
from cbir_cli.artifacts.partial import Fields
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Record, images
from cbir_cli.stages import preview as previews
from cbir_cli.stages import streaming
from cbir_cli.stages.embed import table_of
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.network_maps import Mapper, check_explains

log = logging.getLogger("cbir")

FIT_IMAGES = 512
"""How many images a method is fitted to at most, if nothing is said."""

_FIT_BATCH = 16
"""Images that a method is given at a time to be fitted to; always the same, as it decides the last bits."""


@dataclass(frozen=True)
class Choice:
    """How maps are to be made.

    Attributes
    ----------
    method : str
    parameters : dict
        Those that differ from the method's defaults, and ``seed`` where the method draws.
    form : str
        One of ``maps.INPUTS``.
    fit_images : int
        How many images the method is fitted to at most; 0 where it is not fitted.
    """

    method: str
    parameters: dict[str, Any]
    form: str
    fit_images: int


@dataclass(frozen=True)
class Learnt:
    """What a method has learnt.

    Attributes
    ----------
    values : dict of str to ndarray
    facts : dict
        From what, for the history.
    unreadable : dict of str to str
        Why each image that could not be read was left out.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def choose(method: str, pairs: Sequence[str], *, seed: int = 0) -> Choice:
    """Return what ``--method``, ``--set`` and ``--seed`` say.

    Raises
    ------
    UsageError
        If there is no such method or parameter, or a value is not one.
    """
    method, way = registry.canonical(method), registry.load("saliency", method)
    stage = {"input": maps.INPUTS[0], **({"fit_images": FIT_IMAGES} if hasattr(way, "fit") else {})}
    known = {**registry.parameters(way.explain), **stage}
    given = registry.settings(pairs, known, f"saliency method {method}")
    form, most = given.pop("input", maps.INPUTS[0]), given.pop("fit_images", stage.get("fit_images", 0))
    if form not in maps.INPUTS:
        raise registry.unknown("input", form, maps.INPUTS)
    if "fit_images" in stage and most < 1:
        raise UsageError(f"--set fit_images={most}: expected at least 1")
    if mappers.takes(way.explain, "generator"):
        given["seed"] = seed
    return Choice(method, given, form, most)


def trained_on(model: Model, records: Sequence[Record], pseudonyms: Pseudonyms) -> list[Record]:
    """Return the images whose patients the model trained on, or all if there are none."""
    seen = [r for r in records if model.split.get(pseudonyms(r.patient) or r.id) == "train"]
    if not seen:
        log.warning("the model trained on none of these images; the method is fitted to any of them")
    return seen or list(records)


def learn(
    choice: Choice, model: Model, records: Sequence[Record], *, source: str, workers: int, fail: bool = False
) -> Learnt:
    """Fit a method to images, where it has to be.

    Parameters
    ----------
    choice : Choice
    model : Model
    records : sequence of Record
        If there are too many, those are taken whose ids have the lowest hashes: a choice that depends neither on the
        order of the images nor on anything else, and favours none of them.
    source : str
        Where they are from, as the history remembers it.
    workers : int
        Threads that decode; the result does not depend on it.
    fail : bool
        Raise at the first image that cannot be read instead of leaving it out.

    Raises
    ------
    ImageError
        At the first unreadable image if ``fail``.
    SourceError
        If no image can be read.
    """
    lowest = sorted(records, key=lambda record: hashlib.sha256(record.id.encode()).digest())[: choice.fit_images]
    unreadable: dict[str, str] = {}

    def read() -> Iterator[np.ndarray]:
        how = {"workers": workers, "batch": _FIT_BATCH, "fail": fail, "title": "fit"}
        for _, pixels in reading.each(lowest, model.input.load, unreadable=unreadable, **how):  # type: ignore[arg-type]
            if pixels:
                yield model.input.prepare(np.stack(pixels))
        if len(unreadable) == len(lowest):
            raise SourceError(f"none of the images that saliency method {choice.method} is to be fitted to can be read")

    if not choice.fit_images:
        return Learnt()
    check_explains(model, choice.method)
    log.info("fitting %s to %s", choice.method, images(len(lowest)))
    way = registry.load("saliency", choice.method)
    values = mappers.fit_method(model.architecture, model.weights, way.fit, read)
    return Learnt(values, {"fit": source, "fit_images": len(lowest) - len(unreadable)}, unreadable)


def mapper(choice: Choice, model: Model, learnt: Learnt, settings: Settings) -> Mapper:
    """Return what makes the maps that were chosen, with a network."""
    return Mapper(model, choice.method, choice.parameters, settings, form=choice.form, fitted=learnt.values)


def map_images(
    mapper: Mapper,
    records: Sequence[Record],
    job: streaming.Job,
    pseudonyms: Pseudonyms,
    *,
    source: str,
    reader: str,
    learnt: Learnt = Learnt(),
    preview: str | None = None,
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
    learnt : Learnt
        What the mapper's method was fitted to, for the history.
    preview : str, optional
        Folder that gets a picture of each image beside its map.

    Returns
    -------
    dict of str to str
        Why each image that could not be read has no map.
    """
    model, size = mapper.model, mapper.model.input.size

    fields: Fields = {"maps": (maps.shape(mapper.form, size, size), "<f2"), "scale": ((), "<f4")}
    if mapper.uncertain:
        fields = {**fields, "uncertainty": ((size, size), "<f2"), "uncertainty_scale": ((), "<f4")}
    with streaming.extract(records, model.input.load, mapper.rows, fields, job) as done:
        flat = int(np.count_nonzero(done.rows["scale"] == 0))
        if flat:
            log.warning(
                "%d of %d maps are flat: the method found nothing that speaks for the answer", flat, len(done.records)
            )
        entry = history.entry(
            "saliency",
            {
                "source": source,
                "reader": reader,
                "method": mapper.method,
                "input": mapper.form,
                **mapper.parameters,
                **learnt.facts,
            },
            inputs={"model": model.fingerprint},
            seed=mapper.parameters.get("seed"),
            libraries=("numpy", *reading.libraries(records), "torch"),
        )
        saliency.write(
            job.output,
            done.rows["maps"],
            done.rows["scale"],
            table_of(done, pseudonyms, model),
            attributes={
                "method": mapper.method,
                "parameters": mapper.parameters,
                "input": mapper.form,
                "target": _target(mapper),
                "model": model.fingerprint,
                "model-space": model.space(),
                "source": source,
                "reader": reader,
            },
            fitted=mapper.fitted,
            uncertainty=(done.rows["uncertainty"], done.rows["uncertainty_scale"]) if mapper.uncertain else None,
            unreadable=done.unreadable,
            history=history.join(model.history, [entry]),
            shard=job.shard,
        )
        if preview is not None:
            previews.write_previews(
                preview, done.records, model.input.load, done.rows["maps"], done.rows["scale"], method=mapper.method
            )
        return done.unreadable


def _target(mapper: Mapper) -> str:
    """Return what the maps explain."""
    if mapper.explains != "output":
        return mapper.explains
    outputs = mapper.model.outputs
    return outputs[0] if len(outputs) == 1 else "highest output"
