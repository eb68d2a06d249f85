"""From embeddings and indexes to maps of them: the part of ``cbir report`` that shows how classes lie to each other.

The map is made by t-SNE (scikit-learn's, which starts from principal components) or by UMAP of the optional package
umap-learn, from the first 50 principal components of the vectors; for an embedding that is compared by the cosine, of
the vectors divided by their lengths. Either has a fixed seed and runs on one thread, so a map has the same bytes each
time. Of more than ``MOST`` images that many are drawn by lot. Distances between far groups of a map mean little.
"""

import importlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import classes
from cbir_cli.artifacts import embeddings, files, index
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.reports import embedding_map
from cbir_cli.reports.drawing import Drawing
from cbir_cli.reports.embedding_map import Group
from cbir_cli.reports.page import Section
from cbir_cli.stages import thumbnails

PROJECTIONS = ("tsne", "umap")
KINDS = (embeddings.KIND, index.KIND)
MOST = 5000
"""Images on a map; t-SNE takes some ten seconds for so many."""
NEAREST = 3
"""Images of each class that are shown."""
PERPLEXITY = 30
"""Of t-SNE, as in its paper and by scikit-learn's default; of few images a third of their number."""
_NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
_COMPONENTS = 50
_SEED = 1

log = logging.getLogger("cbir")


def read(artifact: files.Artifact) -> Embedding:
    """Return the embedding of an open embedding or index artifact."""
    return index.read(artifact).embedding if artifact.kind == index.KIND else embeddings.read(artifact)


def section_of(
    made: Sequence[tuple[str, Embedding]], *, label: str | None, root: str | None, projection: str = PROJECTIONS[0]
) -> Section:
    """Return the part of a page with a map for each embedding.

    Parameters
    ----------
    made : sequence of (str, Embedding)
        File and content, still open.
    label : str, optional
        The label whose classes are told apart, instead of those of the task.
    root : str, optional
        Folder that the images are in; else the source as it was typed. Images that are not there are left out.
    projection : str
        ``tsne`` or ``umap``.

    Raises
    ------
    UsageError
        If no image has the label, or there is no such projection.
    CbirError
        If an embedding has fewer than four images, or the package of UMAP is not installed.
    SourceError, ImageError
        If ``root`` is given, and an image is not there, is another one, or cannot be decoded.
    """
    drawn = [_figure(name, one, label, root, projection) for name, one in made]
    notes = [
        "Near points are images that the network describes alike; how far groups lie apart, and how large they are, "
        "means little in such a map. Centroids are those of the vectors themselves."
    ]
    return Section("map", "Maps of the embedding", (), drawn, notes if drawn else ())


def _figure(name: str, one: Embedding, label: str | None, root: str | None, projection: str) -> tuple[str, Drawing]:
    count = one.items.count
    if count < 4:
        raise CbirError(f"{files.spelt(name)}: a map needs at least 4 images, found {count}")
    drawn_by_lot = np.random.default_rng(_SEED).permutation(count)[:MOST]
    rows = np.sort(drawn_by_lot) if count > MOST else np.arange(count)
    vectors = np.asarray(one.vectors[rows], np.float32)
    if one.space.similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    table = one.items.take(rows)
    labels = classes.labels_of(table, one.space.targets, label)
    groups = _with_pictures(_groups(vectors, _classes(table, labels), classes.names(labels)), name, one, rows, root)
    some = f" of {len(rows):,} of {count:,} images, drawn by lot" if len(rows) < count else f" of {count:,} images"
    how = f"perplexity {perplexity(len(rows)):.3g}, " if projection == "tsne" else ""
    far = f", by {', '.join(labels)}" if labels else ""
    said = f"Map of {Path(files.spelt(name)).stem}: {_NAMES.get(projection, projection)}{some}{far} ({how}seed {_SEED})"
    figure = embedding_map.embedding_map(project(vectors, projection), groups, axes_name=_NAMES[projection])
    return said, figure


def project(vectors: np.ndarray, projection: str) -> np.ndarray:
    """Return points of a plane.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        At least four.
    projection : str
        ``tsne`` or ``umap``.

    Returns
    -------
    ndarray (N, 2), float32
        The same for the same vectors.

    Raises
    ------
    UsageError
        If there is no such projection.
    CbirError
        If the package of UMAP is not installed.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if projection not in PROJECTIONS:
        raise UsageError(f"--projection: expected {' or '.join(PROJECTIONS)}, found {projection!r}")
    with threadpool_limits(1):  # sums over threads would differ in their last bit, and a map in the end visibly
        kept = min(_COMPONENTS, len(vectors) - 1, vectors.shape[1])
        if not np.ptp(vectors, axis=0).any():  # all images alike
            return np.zeros((len(vectors), 2), np.float32)
        parts = PCA(n_components=kept, random_state=_SEED).fit_transform(vectors)
        if projection == "umap":
            return _umap(parts)
        parts = parts if kept > 1 else np.hstack([parts, np.zeros_like(parts)])
        found = TSNE(perplexity=perplexity(len(vectors)), init="pca", random_state=_SEED).fit_transform(parts)
    return np.asarray(found, np.float32)


def perplexity(count: int) -> float:
    """Return the perplexity of t-SNE for a number of images: it has to be below that."""
    return min(float(PERPLEXITY), (count - 1) / 3)


def _umap(parts: np.ndarray) -> np.ndarray:
    try:
        umap: Any = importlib.import_module("umap")
    except ImportError:
        raise CbirError("--projection umap needs umap-learn: pip install 'cbir-cli[umap]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        made = umap.UMAP(n_neighbors=min(15, len(parts) - 1), random_state=_SEED, init="pca", n_jobs=1)
        return np.asarray(made.fit_transform(parts), np.float32)


def _classes(table: Any, labels: Sequence[str]) -> list[str]:
    """Return the class of each image, its first where it is of several; empty where it is of none."""
    codes = {label: table.label(label).tolist() for label in labels}
    found = []
    for row in range(table.count):
        stated = table.stated(row, labels) if codes else {}
        found.append(next(iter(classes.of(stated, labels)), "") if labels else "")
    return found


def _groups(vectors: np.ndarray, of: Sequence[str], names: Sequence[str]) -> list[Group]:
    """Return the classes, those with most images if there are too many, and the images nearest to their centroids."""
    every = np.asarray(of)
    members = {name: np.flatnonzero(every == name) for name in names}
    members = {name: rows for name, rows in members.items() if len(rows)}
    largest = sorted(members, key=lambda name: -len(members[name]))[: len(embedding_map.COLOURS)]
    groups = []
    for name in (name for name in members if name in largest):
        own = vectors[members[name]].astype(np.float64)
        distance = np.square(own - own.mean(axis=0)).sum(axis=1)
        nearest = members[name][np.argsort(distance, kind="stable")[:NEAREST]].tolist()
        groups.append(Group(name, members[name], nearest))
    return groups


def _with_pictures(
    groups: Sequence[Group], name: str, one: Embedding, rows: np.ndarray, root: str | None
) -> list[Group]:
    """Add the images nearest to each centroid, if they are at hand."""
    chosen = rows[[place for group in groups for place in group.nearest]] if groups else rows[:0]
    if not len(chosen):
        return list(groups)
    table = one.items.take(chosen)
    loaded = thumbnails.of(one, table, root, without=f"{files.spelt(name)}: no images on its map")
    if loaded is None:
        return list(groups)
    pixels = dict(zip(table.ids.tolist(), loaded, strict=True))
    ids = one.items.ids[rows]
    return [Group(g.name, g.rows, g.nearest, [pixels[str(ids[place])] for place in g.nearest]) for g in groups]
