"""The large view in a headless Chromium: zoom, moving, greys and windows of a CT, by mouse and by keyboard."""

import numpy as np
import pytest
from browsing import ESCAPE, LEFT, MARKS, RIGHT, Browser
from conftest import blob, picture

from cbir_cli.reports.gallery import Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import page

pytestmark = MARKS

UP, DOWN, SHIFT = "\ue013", "\ue015", "\ue008"
VIEWS = (
    "return [...document.querySelectorAll('#large .picture')]"
    ".map(p => p.getAttribute('viewBox').split(' ').map(Number))"
)
PAINTED = "return document.documentElement.dataset.painted"


def units(seed: int, side: int = 32) -> np.ndarray:
    """Hounsfield units from -1024 to 3071, every bit in use."""
    return np.random.default_rng(seed).integers(-1024, 3072, (side, side)).astype(np.int16)


def seen(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(np.rint((values - low) * 255.0 / (high - low)), 0, 255).astype(np.uint8)


def cases(ct: bool) -> list[Case]:
    def tile(name: str, seed: int, looks=None) -> Tile:
        image = seen(units(seed), -200, 300) if ct else picture(seed, 32)
        return Tile(name, image, "x", looks or {}, hounsfield=units(seed) if ct else None)

    made = []
    for q in range(2):
        found = [
            Neighbour(tile(f"r{q}{r}", 10 * q + r, {"a": Look(blob(r, 32))}), r + 1, 0.1 * r, r < 2) for r in range(3)
        ]
        made.append(Case(tile(f"q{q}", 90 + q), "x", [Row("CNN", found, "", {"a": Look(blob(50, 32))})]))
    return made


@pytest.fixture(scope="module")
def plain() -> str:
    return page(title="t", cases=cases(ct=False))


@pytest.fixture(scope="module")
def ct() -> str:
    return page(title="t", cases=cases(ct=True), window=(-200.0, 300.0))


def enlarge(browser: Browser) -> None:
    browser.run("document.querySelector('#case-1 .tile .zoom').click()")


def press_with_shift(browser: Browser, key: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver).key_down(SHIFT).send_keys(key).key_up(SHIFT).perform()


def test_zoom_by_keys_buttons_and_wheel_is_of_all_pictures(browser: Browser, plain: str) -> None:
    browser.open(plain)
    enlarge(browser)
    assert browser.run(VIEWS) == [[0, 0, 32, 32]] * 3  # query, result, result with map
    browser.keys("+")
    near = browser.run(VIEWS)
    assert near == [near[0]] * 3 and near[0][2:] == pytest.approx([32 / 1.5] * 2)
    assert near[0][:2] == pytest.approx([(32 - 32 / 1.5) / 2] * 2)  # the middle stays where it is
    browser.keys("-")
    assert browser.run(VIEWS)[0] == pytest.approx([0, 0, 32, 32])
    browser.driver.find_element("id", "in").click()
    assert browser.run("return document.getElementById('zoomed').textContent") == "150 %"
    browser.keys("r")
    # What lies under the pointer stays there: a quarter from the left, three quarters from the top.
    box = browser.run(
        "const r = document.querySelectorAll('#large .picture')[1].getBoundingClientRect();"
        "return [r.left + r.width / 4, r.top + r.height * 3 / 4]"
    )
    browser.run(
        "document.elementFromPoint(arguments[0], arguments[1]).dispatchEvent(new WheelEvent('wheel',"
        "{ deltaY: -100, clientX: arguments[0], clientY: arguments[1], bubbles: true, cancelable: true }))",
        *box,
    )
    x, y, width, height = browser.run(VIEWS)[2]
    assert width == height == pytest.approx(32 / 1.25)
    assert (8 - x) / width == pytest.approx(0.25, abs=0.01) and (24 - y) / height == pytest.approx(0.75, abs=0.01)
    browser.keys(*"-" * 9)
    assert browser.run(VIEWS)[0] == pytest.approx([0, 0, 32, 32])  # no smaller than whole
    assert browser.complaints() == []


def test_moving_by_drag_and_keys_stays_within_the_picture(browser: Browser, plain: str) -> None:
    from selenium.webdriver import ActionChains

    browser.open(plain)
    enlarge(browser)
    browser.keys("+", "+")
    x, _, width, _ = browser.run(VIEWS)[0]
    press_with_shift(browser, RIGHT)
    assert browser.run(VIEWS)[0][0] == pytest.approx(x + 0.1 * width)
    assert browser.run("return document.getElementById('large-name').textContent").startswith("CNN, rank 1")
    shown = browser.driver.find_elements("css selector", "#large .picture")[1]
    across = browser.run("return arguments[0].getBoundingClientRect().width", shown)
    before = browser.run(VIEWS)[0]
    ActionChains(browser.driver).drag_and_drop_by_offset(shown, round(across / 10), round(-across / 20)).perform()
    after = browser.run(VIEWS)
    assert after == [after[0]] * 3
    assert after[0][0] == pytest.approx(before[0] - width / 10, abs=0.2)
    assert after[0][1] == pytest.approx(before[1] + width / 20, abs=0.2)
    for _ in range(30):
        press_with_shift(browser, LEFT)
    assert browser.run(VIEWS)[0][0] == 0
    browser.keys(RIGHT)  # the next picture, at the same place
    assert browser.run("return document.getElementById('large-name').textContent").startswith("CNN, rank 2")
    assert browser.run(VIEWS)[0][2] == pytest.approx(width)
    browser.keys(ESCAPE)
    enlarge(browser)
    assert browser.run(VIEWS)[0] == [0, 0, 32, 32]


def test_a_double_click_goes_near_and_back(browser: Browser, plain: str) -> None:
    from selenium.webdriver import ActionChains

    browser.open(plain)
    enlarge(browser)
    shown = browser.driver.find_elements("css selector", "#large .picture")[1]
    ActionChains(browser.driver).double_click(shown).perform()
    assert browser.run(VIEWS)[0][2] == pytest.approx(32 / 3)
    ActionChains(browser.driver).double_click(shown).perform()
    assert browser.run(VIEWS)[0][2] == pytest.approx(32)


def inside(browser: Browser) -> np.ndarray:
    """Pixels of the result in the large view, without its map."""
    x, y, w, h = browser.run(
        "const r = document.querySelectorAll('#large .picture')[1].getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height].map(Math.round)"
    )
    return browser.picture()[y + 4 : y + h - 4, x + 4 : x + w - 4]


def test_brightness_and_contrast_of_the_large_view_alone(browser: Browser, plain: str) -> None:
    from selenium.webdriver import ActionChains

    browser.open(plain)
    small = browser.picture()
    enlarge(browser)
    first = inside(browser)
    browser.slide("spread", 384)  # 256 levels of 512 - 384 = 128: twice the contrast
    steep = inside(browser)
    middle = (first > 80) & (first < 170)
    np.testing.assert_allclose(steep[middle], np.clip(2 * (first[middle] - 63.5), 0, 255), atol=6)
    browser.keys("r")
    np.testing.assert_allclose(inside(browser), first, atol=1)
    browser.keys(UP)
    assert inside(browser).mean() > first.mean() + 5
    browser.keys(DOWN, DOWN)
    assert inside(browser).mean() < first.mean() - 5
    browser.keys("r")
    shown = browser.driver.find_elements("css selector", "#large .picture")[1]
    actions = ActionChains(browser.driver).move_to_element(shown)
    actions.w3c_actions.pointer_action.pointer_down(button=2)
    actions.w3c_actions.pointer_action.move_by(0, -60)
    actions.w3c_actions.pointer_action.pointer_up(button=2)
    actions.perform()
    assert inside(browser).mean() > first.mean() + 10  # upwards with the right button: brighter
    browser.keys("r")
    actions = ActionChains(browser.driver).move_to_element(shown)
    actions.w3c_actions.pointer_action.pointer_down(button=2)
    actions.w3c_actions.pointer_action.move_by(60, 0)
    actions.w3c_actions.pointer_action.pointer_up(button=2)
    actions.perform()
    assert inside(browser).std() < 0.92 * first.std()  # to the right: wider, so less contrast, as on the reading page
    assert browser.run(VIEWS)[0] == [0, 0, 32, 32]
    browser.keys(ESCAPE)
    browser.run("document.activeElement.blur()")
    np.testing.assert_allclose(browser.picture(), small, atol=1)


GREYS = """
const image = new Image(), done = arguments[1];
image.src = document.querySelector(document.querySelector(arguments[0]).getAttribute('href')).getAttribute('href');
image.decode().then(() => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  done([...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0));
});
"""


def greys(browser: Browser, selector: str) -> np.ndarray:
    return np.array(browser.driver.execute_async_script(GREYS, selector), np.uint8).reshape(32, 32)


def choose(browser: Browser, name: str) -> None:
    from selenium.webdriver.support.ui import Select, WebDriverWait

    Select(browser.driver.find_element("id", "window")).select_by_visible_text(name)
    key = browser.run("return document.getElementById('window').value.replace(',', ' ')")
    WebDriverWait(browser.driver, 5).until(lambda _: browser.run(PAINTED) == key)


def test_windows_show_the_greys_of_the_hounsfield_units(browser: Browser, ct: str) -> None:
    """Within one grey: the browser rounds halves its own way."""
    browser.open(ct)
    result, query = "#case-1 .tile .picture use", "#case-1 .query .picture use"
    first = greys(browser, result)
    np.testing.assert_array_equal(first, seen(units(0), -200, 300))
    for name, low, high in (("liver-narrow, 50 to 150", 50, 150), ("lung, -1350 to 150", -1350, 150)):
        choose(browser, name)
        for selector, seed in ((result, 0), (query, 90)):
            found = greys(browser, selector).astype(int)
            assert np.abs(found - seen(units(seed), low, high)).max() <= 1
        assert browser.run("return document.getElementById('hu').textContent") == f"{low} to {high} HU"
    choose(browser, "as the network saw it")
    np.testing.assert_array_equal(greys(browser, result), first)
    assert browser.complaints() == []


def test_level_and_width_by_slider_drag_and_key(browser: Browser, ct: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    def painted(key: str) -> None:
        WebDriverWait(browser.driver, 5).until(lambda _: browser.run(PAINTED) == key)

    browser.open(ct)
    assert not browser.driver.find_element("id", "own").is_displayed()
    choose(browser, "liver-wide, -200 to 300")
    browser.run("const w = document.getElementById('window'); w.value = 'own'; w.dispatchEvent(new Event('change'))")
    assert browser.driver.find_element("id", "own").is_displayed()
    browser.slide("level", 100)
    browser.slide("width", 200)
    painted("0 200")
    assert np.abs(greys(browser, "#case-1 .tile .picture use").astype(int) - seen(units(0), 0, 200)).max() <= 1
    browser.run("document.activeElement.blur()")
    enlarge(browser)
    browser.slide("centre", 300)
    painted("200 400")
    browser.keys(ESCAPE)
    browser.keys(RIGHT)  # the next query is seen through the same window
    WebDriverWait(browser.driver, 5).until(
        lambda _: (
            np.abs(greys(browser, "#case-2 .tile .picture use").astype(int) - seen(units(10), 200, 400)).max() <= 1
        )
    )
    browser.run("document.activeElement.blur()")
    browser.keys("w")
    painted("")
    browser.keys("w")
    painted("-200 300")


def test_a_page_without_hounsfield_units_has_no_windows(plain: str) -> None:
    assert 'id="window"' not in plain and "data-units" not in plain.split("<script>")[0]
    assert 'id="window"' not in page(title="t", cases=cases(ct=False), window=(-200.0, 300.0))


def test_many_ct_images_have_fewer_pixels_and_the_page_says_so(monkeypatch, ct: str) -> None:
    from cbir_cli.reports import pictures

    assert "1/2 of the pixels" not in ct
    monkeypatch.setattr(pictures, "UNIT_PIXELS", 8 * 32 * 32 // 2)
    smaller = page(title="t", cases=cases(ct=True), window=(-200.0, 300.0))
    assert "images with 1/2 of the pixels each way" in smaller and len(smaller) < len(ct)


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1920, 1080)])
@pytest.mark.parametrize("kind", ["plain", "ct"])
def test_the_large_view_fits_the_screen(browser: Browser, request, width: int, height: int, kind: str) -> None:
    browser.open(request.getfixturevalue(kind), width, height)
    enlarge(browser)
    boxes, over = browser.run(
        "const d = document.getElementById('large');"
        "const parts = [...d.querySelectorAll('h2, button, label, output, .picture, .beside p')]"
        "  .filter(e => e.checkVisibility());"
        "const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };"
        "return [parts.map(box), [d.scrollWidth - d.clientWidth, d.scrollHeight - d.clientHeight]]"
    )
    assert max(over) <= 0
    box = np.array(boxes)
    assert box.min() >= 0 and (box[:, 2] <= width).all() and (box[:, 3] <= height).all()
    apart = (box[:, None, 0] >= box[None, :, 2] - 0.5) | (box[:, None, 1] >= box[None, :, 3] - 0.5)
    assert not (~(apart | apart.T) & ~np.eye(len(box), dtype=bool)).any()
