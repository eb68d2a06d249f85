"""The page in a headless Chromium: it loads alone, answers to mouse and keyboard, and nothing overlaps or runs over."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from browsing import LEFT, MARKS, RIGHT, Browser

from cbir_cli.reports import figures, tables
from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import page

pytestmark = MARKS


TABLE = [("nDCG@4", "0.60 [0.50, 0.70]", "0.90 [0.80, 1.00]", "0.44"), ("R-precision", "0.45", "0.80", "0.50")]


@pytest.fixture
def html(gallery: Callable[..., list[Case]]) -> str:
    scores = {"nDCG@4": {"SSIM": [0.5, 0.7], "IG": [0.8, 1.0]}, "R-precision": {"SSIM": [0.4, 0.5], "IG": [0.7, 0.9]}}
    random = {"nDCG@4": 0.44, "R-precision": 0.5}
    return page(
        title="Synthetic effusion",
        cases=gallery(),
        tables=[tables.Table("Scores", ("metric", "SSIM", "IG", "random"), TABLE)],
        figures=[("Scores by method", figures.box_plot(scores, random))],
        notes=["Synthetic pictures."],
    )


def test_it_loads_alone_and_without_complaint(browser: Browser, html: str) -> None:
    browser.open(html)
    assert browser.run("return document.querySelectorAll('.picture use').length") > 20
    assert [url for url in browser.requests() if not url.startswith("data:")] == [
        (browser.folder / "page.html").as_uri()
    ]
    assert browser.complaints() == []
    shot = browser.picture()
    assert shot.shape == (768, 1366, 3)
    assert shot[10, 20].min() < 230 < shot[10, 20].max()  # the warning is tinted, and at the very top


def test_pictures_are_drawn_with_frames_of_two_kinds(browser: Browser, html: str) -> None:
    browser.open(html, part="#case-2")
    for kind, style, words in (("same", "solid", "same label"), ("other", "dashed", "other label")):
        box, drawn, said = browser.run(
            "const t = [...document.querySelectorAll(arguments[0])].find(e => e.checkVisibility());"
            "t.scrollIntoView({block: 'center'}); const p = t.querySelector('.picture').getBoundingClientRect();"
            "return [[p.x, p.y, p.width, p.height], getComputedStyle(t.querySelector('.frame')).borderStyle,"
            "t.querySelector('strong').textContent]",
            f".{kind}",
        )
        x, y, w, h = (round(v) for v in box)
        inside = browser.picture()[y + 4 : y + h - 4, x + 4 : x + w - 4]
        assert inside.std() > 15  # not an empty box
        assert (drawn, said) == (style, words)


def test_slider_and_box_change_the_maps(browser: Browser, html: str) -> None:
    browser.open(html)
    shown = "const e = document.querySelector('.overlay'); return getComputedStyle(e)[arguments[0]]"
    assert float(browser.run(shown, "opacity")) == pytest.approx(0.7)
    full = browser.picture()
    browser.slide("opacity", 20)
    assert float(browser.run(shown, "opacity")) == pytest.approx(0.2)
    assert browser.run("return document.getElementById('percent').textContent") == "20 %"
    assert np.abs(browser.picture() - full).max() > 20
    browser.driver.find_element("id", "overlay").click()
    assert browser.run(shown, "visibility") == "hidden"
    browser.keys("o", "+")
    assert browser.run(shown, "visibility") == "visible"
    assert float(browser.run(shown, "opacity")) == pytest.approx(0.3)


def test_arrows_on_the_slider_move_the_slider(browser: Browser, html: str) -> None:
    browser.open(html)
    browser.run("document.getElementById('opacity').focus()")
    browser.keys(LEFT)  # left
    assert browser.run("return document.getElementById('opacity').value") == "65"
    assert browser.run("return document.documentElement.style.getPropertyValue('--overlay')") == "0.65"
    assert browser.shown() == ["case-1"]


def test_queries_by_keyboard_button_list_and_address(browser: Browser, html: str) -> None:
    browser.open(html)
    assert browser.shown() == ["case-1"]
    browser.keys(RIGHT)
    assert browser.shown() == ["case-2"]
    assert browser.driver.current_url.endswith("#case-2")
    browser.driver.find_element("id", "next").click()
    browser.keys(RIGHT)  # already the last
    assert browser.shown() == ["case-3"]
    assert browser.run("return document.getElementById('position').textContent") == "3 of 3"
    assert not browser.driver.find_element("id", "next").is_enabled()
    browser.keys(LEFT)
    assert browser.shown() == ["case-2"]
    browser.run(
        "const s = document.getElementById('choose'); s.selectedIndex = 0; s.dispatchEvent(new Event('change'))"
    )
    assert browser.shown() == ["case-1"]
    browser.driver.find_element("id", "all").click()
    assert browser.shown() == ["case-1", "case-2", "case-3"]
    browser.open(html, part="#case-3")
    assert browser.shown() == ["case-3"]


def test_failures_first(browser: Browser, html: str) -> None:
    browser.open(html)
    counts = browser.run("return [...document.querySelectorAll('.case')].map(c => Number(c.dataset.failures))")
    assert counts == sorted(counts) and counts[0] < counts[-1]
    browser.keys("f")
    assert browser.shown() == ["case-3"]
    assert browser.run("return document.getElementById('choose').options[0].textContent").startswith("3. item_92.png")
    browser.keys(RIGHT)
    assert browser.shown() == ["case-2"]
    browser.keys("f")  # the query that is looked at stays
    assert browser.shown() == ["case-2"]
    assert browser.run("return document.getElementById('position').textContent") == "2 of 3"


def test_methods_can_be_shown_alone(browser: Browser, html: str) -> None:
    rows = (
        "return [...document.querySelectorAll('#case-1 .row')].filter(r => !r.hidden)"
        ".map(r => r.querySelector('h3').textContent)"
    )
    browser.open(html)
    assert browser.run(rows) == ["Expert", "SSIM", "IG"]
    browser.keys("2")
    assert browser.run(rows) == ["SSIM"]
    assert not browser.run("return document.querySelector('#case-1 .query [data-method]').checkVisibility()")
    browser.keys("0")
    assert browser.run(rows) == ["Expert", "SSIM", "IG"]
    browser.run("document.querySelector('#methods input').click()")
    assert browser.run(rows) == ["SSIM", "IG"]


def test_a_map_of_two_methods_stays_while_either_is_shown(browser: Browser, gallery) -> None:
    (case,) = gallery(1)
    *others, one = case.rows
    assert one.query_looks
    alike = replace(one, method="alike", query_looks={}, query_looks_of=one.method)
    browser.open(page(title="t", cases=[replace(case, rows=[*others, one, alike])]))
    figure = "document.querySelector('#case-1 .query [data-method]')"
    assert browser.run(f"return {figure}.querySelector('figcaption').textContent") == f"With map of {one.method}, alike"
    for key, seen in ((len(others) + 1, True), (len(others) + 2, True), (1, False)):
        browser.keys(str(key))
        assert browser.run(f"return {figure}.checkVisibility()") is seen


@pytest.mark.parametrize("width", [1920, 1366, 820, 390])
def test_nothing_overflows_overlaps_or_is_cut(browser: Browser, gallery, width: int) -> None:
    cases = gallery(1, names=lambda i: f"a-rather/long folder/{'unbroken' * 6}{i}.png") + gallery(1, results=10)
    tile = Tile("x" * 80, np.zeros((30, 90, 3), np.uint8), "Label=1|" * 12, {"by" * 20: Look(np.eye(8))})
    rows = [
        Row("M" * 50 + f" {i}", [Neighbour(tile, 1, 12345.678, None, 100)], "n" * 60, {"x": Look(i - np.eye(5))})
        for i in range(3)
    ]
    cases.append(Case(tile, "y" * 50, rows))
    browser.open(page(title="t" * 80, cases=cases), width, 900)
    browser.driver.find_element("id", "all").click()
    for zoom in (100, 200, 60):
        browser.slide("size", zoom)
        root, cut, boxes = browser.run(
            "const e = document.documentElement;"
            "const texts = 'p, h1, h2, h3, .head, .foot, .frame, figcaption, label, .bar';"
            "const over = [...document.querySelectorAll(texts)]"
            "  .filter(x => x.checkVisibility() && x.scrollWidth > x.clientWidth + 1 && x.clientWidth);"
            "const box = x => { const r = x.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };"
            "const tiles = '.query figure, .method, .head, .tile .frame, .foot';"
            "return [[e.scrollWidth, e.clientWidth], over.map(x => x.className + ' ' + x.textContent),"
            "  [...document.querySelectorAll('.case')].map(c => [...c.querySelectorAll(tiles)].map(box))]"
        )
        assert root[0] <= root[1]
        assert cut == []
        for found in boxes:
            box = np.array(found)
            apart = (box[:, None, 0] >= box[None, :, 2] - 0.5) | (box[:, None, 1] >= box[None, :, 3] - 0.5)
            overlapping = ~(apart | apart.T) & ~np.eye(len(box), dtype=bool)
            assert not overlapping.any()
            assert (box[:, 0] >= 0).all() and (box[:, 2] <= root[1]).all()


def test_hostile_names_do_nothing(browser: Browser, hostile: tuple[str, ...]) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    cases = []
    for evil in hostile:
        tile = Tile(evil, np.full((16, 16), 90, np.uint8), evil, {evil: Look(np.eye(8))})
        rows = [Row(evil, [Neighbour(tile, 1, 0.5, False, 2)], evil, {evil: Look(np.eye(8))})]
        cases.append(Case(tile, evil, rows))
    table = tables.Table(hostile[0], hostile, (hostile,), hostile[1])
    svg = figures.box_plot({evil: {evil: [0.5]} for evil in hostile})
    browser.open(page(title=hostile[0], cases=cases, tables=[table], figures=[(hostile[1], svg)], notes=hostile))
    browser.keys(RIGHT, "f", "1", "0")
    with pytest.raises(NoAlertPresentException):
        _ = browser.driver.switch_to.alert.text
    assert browser.run("return [typeof pwned, document.querySelectorAll('img, script').length]") == ["undefined", 1]
    assert browser.driver.title == hostile[0]
    assert hostile[0] in browser.run("return document.getElementById('choose').options[0].textContent + document.title")
    assert browser.complaints() == []


def test_the_policy_stops_markup_that_is_not_escaped(browser: Browser, html: str) -> None:
    evil = "<script>pwned=1</script><img src=x onerror=pwned=1><style>@import '/x.css'</style>"
    browser.open(html.replace("Synthetic pictures.", evil))
    assert browser.run("return document.querySelectorAll('img').length") == 1
    assert browser.run("return typeof pwned") == "undefined"
    assert len(browser.complaints()) >= 3


def test_without_script_every_query_is_there(browser: Browser, html: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(html)
        words = browser.driver.find_element("tag name", "body").text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.shown() == ["case-1", "case-2", "case-3"]
    assert all(f"Query {i} of 3" in words for i in (1, 2, 3))
    assert not browser.driver.find_element("id", "controls").is_displayed()


def test_on_paper_there_are_pictures_and_the_warning_and_no_controls(browser: Browser, html: str) -> None:
    browser.open(html, 1047, 720)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert "Research use only - not for diagnosis" in browser.driver.find_element("css selector", ".warning").text
        assert not browser.driver.find_element("id", "controls").is_displayed()
        assert browser.run("const e = document.documentElement; return e.scrollWidth <= e.clientWidth")
        assert browser.picture().std() > 15
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_frames_and_words_survive_greyscale(browser: Browser, html: str) -> None:
    browser.open(html, part="#case-2")
    grey = browser.picture() @ [0.299, 0.587, 0.114]
    for kind in ("same", "other"):
        x, y, w = browser.run(
            "const t = [...document.querySelectorAll(arguments[0])].find(e => e.checkVisibility());"
            "const r = t.querySelector('.frame').getBoundingClientRect(); return [r.x, r.y, r.width]",
            f".{kind}",
        )
        edge = grey[round(y) + 2, round(x) + 8 : round(x + w) - 8]
        assert edge.min() < 130  # dark enough on white
        assert (edge.max() > 200) == (kind == "other")  # the gaps of a dashed frame are white


def test_alternative_texts(browser: Browser, html: str) -> None:
    browser.open(html)
    labels = browser.run("return [...document.querySelectorAll('svg.picture')].map(s => s.getAttribute('aria-label'))")
    assert all(labels) and re.match(r"IG, rank 1: item_\d+\.png, \w+.*, (same|other) label, with map", labels[10])
    unnamed = browser.run(
        "return [...document.querySelectorAll('button, select, input')].filter(e => !(e.labels && e.labels.length)"
        " && !e.getAttribute('aria-label') && !e.querySelector('[role=img][aria-label]')"
        " && !(e.tagName === 'BUTTON' && e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_columns_of_maps_can_be_shown_alone(browser: Browser, board) -> None:
    shown = (
        "return [...document.querySelectorAll('.grid thead th')].filter(h => h.checkVisibility())"
        ".map(h => h.querySelector('h3').textContent)"
    )
    wide = "return document.querySelector('.grid td:not([hidden]) .picture').getBoundingClientRect().width"
    browser.open(page(title="t", cases=[], board=board(columns=6)))
    assert browser.run(shown) == ["Image", *(f"method-{c}" for c in range(6))]
    narrow = browser.run(wide)
    browser.keys("2")
    assert browser.run(shown) == ["Image", "method-1"]
    assert browser.run(wide) > 1.2 * narrow  # the room is given to what is left
    browser.keys("0")
    browser.run("document.querySelector('#columns input').click()")
    assert browser.run(shown) == ["Image", *(f"method-{c}" for c in range(1, 6))]
    browser.slide("opacity", 20)
    opacity = "return getComputedStyle(document.querySelector('.grid .overlay')).opacity"
    assert float(browser.run(opacity)) == pytest.approx(0.2)
    browser.keys(LEFT, RIGHT, "f")  # mean nothing without queries
    assert browser.complaints() == []


def test_digits_choose_methods_where_there_are_queries(browser: Browser, gallery, board) -> None:
    browser.open(page(title="t", cases=gallery(), board=board()))
    browser.keys("2")
    heads = "return [...document.querySelectorAll('.grid thead th')].filter(h => h.checkVisibility()).length"
    assert browser.run(heads) == 4
    assert browser.run("return [...document.querySelectorAll('#case-1 .row')].filter(r => !r.hidden).length") == 1


@pytest.mark.parametrize("width", [1920, 1366, 820, 390])
@pytest.mark.parametrize("columns", [1, 3, 14])
def test_a_board_stays_within_the_page_and_its_heads_in_sight(
    browser: Browser, board, width: int, columns: int
) -> None:
    names = "a-rather/long folder/" + "unbroken" * 6 + "{}.png"
    browser.open(page(title="t", cases=[], board=board(6, columns, names.format)), width, 900)
    for zoom in (100, 200, 60):
        browser.slide("size", zoom)
        root, heads, cells = browser.run(
            "const e = document.documentElement, grid = document.querySelector('.grid');"
            "grid.scrollTo(0, 0);"
            "const box = x => { const r = x.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };"
            "const cells = [...grid.querySelectorAll('.picture, .grid p, h3, .bar')].map(box);"
            "grid.scrollTo(400, 300);"
            "const r = grid.querySelector('thead th').getBoundingClientRect(), g = grid.getBoundingClientRect();"
            "return [[e.scrollWidth, e.clientWidth], [r.left - g.left, r.top - g.top], cells]"
        )
        assert root[0] <= root[1]
        assert max(abs(v) for v in heads) <= 2  # the corner stays where it is
        box = np.array(cells)
        apart = (box[:, None, 0] >= box[None, :, 2] - 0.5) | (box[:, None, 1] >= box[None, :, 3] - 0.5)
        assert not (~(apart | apart.T) & ~np.eye(len(box), dtype=bool)).any()


def test_a_board_on_paper_is_whole(browser: Browser, board) -> None:
    browser.open(page(title="t", cases=[], board=board(6, 8)), 1047, 720)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        size = browser.run(
            "const g = document.querySelector('.grid'), e = document.documentElement;"
            "return [g.scrollHeight - g.clientHeight, g.scrollWidth - g.clientWidth, e.scrollWidth - e.clientWidth]"
        )
        assert max(size) <= 1
        browser.picture()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
