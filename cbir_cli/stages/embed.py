"""From images or maps to an embedding artifact: the library behind ``cbir embed``."""

from collections.abc import Iterable, Sequence

import numpy as np

from cbir_cli import reading
from cbir_cli.artifacts import embeddings, history, items, saliency
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.model import Model
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.maps import as_pixels
from cbir_cli.records import Record
from cbir_cli.stages import streaming
from cbir_cli.stages.encoding import Encoder
from cbir_cli.stages.networks import Network
from cbir_cli.tasks import find_label


def targets_of(names: Sequence[str], outputs: Iterable[Iterable[str]]) -> list[str]:
    """Return the labels of a source that a task is about, without those that the source does not have.

    Parameters
    ----------
    names : sequence of str
        The labels that the source has.
    outputs : iterable of iterable of str
        The task's names for the label of each output.
    """
    found = (find_label(names, labels) for labels in outputs)
    return [label for label in found if label is not None]


def table_of(done: streaming.Extracted, pseudonyms: Pseudonyms, model: Model | None) -> Items:
    """Return the item table of the images that were read, with each patient's set in the model's training."""
    table = items.from_records(done.records, done.contents, pseudonyms, done.hashes)
    return table if model is None else with_seen(table, model)


def with_seen(table: Items, model: Model) -> Items:
    """Return the table with ``seen`` filled in; an image without patient counts under its id."""
    pairs = zip(table["patient"].tolist(), table.ids.tolist(), strict=True)
    sets = [model.split.get(patient or key, "") for patient, key in pairs]
    return table.replace(seen=np.array(sets, dtype=np.str_))


def embed_images(
    encoder: Encoder,
    records: Sequence[Record],
    job: streaming.Job,
    pseudonyms: Pseudonyms,
    *,
    labels: Iterable[Iterable[str]],
    source: str,
    reader: str,
) -> dict[str, str]:
    """Embed images and write the artifact.

    Parameters
    ----------
    encoder : Encoder
    records : sequence of Record
    job : streaming.Job
        Also names the output.
    pseudonyms : Pseudonyms
    labels : iterable of iterable of str
        The task's names for the label of each output.
    source, reader : str
        As the artifact remembers them.

    Returns
    -------
    dict of str to str
        Why each image that could not be read has no vector.
    """
    model = getattr(encoder, "model", None)
    with streaming.extract(records, encoder.input.load, encoder.rows, encoder.fields, job) as done:
        table = table_of(done, pseudonyms, model)
        space = encoder.space.of_source(source, reader, targets_of(table.label_names, labels))
        entry = history.entry(
            "embed",
            {"source": source, "reader": reader, "encoder": space.encoder, "size": encoder.input.size, **_quirk(space)},
            inputs={"model": space.model_fingerprint},
            libraries=(*reading.libraries(records), *encoder.libraries),
        )
        embeddings.write(
            job.output,
            done.rows["X"],
            table,
            space,
            logits=done.rows.get("logits"),
            unreadable=done.unreadable,
            history=history.join(model.history if model else [], [entry]),
            shard=job.shard,
        )
        return done.unreadable


def embed_maps(
    encoder: Network, maps: saliency.Maps, output: str, *, labels: Iterable[Iterable[str]], batch: int
) -> None:
    """Feed stored maps to a network and write the artifact: CNN(IG) from a CNN, IG from an IG model.

    Parameters
    ----------
    encoder : Network
        Made for these maps.
    maps : saliency.Maps
    output : str
    labels : iterable of iterable of str
        The task's names for the label of each output.
    batch : int
    """
    blocks = [encoder.rows(as_pixels(maps.maps[i : i + batch])) for i in range(0, len(maps.maps), batch)]
    table = maps.items.take(np.arange(len(maps.items.ids)))
    space = encoder.space.of_source(maps.source, maps.reader, targets_of(table.label_names, labels))
    entry = history.entry(
        "embed",
        {
            "source": maps.source,
            "reader": maps.reader,
            "encoder": space.encoder,
            "size": encoder.input.size,
            **_quirk(space),
        },
        inputs={"model": space.model_fingerprint, "maps": maps.fingerprint},
        libraries=encoder.libraries,
    )
    embeddings.write(
        output,
        np.concatenate([b["X"] for b in blocks]) if blocks else np.empty((0, encoder.width), np.float32),
        table,
        space,
        logits=np.concatenate([b["logits"] for b in blocks]) if blocks and "logits" in encoder.fields else None,
        unreadable=maps.unreadable,
        history=history.join(encoder.model.history, maps.history, [entry]),
    )


def _quirk(space: embeddings.Space) -> dict[str, str]:
    return {} if space.compat == "none" else {"compat": space.compat}
