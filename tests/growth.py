"""Small catalogues for tests of what grows: images made by hand, and a kind that keeps what it was built from."""

from pathlib import Path

import h5py
import numpy as np

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record

KEY = Pseudonyms(b"a key for catalogues that grow")


def image(number, *, key="", content="", patient=None, labels=None, vector=None):
    """An image as a tuple (record, content, vector); vectors lie on a grid, so that many distances are equal."""
    rng = np.random.default_rng(number)
    record = Record(
        id=key or f"ward/{number:02d}",
        path=Path(f"{number:02d}.png"),
        relative=f"ward/{number:02d}.png",
        patient=f"P{number // 2}" if patient is None else patient,
        labels={"Effusion": number % 2} if labels is None else labels,
    )
    found = rng.integers(-2, 3, 6).astype(np.float32) if vector is None else np.asarray(vector, np.float32)
    return record, content or f"{number:016x}", found


def write_embedding(path, images, *, similarity="l2", space="hand", hide=KEY, logits=True, source="ward", **more):
    """Write images as an embedding."""
    embeddings.write(
        str(path),
        np.array([vector for _, _, vector in images], np.float32).reshape(len(images), -1 if images else 6),
        from_records([record for record, _, _ in images], [content for _, content, _ in images], hide),
        embeddings.Space(similarity, space, "cnn", ["pleural"], ["Effusion"], "hand.h5", "f" * 64, {}, source, "dir"),
        logits=np.array([[vector.sum()] for _, _, vector in images], np.float32).reshape(-1, 1) if logits else None,
        history=[{"command": "embed", "parameters": {}, "inputs": {}, "libraries": {}}],
        **more,
    )
    return str(path)


def arrays(path):
    """Every array of an artifact as (type, shape, bytes), by its path."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            value = np.asarray(item[()])
            data = str(value) if value.dtype == object else value.tobytes()
            found[name] = (str(value.dtype), value.shape, data)

    with h5py.File(path) as file:
        file.visititems(take)
    return found


class Keeping:
    """An index kind that searches copies of the vectors that it was built from, and those added since one by one."""

    METRICS = ("l2", "cosine")

    @staticmethod
    def build(vectors, *, metric, slow=1):
        return {"rows": np.arange(len(vectors), dtype=np.int64), "copies": np.array(vectors)}

    @staticmethod
    def open(vectors, payload, *, metric, slow=1):
        from cbir_cli.index import exact

        rows, known = np.asarray(payload["rows"]), np.array(vectors)
        known[rows[rows >= 0]] = np.asarray(payload["copies"])[rows >= 0]
        return exact.open(known, exact.build(known, metric=metric), metric=metric)
