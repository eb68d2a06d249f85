"""``cbir report`` of explanation artifacts: what shares a row, what is summed up, and what is marked."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from explained import CLASSES, made, write

from cbir_cli.artifacts import explanation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Artifacts of the same pairs, of other pairs, and of images with themselves."""
    place = tmp_path_factory.mktemp("explained")
    write(place, "occlusion.h5", made("occlusion", lost=True))
    write(place, "relax.h5", made("relax", uncertain=True, signed=True))
    write(place, "cam.h5", made("cam", on_query=True, gain=-0.2, corner=True))
    write(place, "other.h5", made("occlusion", index="b" * 64))
    write(place, "self.h5", made("occlusion", itself=True))
    return place


def plain(html):
    """Return the text of a page."""
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", html.replace("<wbr>", ""), flags=re.S).split())


def rows(html):
    """Return the title of each row of the first query, with the explainers that its legend names."""
    case = re.search(
        r'<section class="case" id="case-1".*?(?=<section class="case"|<section class="part")', html, re.S
    )[0]
    parts = re.findall(r'<section class="row".*?</section>', case, re.S)
    return [
        (re.search("<h3>(.*?)</h3>", part)[1], [plain(name) for name in re.findall("maps by <bdi>(.*?)</bdi>", part)])
        for part in parts
    ]


def table(html, title):
    """Return the cells of a table, its head first."""
    whole = re.search(rf"<caption>{re.escape(title)}</caption>.*?</table>", html, re.S)[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in re.findall("<tr>.*?</tr>", whole, re.S)]


def test_the_same_pairs_share_a_row_and_others_do_not(good, folder):
    html = good("report", "occlusion.h5", "relax.h5", "other.h5", "cam.h5", "self.h5", cwd=folder).out
    assert rows(html) == [
        ("CNN (occlusion)", ["occlusion", "relax", "cam"]),
        ("CNN (other)", ["occlusion"]),
        ("CNN, each with itself", ["occlusion"]),
    ]
    assert re.findall(r'name="explainer" value="\d"[^>]*> <bdi>([^<]*)', html) == ["occlusion", "relax", "cam"]
    assert html.count('<section class="case"') == 3
    one = good("report", "occlusion.h5", cwd=folder).out
    assert rows(one) == [("CNN", ["occlusion"])] and 'name="explainer"' not in one


def test_pairs_in_another_order_are_the_same_and_get_their_own_maps(good, folder, tmp_path):
    given = made("relax")
    back = np.arange(len(given.query))[::-1]
    place = {int(old): new for new, old in enumerate(back)}
    turned = dataclasses.replace(
        given,
        **{name: getattr(given, name)[back] for name in ("query", "result", "rank", "distance", "seed", "set")},
        map_pair=np.array([place[int(p)] for p in given.map_pair], np.int32),
    )
    write(tmp_path, "relax.h5", given)
    write(tmp_path, "turned.h5", turned)
    occlusion = folder / "occlusion.h5"
    pages = [good("report", occlusion, tmp_path / name).data for name in ("relax.h5", "turned.h5")]
    assert pages[0] == pages[1]


def test_another_rank_makes_other_pairs(good, tmp_path):
    one = made("occlusion")
    write(tmp_path, "one.h5", one)
    write(tmp_path, "two.h5", dataclasses.replace(made("relax"), rank=one.rank[::-1].copy()))
    assert [title for title, _ in rows(good("report", "one.h5", "two.h5", cwd=tmp_path).out)] == [
        "CNN (one)",
        "CNN (two)",
    ]


def test_the_same_method_twice_is_told_apart_by_its_file(good, folder, tmp_path):
    write(tmp_path, "wide.h5", made("occlusion"))
    html = good("report", folder / "occlusion.h5", tmp_path / "wide.h5").out
    assert rows(html) == [("CNN", ["occlusion (occlusion)", "occlusion (wide)"])]
    assert str(tmp_path) not in html and str(folder) not in html


def test_the_table_says_what_evaluate_says(good, tmp_path):
    one = made("cam", on_query=True, gain=-0.2, queries=7)
    write(tmp_path, "cam.h5", one)
    write(tmp_path, "occlusion.h5", made("occlusion", queries=7))
    html = good("report", "occlusion.h5", "cam.h5", cwd=tmp_path).out
    head, *found = table(html, "Insertion and deletion")
    lines = ["random map", "random network"]
    verdicts = ["vs random map", "vs random network"]
    assert head == ["maps by", "class", "on", *verdicts, "queries", "insertion", *lines, "deletion", *lines]
    rows = map(json.loads, good("evaluate", "cam.h5", "--format", "json", cwd=tmp_path).out.splitlines())
    told = {(row["class"], row["on"], row["metric"]): row for row in rows}
    area = {}
    for kind in ("insertion", "deletion"):
        for line, curves in (("map", one.measures), ("random", one.measures.random_map)):
            area[kind, line] = [
                np.trapezoid(row.astype(float), one.measures.fractions) for row in getattr(curves, kind)
            ]
    for name, group, on, over_map, over_network, count, *numbers in found:
        expected = "too few queries" if group != "all" else "△ no better" if name == "cam" else "better"
        assert over_map == over_network == expected
        if name == "occlusion":
            continue
        for place, metric in ((0, "insertion"), (3, "deletion")):
            row = told[group, on, metric]
            ends = f" [{row['low']:.3f}, {row['high']:.3f}]" if group == "all" else ""
            assert numbers[place] == f"{row['mean']:.3f}{ends}"
            assert numbers[place + 1 : place + 3] == [f"{row['random']:.3f}", f"{row['random_network']:.3f}"]
        label = {"all": None}.get(group, group)
        means = {}
        for key, values in area.items():
            of_query = {}
            for pair, side, value in zip(one.map_pair, one.map_on, values, strict=True):
                query = int(one.query[pair])
                if on == ("query", "result")[side] and (label is None or one.queries.label(label)[query] == 1):
                    of_query.setdefault(query, []).append(value)
            means[key] = np.mean([np.mean(v) for v in of_query.values()])
            assert int(count) == len(of_query)
        assert [numbers[i].split(" ")[0] for i in (0, 1, 3, 4)] == [f"{mean:.3f}" for mean in means.values()]
    assert [(row[0], row[1], row[2]) for row in found] == [
        *(("occlusion", group, "result") for group in ("all", *CLASSES)),
        *(("cam", group, on) for on in ("query", "result") for group in ("all", *CLASSES)),
    ]


def test_maps_that_say_nothing_and_maps_at_the_border_are_marked(good, folder):
    html = good("report", "occlusion.h5", "cam.h5", cwd=folder).out
    tiles = re.findall(r'<li class="tile.*?</li>', html, re.S)
    assert len(tiles) == 6
    for tile in tiles:
        said = [re.search(rf'<div class="said {layer}">.*?</div>', tile, re.S)[0] for layer in ("l0", "l1")]
        assert "mark" not in said[0]
        assert "no better than a random map" in said[1]
        assert re.search(r"\d+% lies on the border \(random map: 44%\)", said[1])  # 2 of 16 pixels on each side
    found = {(row[0], row[1]): row[2:] for row in table(html, "Relevance on the border")[1:]}
    assert found["occlusion", "result"][2] == "0 of 6" and found["cam", "result"][2] == "6 of 6"
    assert "look at the border" in found["cam", "query"][3] and "look" not in found["occlusion", "result"][3]


def test_randomised_layers_are_a_table_and_a_figure(good, folder):
    html = good("report", "occlusion.h5", "relax.h5", cwd=folder).out
    head, *found = table(html, "Randomised layers: occlusion")
    with explanation.files.open_artifact(str(folder / "occlusion.h5")) as artifact:
        lost = explanation.read(artifact).randomisation
    assert head == ["layer", "cascade", "independent"] and [row[0] for row in found] == lost.layers
    for i, row in enumerate(found):
        pairs = lost.cascade[:, i].reshape(3, 2).mean(axis=1)  # the results of a query first
        assert row[1] == f"{pairs.mean():.3f}"  # of three queries no interval
    assert "Randomised layers: relax" not in html and 'href="#randomisation"' in html


def test_classes_are_a_section_and_figures_are_files(good, folder, tmp_path):
    html = good("report", "self.h5", "occlusion.h5", "-o", tmp_path / "p.html", "--figures", tmp_path / "a" / "b",
                cwd=folder)  # fmt: skip
    html = (tmp_path / "p.html").read_text()
    files = sorted((tmp_path / "a" / "b").glob("*.svg"))
    assert [file.with_suffix(".svg") for file in sorted((tmp_path / "a" / "b").glob("*.png"))] == files
    assert [file.name for file in files if "right-and-wrong" not in file.name and "query" not in file.name] == [
        "01-mean-insertion-and-deletion-curves.svg",
        "02-rank-correlation-with-maps-of-randomised-networks.svg",
        "03-average-image-and-average-map-of-each-class.svg",
    ]
    for file in files:
        text = file.read_text()
        assert text.startswith("<svg") and 'xmlns="http://www.w3.org/2000/svg"' in text
    assert "covid −" in files[2].read_text() and "and the differences between classes: " in html
    assert 'href="#classes"' in html and "the query itself" in html
    assert "other label" not in re.search(r'aria-label="CNN, each with itself".*?</section>', html, re.S)[0]


def test_failures_first(good, folder):
    given = good("report", "occlusion.h5", cwd=folder).out
    html = good("report", "occlusion.h5", "--failures-first", cwd=folder).out
    number = r'<section class="case" id="case-(\d)" data-given="\d" data-worst="(\d)" data-failures="(\d)"'
    assert [n for n, *_ in re.findall(number, given)] == ["1", "2", "3"]
    order = re.findall(number, html)
    assert [worst for _, worst, _ in order] == ["0", "1", "2"]
    failures = [int(failed) for *_, failed in order]
    assert failures == sorted(failures, reverse=True) and failures[0] > failures[-1]
    assert sorted(re.findall(number, given)) == sorted(order)


def test_a_pipe_has_the_page_of_the_file(good, folder):
    data = (folder / "occlusion.h5").read_bytes()
    assert good("report", "-", stdin=data).data == good("report", "occlusion.h5", cwd=folder).data


def test_an_artifact_without_anything_new_is_as_it_was(good, tmp_path):
    bare = dataclasses.replace(made("occlusion"), measures=None)
    write(tmp_path, "bare.h5", bare)
    html = good("report", "bare.h5", cwd=tmp_path).out
    assert "data-curves" not in html.split("<script>")[0] and 'id="randomisation"' not in html
    assert "Insertion and deletion" not in html and "Relevance on the border" in html
    empty = {name: getattr(bare, name)[:0] for name in ("maps", "scale", "map_pair", "map_on", "map_what")}
    write(tmp_path, "none.h5", dataclasses.replace(bare, method="none", **empty))
    html = good("report", "none.h5", "-o", "-", cwd=tmp_path).out
    assert 'class="overlay' not in html and 'id="measures"' not in html and html.count('class="tile') >= 6


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--failures-first", "scores.json"],
            2,
            "--failures-first is for queries, and no explanation artifact is given",
        ),
        (["occlusion.h5", "--figures", "occlusion.h5", "-o", "p.html"], 1, "--figures occlusion.h5: "),
        (["occlusion.h5", "--label", "Edemaa"], 2, "unknown label 'Edemaa': known: covid, pneumonia, normal"),
    ],
)
def test_one_clear_line(cbir, folder, arguments, status, message):
    (folder / "scores.json").write_text(json.dumps({"file": "a", "metric": "p@5", "mean": 0.5}))
    ran = cbir("report", *arguments, cwd=folder)
    assert (ran.status, ran.data) == (status, b"") and ran.error.startswith(f"cbir report: {message}")
    assert not (folder / "p.html").exists()


def test_torch_is_not_imported(folder):
    code = (
        "import sys; from cbir_cli.cli.main import main; "
        "status = main(['report', 'occlusion.h5', 'self.h5', '-o', sys.argv[1]]); "
        "sys.exit(status or 'torch' in sys.modules or 17)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder / "page.html")], cwd=folder).returncode == 17
