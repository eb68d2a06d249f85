"""What an index is, in facts: its kind, what it costs in bytes, how good it is, and how evenly its images answer."""

import os
from typing import Any

import numpy as np

from cbir_cli import hubness, neighbour_calibration
from cbir_cli.allowed import Allowed
from cbir_cli.artifacts import files
from cbir_cli.artifacts.index import Index
from cbir_cli.stages import searchers
from cbir_cli.stages.growing import ROWS, tail_and_gone

NEIGHBOURS = 10
_SAMPLE = 2000
_WORK = {"l2": 4e9, "cosine": 4e9, "ssim": 4e7}
"""Products that may be spent on hubness, in the order of half a second: 2,000 vectors of 1024 numbers, 200 images."""


def facts(artifact: files.Artifact, stored: Index) -> dict[str, Any]:
    """Return what is to be said of an open index beyond its embedding, as JSON values.

    Parameters
    ----------
    artifact : files.Artifact
    stored : Index
        What was read from it.
    """
    count = len(stored.embedding.vectors)
    payload = int(sum(array.nbytes for array in stored.payload.values()))
    vectors = int(stored.embedding.vectors.nbytes)
    known: dict[str, Any] = {
        "kind": stored.kind,
        "parameters": stored.parameters,
        "payload": {name: f"{array.nbytes:,} bytes" for name, array in stored.payload.items()},
        "bytes": {"file": os.path.getsize(artifact.file.filename), "vectors": vectors, "payload": payload},
        # A query maps both; how much of them it reads is the kind's, all for an exact one.
        "query-memory": {"mapped": vectors + payload},
    }
    if stored.measured:
        known["measured"] = stored.measured
    if ROWS in stored.payload:
        tail, gone = tail_and_gone(np.asarray(stored.payload[ROWS]), count)
        known["since-built"] = {"added": tail, "gone": gone}
    if stored.calibration:
        known["calibration"] = {
            "labels": ", ".join(stored.calibration.labels),
            **stored.calibration.facts,
            "unlike-beyond": round(neighbour_calibration.farthest(stored.calibration.nearest), 4),
        }
    if found := hubness_of(stored):
        known["hubness"] = found
    return known


def hubness_of(stored: Index, *, work: float = 1.0) -> dict[str, Any]:
    """Return the hubness of an index's vectors, or of a sample of them among themselves; nothing of very few.

    Parameters
    ----------
    stored : Index
    work : float
        How many times the work of a plain ``cbir info``; the sample grows with its square root.

    Returns
    -------
    dict
        ``skewness``, ``antihubs``, ``largest``, ``k``, ``vectors`` (how many were looked at).
    """
    vectors, metric = stored.embedding.vectors, stored.embedding.space.similarity
    most = min(_SAMPLE, (_WORK[metric] / vectors.shape[1]) ** 0.5)
    count = min(len(vectors), int(most * work**0.5))
    if count <= 2 * NEIGHBOURS:  # nearly everyone is a neighbour of everyone
        return {}
    # Drawn from a fixed seed, so that the same index has the same figures.
    rows = np.sort(np.random.default_rng(1).permutation(len(vectors))[:count])
    sample = np.ascontiguousarray(vectors[rows])
    _, near = searchers.exactly(sample, metric).search(
        sample, NEIGHBOURS, allowed=lambda row: Allowed(without=np.array([row]))
    )
    found = hubness.measure(near)
    return {
        "skewness": round(found.skewness, 3),
        "antihubs": round(found.antihubs, 4),
        "largest": found.largest,
        "k": found.k,
        "vectors": found.vectors,
    }
