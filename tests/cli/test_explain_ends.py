"""``cbir explain --last``: the end of each ranked list; and the physician's choice beside the system's on one page."""

import json
import re

import numpy as np
import pytest

from cbir_cli.artifacts import explanation, files


def read(path):
    with files.open_artifact(str(path), explanation.KIND) as artifact:
        return explanation.read(artifact)


def lists(text):
    """Return from a run the ids of each query, nearest first."""
    found = {}
    for line in text.splitlines():
        row = json.loads(line)
        found.setdefault((row.get("seed"), row.get("set"), row["query"]), []).append((row["id"], row["distance"]))
    return found


def pairs(one):
    found = {}
    for pair, rank in enumerate(one.rank):
        seed = int(one.seed[pair])
        key = (None, None) if seed < 0 else (seed, int(one.set[pair]))
        place = (*key, str(one.queries.ids[one.query[pair]]))
        image = str(one.results.ids[one.result[pair]])
        found.setdefault(place, []).append((int(rank), image, float(one.distance[pair])))
    return found


@pytest.mark.parametrize("split", [[], ["--split", "split.tsv"]], ids=["whole index", "catalogues"])
@pytest.mark.parametrize("last", [1, 3])
def test_the_first_and_the_last_of_the_ranked_list(good, chain, tmp_path, split, last):
    asked = ["cnn.idx.h5", "cnn.emb.h5", *split]
    good("explain", *asked, "-k", "2", "--last", str(last), "--method", "none", "-o", tmp_path / "ex.h5", cwd=chain)
    whole = lists(good("query", *asked, "-k", "1000", "--format", "json", cwd=chain).out)
    found = pairs(read(tmp_path / "ex.h5"))
    assert found.keys() == whole.keys() and len(found) > 1
    for key, ranked in whole.items():
        places = sorted({*range(1, 3), *range(len(ranked) - last + 1, len(ranked) + 1)})
        assert [(rank, image) for rank, image, _ in found[key]] == [(place, ranked[place - 1][0]) for place in places]
        np.testing.assert_allclose([d for *_, d in found[key]], [ranked[place - 1][1] for place in places], rtol=1e-6)


def test_none_is_as_before(good, chain, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "-k", "2", "--method", "none", "-o"]
    good(*line, tmp_path / "a.h5", cwd=chain)
    good(*line, tmp_path / "b.h5", "--last", "0", cwd=chain)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert set(read(tmp_path / "a.h5").rank.tolist()) == {1, 2}


def test_the_whole_list_is_shown_once_where_both_ends_meet(good, chain, tmp_path):
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "-k", "4", "--last", "5", "--method", "none"]
    good(*line, "-o", tmp_path / "ex.h5", cwd=chain)
    for found in pairs(read(tmp_path / "ex.h5")).values():
        ranks = [rank for rank, *_ in found]
        assert ranks == list(range(1, len(ranks) + 1)) and len({image for _, image, _ in found}) == len(found)
    html = good("report", tmp_path / "ex.h5", cwd=chain).out
    assert 'class="skipped"' not in html


@pytest.mark.parametrize("other", [["--self"], ["--diverse", "0.5"]], ids=str)
def test_what_has_no_end_is_refused(cbir, chain, tmp_path, other):
    ran = cbir("explain", "cnn.idx.h5", "cnn.emb.h5", "--last", "2", *other, "-o", tmp_path / "ex.h5", cwd=chain)
    assert ran.status == 2 and "--last" in ran.error and "Traceback" not in ran.error


def test_the_physicians_choice_from_the_same_patient(good, chain, tmp_path):
    """Cross-examination: query and results are of one patient; the physician's order stands beside the system's."""
    line = ["explain", "cnn.idx.h5", "cnn.emb.h5", "--only-same", "patient", "-k", "5", "--method", "none"]
    good(*line, "-o", tmp_path / "ex.h5", cwd=chain)
    key, found = max(pairs(read(tmp_path / "ex.h5")).items(), key=lambda item: len(item[1]))
    chosen = [image for _, image, _ in found][::-1]
    assert len(chosen) > 1
    lines = [f"{key[2]},physician,{rank},{image}" for rank, image in enumerate(chosen, 1)]
    (tmp_path / "ranks.csv").write_text("\n".join(["query,rater,rank,id", *lines]) + "\n")
    html = good("report", "ex.h5", "--raters", "ranks.csv", cwd=tmp_path).out.replace("<wbr>", "")
    cases = re.findall(r'<section class="case".*?(?=<section class="(?:case|part)")', html, re.S)
    (case,) = (case for case in cases if "Expert physician" in case)
    assert f"<bdi>{key[2]}</bdi>" in case
    rows = [re.findall(r'<p class="id">(.*?)</p>', row) for row in re.findall('<ol class="tiles".*?</ol>', case, re.S)]
    assert rows == [chosen, chosen[::-1]]
    assert case.index("Expert physician") < case.index(">CNN<")
