"""The page as text: what is in it, what is not, and how large it is. How it behaves is tested in a browser."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.reports import explanation_figures, figures, overlay, pictures, tables
from cbir_cli.reports import page as module
from cbir_cli.reports.board import Board, Column, Line
from cbir_cli.reports.gallery import EXPERT, Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import page


class Reader(HTMLParser):
    """All elements with their attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.text += data


def pixels(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def test_everything_said_is_there(gallery) -> None:
    table = tables.Table("Five seeds", ("metric", "IG", "random"), [("nDCG@4", "0.90 [0.80, 1.00]", "0.44")])
    html = page(title="Trial", cases=gallery(), tables=[table], notes=["seed 42"])
    text = " ".join(Reader(html).text.split())
    for words in ("Research use only - not for diagnosis", "Trial", "Query 1 of 3: item_90.png", "same label",
                  "other label", "not compared", "Expert rank 1", "d 0.250", "nDCG@4 0.80", "With map of IG",
                  "Five seeds", "0.90 [0.80, 1.00]", "0.44", "seed 42", "2 of 3 same label, 1 unknown"):  # fmt: skip
        assert words in text, words


def test_each_picture_is_stored_once(gallery) -> None:
    elements = Reader(page(title="t", cases=gallery(queries=4))).elements
    stored = [attrs for tag, attrs in elements if tag == "image"]
    assert len({attrs["href"] for attrs in stored}) == len(stored)
    images = [attrs for attrs in stored if attrs["id"].startswith("i")]
    assert len(images) == 10 + 4  # the catalogue and the queries, though 4 x 3 x 4 results and 4 x 2 queries are shown
    uses = [attrs["href"] for tag, attrs in elements if tag == "use"]
    assert len(uses) > 60 and set(uses) == {"#" + attrs["id"] for attrs in stored}


def test_the_stored_picture_is_the_one_given() -> None:
    import io

    from PIL import Image

    given = pixels(3)
    html = page(title="t", cases=[Case(Tile("q", given), "", [])])
    data = re.search(r'<image id="i0"[^>]*base64,([^"]+)"', html).group(1)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), given)


def test_many_pictures_become_jpeg_and_the_page_says_so(gallery, monkeypatch) -> None:
    exact = page(title="t", cases=gallery(1))
    assert "JPEG" not in exact
    monkeypatch.setattr(pictures, "LOSSLESS_PIXELS", 1000)
    html = page(title="t", cases=gallery(1))
    assert "data:image/jpeg" in html and "stored as JPEG" in html
    assert 0.2 < len(html) / len(exact) < 0.9


def test_same_input_same_bytes(gallery) -> None:
    svg = figures.box_plot({"Top-4": {"IG": [0.5, 0.6]}})
    first, second = (page(title="t", cases=gallery(), figures=[("boxes", svg)]) for _ in range(2))
    assert first == second


def test_nothing_comes_from_elsewhere(gallery) -> None:
    svg = figures.box_plot({"Top-4": {"IG": [0.5, 0.6]}}, {"Top-4": 0.4})
    photo = explanation_figures.classes(["a"], pixels(0)[None], np.eye(8)[None], [1])
    html = page(title="t", cases=gallery(), figures=[("boxes", svg), ("map", photo)])
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import", re.sub(r"base64,[^\"]+", "", html).replace("// ", ""))
    for tag, attrs in Reader(html).elements:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img"), tag
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/", "data:,")), (tag, attrs)


def test_the_policy_allows_this_script_alone(gallery) -> None:
    html = page(title="t", cases=gallery())
    policy = next(a["content"] for t, a in Reader(html).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = re.search(r"<script>(.*?)</script>", html, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.search(r"script-src ([^;]*)", policy).group(1) == f"'sha256-{digest}'"


def test_names_never_become_markup(gallery, hostile) -> None:
    plain = page(title="t", cases=gallery(), tables=[tables.Table("t", ("a",), (("b",),), "c")], notes=["n"])
    for evil in hostile:
        tile = Tile(evil, pixels(0), evil, {evil: Look(np.eye(8))})
        rows = [Row(evil, [Neighbour(tile, 1, 0.5, True, 2)], evil, {evil: Look(np.ones((8, 8)))})]
        table = tables.Table(evil, (evil, evil), ((evil, evil),), evil)
        svg = figures.box_plot({evil: {evil: [0.5]}})
        html = page(title=evil, cases=[Case(tile, evil, rows)] * 2, tables=[table], figures=[(evil, svg)], notes=[evil])
        reader = Reader(html)
        assert [t for t, _ in reader.elements if t in ("script", "img")] == ["script"]
        assert not [a for _, attrs in reader.elements for a in attrs if a.startswith("on")]
        assert reader.text.count(evil) >= 9  # shown as it is: title, heading, names, labels, cells, notes
    assert [t for t, _ in Reader(plain).elements if t in ("script", "img")] == ["script"]


def test_file_names_that_are_no_utf8_are_shown_escaped() -> None:
    html = page(title="t", cases=[Case(Tile("scan\udce9.png", pixels(0)), "", [])])
    assert "scan\\udce9.png" in html.encode("utf-8").decode()


def test_a_map_that_is_zero_everywhere_is_said() -> None:
    zero = {"ig": Look(np.zeros((8, 8)))}
    row = Row("IG", [Neighbour(Tile("a", pixels(1), "", zero), 1, 0.1, True)], "", zero)
    text = Reader(page(title="t", cases=[Case(Tile("q", pixels(0)), "x", [row])])).text
    assert "(zero everywhere)" in text and "map is zero everywhere" in text


def test_colour_and_large_and_oblong_pictures() -> None:
    wide = np.zeros((100, 1500, 3), np.uint8)
    wide[..., 0] = 200
    html = page(title="t", cases=[Case(Tile("q", wide), "", [])])
    assert '<image id="i0" width="512" height="34"' in html and 'viewBox="0 0 512 34"' in html


def test_a_page_of_tables_alone_and_an_empty_page() -> None:
    html = page(title="t", cases=[], tables=[tables.Table("Scores", ("a", "b"), (("x", "1"),))])
    assert 'class="number"' in html and 'id="controls"' not in html
    assert "Research use only" in page(title="t", cases=[])
    assert "no images" in page(title="t", cases=[Case(Tile("q", pixels(0)), "", [Row("IG", [])])])


def test_what_only_tells_of_images_is_left_out_without_images() -> None:
    table = tables.Table("Scores", ("metric", "ig"), [("ndcg@4", "0.7")])
    sections = [module.Section(name, name, tables=[table]) for name in ("one", "two")]
    assert 'href="#about"' not in page(title="t", cases=[], sections=sections)
    assert 'id="about"' not in page(title="t", cases=[], tables=[table])
    html = page(title="t", cases=[], sections=sections, notes=["told"])
    assert 'id="about"' in html and 'href="#about"' in html


def test_figures_keep_apart_and_leave_the_page_alone() -> None:
    svg = figures.box_plot({"Top-4": {"IG": [0.5, 0.6]}})
    elements = Reader(page(title="t", cases=[], figures=[("a", svg), ("b", svg)])).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"] for tag, attrs in elements if tag == "use"}
    assert links and links <= {f"#{i}" for i in ids}
    assert [tag for tag, _ in elements].count("style") == 1


def test_distances_of_a_row_share_their_decimals() -> None:
    assert module._distances([0.4117, 0.52, None]) == ["0.4117", "0.5200", ""]
    assert module._distances([6.084, 18.4]) == ["6.08", "18.40"]
    assert module._distances([0.0, 0.0]) == ["0", "0"]
    assert module._distances([1234567.0]) == ["1234567"]
    assert module._distances([1e-12]) == ["1.000e-12"]


def test_lines_of_at_most_six() -> None:
    assert [module._columns(n) for n in (0, 1, 4, 6, 7, 10, 13)] == [1, 1, 4, 6, 4, 5, 5]


def test_twenty_queries_of_three_methods_stay_well_under_ten_megabytes(monkeypatch) -> None:
    monkeypatch.setattr(pictures, "LOSSLESS_PIXELS", pictures.LOSSLESS_PIXELS / 5)  # a fifth of them is measured here
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:224, :224] / 224

    def radiograph(i: int) -> np.ndarray:  # about as many bytes as a real one: 23 kB as PNG
        return np.clip(90 + 60 * np.sin(5 * x + i) * np.cos(6 * y) + rng.normal(0, 2.0, x.shape), 0, 255).astype(
            np.uint8
        )

    def map_(i: int) -> np.ndarray:
        return (rng.random(x.shape) ** 2 * (0.5 + 0.5 * np.sin(9 * x + i))).astype(np.float32)  # noise everywhere

    cases, number = [], 0
    for q in range(4):
        rows = []
        for method in ("SSIM", "CNN", "IG"):
            tiles = [Tile(f"{number + r}", radiograph(number + r), "", {"x": Look(map_(number + r))}) for r in range(4)]
            rows.append(Row(method, [Neighbour(t, r + 1, 0.1, True) for r, t in enumerate(tiles)]))
            number += 4
        rows[0] = dataclasses.replace(rows[0], query_looks={"x": Look(map_(q))})
        cases.append(Case(Tile(f"q{q}", radiograph(1000 + q)), "x", rows))
    assert len(page(title="t", cases=cases)) < 7e6 / 5  # no picture occurs twice, all have maps: the worst case


def test_failures_count_other_labels_but_not_those_of_the_expert() -> None:
    tile = Tile("a", pixels(0))
    found = [Neighbour(tile, r + 1, 0.1, agrees) for r, agrees in enumerate((True, False, None, False))]
    assert Case(tile, "x", [Row(EXPERT, found, rater=True), Row("IG", found), Row("CNN", found[:2])]).failures == 3
    assert Row("IG", found).agreement == "1 of 3 same label, 1 unknown"
    assert Row("IG", found[2:3]).agreement == ""


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)], ids=str
)
def test_pixels_that_cannot_be_shown_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="scan-7"):
        Tile("scan-7", image)


@pytest.mark.parametrize(
    "values", [np.zeros((4, 4, 1)), np.zeros((4, 4), np.int64), np.full((4, 4), np.inf)], ids=["3-D", "int", "inf"]
)
def test_maps_that_cannot_be_coloured_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="map"):
        Look(values)


def test_a_distance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ShapeError, match="finite distance"):
        Neighbour(Tile("a", pixels(0)), 1, float("inf"))


# --- maps side by side ------------------------------------------------------------------------------------------------


def test_a_board_says_everything_and_stores_each_picture_once(board) -> None:
    html = page(title="t", cases=[], board=board())
    reader = Reader(html)
    for words in ("Maps side by side", "Chosen by hand.", "item_02.png", "Effusion", "method-2", "start 1", "largest 0",
                  "map is zero everywhere", "below zero", "Research use only"):  # fmt: skip
        assert words in reader.text, words
    assert "largest 2" in reader.text and reader.text.count("largest 2") == 2  # not below the map that is zero
    stored = [attrs["id"] for tag, attrs in reader.elements if tag == "image"]
    assert len([name for name in stored if name.startswith("i")]) == 3
    uses = [attrs["href"] for tag, attrs in reader.elements if tag == "use"]
    assert set(uses) == {f"#{name}" for name in stored} and uses.count("#i0") == 1 + 3
    assert 'id="controls"' in html and 'id="columns"' in html and 'id="choose"' not in html


def test_the_maps_of_a_column_share_a_scale_of_their_own() -> None:
    small, large = np.eye(8), 4 * np.eye(8)[::-1]
    lines = [Line(Tile(str(i), pixels(i)), [values, -large], ["", ""]) for i, values in enumerate((small, large))]
    html = page(title="t", cases=[], board=Board([Column("a"), Column("b")], lines))
    data = dict(re.findall(r'<image id="(m\d+)"[^>]*base64,([^"]+)"', html))
    for values, scale in ((small, overlay.Scale(4.0, False, False)), (-large, overlay.Scale(4.0, True, False))):
        assert base64.b64encode(overlay.heat(values, scale, (32, 32))).decode() in data.values()
    assert re.findall(r"</svg><span>([^<]*)</span><span>([^<]*)</span></div>", html) == [("0", "4"), ("−4", "4")]


def test_a_board_stands_beside_all_else(gallery, board) -> None:
    table = tables.Table("Scores", ("a", "b"), (("x", "1"),))
    parts = ("cases", "maps", "scores", "about")
    both = page(title="t", cases=gallery(), board=board(), tables=[table])
    assert all(f'href="#{name}"' in both and f'id="{name}"' in both for name in parts)
    assert all(f'id="{name}"' in both for name in ("methods", "columns"))
    assert 'id="columns"' not in page(title="t", cases=[], board=board(columns=1))
    without = page(title="t", cases=gallery(), tables=[table])
    assert 'id="maps"' not in without and 'id="columns"' not in without and "side by side" not in without


def test_hostile_names_on_a_board_never_become_markup(hostile) -> None:
    for evil in hostile:
        line = Line(Tile(evil, pixels(0), evil), [np.eye(8)] * 2, [evil] * 2)
        reader = Reader(page(title=evil, cases=[], board=Board([Column(evil, evil)] * 2, [line], evil)))
        assert [t for t, _ in reader.elements if t in ("script", "img")] == ["script"]
        assert not [a for _, attrs in reader.elements for a in attrs if a.startswith("on")]
        assert reader.text.count(evil) >= 8


def test_a_board_that_does_not_fit_together_is_refused() -> None:
    tile = Tile("scan-7", pixels(0))
    with pytest.raises(ShapeError, match="scan-7: 1 maps and 1 notes for 2 columns"):
        Board([Column("a"), Column("b")], [Line(tile, [np.eye(4)], [""])])
    with pytest.raises(ShapeError, match="scan-7"):
        Line(tile, [np.full((4, 4), np.nan)], [""])
