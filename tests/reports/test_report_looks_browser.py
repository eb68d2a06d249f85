"""Maps of several explainers in a headless Chromium: the switch, curves, large pictures and the order of queries."""

import numpy as np
import pytest
from browsing import ENTER, ESCAPE, LEFT, MARKS, RIGHT, TAB, Browser
from conftest import blob, picture

from cbir_cli.reports.curves import Curve, Curves
from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import Section, page
from cbir_cli.reports.tables import Table

pytestmark = MARKS

SHOWN = (  # of the first result: class of each map that is seen
    "const t = [...document.querySelectorAll('.tile .picture')].find(e => e.checkVisibility());"
    "return [...t.querySelectorAll('.overlay')].filter(o => getComputedStyle(o).visibility === 'visible')"
    ".map(o => o.getAttribute('class'))"
)
PEEK = "const p = document.getElementById('peek'); return p.hidden ? '' : p.innerText"
BOXES = (
    "return [...document.querySelectorAll('.case h2, .tile, .query figure, .row, .legend, #controls')]"
    ".filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect()).map(r => [r.x, r.y, r.width, r.height])"
)


def curves(seed: int, good: bool) -> Curves:
    x = np.linspace(0, 1, 9)
    up, down = x**0.5, x**2
    lines = (up, x), (down, 1 - x)
    if not good:
        lines = (down, x), (1 - down, 1 - x)
    kinds = [
        {name: Curve(v, float(np.trapezoid(v, x))) for name, v in zip(("map", "random map"), pair, strict=True)}
        for pair in lines
    ]
    return Curves(x, *kinds)


@pytest.fixture(scope="module")
def html() -> str:
    cases = []
    for q in range(3):
        found = []
        for r in range(3):
            looks = {
                "occlusion": Look(blob(r), None, curves(r, True)),
                "relax": Look(blob(10 + r), blob(20 + r), curves(r, False)),
                "cam": Look(blob(30 + r)),
            }
            own = {"cam": Look(blob(50 + r))} if r else {}
            tile = Tile(f"r{r}", picture(r), "x", looks)
            found.append(Neighbour(tile, r + 1, 0.1 * (r + 1), r >= q, query_looks=own))
        row = Row("CNN", found, "", {"cam": Look(blob(50))})
        cases.append(Case(Tile(f"q{q}", picture(90 + q), "x"), "x", [row]))
    return page(title="t", cases=cases)


def radio(browser: Browser, name: str) -> str:
    return browser.run(
        "return [...document.querySelectorAll(`input[name=${arguments[0]}]`)].find(r => r.checked)"
        ".parentElement.textContent.trim()",
        name,
    )


def test_the_switch_by_mouse_and_keyboard_moves_nothing(browser: Browser, html: str) -> None:
    browser.open(html)
    assert browser.run(SHOWN) == ["overlay m l0"]
    before, first = browser.run(BOXES), browser.picture()
    browser.keys("m")
    assert browser.run(SHOWN) == ["overlay m l1"] and radio(browser, "explainer") == "relax"
    assert np.abs(browser.picture() - first).max() > 20
    browser.keys("u")
    assert browser.run(SHOWN) == ["overlay u l1"] and radio(browser, "kind") == "uncertainty"
    browser.keys("u")
    assert browser.run(SHOWN) == ["overlay c l1"]
    browser.keys("u", "3")
    assert browser.run(SHOWN) == ["overlay m l2"]
    assert browser.run(BOXES) == before
    browser.keys("m")
    assert browser.run(SHOWN) == ["overlay m l0"]
    browser.run("document.querySelector('input[name=explainer][value=\"1\"]').click()")
    assert browser.run(SHOWN) == ["overlay m l1"] and browser.run(BOXES) == before
    assert browser.complaints() == []


def test_arrows_on_the_switch_move_the_switch(browser: Browser, html: str) -> None:
    browser.open(html)
    browser.run("document.querySelector('input[name=explainer]').focus()")
    browser.keys(RIGHT)
    assert radio(browser, "explainer") == "relax" and browser.run(SHOWN) == ["overlay m l1"]
    assert browser.shown() == ["case-1"]


def test_what_is_said_below_a_picture_is_of_the_explainer_that_is_shown(browser: Browser, html: str) -> None:
    said = "return [...document.querySelectorAll('#case-1 .tile')].map(t => t.querySelector('.foot').innerText)"
    browser.open(html)
    first = browser.run(said)[0]
    assert "insertion 0.658 (0.500)" in first and "random map" not in first
    browser.keys("2")
    assert "no better than a random map" in browser.run(said)[0]
    browser.keys("3")
    assert "insertion" not in browser.run(said)[0]
    legend = "return document.querySelector('#case-1 .method').innerText"
    assert "maps by cam" in browser.run(legend) and "occlusion" not in browser.run(legend)


def test_curves_appear_on_hover_beside_the_picture_and_move_nothing(browser: Browser, html: str) -> None:
    from selenium.webdriver import ActionChains

    browser.open(html)
    before = browser.run(BOXES)
    for place in range(3):
        button = browser.driver.find_elements("css selector", "#case-1 .tile .zoom")[place]
        ActionChains(browser.driver).move_to_element(button).pause(0.4).perform()
        said = browser.run(PEEK)
        assert "insertion" in said and "0.658" in said and "deletion" in said and "random map" in said
        peek, own = browser.run(
            "const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };"
            "return [box(document.getElementById('peek')), box(arguments[0])]",
            button,
        )
        assert peek[0] >= own[2] or peek[2] <= own[0] or peek[1] >= own[3] or peek[3] <= own[1]
        assert peek[0] >= 0 and peek[2] <= 1366 and peek[1] >= 0 and peek[3] <= 768
    assert browser.run(BOXES) == before
    ends = browser.run("return [...document.querySelectorAll('#peek .line.of-0')].map(p => p.getAttribute('d'))")
    assert ends[0].startswith("M28.0,100.0") and ends[0].endswith("194.0,8.0")  # the square root goes from 0 to 1
    browser.keys("m")  # the curves are those of the explainer shown
    assert "no better than a random map" in browser.run(PEEK)
    browser.keys("m")
    assert browser.run(PEEK) == ""  # this one has none
    ActionChains(browser.driver).move_to_element(browser.driver.find_element("tag name", "h1")).pause(0.4).perform()
    browser.keys("1")
    assert browser.run(PEEK) == ""


def test_curves_and_large_pictures_by_keyboard(browser: Browser, html: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.open(html)
    browser.run("document.querySelector('#case-1 .tile .zoom').focus()")
    browser.keys(TAB)
    name = "return document.activeElement.querySelector('svg') && document.activeElement.querySelector('svg').ariaLabel"
    assert browser.run(name).startswith("CNN, rank 2: r1")
    assert "insertion" in browser.run(PEEK)
    browser.keys(ESCAPE)
    assert browser.run(PEEK) == ""
    browser.keys(ENTER)
    large = "const d = document.getElementById('large'); return d.open ? d.querySelector('h2').textContent : ''"
    assert browser.run(large).startswith("CNN, rank 2: r1")
    assert "insertion" in browser.run("return document.getElementById('large').innerText")
    browser.keys(RIGHT)
    assert browser.run(large).startswith("CNN, rank 3: r2") and browser.shown() == ["case-1"]
    browser.keys(LEFT, LEFT)
    assert browser.run(large).startswith("CNN, rank 1: r0")
    browser.keys("3")
    browser.keys(ESCAPE)
    assert browser.run(large) == ""
    back = WebDriverWait(browser.driver, 5)  # a dialog says a moment later that it has closed
    assert back.until(lambda _: browser.run(name).startswith("CNN, rank 1: r0"))  # where one was
    assert browser.complaints() == []


def test_the_large_view_shows_the_query_in_view_of_the_result(browser: Browser, html: str) -> None:
    browser.open(html)
    browser.keys("3")
    used = (
        "return [...document.querySelectorAll('#large .pictures figure')].map(f => ["
        "f.querySelector('figcaption').textContent,"
        "[...f.querySelectorAll('use')].filter(u => getComputedStyle(u).visibility === 'visible')"
        ".map(u => u.getAttribute('href'))])"
    )
    buttons = browser.driver.find_elements("css selector", "#case-1 .tile .zoom")
    maps = []
    for button in buttons[:2]:
        button.click()
        query, result, mapped = browser.run(used)
        assert [query[0], result[0], mapped[0]] == ["Query with map", "Result", "Result with map"]
        assert (len(query[1]), len(result[1]), len(mapped[1])) == (2, 1, 2) and mapped[1][0] == result[1][0]
        maps.append(query[1][1])
        boxes = browser.run(
            "return [...document.querySelectorAll('#large .pictures .picture')].map(p => {"
            "const r = p.getBoundingClientRect(); return [r.top, r.bottom, r.width]; })"
        )
        assert len({round(top) for top, _, _ in boxes}) == 1  # side by side
        assert all(width > 250 and bottom < 768 for _, bottom, width in boxes)
        browser.keys(ESCAPE)
    assert maps[0] != maps[1]
    row = browser.run("return document.querySelector('#case-1 .query [data-method] .overlay').getAttribute('href')")
    assert maps[0] == row


def test_failures_first_without_a_reload(browser: Browser, html: str) -> None:
    browser.open(html)
    assert browser.shown() == ["case-1"]
    browser.run(
        "const o = document.getElementById('order'); o.value = 'failures'; o.dispatchEvent(new Event('change'))"
    )
    assert browser.shown() == ["case-3"]
    browser.run("const o = document.getElementById('order'); o.value = 'given'; o.dispatchEvent(new Event('change'))")
    assert browser.run("return [...document.querySelectorAll('.case')].map(c => c.id)") == [
        "case-1",
        "case-2",
        "case-3",
    ]


def test_a_page_may_open_with_failures_first(browser: Browser, gallery) -> None:
    browser.open(page(title="t", cases=gallery(), failures_first=True))
    assert browser.shown() == ["case-3"]
    browser.keys("f")
    assert browser.run("return [...document.querySelectorAll('.case')].map(c => c.id)") == [
        "case-1",
        "case-2",
        "case-3",
    ]


@pytest.mark.parametrize("media", ["", "print"])
def test_without_script_the_first_explainer_is_shown(browser: Browser, html: str, media: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
    try:
        browser.open(html)
        words = browser.driver.find_element("id", "case-1").text
        assert "maps by occlusion" in words and "maps by relax" not in words and "insertion 0.658" in words
        assert browser.run(SHOWN) == ["overlay m l0"]
        assert not browser.driver.find_element("id", "large").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [1366, 820, 390])
def test_nothing_runs_over(browser: Browser, html: str, width: int) -> None:
    browser.open(html, width)
    wide = "const e = document.documentElement; return e.scrollWidth <= e.clientWidth"
    assert browser.run(wide)
    browser.run("document.querySelectorAll('#case-1 .tile .zoom')[1].click()")
    assert browser.run("const d = document.getElementById('large'); return d.scrollWidth <= d.clientWidth")
    browser.run("document.getElementById('large').close()")
    browser.run("document.querySelectorAll('#case-1 .tile .zoom')[1].focus()")
    assert browser.run(wide)


def test_measures_of_classes_with_long_names_fit_a_laptop(browser: Browser) -> None:
    """Names break at their separators, so that no column is beyond the edge."""
    words = "△ better in deletion only", "△ better in insertion only"
    areas = "0.922 [0.897, 0.946]", "0.915", "0.914"
    heads = "maps by", "class", "on", "vs random map", "vs random network", "queries", *("insertion", "a", "b") * 2
    line = "input-t-gradient", "seborrheic_keratosis_of_the_trunk", "result", *words, "120", *areas, *areas
    section = Section("measures", "Measures", tables=[Table("Areas", heads, [line])])
    browser.open(page(title="t", cases=[], sections=[section]), 1366)
    wide, lines = browser.run(
        "const e = document.querySelector('.scroll'), f = document.querySelector('.flag');"
        "return [e.scrollWidth - e.clientWidth, f.clientHeight / parseFloat(getComputedStyle(f).lineHeight)]"
    )
    assert wide <= 0 and lines < 3
