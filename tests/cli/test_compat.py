"""compat=silva2020: the query's map reaches the network 255 times smaller than those of the catalogue."""

import json

import h5py
import numpy as np
import pytest

from cbir_cli import engines
from cbir_cli.artifacts.run import read_run

QUIRK = ["--set", "compat=silva2020"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def x_of(path):
    with h5py.File(path) as file:
        return file["X"][()].astype(np.float64), file["obs/_index"].asstr()[()].tolist()


@pytest.fixture(scope="module")
def asked(good, linked):
    """The chain with queries that were embedded as the script feeds them: by IG, and CNN(IG) through a maps file."""
    folder = linked("compat")
    good("embed", "-m", "ig.h5", "nih:set", *QUIRK, "-o", "q.ig.h5", cwd=folder)
    good("embed", "-m", "cnn.h5", "maps.h5", *QUIRK, "-o", "q.cnnig.h5", cwd=folder)
    good("finetune-ig", "-m", "cnn.h5", "maps.h5", "--epochs", "0", "-o", "both.h5", cwd=folder)
    return folder


@pytest.mark.parametrize("line", [["-m", "ig.h5", "nih:set"], ["-m", "ig.h5", "maps.h5"], ["-m", "cnn.h5", "maps.h5"]])
@pytest.mark.parametrize("quirk", [False, True])
def test_what_the_network_is_fed(good, chain, monkeypatch, line, quirk):
    """Keras for DenseNet: divide by 255, subtract the mean, divide by the standard deviation."""
    fed = []

    def spy(*_, **__):
        def run(images):
            fed.append(images)
            return np.zeros((len(images), 16), np.float32), np.zeros((len(images), 1), np.float32)

        run.engine = "onnxruntime"
        return run

    monkeypatch.setattr(engines, "encoder", spy)
    good("embed", *line, *(QUIRK if quirk else []), cwd=chain)
    with h5py.File(chain / "maps.h5") as file:
        maps = file["maps"][()].astype(np.float64)
    given = maps if quirk else maps * 255  # the script forgets to multiply the query's
    expected = np.stack([(given / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)], axis=1)
    np.testing.assert_allclose(np.concatenate(fed), expected, atol=1e-5)
    assert maps.max() == 1


def test_the_vectors_are_others_in_the_same_space(asked):
    for plain, quirk in (("ig.emb.h5", "q.ig.h5"), ("cnnig.emb.h5", "q.cnnig.h5")):
        assert np.abs(x_of(asked / plain)[0] - x_of(asked / quirk)[0]).max() > 1e-3
        with h5py.File(asked / plain) as one, h5py.File(asked / quirk) as other:
            assert one["uns/space"][()] == other["uns/space"][()]
            assert [f["uns/compat"].asstr()[()] for f in (one, other)] == ["none", "silva2020"]
            assert json.loads(other.attrs["history"])[-1]["parameters"]["compat"] == "silva2020"
            assert "compat" not in json.loads(one.attrs["history"])[-1]["parameters"]


@pytest.mark.parametrize(
    ("index", "model", "queries"), [("ig.idx.h5", "ig.h5", "q.ig.h5"), ("cnnig.idx.h5", "both.h5", "q.cnnig.h5")]
)
def test_asking_a_plain_index(cbir, good, asked, tmp_path, index, model, queries):
    """Distances are those from the query's vector to the catalogue's; images and stored vectors give the same run."""
    by_images = good("query", index, "set/images", "-m", model, *QUIRK, "-k", "5", "--include-same", "-q", cwd=asked)
    by_vectors = good("query", index, queries, "-k", "5", "--include-same", "-q", cwd=asked)
    assert by_images.err == ""
    assert by_vectors.error == (
        f"warning: {queries}: embedded with compat=silva2020: its maps were fed otherwise than the catalogue's"
    )
    runs = []
    for ran in (by_images, by_vectors):
        (tmp_path / "run.tsv").write_bytes(ran.data)
        runs.append([(row.query, row.rank, row.id, row.distance) for row in read_run(tmp_path / "run.tsv")])
    assert runs[0] == runs[1] and len(runs[0]) == 200
    (ours, ids), (theirs, rows) = x_of(asked / queries), x_of(asked / index)
    for query, _, key, distance in runs[0]:
        away = np.linalg.norm(ours[ids.index(query)] - theirs[rows.index(key)])
        assert distance == pytest.approx(away, rel=1e-4) and distance > 0  # not even the same image is at 0
    plain = good("query", index, "set/images", "-m", model, "-k", "5", "--include-same", cwd=asked)
    assert plain.data != by_images.data
    same = good("query", index, queries, *QUIRK, "-k", "5", "--include-same", cwd=asked)
    assert same.data == by_vectors.data


def test_a_split_is_ranked_with_it_and_explained(good, asked, tmp_path):
    ran = good("query", "ig.idx.h5", "q.ig.h5", "--split", "split.tsv", "-q", cwd=asked)
    assert ran.data != (asked / "ig.tsv").read_bytes() and ran.out.count("\n") == 13
    good("explain", "ig.idx.h5", "q.ig.h5", "--split", "split.tsv", "-k", "1", "-o", tmp_path / "ex.h5", cwd=asked)


def test_info_says_so(good, asked):
    assert json.loads(good("info", "q.ig.h5", "--format", "json", cwd=asked).out)["compat"] == "silva2020"
    assert "compat" not in good("info", "ig.emb.h5", cwd=asked).out


def test_shards_keep_it(good, asked, tmp_path):
    line = ["embed", "-m", "ig.h5", "nih:set", *QUIRK]
    for number in (1, 2):
        good(*line, "--shard", f"{number}/2", "-o", tmp_path / f"{number}.h5", cwd=asked)
    assert good("merge", "2.h5", "1.h5", cwd=tmp_path).data == (asked / "q.ig.h5").read_bytes()


FED_IMAGES = "compat=silva2020 is about maps: it goes with an IG or CNN(IG) model, and"


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (["index", "q.ig.h5"], 1, "q.ig.h5: embedded with compat=silva2020, which is for queries; a catalogue is "),
        (["embed", "-m", "cnn.h5", "nih:set", *QUIRK], 2, f"{FED_IMAGES} cnn.h5 is fed images"),
        (["embed", "-m", "ssim", "nih:set", *QUIRK], 2, f"{FED_IMAGES} ssim is fed images"),
        (["query", "cnn.idx.h5", "set/images", *QUIRK], 2, f"{FED_IMAGES} cnn.h5 is fed images"),
        (["query", "ssim.idx.h5", "set/images", *QUIRK], 2, f"{FED_IMAGES} ssim is fed images"),
        (["query", "ig.idx.h5", "ig.emb.h5", *QUIRK], 1, "ig.emb.h5: its vectors are made already, without compat=sil"),
        (["query", "ig.idx.h5", "q.cnnig.h5"], 1, "q.cnnig.h5: embedded by cnn.h5 (cnn(ig), space "),
        (["query", "ig.idx.h5", "set/images", "--set", "compat=silva2022"], 2, "unknown compat 'silva2022': did you"),
        (["embed", "-m", "ig.h5", "nih:set", "--set", "compat=keras"], 2, "unknown compat 'keras': known: none, silva"),
        (
            ["embed", "-m", "ig.h5", "nih:set", "--set", "copat=x"],
            2,
            "unknown parameter of cbir embed 'copat': did you",
        ),
        (["query", "ig.idx.h5", "q.ig.h5", "--set", "k=3"], 2, "unknown parameter of cbir query 'k': known: compat"),
    ],
)
def test_where_it_does_not_belong(cbir, asked, tmp_path, line, status, message):
    output = [] if line[0] == "query" else ["-o", tmp_path / "x.h5"]
    ran = cbir(*line, *output, "-q", cwd=asked)
    assert ran.status == status and ran.error.startswith(f"cbir {line[0]}: {message}")
    assert not (tmp_path / "x.h5").exists()


def test_a_killed_run_is_not_finished_otherwise(cbir, good, asked, tmp_path, monkeypatch):
    from cbir_cli.artifacts.partial import Partial

    append = Partial.append

    def killed(self, *rows):
        append(self, *rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "append", killed)
        cbir("embed", "-m", "ig.h5", "nih:set", *QUIRK, "-o", tmp_path / "emb.h5", cwd=asked)
    ran = cbir("embed", "-m", "ig.h5", "nih:set", "--resume", "-q", "-o", tmp_path / "emb.h5", cwd=asked)
    assert ran.status == 1 and "was made by another command" in ran.error
    good("embed", "-m", "ig.h5", "nih:set", *QUIRK, "--resume", "-o", tmp_path / "emb.h5", cwd=asked)
    assert (tmp_path / "emb.h5").read_bytes() == (asked / "q.ig.h5").read_bytes()
