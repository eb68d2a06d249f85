"""Embeddings for the tests of engines: clustered vectors, with every column and odd labels."""

import numpy as np

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import Items
from cbir_cli.records import MISSING

LABELS = ("Effusion", "Pleural Effusion", "Pleural-Effusion", "COVID 19 ärztlich'\"; drop table x; --")
ODD = ("a'b", 'a"b', "a\\b", "a b\tc", "100%", "{x}", "ü😀", "%s", '"; 1 == 1', "' or '1'='1")


def items(count, seed=1, prefix="img"):
    """A table of so many images: several for a patient, copies of files, and unknown values in every column."""
    draw = np.random.default_rng(seed)
    ids = np.array([f"{prefix}-{i:06d}" for i in draw.permutation(count)])
    person = draw.integers(0, max(1, count // 4), count)

    def text(values, unknown=0.1):
        return np.where(draw.random(count) < unknown, "", np.asarray(values, dtype=np.str_))

    def number(low, high, kind, unknown=0.1):
        return np.where(draw.random(count) < unknown, MISSING, draw.integers(low, high, count)).astype(kind)

    odd = [ODD[i] for i in draw.integers(0, len(ODD), count)]
    study = text([f"s{p}-{i}" for p, i in zip(person, draw.integers(0, 3, count), strict=True)])
    # A study is of one patient, who is not always told.
    patient = np.where((study != "") & (draw.random(count) > 0.15), [f"p{p}" for p in person], "")
    visit = [int(s[-1]) if s else MISSING for s in study.tolist()]
    columns = {
        "path": np.char.add(ids, ".png"),
        "patient": patient,
        "study": study,
        "series": text([f"{s}-{i}" if s else "" for s, i in zip(study, draw.integers(0, 2, count), strict=True)]),
        "examination": np.array(visit, dtype=np.int16),
        "view": text(draw.choice(["PA", "AP"], count)),
        "source": text(odd),
        "split": text(draw.choice(["train", "test"], count)),
        "sex": text(draw.choice(["F", "M"], count)),
        "age": number(0, 100, np.int16),
        "part": np.where(draw.random(count) < 0.5, -1, draw.integers(0, 5, count)).astype(np.int32),
        "content": text([f"{p:012x}{i:04x}" for p, i in zip(person, draw.integers(0, 12, count), strict=True)]),
        "seen": text(draw.choice(["train", ""], count)),
    }
    columns |= {f"label:{name}": number(-1, 2, np.int8) for name in LABELS}
    return Items(ids, columns, "checked")


def vectors(count, width, seed=1):
    """Points about so many centres that neighbours are near."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((max(2, count // 50), width))
    near = centres[draw.integers(0, len(centres), count)] + 0.4 * draw.standard_normal((count, width))
    return near.astype(np.float32)


def write(path, count, width, *, seed=1, similarity="l2", space="f" * 64, table=None, source="set", targets=()):
    table = items(count, seed) if table is None else table
    about = embeddings.Space(similarity, space, "cnn", [], list(targets), "cnn.h5", "a" * 64, {}, source, "folder")
    found = vectors(len(table.ids), width, seed)
    found[1] = found[0]  # as far from anything
    embeddings.write(str(path), found, table, about, history=[])
    return path
