"""Small catalogues whose distances mean something, for tests of calibrated indexes and of anomalies."""

from pathlib import Path

import numpy as np
from growth import KEY

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.records import Record

PLACES = {"normal": (0, 0, 0), "Effusion": (2, 0, 0), "Edema": (0, 2.5, 0), "covid": (9, 9, 9)}
LABELS = ("Effusion", "Edema", "covid")


def write(path, wanted, *, seed=0, first=0, similarity="l2", seen=(), unsure=(), source="ward"):
    """Write an embedding of images of some classes, two of each patient, each beside the place of its class.

    ``wanted`` is a list of (class, patients); ``seen`` and ``unsure`` are rows that a network was trained on, and whose
    label Effusion is uncertain.
    """
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, patients in wanted for _ in range(2 * patients)]
    vectors = np.array([PLACES[kind] for kind in kinds]) + rng.standard_normal((len(kinds), 3)) + 1
    records = []
    for number, kind in enumerate(kinds, start=first):
        labels = {name: int(name == kind) for name in LABELS}
        if number - first in unsure:
            labels["Effusion"] = -1
        name = f"{source}/{number:03d}"
        records.append(Record(name, Path("x.png"), f"{name}.png", patient=f"P{number // 2}", labels=labels))
    table = from_records(records, [f"{number:016x}" for number in range(first, first + len(kinds))], KEY)
    sets = np.array(["train" if row in seen else "" for row in range(len(kinds))])
    logits = vectors[:, :1].astype(np.float32) - 2
    embeddings.write(
        str(path),
        vectors.astype(np.float32),
        table.replace(seen=sets),
        embeddings.Space(similarity, "s", "cnn", ["pleural"], ["Effusion"], "hand.h5", "f" * 64, {}, source, "dir"),
        logits=logits,
        history=[{"command": "embed", "parameters": {}, "inputs": {}, "libraries": {}}],
    )
    return str(path)
