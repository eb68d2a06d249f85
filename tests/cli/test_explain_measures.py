"""Measures of explanations: made by ``cbir explain --measure``, with ``--self``, and summed up by ``cbir evaluate``."""

import json
import os
import pty

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from cbir_cli.artifacts import explanation, files

OCCLUSION = ["--method", "occlusion", "--set", "box=8", "--set", "stride=8"]
MEASURE = ["--measure", "insertion,deletion,randomisation"]


def read(path):
    with files.open_artifact(str(path), explanation.KIND) as artifact:
        return explanation.read(artifact)


@pytest.fixture(scope="module")
def measured(chain, good, tmp_path_factory):
    """Occlusion with a CNN, and the maps of an IG model, all measured."""
    folder = tmp_path_factory.mktemp("measured")
    line = ["--split", "split.tsv", "-k", "2", *MEASURE, "--set", "measure.step=128"]
    ran = good("explain", "cnn.idx.h5", "cnn.emb.h5", *OCCLUSION, *line, "-o", folder / "cnn.h5", cwd=chain)
    assert ran.data == b""  # the table of pairs is for a terminal
    layers = ["--set", "measure.layers=saliency.features.conv0", "--set", "measure.ways=cascade"]
    good("explain", "ig.idx.h5", "ig.emb.h5", *line, *layers, "-o", folder / "ig.h5", cwd=chain)
    (folder / "others").mkdir()
    Image.new("L", (8, 8), 255).save(folder / "others/other.png")
    return folder


def vectors(path):
    with h5py.File(path) as file:
        return dict(zip((key.decode() for key in file["obs/_index"][()]), file["X"][()].astype(float), strict=True))


@pytest.mark.parametrize("name", ["cnn", "ig"])
def test_curves_lie_between_the_intact_pair_and_what_is_left(chain, measured, name):
    made, known = read(measured / f"{name}.h5"), vectors(chain / f"{name}.emb.h5")
    measures = made.measures
    assert len(made.importance) == len(made.maps) == {"cnn": 4, "ig": 8}[name]
    assert measures.fractions.tolist() == [i / 8 for i in range(9)]
    assert measures.parameters == {
        "variant": "code", "step": 128, "steps": 8, "fill": "mean", "blur": 50**0.5, "cells": 7, "seed": 0,
    }  # fmt: skip
    for curves in (measures, measures.random_map, measures.random_model):
        assert curves.insertion.shape == curves.deletion.shape == (len(made.maps), 9)
        for row in range(len(made.maps)):
            pair = made.map_pair[row]
            one, other = known[made.queries.ids[made.query[pair]]], known[made.results.ids[made.result[pair]]]
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            assert curves.deletion[row, 0] == pytest.approx(cosine, abs=1e-4)
            assert curves.insertion[row, -1] == pytest.approx(cosine, abs=1e-4)
        # What is left when all is grey or blurred has nothing to do with the order.
        assert curves.deletion[:, -1].tolist() == measures.deletion[:, -1].tolist()
        assert curves.insertion[:, 0].tolist() == measures.insertion[:, 0].tolist()
    for curves in (measures.random_map, measures.random_model):
        assert (curves.deletion[:, 1:-1] != measures.deletion[:, 1:-1]).any()
    assert len({tuple(curve) for curve in measures.random_map.deletion.tolist()}) == len(made.maps)


def test_a_curve_made_by_hand(chain, measured):
    """The result of a pair is changed, and the query stays whole; the network is asked once a step."""
    from cbir_cli.stages import encoders, encoding

    made = read(measured / "cnn.h5")
    encoder = encoders.open_encoder(str(chain / "cnn.h5"), encoding.Settings())
    row, pair = 1, made.map_pair[1]
    result = made.result_images[made.result[pair]]
    query = vectors(chain / "cnn.emb.h5")[made.queries.ids[made.query[pair]]]
    order = np.argsort(-made.maps[row].astype(float).ravel(), kind="stable")
    for step in range(9):
        pixels = np.repeat(result[..., None] / np.float32(255), 3, axis=2).reshape(-1, 3)
        pixels[order[: step * 128]] = encoder.input.mean
        vector = encoder.encode(pixels.reshape(1, 32, 32, 3).astype(np.float32))[0].astype(float)
        cosine = vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)
        assert made.measures.deletion[row, step] == pytest.approx(max(0, cosine), abs=2e-3)  # of 8-bit pixels


@pytest.mark.parametrize("what", ["insertion", "deletion"])
def test_a_curve_of_the_random_model_made_by_hand(chain, measured, what):
    """The method on fresh weights of the same seed gives the order, and the trained network is asked once a step."""
    import torch
    from scipy.ndimage import gaussian_filter

    from cbir_cli.models import densenet_tiny
    from cbir_cli.stages import encoders, encoding

    made, row = read(measured / "cnn.h5"), 2
    encoder = encoders.open_encoder(str(chain / "cnn.h5"), encoding.Settings())
    torch.manual_seed(0)  # measure.seed
    module = densenet_tiny.build(1).eval()
    module.classifier = torch.nn.Identity()
    pair = made.map_pair[row]
    query, result = (
        np.repeat(image[..., None] / np.float32(255), 3, axis=2)
        for image in (made.query_images[made.query[pair]], made.result_images[made.result[pair]])
    )
    mean, std = np.array(encoder.input.mean), np.array(encoder.input.std)

    def fresh(pixels):
        with torch.no_grad():
            given = torch.tensor((pixels - mean) / std, dtype=torch.float32).permute(2, 0, 1)
            return module(given[None])[0].numpy().astype(float)

    # Occlusion as its paper has it: boxes of 8 pixels every 8, by how much the distance grows.
    scores = np.zeros((32, 32))
    intact = np.linalg.norm(fresh(query) - fresh(result))
    for y in range(0, 32, 8):
        for x in range(0, 32, 8):
            hidden = result.copy()
            hidden[y : y + 8, x : x + 8] = 0.449
            scores[y : y + 8, x : x + 8] = max(0, np.linalg.norm(fresh(query) - fresh(hidden)) - intact)
    order = np.argsort(-scores.ravel(), kind="stable")
    blurred = np.stack(
        [gaussian_filter(result[..., c] - mean[c], 50**0.5, radius=25, mode="constant") + mean[c] for c in range(3)], 2
    )
    start, end = (blurred, result) if what == "insertion" else (result, np.broadcast_to(mean, result.shape))
    vector = vectors(chain / "cnn.emb.h5")[made.queries.ids[made.query[pair]]]
    curve = []
    for step in range(9):
        pixels = start.reshape(-1, 3).copy()
        pixels[order[: step * 128]] = end.reshape(-1, 3)[order[: step * 128]]
        found = encoder.encode(pixels.reshape(1, 32, 32, 3).astype(np.float32))[0].astype(float)
        curve.append(max(0, found @ vector / np.linalg.norm(found) / np.linalg.norm(vector)))
    stored = getattr(made.measures.random_model, what)
    assert stored[row] == pytest.approx(curve, abs=2e-3)  # of 8-bit pixels
    others = [getattr(made.measures, what)[row], getattr(made.measures.random_map, what)[row]]
    assert all(np.abs(other - curve).max() > 4e-3 for other in others)  # which are other curves


def test_baselines_are_left_out(chain, good, measured, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", *OCCLUSION, "--split", "split.tsv", "-k", "2"]
    line += ["--measure", "insertion,deletion", "--set", "measure.step=128"]
    whole = read(measured / "cnn.h5").measures
    for baselines, kept in (("map", {"random-map"}), ("none", set())):
        path = tmp_path / f"{baselines}.h5"
        good(*line, "--set", f"measure.baselines={baselines}", "-o", path, cwd=chain)
        with h5py.File(path) as file:
            assert set(file["measures"]) == {"insertion", "deletion", *kept}
        found = read(path).measures
        assert found.deletion.tolist() == whole.deletion.tolist()
        if kept:
            assert found.random_map.insertion.tolist() == whole.random_map.insertion.tolist()
        rows = good("evaluate", path, "--format", "json", cwd=chain).out.splitlines()
        row = next(row for row in map(json.loads, rows) if row["metric"] == "insertion" and row["class"] == "all")
        assert (row["random"] is None) == (row["difference"] is None) == (not kept) and row["random_network"] is None
        good("report", path, "-o", tmp_path / "page.html", cwd=chain)


@pytest.fixture(scope="module")
def lonely(linked, good):
    """An index of a single image, which is also the query: no result is left."""
    folder = linked("lonely")
    image = sorted((folder / "set/images").iterdir())[0]
    (folder / "one").mkdir()
    (folder / "one/a.png").write_bytes(image.read_bytes())
    good("embed", "-m", "cnn.h5", "one", "-o", "one.emb.h5", cwd=folder)
    good("index", "one.emb.h5", "-o", "one.idx.h5", cwd=folder)
    return folder


@pytest.mark.parametrize("measure", ["insertion", "deletion", "randomisation", "insertion,deletion,randomisation"])
def test_no_query_has_a_result(lonely, good, measure):
    line = ["explain", "one.idx.h5", "one", "-m", "cnn.h5", *OCCLUSION, "--measure", measure]
    ran = good(*line, "-o", "none.h5", cwd=lonely)
    assert "1 of 1 queries have no result" in ran.err
    made = read(lonely / "none.h5")
    assert len(made.maps) == len(made.query) == 0
    if "insertion" in measure:
        assert made.measures.insertion.shape == made.measures.random_model.insertion.shape == (0, 33)
    if "randomisation" in measure:
        assert made.randomisation.cascade.shape == (0, len(made.randomisation.layers))
    good("verify", "none.h5", cwd=lonely)


def test_maps_of_nothing_are_pairs_like_others(chain, good, tmp_path):
    """Boxes of the image's own grey hide nothing of a flat image: its map is zero, and is stored and measured."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for number, level in enumerate((100, 180)):
        Image.new("L", (64, 64), level).save(folder / f"{number}.png")
    good("embed", "-m", "cnn.h5", folder, "-o", tmp_path / "f.emb.h5", cwd=chain)
    good("index", tmp_path / "f.emb.h5", "-o", tmp_path / "f.idx.h5", cwd=chain)
    line = ["explain", tmp_path / "f.idx.h5", folder / "0.png", "-m", "cnn.h5", *OCCLUSION, "-k", "1", "--root", folder]
    line += ["--set", f"fill={180 / 255!r}", "--measure", "insertion,deletion,randomisation"]
    ran = good(*line, "--set", "measure.step=128", "-o", tmp_path / "f.h5", cwd=chain)
    assert "warning: 1 of 1 maps are zero everywhere: the method found nothing there" in ran.err.splitlines()
    made = read(tmp_path / "f.h5")
    assert len(made.maps) == 1 and not made.maps.any() and made.scale.tolist() == [0]
    for what in ("insertion", "deletion"):
        chance = getattr(made.measures.random_map, what).tolist()
        assert getattr(made.measures, what).tolist() == getattr(made.measures.random_model, what).tolist() == chance
    assert np.isnan(made.randomisation.cascade).all()  # a map without ranks has no rank correlation


def test_seed_and_batch_size(chain, good, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "-k", "1", "--method", "rise"]
    line += ["--set", "masks=50", "--measure", "deletion", "--set", "measure.step=512"]
    made = {}
    for name, more in (
        ("zero", []),
        ("seven", ["--seed", "7"]),
        ("set", ["--set", "seed=7", "--set", "measure.seed=7"]),
        ("batch", ["--seed", "7", "--batch-size", "3"]),
    ):
        good(*line, *more, "-o", tmp_path / f"{name}.h5", cwd=chain)
        made[name] = (tmp_path / f"{name}.h5").read_bytes()
    assert made["seven"] == made["set"] == made["batch"] != made["zero"]
    zero, seven = (read(tmp_path / f"{name}.h5") for name in ("zero", "seven"))
    assert seven.parameters["seed"] == seven.measures.parameters["seed"] == 7 and "batch" not in seven.parameters
    assert (zero.maps != seven.maps).any()
    for kind in ("random_map", "random_model"):
        assert (getattr(zero.measures, kind).deletion != getattr(seven.measures, kind).deletion).any()


def test_randomisation(chain, good, measured, tmp_path):
    made, ig = read(measured / "cnn.h5").randomisation, read(measured / "ig.h5").randomisation
    assert made.layers[0] == "classifier" and made.layers[-1] == "features.conv0" and made.sign == "signed"
    assert made.cascade.shape == made.independent.shape == (4, len(made.layers))
    assert (made.cascade[:, 0] == 1).all()  # occlusion looks at the vector, which the classifier is given
    assert made.cascade[:, 0].tolist() == made.independent[:, 0].tolist()
    assert np.nanmean(made.cascade[:, -1]) < 0.9 and (made.cascade[:, 2:] != made.independent[:, 2:]).any()
    assert ig.layers == ["saliency.features.conv0"] and ig.independent is None and (ig.cascade < 0.999).all()

    # The network with fresh weights, written down and explained, gives the last of the cascade.
    from dataclasses import replace

    from cbir_cli.artifacts import model as models
    from cbir_cli.stages.randomisation import fresh_weights

    trained = models.read(str(chain / "cnn.h5"))
    weights = {**trained.weights, **fresh_weights(trained, 0)}
    models.write(str(tmp_path / "fresh.h5"), replace(trained, weights=weights))
    whole = read(measured / "cnn.h5")
    from cbir_cli.similarity import occlusion
    from cbir_cli.stages import encoders, encoding

    encoder = encoders.open_encoder(str(tmp_path / "fresh.h5"), encoding.Settings())
    queries, results = (
        images[rows] / np.float32(255)
        for images, rows in ((whole.query_images, whole.query), (whole.result_images, whole.result))
    )
    maps = occlusion.explain(encoder, queries, results, box=8, stride=8)[1]
    expected = [spearmanr(m.ravel(), o.ravel()).statistic for m, o in zip(whole.maps.astype(float), maps, strict=True)]
    assert made.cascade[:, -1] == pytest.approx(expected, abs=0.05)  # of 8-bit pixels


def test_the_same_line_gives_the_same_bytes_and_another_seed_other_baselines(chain, good, measured, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", *OCCLUSION, "--split", "split.tsv", "-k", "1"]
    line += ["--measure", "deletion", "--set", "measure.step=512"]
    for name, more in (("a", []), ("b", []), ("c", ["--set", "measure.seed=1"])):
        good(*line, *more, "-o", tmp_path / f"{name}.h5", cwd=chain)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    one, other = (read(tmp_path / f"{name}.h5").measures for name in "ac")
    assert one.deletion.tolist() == other.deletion.tolist() and one.insertion is None
    assert one.random_map.deletion.tolist() != other.random_map.deletion.tolist()
    assert one.random_model.deletion.tolist() != other.random_model.deletion.tolist()


def test_queries_explained_with_themselves(chain, good, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--self", *OCCLUSION]
    good(*line, "--measure", "insertion", "--set", "measure.step=1024", "-o", tmp_path / "self.h5", cwd=chain)
    made = read(tmp_path / "self.h5")
    assert len(made.query) == 40 and not made.rank.any() and not made.distance.any()
    assert made.query.tolist() == made.result.tolist() and (made.queries.ids == made.results.ids).all()
    assert set(made.map_on) == {1}
    assert made.measures.insertion[:, -1] == pytest.approx(1, abs=1e-5)  # an image is like itself
    codes = made.queries.label("Effusion")
    assert made.classes.names == ["Effusion", "no Effusion"]
    assert made.classes.count.tolist() == [(codes == 1).sum(), (codes == 0).sum()]
    for place, code in enumerate((1, 0)):
        rows = codes[made.result[made.map_pair]] == code
        maps = (made.maps[rows].astype(float) * made.scale[rows, None, None]).sum(axis=0) / (codes == code).sum()
        assert made.classes.maps[place] == pytest.approx(maps, abs=2e-3 * np.abs(maps).max())
        grey = made.query_images[codes == code].mean(axis=0)
        assert np.abs(made.classes.images[place] - grey).max() <= 1
    rows = good("evaluate", tmp_path / "self.h5", "--metrics", "insertion,border-mass", cwd=chain).out
    assert {line.split("\t")[2] for line in rows.splitlines()[1:]} == {"all", "Effusion", "no Effusion"}


def test_summed_up_by_hand(chain, good, measured):
    made = read(measured / "cnn.h5")
    lines = good("evaluate", "cnn.h5", "--masks", chain / "set/masks", "--format", "json", cwd=measured).out
    rows = {(row["class"], row["metric"]): row for row in map(json.loads, lines.splitlines())}
    assert {row["on"] for row in rows.values()} == {"result"} and {row["method"] for row in rows.values()} == {
        "occlusion"
    }
    queries = made.query[made.map_pair]
    for what in ("insertion", "deletion"):
        own, chance, model = (
            np.array([np.trapezoid(getattr(curves, what)[queries == q].mean(axis=0), dx=1 / 8) for q in range(2)])
            for curves in (made.measures, made.measures.random_map, made.measures.random_model)
        )
        row = rows["all", what]
        assert row["n"] == 2 and row["left_out"] == 0
        assert row["mean"] == pytest.approx(own.mean(), abs=1e-6)
        assert row["random"] == pytest.approx(chance.mean(), abs=1e-6)
        assert row["random_network"] == pytest.approx(model.mean(), abs=1e-6)
        assert row["difference"] == pytest.approx((own - chance).mean(), abs=1e-6)
        assert row["network_difference"] == pytest.approx((own - model).mean(), abs=1e-6)
        assert row["low"] is row["difference_low"] is row["network_difference_high"] is None  # of two queries
        assert [one["value"] for one in row["queries"]] == pytest.approx(own, abs=1e-6)
    names = {measure for _, measure in rows}
    assert {
        "sparseness",
        "border-mass",
        "border-mass,part=corners",
        "relevance-rank",
        "top-k-intersection@1000",
    } < names
    assert rows["all", "border-mass"]["random"] == pytest.approx((32**2 - 26**2) / 32**2)
    assert rows["all", "sparseness"]["random"] is None
    table = made.randomisation
    cascade = np.array([table.cascade[queries == q, 2].mean() for q in range(2)])
    assert rows["all", f"cascade {table.layers[2]}"]["mean"] == pytest.approx(cascade.mean(), abs=1e-6)
    assert {group for group, measure in rows if measure.startswith("cascade")} == {"all"}


def test_queries_weigh_the_same_however_many_results_they_have(chain, good, measured, tmp_path):
    """Another query's lists are cut: the mean is over queries, not over maps."""
    from dataclasses import replace

    made = read(measured / "cnn.h5")
    keep = np.flatnonzero((made.query[made.map_pair] != 0) | (np.cumsum(made.query[made.map_pair] == 0) == 1))
    assert len(keep) == 3
    cut = replace(
        made, maps=made.maps[keep], scale=made.scale[keep], map_pair=made.map_pair[keep], map_on=made.map_on[keep],
        map_what=made.map_what[keep], measures=None, randomisation=None,
    )  # fmt: skip
    explanation.write(str(tmp_path / "cut.h5"), cut, history=[])
    from cbir_cli.metrics.explanation import border_mass

    scores = border_mass.score(cut.maps.astype(np.float32))
    line = good("evaluate", "cut.h5", "--metrics", "border-mass", "--format", "json", cwd=tmp_path).out.splitlines()[0]
    alone, both = scores[cut.query[cut.map_pair] == 0], scores[cut.query[cut.map_pair] == 1]
    assert json.loads(line)["mean"] == pytest.approx((alone.mean() + both.mean()) / 2, abs=1e-9)


def test_uncertainty_is_not_scored(good, measured, tmp_path):
    from dataclasses import replace

    made = read(measured / "cnn.h5")
    twice = replace(
        made,
        maps=np.concatenate([made.maps, np.ones_like(made.maps)]),
        **{name: np.tile(getattr(made, name), 2) for name in ("scale", "map_pair", "map_on")},
        map_what=np.repeat(np.array([0, 1], np.int8), len(made.maps)),
    )
    explanation.write(str(tmp_path / "cnn.h5"), twice, history=[])
    found = [good("evaluate", "cnn.h5", cwd=folder).out for folder in (measured, tmp_path)]
    assert found[0] == found[1] and "sparseness" in found[0]


def test_forms_of_the_table(good, measured):
    lines = good("evaluate", "cnn.h5", "ig.h5", cwd=measured).out.splitlines()
    header = lines[0].split("\t")
    assert header[:6] == ["file", "method", "class", "on", "metric", "n"] and all(
        len(line.split("\t")) == len(header) == 19 for line in lines
    )
    table = good("evaluate", "cnn.h5", "ig.h5", "--format", "table", cwd=measured).out
    assert "Randomised layers" in table and "saliency.features.conv0" in table and "\t" not in table
    only = good("evaluate", "cnn.h5", "--metrics", "deletion", "--format", "table", cwd=measured).out
    assert "Randomised layers" not in only and "occlusion" not in only


def test_pairs_are_shown_on_a_terminal(chain, measured, spawn, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", *OCCLUSION, "--split", "split.tsv", "-k", "1"]
    line += ["--measure", "deletion", "--set", "measure.step=1024", "-o", tmp_path / "t.h5"]
    ours, theirs = pty.openpty()
    try:
        ran = spawn(*line, stdout=theirs, cwd=chain, env={"COLUMNS": "120", "TERM": "dumb"})
        assert ran.status == 0, ran.err
        shown = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    made = read(tmp_path / "t.h5")
    header, *rows = [row.split() for row in shown.splitlines() if row.strip(" ─\r\n")]
    assert header == ["query", "rank", "id", "distance", "deletion"] and len(rows) == 2
    assert [row[0] for row in rows] == made.queries.ids[made.query].tolist()
    area = np.trapezoid(made.measures.deletion, dx=1 / (made.measures.deletion.shape[1] - 1), axis=1)
    assert [row[4] for row in rows] == [f"{value:.3f}" for value in area]


WRONG = {
    "measure": (["--measure", "area"], "unknown measure 'area': known: insertion, deletion, randomisation"),
    "nothing": (["--measure", ""], "unknown measure '': known: insertion, deletion, randomisation"),
    "no name": (["--method", ""], "unknown similarity method ''"),
    "too many masks": (
        ["--method", "rise", "--set", "masks=9999999999999"],
        "masks: expected from 1 to 1000000 of 7 x 7 cells, found 9999999999999",
    ),
    "too large a box": (
        ["--method", "occlusion", "--set", "box=100000"],
        "expected a box from 1 to 64 pixels, found 100000",
    ),
    "no maps": (["--method", "none", "--measure", "insertion"], "--measure needs maps; method none makes none"),
    "variant": (["--measure", "deletion", "--set", "measure.variant=x"], "unknown variant 'x': known: code, paper"),
    "step": (["--measure", "deletion", "--set", "measure.step=-1"], "expected a step of at least 1 pixel, found -1"),
    "sigma": (
        ["--measure", "insertion", "--set", "measure.sigma=0"],
        "expected a sigma above 0 and at most 1000 pixels, found 0.0",
    ),
    "wide blur": (
        ["--measure", "insertion", "--set", "measure.sigma=1e9"],
        "expected a sigma above 0 and at most 1000 pixels, found 1000000000.0",
    ),
    "seed": (
        ["--measure", "insertion", "--set", "measure.seed=18446744073709551616"],
        "expected a seed from 0 to below 2^64, found 18446744073709551616",
    ),
    "seed of both": (
        ["--measure", "randomisation", "--seed", "18446744073709551616"],
        "expected a seed from 0 to below 2^64, found 18446744073709551616",
    ),
    "seed of rise": (["--method", "rise", "--set", "seed=-1"], "expected a seed of at least 0, found -1"),
    "seed of relax": (["--method", "relax", "--set", "seed=-1"], "expected a seed of at least 0, found -1"),
    "fill of relax": (
        ["--method", "relax", "--set", "fill=nan"],
        "fill: expected a finite number of 32 bits, found nan",
    ),
    "fill of rise": (
        ["--method", "rise", "--set", "fill=1e300"],
        "fill: expected a finite number of 32 bits, found 1e+300",
    ),
    "cells": (
        ["--measure", "insertion", "--set", "measure.cells=33"],
        "expected 0 to 32 cells, the side of the images, found 33",
    ),
    "baselines": (
        ["--measure", "insertion", "--set", "measure.baselines=model"],
        "unknown baselines 'model': known: both, map, none",
    ),
    "layer": (["--measure", "randomisation", "--set", "measure.layers=conv"], "unknown layer 'conv': "),
    "way": (["--measure", "randomisation", "--set", "measure.ways=all"], "unknown way to randomise 'all': "),
    "not measured": (["--set", "measure.step=1"], "unknown parameter of method occlusion 'measure.step': "),
    "self and split": (["--self", "--split", "split.tsv"], "--self finds no results: it does not go with --split"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_command_lines(chain, cbir, tmp_path, name):
    options, words = WRONG[name]
    method = [] if "--method" in options else OCCLUSION
    ran = cbir("explain", "cnn.idx.h5", "cnn.emb.h5", "-k", "1", *method, *options, "-m", "cnn.h5", "-o",
               tmp_path / "x.h5", cwd=chain)  # fmt: skip
    assert ran.status == 2 and ran.err.splitlines()[-1].startswith(f"cbir explain: {words}")
    assert not (tmp_path / "x.h5").exists()


EVALUATE = {
    "options": (["--items", "{chain}/cnn.idx.h5"], 2, "--items does not go with explanations"),
    "metric": (["--metrics", "ndcg@4"], 2, "metric ndcg@4 scores a run, not explanations"),
    "masks": (["--metrics", "pointing-game"], 2, "metric pointing-game needs masks of what maps should show"),
    "cut-off": (["--metrics", "top-k-intersection"], 2, "metric 'top-k-intersection': expected a cut-off"),
    "label": (["--label", "Love"], 2, "unknown label 'Love': known: Atelectasis, "),
    "setting": (["--set", "tolerance=2"], 2, "unknown parameter of the metrics 'tolerance': "),
    "width": (["--set", "width=2"], 2, "width: expected a share of the side above 0 and up to 0.5, found 2.0"),
    "sign": (["--set", "sign=x"], 2, "unknown sign 'x': known: positive, absolute"),
    "tolerance": (["--masks", "gone", "--set", "tolerance=-1"], 2, "tolerance: expected a number of pixels"),
    "other file": (["{chain}/maps.h5"], 2, "{chain}/maps.h5: explanations are evaluated by themselves, and "),
    "no masks there": (["--masks", "others"], 1, "cnn.h5: none of "),
}


def test_of_a_method_that_shows_maps_only_the_network_that_makes_them_loses_layers(chain, cbir):
    line = ["explain", "ig.idx.h5", "ig.emb.h5", "--measure", "randomisation", "--set", "measure.layers=classifier"]
    error = cbir(*line, "-m", "ig.h5", "-o", "x.h5", cwd=chain).error
    assert "known: saliency.classifier, saliency.features.norm5, " in error and ", classifier" not in error
    error = cbir(*line, "-m", "ig.h5", "-o", "x.h5", *OCCLUSION, "--set", "measure.seed=-1", cwd=chain).error
    assert error == "cbir explain: expected a seed from 0 to below 2^64, found -1"
    line[-1] = "measure.layers=x"
    error = cbir(*line, "-m", "ig.h5", "-o", "x.h5", *OCCLUSION, cwd=chain).error
    assert "known: classifier, features.norm5, " in error and ", saliency.features.conv0" in error


@pytest.mark.parametrize("name", EVALUATE)
def test_wrong_questions(chain, cbir, measured, name):
    options, status, words = EVALUATE[name]
    ran = cbir("evaluate", "cnn.h5", *(word.format(chain=chain) for word in options), cwd=measured)
    assert ran.status == status and ran.error.startswith(f"cbir evaluate: {words.format(chain=chain)}")


def test_what_was_not_measured_is_said(chain, cbir):
    assert cbir("evaluate", "ex.h5", "--metrics", "insertion", cwd=chain).error == (
        "cbir evaluate: ex.h5: has no curves of insertion; make it with cbir explain --measure insertion"
    )
    assert cbir("evaluate", "maps.h5", "--masks", "set/masks", "--metrics", "deletion", cwd=chain).error == (
        "cbir evaluate: metric deletion scores an explanation that was measured (cbir explain --measure deletion)"
    )


def test_no_maps_to_evaluate(chain, cbir, good, tmp_path):
    good("explain", "ssim.idx.h5", "ssim.emb.h5", "--split", "split.tsv", "-o", tmp_path / "s.h5", cwd=chain)
    assert cbir("evaluate", "s.h5", cwd=tmp_path).error == "cbir evaluate: s.h5: holds no maps (method none)"
