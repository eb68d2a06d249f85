"""The embedding artifact, ``cbir-embedding``: one vector for each image.

Schema
------
An AnnData file (``encoding-type=anndata``), so ``.h5ad`` viewers open it.

``X`` (N, D) float32
    Contiguous, so that it can be memory-mapped; or in shards (see ``virtual``). For the built-in model ``ssim``: the
    pixels themselves, 0 to 255.
``obs``
    The item table (see ``items``).
``obsm/logits`` (N, C) float32
    The classifier's raw outputs, where the model has any.
``uns/similarity``
    ``l2``, ``cosine`` or ``ssim``: how vectors are compared.
``uns/space``
    Fingerprint of weights and preprocessing; a query must come from the same.
``uns/encoder``
    ``ssim``, ``cnn``, ``att`` (multi-level dual attention), ``cnn(ig)`` or ``ig``.
``uns/compat``
    ``none``; or ``silva2020`` where maps were fed 255 times smaller, as the script of the 2020 paper feeds its query
    and not its catalogue. Such vectors are for asking: their space is that of the catalogue, but no index is made of
    them.
``uns/outputs``, ``uns/targets``
    What each logit stands for; the labels of ``obs`` that the model's task is about.
``uns/model-name``, ``uns/model-fingerprint``, ``uns/input``
    File name and fingerprint of the model, JSON of its input, for what is not yet embedded.
``uns/source``, ``uns/reader``
    The source as it was typed if that was relative, else its last component; and how it was read.
``uns/unreadable/id``, ``uns/unreadable/reason``
    Images that could not be decoded.

An index artifact (see ``index``) is the same with ``uns/index`` added.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import h5py
import numpy as np

from cbir_cli.artifacts import _anndata, _unreadable, files, items, virtual
from cbir_cli.artifacts.history import Entry
from cbir_cli.errors import ArtifactError

KIND = "cbir-embedding"

_TEXTS = ("similarity", "encoder", "source", "reader", "compat")
"""Fields of a space that are stored as text under their own name."""


@dataclass(frozen=True)
class Space:
    """What vectors mean: everything about an embedding but the vectors and their images."""

    similarity: str
    fingerprint: str
    encoder: str
    outputs: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    model_name: str = ""
    model_fingerprint: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    reader: str = ""
    compat: str = "none"

    @property
    def told(self) -> str:
        """What made the vectors, in words."""
        return f"{self.model_name} ({self.encoder}, space {self.fingerprint[:12]})"

    def of_source(self, source: str, reader: str, targets: list[str]) -> "Space":
        """Return the same space, for the images of one source."""
        return replace(self, source=source, reader=reader, targets=targets)


@dataclass(frozen=True)
class Embedding:
    """The vectors of an open artifact. Attributes as in the module's schema."""

    vectors: np.ndarray
    items: items.Items
    space: Space
    logits: np.ndarray | None
    unreadable: dict[str, str]
    fingerprint: str
    history: list[Entry]
    name: str


def write(
    target: str,
    vectors: np.ndarray,
    table: items.Items,
    space: Space,
    *,
    logits: np.ndarray | None = None,
    unreadable: Mapping[str, str] | None = None,
    history: Sequence[Entry],
    shard: tuple[int, int] = (1, 1),
) -> None:
    """Write an embedding artifact, the vectors a block at a time."""
    with files.create(target, KIND, history, shard=shard) as file:
        write_body(file, vectors, table, space, logits=logits, unreadable=unreadable or {})


def write_body(
    file: h5py.File,
    vectors: np.ndarray,
    table: items.Items,
    space: Space,
    *,
    logits: np.ndarray | None,
    unreadable: Mapping[str, str],
    order: np.ndarray | None = None,
    linked: bool = False,
) -> None:
    """Fill an open file.

    ``order`` (N,) sorts the vectors and logits (the table is already in that order). With ``linked`` the vectors stay
    in the shards that they are read from.
    """
    _anndata.encode(file, "anndata", "0.1.0")
    width = vectors.shape[1]
    if linked:
        virtual.link(file, vectors)  # type: ignore[arg-type]
    else:
        _write_vectors(file, vectors, order)
    items.write(file, table)
    _anndata.frame(file, "var", [f"d{i}" for i in range(width)], {})
    for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
        _anndata.dictionary(file, name)
    if logits is not None:
        _anndata.array(file["obsm"], "logits", logits if order is None else logits[order])
    uns = file["uns"]
    for name in _TEXTS:
        _anndata.text(uns, name, getattr(space, name))
    _anndata.text(uns, "space", space.fingerprint)
    _anndata.text(uns, "model-name", space.model_name)
    _anndata.text(uns, "model-fingerprint", space.model_fingerprint)
    _anndata.text(uns, "input", json.dumps(space.input, sort_keys=True))
    _anndata.texts(uns, "outputs", space.outputs)
    _anndata.texts(uns, "targets", space.targets)
    _unreadable.write(uns, unreadable)
    if linked:
        virtual.write_table(uns, vectors)  # type: ignore[arg-type]


def _write_vectors(file: h5py.File, vectors: np.ndarray, order: np.ndarray | None) -> None:
    count, width = vectors.shape
    dataset = _anndata.encode(file.create_dataset("X", (count, width), np.float32), "array", "0.2.0")
    rows = max(1, (1 << 24) // (4 * width))
    for start in range(0, count, rows):
        block = slice(start, start + rows) if order is None else order[start : start + rows]
        values = vectors[block]
        if not np.isfinite(values).all():
            raise ArtifactError("a vector holds NaN or infinity; the model or its input is broken")
        dataset[start : start + rows] = values


def read(artifact: files.Artifact) -> Embedding:
    """Return the vectors of an open embedding or index, memory-mapped, or read when indexed where they are in shards.

    Raises
    ------
    ArtifactError
        If something of the schema is missing or does not fit together.
    """
    file = artifact.file
    with files.reading(artifact.name):
        vectors, table, uns = artifact.array("X"), items.read(file, artifact.name), file["uns"]
        if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != table.count:
            raise ValueError(f"X of {vectors.shape} for {table.count} images")
        logits = artifact.array("obsm/logits") if "logits" in file["obsm"] else None
        if logits is not None and (logits.ndim != 2 or len(logits) != len(vectors) or logits.dtype != np.float32):
            raise ValueError(f"logits of {logits.shape} for {len(vectors)} vectors")
        space = Space(
            **{name: uns[name].asstr()[()] for name in _TEXTS},
            fingerprint=uns["space"].asstr()[()],
            model_name=uns["model-name"].asstr()[()],
            model_fingerprint=uns["model-fingerprint"].asstr()[()],
            input=dict(json.loads(uns["input"].asstr()[()])),
            outputs=_anndata.column(uns, "outputs").tolist(),
            targets=[name for name in _anndata.column(uns, "targets").tolist() if name in table.label_names],
        )
        if not all(isinstance(getattr(space, name), str) for name in _TEXTS):
            raise ValueError("the space of its vectors is not told in text")
        unreadable = _unreadable.read(uns)
    return Embedding(vectors, table, space, logits, unreadable, artifact.fingerprint, artifact.history, artifact.name)
