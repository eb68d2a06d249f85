"""How far images are from what is known, against a loop over them."""

import calibrated
import numpy as np
import pytest

from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.cli.index import run as index_command
from cbir_cli.errors import SourceError
from cbir_cli.label_policy import Policy
from cbir_cli.stages import anomalies
from cbir_cli.stages.query import Queries

CLASSES = [("normal", 4), ("Effusion", 3), ("covid", 3)]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("origin", anomalies.FROM)
def test_nobody_is_measured_by_himself(tmp_path, metric, origin):
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES, similarity=metric)
    index_command(emb, "exact", str(tmp_path / "idx.h5"))
    with files.open_artifact(str(tmp_path / "idx.h5")) as artifact:
        index = indexes.read(artifact)
        items, vectors = index.embedding.items, np.array(index.embedding.vectors, np.float64)
        known = anomalies._catalogue(index, anomalies.Wanted("covid", []))
        codes, patients = items.label("Effusion"), items["patient"]
        assert known.tolist() == np.flatnonzero(items.label("covid") == 0).tolist() and len(known) == 14
        queries = Queries(index.embedding.vectors, items, index.embedding.space.source)
        found = anomalies.distances(index, queries, known, anomalies.Wanted("covid", [], origin))
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, vector in enumerate(vectors):
        rest = known[patients[known] != patients[row]]
        places = (
            vectors[rest] if origin == "nearest" else [vectors[rest[codes[rest] == c]].mean(axis=0) for c in (0, 1)]
        )
        if metric == "l2":
            far = [np.linalg.norm(vector - place) for place in places]
        else:
            far = [1 - vector @ place / np.linalg.norm(place) for place in places]
        assert found[row] == pytest.approx(min(far), abs=1e-6)


def test_where_nothing_is_known(tmp_path):
    emb = calibrated.write(tmp_path / "emb.h5", [("covid", 3)])
    index_command(emb, "exact", str(tmp_path / "idx.h5"))
    with files.open_artifact(str(tmp_path / "idx.h5")) as artifact:
        index = indexes.read(artifact)
        with pytest.raises(SourceError, match=r"all images of .* have covid: nothing is left to be unlike"):
            anomalies._catalogue(index, anomalies.Wanted("covid", []))
        items = index.embedding.items
        queries = Queries(index.embedding.vectors, items, index.embedding.space.source)
        for origin in anomalies.FROM:  # two images, of one patient
            with pytest.raises(SourceError, match="a query has no image of another patient in the catalogue"):
                anomalies.distances(index, queries.take([0]), np.array([0, 1]), anomalies.Wanted("x", [], origin))


def test_the_policy_holds_for_the_catalogue_too(tmp_path):
    """Rows 0 to 3 may show an effusion; taken for positive they are anomalies, and no part of what is known."""
    emb = calibrated.write(tmp_path / "emb.h5", CLASSES, unsure=range(4))
    index_command(emb, "exact", str(tmp_path / "idx.h5"))
    with files.open_artifact(str(tmp_path / "idx.h5")) as artifact:
        index = indexes.read(artifact)
        known = index.embedding.items.label("Effusion")
        for way, left_out in (("ignore", 1), ("negative", 1), ("positive", (1, -1))):
            wanted = anomalies.Wanted("Effusion", [], policy=Policy(uncertain=way))
            assert anomalies._catalogue(index, wanted).tolist() == np.flatnonzero(~np.isin(known, left_out)).tolist()
        for way, images in (("ignore", [2]), ("negative", [6])):  # none of rows 4 and 5 is uncertain
            wanted = anomalies.Wanted("covid", [], policy=Policy(uncertain=way))
            assert [len(rows) for rows in anomalies._classes(index, np.arange(6), wanted)] == images
