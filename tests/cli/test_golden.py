"""What commands print for a small catalogue made by hand, compared with the texts in ``tests/golden``.

``CBIR_GOLDEN=write pytest tests/cli/test_golden.py`` (``make golden``) rewrites them; review the difference.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record

GOLDEN = Path(__file__).parents[1] / "golden"

# id, patient, study, view, label, vector; distances are roots of whole numbers, the same on every machine.
IMAGES = [
    ("ward/a1", "A", "A1", "AP", 1, (0, 0, 0), 1.5),
    ("ward/a2", "A", "A2", "AP", 1, (0, 0, 1), 0.5),
    ("ward/b", "B", "B1", "AP", 1, (3, 4, 0), 0.25),
    ("ward/c", "C", "C1", "PA", 0, (0, 3, 0), -1.0),
    ("ward/d", "D", "D1", "AP", 0, (0, 0, 3), -0.5),
    ("ward/e", "E", "E1", "AP", -1, (1, 1, 1), 0.0),
    ("ward/f", "F", "F1", "", None, (5, 0, 0), 0.75),
    ("ward/g h", "", "", "AP", 1, (2, 0, 0), 2.0),
    ("ward/ü", "", "", "AP", 0, (0, 2, 2), -0.25),
]
RANKS = "seed,set,query,rater,rank,id\n" + "".join(
    f"1,1,ward/a1,{rater},{rank},ward/{name}\n"
    for rater, order in (("R1", "egdfbc"), ("R2", "gefdcb"))
    for rank, name in enumerate(("g h" if c == "g" else c for c in order), start=1)
)
SPLIT = "seed\tset\trole\tid\n1\t1\tquery\tward/a1\n" + "".join(
    f"1\t1\tcatalogue\tward/{name}\n" for name in ("b", "c", "d", "e", "f", "g h")
)


@pytest.fixture(scope="module")
def ward(tmp_path_factory, good):
    folder = tmp_path_factory.mktemp("golden")
    records = [
        Record(
            id=name,
            path=Path(name),
            relative=f"{name}.png",
            labels={} if code is None else {"Effusion": code},
            patient=patient,
            study=study,
            view=view,
        )
        for name, patient, study, view, code, _, _ in IMAGES
    ]
    space = embeddings.Space(
        "l2", "hand", "cnn", ["pleural"], ["Effusion"], "hand.h5", "f" * 64, {"size": 32}, "ward", "directory"
    )
    embeddings.write(
        str(folder / "emb.h5"),
        np.array([image[5] for image in IMAGES], np.float32),
        from_records(records, [f"{i:016x}" for i in range(len(records))], Pseudonyms(b"a key for the golden texts")),
        space,
        logits=np.array([[image[6]] for image in IMAGES], np.float32),
        unreadable={"ward/broken": "broken.png: empty file"},
        history=[{"command": "embed", "parameters": {}, "inputs": {}, "libraries": {}}],
    )
    good("index", "emb.h5", "-o", "idx.h5", cwd=folder)
    (folder / "split.tsv").write_text(SPLIT)
    (folder / "ranks.csv").write_text(RANKS)
    (folder / "run.tsv").write_bytes(good("query", "idx.h5", "emb.h5", "-k", "4", cwd=folder).data)
    (folder / "set.tsv").write_bytes(good("query", "idx.h5", "emb.h5", "--split", "split.tsv", cwd=folder).data)
    return folder


RATED = ["evaluate", "set.tsv", "--raters", "ranks.csv", "--split", "split.tsv", "--metrics", "ndcg@3,ndcg@6"]
COMMANDS = {
    "query.tsv": ["query", "idx.h5", "emb.h5", "-k", "3"],
    "query.json": ["query", "idx.h5", "emb.h5", "-k", "3", "--format", "json"],
    "query.trec": ["query", "idx.h5", "emb.h5", "-k", "3", "--format", "trec"],
    "query_split.tsv": ["query", "idx.h5", "emb.h5", "--split", "split.tsv"],
    "query_split.trec": ["query", "idx.h5", "emb.h5", "--split", "split.tsv", "--format", "trec"],
    "query_same.tsv": ["query", "idx.h5", "emb.h5", "-k", "2", "--include-same"],
    "evaluate_raters.tsv": RATED,
    "evaluate_raters.json": [*RATED, "--format", "json"],
    "evaluate_raters.txt": [*RATED, "--format", "table"],
    "evaluate_labels.tsv": ["evaluate", "run.tsv", "--items", "idx.h5", "--metrics", "r-precision,p@1,p@3"],
    "evaluate_classifier.tsv": ["evaluate", "emb.h5"],
    "split_sets.tsv": ["split", "emb.h5", "--label", "Effusion", "--seeds", "1,2", "--validation", "0.3"],
    "split_catalogues.tsv": [
        *("split", "emb.h5", "--label", "Effusion", "--catalogue", "3", "--seeds", "42,1", "--positives", "1")
    ],
    "info_embedding.txt": ["info", "emb.h5"],
    "info_index.txt": ["info", "idx.h5"],
    "info_index.json": ["info", "idx.h5", "--format", "json"],
    "help.txt": ["--help"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_printed(good, ward, name):
    ran = good(*COMMANDS[name], cwd=ward)
    printed = f"$ cbir {' '.join(COMMANDS[name])}\n{ran.out}\n{ran.err}"
    # What changes with every version of the program or of a library.
    printed = re.sub(r"\b[0-9a-f]{64}\b", "<fingerprint>", printed)
    printed = re.sub(r"\b(from embedding) [0-9a-f]{12}\b", r"\1 <fingerprint>", printed)
    printed = re.sub(r'(cbir |"cbir": ")\d+(\.\w+)+', r"\1<version>", printed)
    printed = re.sub(r'("bytes": {"file": |bytes: +file )\d[\d,]*\d', r"\1<size>", printed)
    printed = re.sub(r"\d+\.\d{12,}", lambda number: f"{float(number[0]):.9g}", printed)
    printed = "\n".join(line.rstrip(" ") for line in printed.split("\n"))
    if os.environ.get("CBIR_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(printed)
    assert printed == (GOLDEN / name).read_text()


def test_no_text_is_left_over():
    assert {path.name for path in GOLDEN.iterdir()} == set(COMMANDS)
