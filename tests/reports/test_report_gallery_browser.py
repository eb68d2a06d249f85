"""Raters, disputed labels, right and wrong cases, help and paper in a headless Chromium; and a page of many queries."""

import base64
import re
import shutil
import subprocess

import numpy as np
import pytest
from browsing import ESCAPE, MARKS, RIGHT, TAB, Browser
from conftest import blob, picture

from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import page

pytestmark = MARKS

EVERY = """
const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const wide = document.documentElement, parts = '.query figure, .method, .head, .tile .frame, .foot';
const over = [...document.querySelectorAll('p, h1, h2, h3, .head, .foot, .frame, .absent, figcaption, label, dt, dd')]
  .filter((e) => e.checkVisibility() && e.clientWidth && e.scrollWidth > e.clientWidth + 1);
return [wide.scrollWidth - wide.clientWidth, over.map((e) => e.className + e.textContent),
  [...document.querySelectorAll('.case:not([hidden])')].map((c) => [...c.querySelectorAll(parts)].map(box))];
"""


def case(q: int, raters: int = 3, k: int = 4, wrong: bool = False, size: int = 32) -> Case:
    """A query with rows of raters and of three methods; the second image is disputed, the last one far."""
    rows = []
    for number, name in enumerate([f"Expert R{r + 1}" for r in range(raters)] + ["SSIM", "CNN", "IG"]):
        rater, found = number < raters, []
        for r in range(k):
            image = None if rater and r == 2 else picture(10 * q + r, size)
            looks = {} if rater or name == "SSIM" else {"ig": Look(blob(r, size))}
            said = "R1: no Effusion" if r == 1 else ""
            tile = Tile(f"image_{q:03d}_{r}", image, "" if image is None else "Effusion", looks, said)
            agrees = None if image is None else not (wrong and r == 0) and r < k - 1
            far = r == k - 1
            found.append(Neighbour(tile, r + 1 + 5 * far, None if rater else 0.1 * r, agrees, r + 1, far=far))
        rows.append(Row(name, found, rater=rater, reference=number == 0))
    return Case(Tile(f"query_{q:03d}", picture(1000 + q, size), "Effusion"), "Effusion", rows)


@pytest.fixture(scope="module")
def html() -> str:
    return page(title="Effusion", cases=[case(0), case(1, wrong=True), case(2)])


def test_above_images_it_is_said_whose_rank_it_is_where_several_ranked(browser: Browser) -> None:
    heads = "return [...document.querySelectorAll('.head')].map(h => h.innerText.split(/\\s+/).join(' '))"
    browser.open(page(title="t", cases=[case(0, raters=2, k=2)]))
    told = browser.run(heads)
    assert told[0] == "Expert rank 1" and told[2] == "1 Expert R1: 1"
    assert told[4] == "1 d 0.0000 Expert R1: 1"
    browser.open(page(title="t", cases=[case(0, raters=1, k=2)]))
    assert browser.run(heads)[2] == "1 d 0.0000 Expert rank 1"


def test_right_and_wrong_cases_by_list_and_key(browser: Browser, html: str) -> None:
    options = "return [...document.getElementById('outcome').options].map(o => o.textContent)"
    queries = "return [...document.getElementById('choose').options].map(o => o.textContent.slice(0, 12))"
    browser.open(html)
    assert browser.run(options) == ["all (3)", "right (2)", "wrong (1)"]
    browser.keys("c")
    assert browser.run(queries) == ["1. query_000", "3. query_002"] and browser.shown() == ["case-1"]
    browser.keys(RIGHT)
    assert browser.shown() == ["case-3"]
    assert browser.run("return document.getElementById('position').textContent") == "2 of 2"
    browser.keys("c")
    assert browser.run(queries) == ["2. query_001"] and browser.shown() == ["case-2"]
    browser.keys("a")
    assert browser.shown() == ["case-2"]  # all of those that are wrong
    browser.keys("c")
    assert browser.shown() == ["case-1", "case-2", "case-3"]
    browser.keys("a", "f")
    assert browser.shown() == ["case-2"]
    assert browser.complaints() == []


def test_an_outcome_that_no_query_has_cannot_be_chosen(browser: Browser) -> None:
    browser.open(page(title="t", cases=[case(0), case(1)]))
    off = "return [...document.getElementById('outcome').options].map(o => o.disabled)"
    assert browser.run(off) == [False, False, True]
    browser.keys("c", "c")
    assert browser.run("return document.getElementById('outcome').value") == ""


def test_a_disputed_label_is_told_without_colour(browser: Browser, html: str) -> None:
    """The frame is thicker than the others, and hatched: along it dark and light take turns, more often than dashes."""
    browser.open(html, height=900)
    grey = browser.picture() @ [0.299, 0.587, 0.114]
    found = {}
    for kind in ("disputed", "same:not(.disputed)", "unknown:not(.disputed)"):
        x, y, w, border = browser.run(
            "const t = [...document.querySelectorAll('.tile.' + arguments[0])].find(e => e.checkVisibility());"
            "const f = t.querySelector('.frame'), r = f.getBoundingClientRect();"
            "return [r.x, r.y, r.width, parseFloat(getComputedStyle(f).borderTopWidth)]",
            kind,
        )
        edge = grey[round(y) + 2, round(x) + 8 : round(x + w) - 8]
        found[kind.split(":")[0]] = border, edge.min(), edge.max(), np.count_nonzero(np.diff(edge > 170))
    assert found["disputed"][0] > 1.5 * found["same"][0]
    assert found["disputed"][1] < 150 and found["disputed"][2] > 200 and found["disputed"][3] > 10
    assert found["same"][2] < 130 and found["same"][3] == 0
    words = browser.run("return document.querySelector('.tile.disputed .dispute').textContent")
    before = browser.run("return getComputedStyle(document.querySelector('.dispute'), '::before').content")
    assert words == "R1: no Effusion" and "expert" in before


def test_a_picture_that_is_not_there_is_a_named_tile(browser: Browser, html: str) -> None:
    browser.open(html)
    name, said, enlarges, alike = browser.run(
        "const t = [...document.querySelectorAll('#case-1 .tile')].find(e => e.querySelector('.absent'));"
        "const side = (e) => Math.round(e.querySelector('.frame > *').getBoundingClientRect().height);"
        "return [t.querySelector('.id').textContent, t.querySelector('.absent').getAttribute('aria-label'),"
        "t.querySelectorAll('.zoom').length, Math.abs(side(t) - side(t.previousElementSibling.previousElementSibling))]"
    )
    assert name == "image_000_2" and "image_000_2" in said and enlarges == 0 and alike <= 1


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1366, 768), (820, 900)])
def test_rows_of_raters_fit(browser: Browser, html: str, width: int, height: int) -> None:
    browser.open(html, width, height)
    beyond, over, boxes = browser.run(EVERY)
    assert beyond <= 0 and over == []
    box = np.array(boxes[0])
    apart = (box[:, None, 0] >= box[None, :, 2] - 0.5) | (box[:, None, 1] >= box[None, :, 3] - 0.5)
    assert not (~(apart | apart.T) & ~np.eye(len(box), dtype=bool)).any()
    assert (box[:, 0] >= 0).all() and (box[:, 2] <= width).all()


@pytest.mark.parametrize("width", [1366, 820])
def test_the_keys_are_listed_by_key_and_button(browser: Browser, html: str, width: int) -> None:
    browser.open(html, width)
    listed = "const d = document.getElementById('help'); return d.open ? d.innerText : ''"
    browser.keys("?")
    assert all(words in browser.run(listed) for words in ("failures first", "right ones", "zoom", "Esc"))
    beyond, over, _ = browser.run(EVERY)
    tall = browser.run("const d = document.getElementById('help'); return d.scrollHeight - d.clientHeight")
    assert beyond <= 0 and over == [] and tall <= 0
    browser.keys("f", RIGHT)  # mean nothing while it is open
    assert browser.shown() == ["case-1"]
    browser.keys(ESCAPE)
    assert browser.run(listed) == ""
    browser.driver.find_element("id", "keys").click()
    browser.driver.find_element("css selector", "#help .close").click()
    assert browser.run(listed) == ""


def test_everything_is_reached_by_tab(browser: Browser, html: str) -> None:
    browser.open(html)
    wanted = browser.run(
        "return [...document.querySelectorAll('a[href], button, select, input')]"
        ".filter(e => e.checkVisibility() && !e.disabled).length"
    )
    browser.run(
        "window.reached = new Set();"
        "const reach = (e) => { if (e.target.matches('a, button, select, input')) reached.add(e.target); };"
        "document.addEventListener('focusin', reach)"
    )
    browser.keys(TAB * (wanted + 3))
    assert browser.run("return reached.size") == wanted > 20


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext")
def test_on_paper_each_query_has_a_sheet_of_its_own(browser: Browser, html: str, tmp_path) -> None:
    browser.open(html)
    browser.keys("a")
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(printed))
    text = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, check=True).stdout
    sheets = text.decode().split("\f")
    for number, sheet in enumerate(sheets[:3], 1):
        assert re.findall(r"Query (\d) of 3", sheet) == [str(number)]
        assert all(name in sheet for name in ("Expert R1", "Expert R3", "SSIM", "CNN", "IG", "no picture"))
        assert sheet.count("expert R1:") == 6
        assert "Research use only - not for diagnosis" in sheet
        assert not any(words in sheet for words in ("All queries", "Size", "Cases"))
    assert len([sheet for sheet in sheets if "Query " in sheet and " of 3" in sheet]) == 3


def test_of_many_queries_one_is_laid_out_and_each_picture_stored_once(browser: Browser) -> None:
    cases = [case(q, raters=0, k=5) for q in range(60)]
    browser.open(page(title="t", cases=cases))
    laid, pictures, shown = browser.run(
        "const used = [...document.querySelectorAll('.case')].filter(c => c.getClientRects().length);"
        "return [used.map(c => c.id), document.querySelectorAll('.store image').length,"
        "document.querySelectorAll('.tile .picture').length]"
    )
    assert laid == ["case-1"] and shown == 60 * 15
    assert pictures == 60 * (1 + 5) + 5 + 1  # queries and results; maps that are the same everywhere; a colour bar
    browser.keys("a")  # of all of them, those that are out of sight are not drawn
    skipped = browser.run(
        "return [...document.querySelectorAll('.case')]"
        ".filter(c => !c.querySelector('.tile').checkVisibility({ contentVisibilityAuto: true })).length"
    )
    assert skipped > 40
    load = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert load < 3000


def test_pictures_of_a_large_page_wait_until_they_are_shown(browser: Browser, monkeypatch) -> None:
    from cbir_cli.reports import page as module

    cases = [case(q, raters=0, k=3) for q in range(4)]
    browser.open(page(title="t", cases=cases))
    whole = browser.picture()
    assert browser.run("return document.querySelectorAll('[data-href]').length") == 0
    monkeypatch.setattr(module, "_WAITING", 10)
    browser.open(page(title="t", cases=cases))
    missing = (
        "return [...document.querySelectorAll('.case:not([hidden]) use, #large use')]"
        ".filter(u => !document.querySelector(u.getAttribute('href')).getAttribute('href')).length"
    )
    waits = "return document.querySelectorAll('[data-href]').length"
    assert browser.run("return document.querySelectorAll('.tile').length") == 9  # of the query that is seen alone
    np.testing.assert_allclose(browser.picture(), whole, atol=1)
    first = browser.run(waits)
    assert browser.run(missing) == 0 and first > 10
    browser.keys(RIGHT)
    assert browser.run(missing) == 0 and 0 < browser.run(waits) < first
    browser.run("document.querySelectorAll('#case-2 .tile .zoom')[1].click()")
    assert browser.run(missing) == 0
    browser.keys(ESCAPE)
    browser.keys("2")  # the second method alone; queries that are shown later know it
    browser.keys("a")
    assert browser.run(waits) == browser.run(missing) == 0
    assert browser.run("return [...document.querySelectorAll('.row')].filter(r => !r.hidden).length") == 4
    assert browser.complaints() == []


def test_one_query_of_many_results_needs_no_switch_to_be_seen(browser: Browser, monkeypatch) -> None:
    from cbir_cli.reports import page as module

    monkeypatch.setattr(module, "_WAITING", 10)
    browser.open(page(title="t", cases=[case(0, raters=0, k=5)]))
    assert browser.run("return document.querySelectorAll('.case .tile').length") == 15
    assert browser.complaints() == []
