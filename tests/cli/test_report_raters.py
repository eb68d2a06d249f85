"""``cbir report --raters``: experts as rows, where they and the data set differ, and what an order leaves out."""

import dataclasses
import html as markup
import re

import numpy as np
import pytest
from explained import made, write

CATALOGUE = [f"r{i:03d}" for i in range(3, 11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four results of eight images, and how two raters order them for two queries; R2 turns the order of R1 round."""
    place = tmp_path_factory.mktemp("raters")
    write(place, "ex.h5", made("occlusion", k=4))
    lines = ["query,rater,rank,id"]
    for query in ("q000", "q001"):
        for rater, order in (("R2", CATALOGUE[::-1]), ("R1", CATALOGUE)):
            lines += [f"{query},{rater},{rank},{image}" for rank, image in enumerate(order, 1)]
    (place / "ranks.csv").write_text("\n".join(lines) + "\n")
    return place


def rows(html, case=1):
    """Return for each row of a query its title and its tiles: head, frame, id, words of the expert."""
    text = re.search(rf'<section class="case" id="case-{case}".*?(?=<section class="case"|<section class="part")',
                     html.replace("<wbr>", ""), re.S)[0]  # fmt: skip
    found = {}
    for part in re.findall(r'<section class="row".*?</section>', text, re.S):
        tiles = []
        for tile in re.findall(r'<li class="tile.*?</li>', part, re.S):
            plain = re.sub("<[^>]*>", " ", re.search(r'<div class="head">.*?</div>', tile)[0])
            head = " ".join(markup.unescape(plain).split())
            said = re.search(r'<p class="dispute">(.*?)</p>', tile)
            kinds = re.match('<li class="tile ([^"]*)"', tile)[1]
            tiles.append((re.search(r'class="id">(.*?)<', tile)[1], head, kinds, said and said[1], "<use" in tile))
        found[re.search("<h3>(.*?)</h3>", part)[1]] = tiles
    return found


def report(good, folder, *arguments):
    return good("report", "ex.h5", "--raters", *arguments, cwd=folder).out


def test_every_rater_is_a_row_in_his_own_order(good, folder):
    html = report(good, folder, "ranks.csv")
    found = rows(html)
    assert list(found) == ["Expert R1", "Expert R2", "CNN"]  # R1 is the reference and comes first
    first, second = found["Expert R1"], found["Expert R2"]
    assert [tile[0] for tile in first] == CATALOGUE[:4] and [tile[0] for tile in second] == CATALOGUE[::-1][:4]
    assert [tile[1] for tile in first] == [f"Expert rank {rank}" for rank in (1, 2, 3, 4)]
    assert [tile[1] for tile in second] == [f"{rank} Expert R1: {9 - rank}" for rank in (1, 2, 3, 4)]
    for name, head, *_ in found["CNN"]:
        assert head.endswith(f"Expert R1: {CATALOGUE.index(name) + 1}")
    labels = {name: kinds for name, _, kinds, *_ in first + second}
    assert all(labels[name] == kinds for name, _, kinds, *_ in found["CNN"])
    assert list(rows(html, 3)) == ["CNN"]  # nobody ranked the third
    assert "those of R1; R2 are rows of their own" in html


def test_another_reference(good, folder):
    found = rows(report(good, folder, "ranks.csv", "--rater", "R2"))
    assert list(found) == ["Expert R2", "Expert R1", "CNN"]
    assert [tile[1] for tile in found["Expert R2"]] == [f"Expert rank {rank}" for rank in (1, 2, 3, 4)]
    for name, head, *_ in found["CNN"]:
        assert head.endswith(f"Expert R2: {8 - CATALOGUE.index(name)}")


def test_the_panel_as_reference(good, folder):
    found = rows(report(good, folder, "ranks.csv", "--rater", "panel"))
    assert list(found) == ["Expert panel", "Expert R2", "Expert R1", "CNN"]
    assert {tile[1].split()[-1] for tile in found["CNN"]} == {"4.5"}  # the two orders cancel out


def test_an_unknown_rater_is_refused(cbir, folder):
    ran = cbir("report", "ex.h5", "--raters", "ranks.csv", "--rater", "R9", cwd=folder)
    assert ran.status == 2 and "R9" in ran.error and "Traceback" not in ran.error


def test_images_without_a_picture_are_named(good, folder, tmp_path):
    lines = (folder / "ranks.csv").read_text().replace("r003", "stranger")
    (tmp_path / "ranks.csv").write_text(lines)
    html = report(good, folder, tmp_path / "ranks.csv")
    name, head, kinds, _, drawn = rows(html)["Expert R1"][0]
    assert (name, head, kinds, drawn) == ("stranger", "Expert rank 1", "unknown", False)
    assert "no picture" in html and "1 without a picture: no explanation holds it" in html
    assert all(tile[4] for tile in rows(html)["Expert R1"][1:])


def test_where_expert_and_data_set_differ(good, folder, tmp_path):
    """r003 is covid and r010 pneumonia, by their numbers; at the first query R1 denies the one, R2 the other."""
    out = ["query,rater,rank,id,query_labels,labels"]
    for line in (folder / "ranks.csv").read_text().splitlines()[1:]:
        query, rater, _, image = line.split(",")
        said = "covid=0|pneumonia=1" if (query, rater, image) == ("q000", "R1", "r003") else ""
        said = "pneumonia=0" if (query, rater, image) == ("q000", "R2", "r010") else said
        out.append(f"{line},{'covid=0' if rater == 'R1' and query == 'q001' else ''},{said}")
    (tmp_path / "ranks.csv").write_text("\n".join(out) + "\n")
    html = report(good, folder, tmp_path / "ranks.csv")
    for title, tiles in rows(html).items():
        for name, _, kinds, said, _ in tiles:
            expected = {"r003": "R1: no covid, pneumonia"} if title != "Expert R2" else {"r010": "R2: no pneumonia"}
            assert said == expected.get(name) and ("disputed" in kinds) == (name in expected)
    assert any(tile[3] for tile in rows(html)["Expert R2"])
    assert not any(tile[3] for tiles in rows(html, 2).values() for tile in tiles)
    # The second query is a pneumonia and no covid: R1 agrees.
    assert '<p class="dispute">' not in re.search(r'id="case-2".*?<div class="rows"', html, re.S)[0]


def test_the_first_and_the_last_of_each_order(good, folder, tmp_path):
    one = made("occlusion", k=4)
    rank = np.where(one.rank > 2, one.rank + 4, one.rank).astype(np.int32)  # 1, 2 and 7, 8 of eight
    write(tmp_path, "ends.h5", dataclasses.replace(one, rank=rank))
    html = good("report", "ends.h5", "--raters", folder / "ranks.csv", cwd=tmp_path).out
    found = rows(html)
    assert [tile[0] for tile in found["Expert R1"]] == CATALOGUE[:2] + CATALOGUE[-2:]
    assert [tile[1].split(" d ")[0] for tile in found["CNN"]] == ["1", "2", "⋯ 7", "8"]
    assert ["after" in tile[2] for tile in found["CNN"]] == [False, False, True, False]
    assert ["after" in tile[2] for tile in found["Expert R2"]] == [False, False, True, False]
    failures = int(re.search(r'id="case-1"[^>]*data-failures="(\d)" data-judged="(\d)"', html)[1])
    judged = int(re.search(r'id="case-1"[^>]*data-failures="(\d)" data-judged="(\d)"', html)[2])
    assert judged == 2 and failures == sum("other" in tile[2] for tile in found["CNN"][:2])
