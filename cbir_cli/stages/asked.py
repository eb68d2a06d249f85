"""What a query needs before it can be searched for: vectors of the index's space, from an embedding or a model."""

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import ArtifactError
from cbir_cli.stages.query import Queries

if TYPE_CHECKING:
    from cbir_cli.stages.encoding import Settings
    from cbir_cli.stages.networks import Network
    from cbir_cli.stages.ssim import Ssim

log = logging.getLogger("cbir")


def asked_as(index: Index, compat: str) -> Index:
    """Return the index with ``compat`` in its space: how queries are to be fed, whatever the catalogue was."""
    embedding = index.embedding
    return replace(index, embedding=replace(embedding, space=replace(embedding.space, compat=compat)))


def from_embedding(embedding: Embedding, index: Index) -> Queries:
    """Return the images of an embedding as queries, with a warning if they were fed otherwise than the catalogue.

    Raises
    ------
    ArtifactError
        If they come from another model or preprocessing than the index.
    """
    here, there = embedding.space, index.embedding.space
    if here.fingerprint != there.fingerprint:
        raise ArtifactError(f"{embedding.name}: embedded by {here.told}, the index by {there.told}")
    if there.compat not in ("none", here.compat):
        raise ArtifactError(
            f"{embedding.name}: its vectors are made already, without compat={there.compat}; "
            f"embed its images with --set compat={there.compat}"
        )
    if here.compat != "none":
        log.warning(
            "%s: embedded with compat=%s: its maps were fed otherwise than the catalogue's", embedding.name, here.compat
        )
    return Queries(embedding.vectors, embedding.items, here.source)


def find_encoder(
    chosen: str | None, index: Index, index_path: str, settings: "Settings", *, environment: bool = True
) -> "Network | Ssim":
    """Return the encoder of an index, for what is not yet embedded.

    Tries the model that was named, ``$CBIR_MODEL`` (unless ``environment`` is false, for indexes of other models), the
    name that the index remembers beside the index and in the working folder, and ``./model.h5``.

    Raises
    ------
    ArtifactError
        If the model that was named is of another space, or none is found; the message says where was looked.
    """
    from cbir_cli.stages.encoders import open_encoder, reopen

    space = index.embedding.space
    settings = replace(settings, compat=space.compat)
    if built_in := reopen(space, settings):
        if chosen not in (None, space.model_name, space.model_name.partition(":")[0]):
            raise ArtifactError(f"{chosen}: another model than the index was made with ({space.model_name})")
        if built_in.space.fingerprint != space.fingerprint:
            raise ArtifactError(f"{index_path}: {space.model_name} had other weights when the index was made")
        return built_in
    if not space.model_fingerprint:
        raise ArtifactError(
            f"{index_path}: its vectors were made elsewhere, by {space.model_name}: make those of the query there, "
            "too, and bring them with cbir convert"
        )
    named = chosen or (os.environ.get("CBIR_MODEL") if environment else None)
    beside = os.path.join(os.path.dirname(index_path), space.model_name)
    places = [named] if named else list(dict.fromkeys([beside, space.model_name, "model.h5"]))
    for place in places:
        if not named and not os.path.isfile(place):
            continue
        encoder = open_encoder(place, settings)
        if encoder.space.fingerprint == space.fingerprint:
            if not chosen:
                log.info("model: %s", os.path.basename(place) if os.path.isabs(place) else place)
            return encoder
        if named:
            raise ArtifactError(
                f"{place}: another model than the index was made with: expected {space.told}, "
                f"found {encoder.space.told}"
            )
    hint = "; for CNN(IG) make it with cbir finetune-ig --epochs 0" if space.encoder == "cnn(ig)" else ""
    raise ArtifactError(
        f"{index_path}: the query needs the model {space.model_name} ({space.encoder}), which is not in "
        f"{', '.join(places)}; give -m FILE{hint}"
    )
