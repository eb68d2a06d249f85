"""How well distances from a catalogue tell images of a class that it does not hold, for ``cbir evaluate``.

The catalogue is the index without its images of that class. A query's distance is that to the nearest centre of a
class, the mean of the vectors of its images (of vectors divided by their length where they are compared by the cosine);
or to the nearest image. Images of the query's own patient have no part in either.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Supplement and code: the network is
trained without COVID-19, or without melanoma; distance to the nearest class centre.)
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

from cbir_cli import bootstrap, classes, relevance
from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts import index as indexes
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.label_policy import Policy
from cbir_cli.metric_names import Metric
from cbir_cli.records import POSITIVE
from cbir_cli.registry import unknown
from cbir_cli.scores import Score
from cbir_cli.stages import asked, searchers
from cbir_cli.stages.guards import Filters, Guard
from cbir_cli.stages.query import Queries

log = logging.getLogger("cbir")

FROM = ("centre", "nearest")
_SAID = {"centre": "distance to the nearest class centre", "nearest": "distance to the nearest image"}


@dataclass(frozen=True)
class Wanted:
    """What is asked.

    Attributes
    ----------
    label : str
        The class of the anomalies.
    metrics : sequence of Metric
    origin : str
        What distances are measured from: one of ``FROM``.
    policy : Policy
        What becomes of labels that are uncertain or not stated, of the index as of the images that are scored. Of
        these, images whose label is ignored are left out.
    """

    label: str
    metrics: Sequence[Metric]
    origin: str = "centre"
    policy: Policy = field(default_factory=Policy)


def evaluate(name: str, path: str, items: str | None, wanted: Wanted) -> list[Score]:
    """Score the images of an embedding by their distance from an index, those positive for a label as anomalies.

    Images that a network was trained or chosen on are left out.

    Parameters
    ----------
    name, path : str
        The embedding as it is called, and where it is.
    items : str
        The index.
    wanted : Wanted

    Raises
    ------
    UsageError
        If index or label are not given, the label or ``origin`` is unknown, or vectors have no centre.
    ArtifactError
        If index and embedding are of different models.
    SourceError
        If no image is left, in the one or in the other.
    """
    if not items or not wanted.label:
        raise UsageError(
            f"metric {wanted.metrics[0]} needs a catalogue and the anomalies' label: --items IDX --label L"
        )
    if wanted.origin not in FROM:
        raise unknown("score", wanted.origin, FROM)
    with (
        files.open_artifact(items, indexes.KIND) as known,
        files.open_artifact(path, embeddings.KIND, indexes.KIND, name=name) as asking,
    ):
        index = indexes.read(known)
        queries = asked.from_embedding(embeddings.read(asking), index)
        table = queries.items
        if wanted.label not in table.label_names:
            raise unknown("label", wanted.label, table.label_names)
        codes = wanted.policy.of(table.label(wanted.label))
        rows = np.flatnonzero(relevance.stated(codes) & table.held_out)
        if not len(rows):
            raise SourceError(f"no image to score: of {table.count}, none is held out and has the label {wanted.label}")
        anomaly = (codes[rows] == POSITIVE).astype(np.int64)
        catalogue = _catalogue(index, wanted)
        distance = distances(index, queries.take(rows), catalogue, wanted)
        log.info("%d images scored, %d anomalies; %d images of the catalogue", len(rows), anomaly.sum(), len(catalogue))
        patients = table["patient"][rows]
        against = f"label {wanted.label} ({_SAID[wanted.origin]}){wanted.policy}"
        scores = []
        for metric in wanted.metrics:
            mean, chance = metric.module.score(anomaly, distance), metric.module.expected(anomaly, distance)
            if mean is None:
                log.warning("%s is not defined: %d of %d images are anomalies", metric, anomaly.sum(), len(anomaly))
            low, high = bootstrap.of_score(metric.module.score, anomaly, distance, patients) or (None, None)
            left = table.count - len(rows)
            scores.append(Score(name, str(metric), against, len(rows), left, mean, random=chance, low=low, high=high))
        return scores


def distances(index: Index, queries: Queries, catalogue: ndarray, wanted: Wanted) -> ndarray:
    """Return how far each query is from what is known, (Q,) float64.

    Parameters
    ----------
    index : Index
    queries : Queries
    catalogue : ndarray (M,), int64
        Rows of the index that are known, ascending.
    wanted : Wanted
    """
    same = bool(queries.source) and queries.source == index.embedding.space.source
    guard = Guard(index.embedding.items, queries.items, Filters(), same_source=same)
    if wanted.origin == "nearest":
        vectors = np.ascontiguousarray(queries.vectors)
        found, _ = searchers.searcher(index).search(vectors, 1, allowed=lambda row: guard.allowed(row, catalogue))
        return _finite(found[:, 0].astype(np.float64))
    return _from_centres(index, queries, catalogue, wanted, guard)


def _from_centres(index: Index, queries: Queries, catalogue: ndarray, wanted: Wanted, guard: Guard) -> ndarray:
    similarity = index.embedding.space.similarity
    if similarity not in ("l2", "cosine"):
        raise UsageError(f"images compared by {similarity} have no centre: --set score=nearest")
    cosine = similarity == "cosine"
    members = _classes(index, catalogue, wanted)
    vectors = _scaled(index.embedding.vectors, cosine)
    sums = np.stack([vectors[rows].sum(axis=0) for rows in members])
    counts = np.array([len(rows) for rows in members])
    asked_ = _scaled(queries.vectors, cosine)
    found = np.full(len(asked_), np.inf)
    for number, vector in enumerate(asked_):
        own = guard.allowed(number).without
        for rows, total, count in zip(members, sums, counts.tolist(), strict=True):
            apart = np.intersect1d(rows, own, assume_unique=True)
            if count == len(apart):
                continue
            centre = (total - vectors[apart].sum(axis=0)) / (count - len(apart))
            far = (
                1 - vector @ centre / max(np.linalg.norm(centre), 1e-300) if cosine else np.linalg.norm(vector - centre)
            )
            found[number] = min(found[number], far)
    return _finite(found)


def _catalogue(index: Index, wanted: Wanted) -> ndarray:
    """Return the rows of the images that are not of the anomalies' class."""
    items, label = index.embedding.items, wanted.label
    if label not in items.label_names:
        return np.arange(items.count)
    positive = wanted.policy.of(items.label(label)) == POSITIVE
    if seen := int((positive & (items["seen"] == "train")).sum()):
        log.warning("the network was trained on %d images with %s: they are no anomalies to it", seen, label)
    if positive.any():
        log.info("%d images of the index have %s: they are no part of the catalogue", positive.sum(), label)
    if positive.all():
        raise SourceError(f"all images of {index.embedding.name} have {label}: nothing is left to be unlike")
    return np.flatnonzero(~positive)


def _classes(index: Index, catalogue: ndarray, wanted: Wanted) -> list[ndarray]:
    """Return the rows of each class of the catalogue; all of them are one where no other class is known."""
    items = index.embedding.items
    labels = [name for name in classes.labels_of(items, index.embedding.space.targets) if name != wanted.label]
    codes = np.array([wanted.policy.of(items.label(name))[catalogue] for name in labels]).reshape(len(labels), -1)
    own = [classes.of(dict(zip(labels, its, strict=True)), labels) for its in codes.T.tolist()]
    members = [catalogue[[name in mine for mine in own]] for name in classes.names(labels)]
    members = [rows for rows in members if len(rows)]
    log.info("%d class centres", len(members) or 1)
    return members or [catalogue]


def _scaled(vectors: ndarray, cosine: bool) -> ndarray:
    found = np.asarray(vectors, np.float64)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300) if cosine else found


def _finite(found: ndarray) -> ndarray:
    if not np.isfinite(found).all():
        raise SourceError("a query has no image of another patient in the catalogue")
    return found
