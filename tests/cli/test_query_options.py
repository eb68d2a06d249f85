"""Filters, cross-examination, fusion and feedback from the command line."""

import csv
import io

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import embeddings, explanation, files


def rows(ran):
    return list(csv.DictReader(io.StringIO(ran.out), delimiter="\t"))


def ids(ran):
    return [row["id"] for row in rows(ran)]


def taken(path, source, keys):
    """Write an embedding of some images of another."""
    with files.open_artifact(str(source), embeddings.KIND) as artifact:
        stored = embeddings.read(artifact)
        places = [stored.items.ids.tolist().index(key) for key in keys]
        kept = stored.vectors[places], stored.items.take(places), stored.space
        embeddings.write(str(path), *kept, history=stored.history)


@pytest.fixture(scope="module")
def liver(good, tmp_path_factory):
    """CT as DICOM, of which one patient has three examinations; all slices, and one slice of his last."""
    folder = tmp_path_factory.mktemp("liver")
    good("phantom", "ct", "--kind", "ct", "-n", "5", "--size", "32", "--format", "dicom", cwd=folder)
    good("embed", "-m", "ssim", "--image-size", "16", "dicom:ct/dicom", "-o", "emb.h5", cwd=folder)
    good("index", "emb.h5", "-o", "idx.h5", cwd=folder)
    with h5py.File(folder / "emb.h5") as file:
        examination, position = file["obs/examination/values"][()], file["obs/position/values"][()]
        keys = file["obs/_index"].asstr()[()]
    number = np.flatnonzero((examination == 2) & (position == 30))[0]
    taken(folder / "one.h5", folder / "emb.h5", [keys[number]])
    table = {key: (int(e), int(p)) for key, e, p in zip(keys, examination, position, strict=True)}
    return folder, keys[number], table


def test_an_earlier_examination_in_the_order_of_its_slices(good, liver):
    folder, key, table = liver
    patient = key.split("/")[0]
    ran = good("query", "idx.h5", "one.h5", "-k", "8", "--only-same", "earlier", "--order", "position", cwd=folder)
    found = ids(ran)
    places = [table[one] for one in found]
    assert len(found) == 8 and places == sorted(places) and {place[0] for place in places} <= {0, 1}
    assert all(one.startswith(patient + "/") for one in found)
    nearest = good("query", "idx.h5", "one.h5", "-k", "8", "--only-same", "earlier", cwd=folder)
    assert sorted(ids(nearest)) == sorted(found) and ids(nearest) != found
    assert [row["rank"] for row in rows(ran)] == [str(n) for n in range(1, 9)]


def test_other_examinations_the_same_series_and_all_others(good, liver):
    folder, key, table = liver
    patient, study = key.split("/")[:2]
    other = ids(good("query", "idx.h5", "one.h5", "-k", "999", "--only-same", "patient", cwd=folder))
    assert {table[one][0] for one in other} == {0, 1} and {one.split("/")[0] for one in other} == {patient}
    series = ids(good("query", "idx.h5", "one.h5", "-k", "999", "--only-same", "series", cwd=folder))
    assert {"/".join(one.split("/")[:2]) for one in series} == {f"{patient}/{study}"} and key not in series
    assert {abs(table[one][1] - 30) for one in series[:2]} == {1}
    own = ids(good("query", "idx.h5", "one.h5", "-k", "1", "--only-same", "series", "--include-same", cwd=folder))
    assert own == [key]


def test_where_of_an_examination(good, liver):
    folder, _, table = liver
    line = ["query", "idx.h5", "one.h5", "-k", "999", "--include-same", "--where", "examination >= 1 and position < 9"]
    ran = good(*line, cwd=folder)
    assert {table[one] for one in ids(ran)} == {(e, p) for e in (1, 2) for p in range(9)}


def test_where_is_said_and_holds(good, chain):
    line = ["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", "--include-same"]
    whole = rows(good(*line, cwd=chain))
    ran = good(*line, "--where", "label:Effusion == 1 and view == 'PA'", cwd=chain)
    with h5py.File(chain / "cnn.idx.h5") as file:
        keys, views = file["obs/_index"].asstr()[()], file["obs/view"].asstr()[()]
        codes = file["obs/label:Effusion/values"][()]
    wanted = set(keys[(views == "PA") & (codes == 1)])
    assert 0 < len(wanted) < 40 and f"--where: {len(wanted)} of 40 images" in ran.err
    assert rows(ran) == renumbered([row for row in whole if row["id"] in wanted])


def renumbered(kept):
    counts = {}
    for row in kept:
        counts[row["query"]] = counts.get(row["query"], 0) + 1
        row["rank"] = str(counts[row["query"]])
    return kept


def test_explain_takes_the_same_filters(good, chain, tmp_path):
    line = ["--where", "view == 'PA'", "--exclude-same", "image", "-k", "2"]
    taken(tmp_path / "one.h5", chain / "cnn.emb.h5", ["00000001_000"])
    good("explain", "cnn.idx.h5", tmp_path / "one.h5", *line, "--method", "none", "-o", tmp_path / "ex.h5", cwd=chain)
    found = ids(good("query", "cnn.idx.h5", tmp_path / "one.h5", *line, cwd=chain))
    with files.open_artifact(str(tmp_path / "ex.h5"), explanation.KIND) as artifact:
        made = explanation.read(artifact)
        assert made.results.ids[made.result].tolist() == found


def test_results_unlike_each_other(good, chain, tmp_path):
    taken(tmp_path / "one.h5", chain / "cnn.emb.h5", ["00000001_000"])
    line = ["query", "cnn.idx.h5", tmp_path / "one.h5", "-k", "5"]
    plain = ids(good(*line, cwd=chain))
    assert ids(good(*line, "--diverse", "1", cwd=chain)) == plain
    varied = rows(good(*line, "--diverse", "0.2", cwd=chain))
    assert varied[0]["id"] == plain[0] and {row["id"] for row in varied} != set(plain) and len(varied) == 5
    assert ids(good(*line, "--diverse", "0.2", "--set", "pool=5", cwd=chain))[0] == plain[0]
    assert set(ids(good(*line, "--diverse", "0.2", "--set", "pool=1", cwd=chain))) == set(plain)


def test_only_what_is_near(good, chain, tmp_path):
    taken(tmp_path / "one.h5", chain / "cnn.emb.h5", ["00000001_000"])
    line = ["query", "cnn.idx.h5", tmp_path / "one.h5", "-k", "9"]
    whole = rows(good(*line, cwd=chain))
    near = rows(good(*line, "--max-distance", whole[3]["distance"], cwd=chain))
    assert near == [row for row in whole if float(row["distance"]) <= float(whole[3]["distance"])]
    ran = good(*line, "--max-distance", "0", cwd=chain)
    assert rows(ran) == [] and "1 of 1 queries have no result" in ran.err


def test_two_indexes_together(good, chain):
    """Reciprocal ranks of the two lists that the indexes give by themselves."""
    line = ["-k", "40", "--exclude-same", "image"]
    lists = [rows(good("query", f"{name}.idx.h5", f"{name}.emb.h5", *line, cwd=chain)) for name in ("cnn", "ig")]
    scores = {}
    for part in lists:
        for row in part:
            pair = row["query"], row["id"]
            scores[pair] = scores.get(pair, 0) + 1 / (60 + int(row["rank"]))
    ran = good("query", "cnn.idx.h5", "cnn.emb.h5", "--with", "ig.idx.h5=ig.emb.h5", *line, cwd=chain)
    found = rows(ran)
    assert len(found) == len(scores)
    for row in found:
        assert float(row["distance"]) == pytest.approx(1 - scores[row["query"], row["id"]] * 61 / 2, abs=1e-6)
    assert {(row["id"], row["labels"]) for row in found} == {(row["id"], row["labels"]) for row in lists[0]}


def test_an_image_is_embedded_for_each_index(good, chain):
    image = chain / "set/images/00000001_000.png"
    three = ["--with", "ig.idx.h5", "--with", "ssim.idx.h5", "-k", "6"]
    for method in ([], ["--fuse", "combsum"], ["--fuse", "combsum", "--set", "scale=z-score"]):
        ran = good("query", "cnn.idx.h5", image, *three, *method, cwd=chain)
        assert len(rows(ran)) == 6
    one = ids(good("query", "cnn.idx.h5", image, "-k", "6", cwd=chain))
    heavy = good("query", "cnn.idx.h5", image, *three, "--set", "weights=1000000,1,1", cwd=chain)
    assert ids(heavy) == one


def test_fused_lists_of_a_split_are_scored(good, chain):
    ran = good("query", "cnn.idx.h5", "cnn.emb.h5", "--with", "ig.idx.h5=ig.emb.h5", "--split", "split.tsv", cwd=chain)
    plain = good("query", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", cwd=chain)
    key = [(row["seed"], row["set"], row["query"], row["id"]) for row in rows(plain)]
    assert sorted((row["seed"], row["set"], row["query"], row["id"]) for row in rows(ran)) == sorted(key)


def test_likes_move_the_query(good, chain, tmp_path):
    taken(tmp_path / "one.h5", chain / "cnn.emb.h5", ["00000001_000"])
    line = ["query", "cnn.idx.h5", tmp_path / "one.h5", "-k", "40"]
    plain = rows(good(*line, cwd=chain))
    far = plain[-1]["id"]
    ran = good(*line, "--like", far, "--unlike", plain[0]["id"], "--set", "beta=1000", "--set", "gamma=0", cwd=chain)
    assert {far, plain[0]["id"]} & set(ids(ran)) == set() and len(ids(ran)) == len(plain) - 2
    assert "left out: 2 judged images" in ran.err
    taken(tmp_path / "far.h5", chain / "cnn.emb.h5", [far])
    of_far = ids(good("query", "cnn.idx.h5", tmp_path / "far.h5", "-k", "40", "--include-same", cwd=chain))
    mine = set(ids(ran))
    assert [key for key in of_far if key in mine] == ids(ran)


def test_likes_go_by_id_to_each_index(good, chain):
    line = ["query", "cnn.idx.h5", "cnn.emb.h5", "--with", "ig.idx.h5=ig.emb.h5", "-k", "40", "--like", "00000003_000"]
    assert "00000003_000" not in ids(good(*line, cwd=chain))


QUERY = ["query", "cnn.idx.h5", "cnn.emb.h5"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--where", "vew == 'PA'"], 2, "--where: unknown column 'vew': did you mean view?"),
        (["--where", "view = 'PA'"], 2, "--where: expected ==, found =, at character 6: view >>>= 'PA'"),
        (["--where", "view == 'PA' or"], 2, "found the end, at character 16"),
        (["--only-same", "earlier"], 2, "--only-same earlier: the index has no column examination"),
        (["--only-same", "patient", "--exclude-same", "patient"], 2, "leaves nothing of --only-same patient"),
        (["--include-same", "--exclude-same", "image"], 2, "--include-same does not go with --exclude-same"),
        (["--exclude-same", "none", "--split", "split.tsv"], 2, "--exclude-same none does not go with --split"),
        (["--diverse", "0.5", "--with", "ig.idx.h5"], 2, "--diverse does not go with --with"),
        (["--diverse", "0.5", "--format", "trec"], 2, "--diverse does not go with --format trec"),
        (["--diverse", "0.5", "--set", "pool=0"], 2, "pool=0: expected at least 1"),
        (["--order", "position", "--format", "trec"], 2, "--order position does not go with --format trec"),
        (["--max-distance", "nan"], 2, "--max-distance nan: expected a finite number"),
        (["--max-distance", "-1"], 2, "--max-distance -1.0: expected at least 0"),
        (["--fuse", "rrf"], 2, "--fuse does not go with one index"),
        (["--with", "ig.idx.h5=ig.emb.h5", "--fuse", "rff"], 2, "unknown fusion method 'rff': did you mean rrf?"),
        (["--with", "ig.idx.h5=ig.emb.h5", "--set", "weights=1"], 2, "weights: expected 2 numbers above 0"),
        (["--with", "ig.idx.h5=ig.emb.h5", "--set", "scale=z-score"], 2, "unknown parameter of cbir query 'scale'"),
        (["--set", "alpha=2"], 2, "unknown parameter of cbir query 'alpha'"),
        (["--with", "ig.idx.h5"], 1, "give its own queries: --with ig.idx.h5=EMB"),
        (["--with", "ig.idx.h5=cnn.emb.h5"], 1, "cnn.emb.h5: embedded by cnn.h5"),
        (["--with", "none.h5"], 1, "none.h5: no such file"),
        (["--like", "00000001_00"], 1, "--like: '00000001_00' is not in the index; near: '0000000"),
        (["--like", "00000001_000", "--set", "gamma=2"], 2, "expected numbers of at least 0, and alpha above gamma"),
    ],
)
def test_what_does_not_go_is_said_in_one_line(cbir, chain, options, status, said):
    ran = cbir(*QUERY, *options, "-q", cwd=chain)
    assert (ran.status, ran.data) == (status, b"") and said in ran.error


def test_ssim_has_no_mean_to_move_to(cbir, chain):
    ran = cbir("query", "ssim.idx.h5", "ssim.emb.h5", "--like", "00000001_000", cwd=chain)
    assert ran.status == 2 and "ssim compares the images themselves" in ran.error


def test_explain_itself_finds_nothing(cbir, chain):
    ran = cbir("explain", "cnn.idx.h5", "cnn.emb.h5", "--self", "--where", "age > 3", "-o", "no.h5", cwd=chain)
    assert ran.status == 2 and "--self finds no results" in ran.error


@pytest.mark.parametrize("command", ["query", "explain"])
def test_only_some_images_ask(cbir, chain, command, tmp_path):
    more = ("-o", str(tmp_path / "ex.h5"), "-k", "1") if command == "explain" else ()
    asked = ("cnn.idx.h5", "cnn.emb.h5", "--ask")
    ran = cbir(command, *asked, "seen == 'test'", *more, cwd=chain)
    assert ran.status == 1 and "--ask seen == 'test': holds for none of the 40 query images" in ran.err
    ran = cbir(command, *asked, "nothing == 'test'", *more, cwd=chain)
    assert ran.status == 2 and "--ask: unknown column 'nothing'" in ran.err
    ran = cbir(command, *asked, "view == 'PA'", *more, cwd=chain)
    assert ran.status == 0, ran.err
    every = [line.split("\t") for line in cbir("query", "cnn.idx.h5", "cnn.emb.h5", cwd=chain).out.splitlines()]
    with files.open_artifact(str(chain / "cnn.emb.h5"), embeddings.KIND) as artifact:
        items = embeddings.read(artifact).items
        views = dict(zip(items.ids.tolist(), items["view"].tolist(), strict=True))
    wanted = [row for row in every if views.get(row[0]) == "PA"]
    assert 0 < len({row[0] for row in wanted}) < len(views)
    if command == "query":
        assert [line.split("\t") for line in ran.out.splitlines()][1:] == wanted
    else:
        with files.open_artifact(str(tmp_path / "ex.h5"), explanation.KIND) as artifact:
            assert set(explanation.read(artifact).queries.ids.tolist()) == {row[0] for row in wanted}


def test_of_a_split_those_that_ask(good, chain):
    whole = good("query", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", cwd=chain).out.splitlines()
    asked = whole[1].split("\t")[0]
    some = good("query", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "--ask", f"id == '{asked}'", cwd=chain)
    wanted = [line for line in whole[1:] if line.startswith(f"{asked}\t")]
    assert len(whole) > len(wanted) + 1 and some.out.splitlines()[1:] == wanted
