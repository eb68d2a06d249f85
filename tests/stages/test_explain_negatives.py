"""Images of another label, drawn from the index for explainers that compare a pair with them."""

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.records import MISSING
from cbir_cli.stages import negatives

LABELS = {
    #        a, b, c, d, e, f, g, h
    "left": [1, 1, 0, 0, -1, MISSING, 0, 1],
    "right": [0, 1, 0, 0, 0, 1, 0, 0],
}


@pytest.fixture
def items():
    columns = {f"label:{name}": np.array(codes, np.int8) for name, codes in LABELS.items()}
    patients = np.array(["p", "q", "r", "p", "s", "t", "", ""])
    return Items(np.array(list("abcdefgh")), {"patient": patients, **columns}, "")


def drawn(items, targets, count, query="x", row=0):
    return "".join(items.ids[negatives.draw(items, targets, row, query, count)])


def test_another_label_another_patient_and_not_the_query(items):
    # d is of a's patient; e is uncertain and f not stated.
    assert sorted(drawn(items, ["left"], 2)) == ["c", "g"]
    assert sorted(drawn(items, ["right"], 2)) == ["b", "f"]
    assert sorted(drawn(items, [], 4)) == sorted(drawn(items, ["left", "right"], 4)) == ["b", "c", "f", "g"]
    assert drawn(items, ["left"], 1, query="g") == "c"
    assert drawn(items, ["left"], 0) == ""
    # Where patients are not known, images are not taken for one's.
    assert sorted(drawn(items, ["left"], 3, row=6)) == ["a", "b", "h"]


def test_the_draw_depends_on_the_pair_alone(items):
    first = [drawn(items, ["left", "right"], 2, query) for query in "xyzuvw"]
    assert first == [drawn(items, ["left", "right"], 2, query) for query in "xyzuvw"]
    assert len(set(first)) > 1 and all(len(set(names)) == 2 for names in first)
    # Images that cannot be drawn, or that are drawn by nobody, change nothing.
    fewer = items.take([0, 1, 2, 4, 5, 6, 7])
    assert first == [drawn(fewer, ["left", "right"], 2, query) for query in "xyzuvw"]


def test_too_few(items):
    for row, targets in ((0, ["left"]), (4, ["left"])):  # of e the label is uncertain: nothing has another one
        with pytest.raises(SourceError, match=f"{items.ids[row]}: the variant compares a pair with 3 images .* has"):
            negatives.draw(items, targets, row, "x", 3)


def test_methods_say_how_many_they_need():
    counts = [negatives.needed("attention", {"variant": v}) for v in ("siamese", "triplet", "quadruplet", "unheard-of")]
    assert counts == [0, 1, 2, 0]
    assert negatives.needed("ig", {}) == negatives.needed("none", {}) == 0


def maps(path):
    with h5py.File(path) as file:
        return file["maps"][:], file["scale"][:]


def test_commands(chain, good, cbir, tmp_path):
    """From the command line: the variants differ, and so do a run of two queries and of one of them by nothing."""
    made = {}
    for name, settings in (
        ("siamese", []),
        ("triplet", ["--set", "variant=triplet"]),
        ("quadruplet", ["--set", "variant=quadruplet"]),
    ):
        target = tmp_path / f"{name}.h5"
        line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--method", "attention", *settings, "-k", "1", "-o", target]
        good(*line, cwd=chain)
        made[name] = maps(target)[0]
    assert not np.array_equal(made["siamese"], made["triplet"])
    assert not np.array_equal(made["triplet"], made["quadruplet"])
    again = tmp_path / "again.h5"
    good(*line[:-1], again, cwd=chain)
    assert again.read_bytes() == target.read_bytes()
    for method, settings in (("activation", ["--set", "point=.5,.5"]), ("lrp", ["--set", "rule=epsilon"])):
        good("explain", "ig.idx.h5", "ig.emb.h5", "--method", method, *settings, "-k", "1", "-o", again, cwd=chain)
    refused = cbir(
        "explain", "cnn.idx.h5", "cnn.emb.h5", "--method", "attention", "--set", "references=2", "-o", again, cwd=chain
    )
    assert refused.status == 2 and "references" in refused.error
    refused = cbir("explain", "ssim.idx.h5", "ssim.emb.h5", "--method", "lrp", "-k", "1", "-o", again, cwd=chain)
    assert refused.status == 2 and "explain: ssim has no network" in refused.err
