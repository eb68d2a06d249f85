"""The reading page in a headless Chromium, as a rater uses it: by mouse, touch and keyboard."""

import base64
import csv
import io
import random
import time

import numpy as np
import pytest
from browsing import ENTER, ESCAPE, LEFT, MARKS, RIGHT
from conftest import HOSTILE, picture
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cbir_cli.artifacts.ratings import Case as KeyCase
from cbir_cli.artifacts.ratings import Key, read_export
from cbir_cli.reports import rating_page
from cbir_cli.reports.rating_page import Case, Picture

pytestmark = MARKS
STUDY = "".join(random.choices("bcdfghjkmnpqrstvwxz", k=8))  # storage outlives a test


class Page:
    """A rater's page in the browser, and the key of its study."""

    def __init__(self, browser, key, html):
        self.browser, self.driver, self.key, self.html = browser, browser.driver, key, html

    def open(self, width=1366, height=768):
        self.browser.open(self.html, width, height)
        self.driver.execute_cdp_cmd(
            "Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(self.browser.folder)}
        )
        return self

    def start(self):
        if self.run("return document.getElementById('help').open"):
            self.keys(ESCAPE)
        return self

    def run(self, script, *arguments):
        return self.browser.run(script, *arguments)

    def keys(self, *keys):
        self.browser.keys(*keys)

    def chord(self, modifier, key):
        ActionChains(self.driver).key_down(modifier).send_keys(key).key_up(modifier).perform()

    @property
    def order(self):
        return self.run("return [...document.querySelectorAll('.tile')].map(t => t.dataset.code)")

    @property
    def said(self):
        return self.text("said")

    def text(self, name):
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def press(self, name):
        self.driver.find_element(By.ID, name).click()

    def image(self, code):
        return self.driver.find_element(By.CSS_SELECTOR, f".tile[data-code={code}] .picture")

    def drag(self, code, onto, share=0.25, drop=True):
        """Drag an image to a share of the width of another one, in steps as a hand does."""
        box = self.run("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", self.image(onto))
        chain = ActionChains(self.driver, duration=30).click_and_hold(self.image(code)).move_by_offset(12, 4)
        chain.move_to_element_with_offset(self.image(onto), int((share - 0.5) * box[0]), 0)
        if drop:
            chain.release()
        chain.perform()

    def saved(self):
        """Press the button that saves, and return the file."""
        file = self.browser.folder / f"R1-{STUDY}.csv"
        file.unlink(missing_ok=True)
        self.press("save")
        self.press("export")
        self.keys(ESCAPE)
        self.until(lambda: file.exists() and file.stat().st_size)
        return file

    def until(self, holds):
        for _ in range(200):
            if holds():
                return
            time.sleep(0.05)
        raise AssertionError("it did not happen in ten seconds")


@pytest.fixture
def study(browser):
    """Build the page of a study with fresh storage."""
    made = []

    def build(cases=3, count=10, label="Effusion", times=False, side=96):
        shown, known, pictures = [], {}, {}
        for c in range(cases):
            codes = [
                f"im{chr(98 + c // 20)}{chr(98 + c % 20)}{chr(98 + i // 20)}{chr(98 + i % 20)}" for i in range(count)
            ]
            query = f"qu{chr(98 + c // 20)}{chr(98 + c % 20)}"
            for i, code in enumerate([query, *codes]):
                pictures[code] = rating_page.encoded(picture(31 * (c % 2) + i, side))
            shown.append(Case(f"case{chr(98 + c // 20)}{chr(98 + c % 20)}", query, codes))
            known[shown[-1].code] = KeyCase(
                shown[-1].code, 1, c + 1, (query, f"query {c}"), {code: f"id {code}" for code in codes}
            )
        key = Key(STUDY, label, known)
        html = rating_page.page(study=STUDY, rater="R1", label=label, cases=shown, pictures=pictures, times=times)
        browser.open("<p>")
        browser.run("localStorage.clear()")
        made.append(Page(browser, key, html))
        return made[-1]

    yield build
    for page in made:  # a page that keeps nothing asks before it is left
        page.run("localStorage.clear()")


@pytest.fixture
def page(study):
    return study().open().start()


CLIPPED = """
return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('dialog, .store, #said'))
  .filter(e => {
    const b = e.getBoundingClientRect();
    const inside = b.left >= 0 && b.top >= 0 && b.right <= innerWidth + 0.5 && b.bottom <= innerHeight + 0.5;
    const style = getComputedStyle(e);
    const cut = style.overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1;
    return b.width && (!inside || cut);
  }).map(e => e.outerHTML.slice(0, 90))
"""


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1366, 620), (1920, 1080), (1280, 640)])
def test_ten_images_fit_on_one_screen(study, width, height):
    page = study(cases=10).open(width, height).start()
    page.keys("3", "u")  # the longest words above an image
    assert page.run("const d = document.scrollingElement; return [d.scrollWidth, d.scrollHeight]") == [width, height]
    assert page.run(CLIPPED) == []
    boxes = page.run(
        "return [...document.querySelectorAll('.tile')].map(t => { const b = t.getBoundingClientRect();"
        " const p = t.querySelector('.picture').getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom, p.width, p.height] })"
    )
    assert len(boxes) == 10 and min(min(box[4:]) for box in boxes) >= 150
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one[0] >= other[2] or one[2] <= other[0] or one[1] >= other[3] or one[3] <= other[1]
    assert len({box[1] for box in boxes}) == 2, "two rows of five"
    query = page.run("const b = document.getElementById('query').getBoundingClientRect(); return [b.width, b.height]")
    assert min(query) > 1.3 * boxes[0][4]


def test_fifty_queries_of_twenty_images_fit_too(study):
    page = study(cases=50, count=20, label="Enlarged Cardiomediastinum", side=24).open().start()
    wide = page.run("const d = document.scrollingElement; return [d.scrollWidth, d.scrollHeight]")
    assert wide == [1366, 768] and len(page.order) == 20
    page.keys("2", "u")
    cut = "return [...document.querySelectorAll('.head *')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.run(cut) == 0
    outside = "return [...document.querySelectorAll('.tile, footer > *')].filter(e => { const b ="
    outside += " e.getBoundingClientRect(); return b.right > innerWidth || b.bottom > innerHeight }).length"
    assert page.run(outside) == 0


def test_the_first_screen_says_what_to_do(study):
    page = study().open()
    assert page.run("return document.getElementById('help').open")
    text = page.text("help")
    assert "in disease and severity" in text and "Research use only - not for diagnosis" in text and "Effusion" in text
    page.keys(ENTER)
    assert not page.run("return document.getElementById('help').open")
    page.driver.refresh()
    assert not page.run("return document.getElementById('help').open"), "only at the first visit"


def test_an_image_is_dragged_before_another(page):
    before = page.order
    page.drag(before[9], before[1])
    assert page.order == [before[0], before[9], *before[1:9]]
    assert page.said == "Moved from rank 10 to 2 of 10."
    page.drag(before[0], before[4], share=0.75)
    assert page.order == [before[9], *before[1:5], before[0], *before[5:9]]
    ranks = page.run("return [...document.querySelectorAll('.rank')].map(r => r.textContent)")
    assert ranks == [str(rank) for rank in range(1, 11)]
    assert not page.run("return document.querySelectorAll('.ghost, .held, .before, .after').length")
    assert not page.run("return document.getElementById('viewer').open"), "a drag is no click"
    order = page.order
    page.drag(order[6], order[6], share=0.7)  # back to where it was
    assert page.order == order and not page.run("return document.getElementById('viewer').open")


def test_where_an_image_would_land_is_seen_and_escape_leaves_it(page):
    before = page.order
    page.drag(before[2], before[7], drop=False)
    assert page.text("said") == "" and page.run("return document.querySelector('.ghost b').textContent") == "7"
    assert page.run("return document.querySelector('.tile.before').dataset.code") == before[7]
    page.keys(ESCAPE)
    ActionChains(page.driver).release().perform()
    assert page.order == before and page.run("return document.querySelectorAll('.ghost').length") == 0


@pytest.mark.parametrize("kind", ["touch", "pen"])
def test_a_finger_or_a_pen_drags(page, kind):
    before = page.order
    boxes = [page.image(code).rect for code in (before[0], before[3])]
    start, end = (
        [int(b["x"] + share * b["width"]), int(b["y"] + b["height"] / 2)]
        for b, share in zip(boxes, (0.5, 0.8), strict=True)
    )
    finger = ActionBuilder(page.driver, mouse=PointerInput(kind, kind), duration=40)
    action = finger.pointer_action
    action.move_to_location(*start).pointer_down().move_to_location(start[0] + 20, start[1]).move_to_location(*end)
    action.pointer_up()
    finger.perform()
    assert page.order == [*before[1:4], before[0], *before[4:]]


def test_undo_redo_and_reload(page):
    before = page.order
    page.drag(before[9], before[0])
    moved = page.order
    page.chord(Keys.CONTROL, "z")
    assert page.order == before and page.said == "Undone"
    page.chord(Keys.CONTROL, "z")
    assert page.said == "Nothing to undo"
    page.chord(Keys.CONTROL, "y")
    assert page.order == moved
    page.keys("2", "p")
    page.press("undo")
    page.press("undo")
    page.press("redo")
    page.driver.refresh()
    assert page.order == moved
    assert page.run("return reading.now.severity[arguments[0]]", before[9]) == 2
    assert page.run("return reading.now.label[arguments[0]] ?? null", before[9]) is None


def test_every_change_is_kept_at_once_and_ends_what_could_be_done_again(page):
    kept = "return JSON.parse(localStorage.getItem(arguments[0])).cases[0]"
    page.chord(Keys.SHIFT, RIGHT)
    moved = page.order
    assert page.run(kept, f"cbir-rate:{STUDY}:R1")["order"] == moved
    page.chord(Keys.CONTROL, "z")
    page.keys("2")
    assert page.run(kept, f"cbir-rate:{STUDY}:R1")["severity"] == {moved[1]: 2}
    page.chord(Keys.CONTROL, "y")
    assert page.said == "Nothing to do again" and page.order != moved


def test_undo_goes_to_the_query_that_it_changes(page):
    before = page.order
    page.chord(Keys.SHIFT, RIGHT)
    page.keys(Keys.PAGE_DOWN)
    assert page.text("number") == "Query 2 of 3"
    page.chord(Keys.CONTROL, "z")
    assert page.text("number") == "Query 1 of 3" and page.order == before


def test_everything_by_keyboard(page):
    before = page.order
    active = "return document.activeElement.closest('.tile')?.dataset.code ?? document.activeElement.id"
    page.keys(RIGHT)
    assert page.run(active) == before[1]
    page.chord(Keys.SHIFT, LEFT)
    assert page.order[:2] == [before[1], before[0]] and page.run(active) == before[1]
    assert page.said == "Moved from rank 2 to 1 of 10."
    page.chord(Keys.SHIFT, Keys.END)
    assert page.order[-1] == before[1] and page.run(active) == before[1]
    page.chord(Keys.SHIFT, Keys.ARROW_UP)
    assert page.order.index(before[1]) == 4
    page.chord(Keys.SHIFT, Keys.HOME)
    assert page.order == [before[1], before[0], *before[2:]]
    page.keys("3", "u")
    label = page.run("return document.activeElement.getAttribute('aria-label')")
    assert label == "Rank 1 of 10, severe, uncertain" and page.said == "Rank 1 of 10: Effusion uncertain"
    page.keys("u")
    assert page.run("return document.activeElement.getAttribute('aria-label')") == "Rank 1 of 10, severe"
    page.keys(LEFT)
    assert page.run(active) == "query"
    page.keys("1", "a")
    assert page.run("return [reading.now.severity[reading.query], reading.now.label[reading.query]]") == [1, 0]
    style = page.run("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]")
    assert style == ["solid", "2px"]
    page.chord(Keys.CONTROL, ENTER)
    assert page.text("number") == "Query 2 of 3" and page.text("progress") == "1 of 3 done"
    assert page.said == "Query 1 is finished. 9 of its images have no severity. This is query 2."
    page.keys(Keys.PAGE_UP)
    assert page.text("state") == "\u2713 order confirmed"
    page.keys("j")
    assert page.text("number") == "Query 2 of 3"


def test_a_random_order_is_not_taken_for_a_ranking(page):
    page.press("confirm")
    assert page.text("progress") == "0 of 3 done" and "You have moved no image" in page.said
    page.press("confirm")
    assert page.text("progress") == "1 of 3 done"
    page.keys(Keys.PAGE_UP)
    before = page.order
    page.drag(before[0], before[2])
    assert page.text("progress") == "0 of 3 done" and page.said.endswith("Confirm the order again.")
    page.keys("1")
    page.press("confirm")
    page.keys(Keys.PAGE_UP, "2")
    assert page.text("progress") == "1 of 3 done", "a severity changes no order"


def test_the_file_is_what_was_done(page):
    first = page.order
    page.drag(first[9], first[0])
    page.keys("3", "p")
    page.keys("q", "2", "a")
    page.press("confirm")
    page.keys("0", "u")
    file = page.saved()
    one, two, three = read_export(file, page.key)
    case = page.key.cases[one.case]
    assert one.order == (first[9], *first[:9]) and one.finished and not two.finished and not three.finished
    assert one.severity == {first[9]: 3, case.query[0]: 2} and one.label == {first[9]: 1, case.query[0]: 0}
    assert two.severity == {page.order[0]: 0} and two.label == {page.order[0]: -1} and one.seconds is None
    rows = list(csv.reader(file.read_text().splitlines()))
    assert len(rows) == 31 and {len(row) for row in rows} == {11}


def test_work_goes_on_at_another_computer(page):
    first = page.order
    page.drag(first[9], first[0])
    page.keys("3", "p")
    page.press("confirm")
    page.keys("1")
    text = page.saved().read_text()
    page.browser.open("<p>")
    page.run("localStorage.clear()")
    page.open().start()
    fresh = page.run("return reading.table()")
    assert fresh != text
    again = page.browser.folder / "again.csv"
    again.write_text("\ufeff" + text.replace(",", ";").replace("\n", "\r\n"))  # as a spreadsheet writes it
    page.press("save")
    page.driver.find_element(By.ID, "import").send_keys(str(again))
    page.until(lambda: "Read: 1 of 3 queries finished" in page.text("imported"))
    page.keys(ESCAPE)
    assert page.run("return reading.table()") == text
    page.chord(Keys.CONTROL, "z")
    assert page.run("return reading.table()") == fresh, "a file read by mistake is undone"


WRONG = [
    (STUDY, "bbbbbbbb", "line 2: is of another study"),
    (",R1,", ",R2,", "line 2: is of rater R2; this page is that of R1"),
    (",0,2,", ",0,1,", "line 3: rank 1 cannot be"),
    ("imbbbc", "imbbbb", "line 3: image imbbbb is there twice"),
    ("imbbbc", "imbcbc", "line 3: there is no image imbcbc"),
    ("casebb", "casezz", "line 2: there is no case casezz"),
    ("study,rater", "study,reader", "line 1: this is no file that this page has saved"),
    (",imbbbc,,", ",imbbbc,,7", "line 3: severity 7 cannot be"),
    (",imbbbc,,,,,", ",imbbbc,,,,", "line 3: expected 11 columns, found 10"),
    (f"\n{STUDY},R1,casebc", "\n\n", "line 13"),
]


def test_a_wrong_file_changes_nothing(page):
    page.keys("1")
    before = page.run("return reading.table()")
    fresh = page.run("reading.undo(); const text = reading.table(); reading.redo(); return text")
    refused = "try { reading.take(arguments[0]) } catch (error) { return error.message }"
    for old, new, said in WRONG:
        assert old in fresh
        assert page.run(refused, fresh.replace(old, new)).startswith(said), said
    cut = "\n".join(before.splitlines()[:5]) + "\n"
    assert page.run(refused, cut) == "line 5: case casebb is not whole"
    assert page.run("return reading.table()") == before


def test_a_browser_that_keeps_nothing_says_so(study):
    page = study().open()
    source = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }"
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        page.open().start()
        assert "This browser does not keep your work" in page.text("kept")
        page.keys("1")
        assert page.run("return reading.begun()") and page.saved().exists()
        prevented = (
            "const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented"
        )
        assert page.run(prevented)
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
        page.run("reading.undo(); localStorage.clear()")


def test_another_window_with_the_same_page_is_said(page):
    assert page.text("kept") == "Kept in this browser"
    key = page.run("return Object.keys(localStorage)")
    assert key == [f"cbir-rate:{STUDY}:R1"]
    page.run("dispatchEvent(new StorageEvent('storage', {key: arguments[0]}))", key[0])
    assert page.text("kept").startswith("Also open in another window")


def test_large_images_with_window_and_level(page):
    first = page.order
    page.image(first[3]).click()
    assert page.text("large-name") == "Rank 4 of 10"
    mean = "return document.querySelector('#window feFuncR').getAttribute('slope')"
    assert page.run(mean) == "1" and page.run("return document.getElementById('windowed').hidden")
    before = page.browser.picture()
    page.browser.slide("width", 64)
    page.browser.slide("level", 90)
    after = page.browser.picture()
    grey, changed = (shot[200:500, 100:600, 0] for shot in (before, after))
    expected = (grey / 255 - 90 / 255) * 255 / 64 + 0.5  # the window's own formula, over what was seen
    assert abs(changed / 255 - expected.clip(0, 1)).mean() < 0.02 and abs(changed - grey).mean() > 20
    page.keys("i")
    assert float(page.run(mean)) < 0
    page.keys("+", "+")
    assert page.text("zoom") == "156 %"
    assert page.run("return getComputedStyle(document.getElementById('large-query')).transform") == page.run(
        "return getComputedStyle(document.getElementById('large-image')).transform"
    )
    page.keys("2", RIGHT)
    assert (
        page.text("large-name") == "Rank 5 of 10"
        and page.run("return reading.now.severity[arguments[0]]", first[3]) == 2
    )
    page.keys("r", ESCAPE)
    assert page.run(mean) == "1" and not page.run("return document.getElementById('viewer').open")
    assert page.run("return document.activeElement.closest('.tile').dataset.code") == first[4]


def test_large_images_fit(page):
    for width, height in ((1366, 768), (1366, 620), (1920, 1080)):
        page.browser.resize(width, height)
        page.image(page.order[0]).click()
        outside = (
            "return [...document.querySelectorAll('#viewer, #viewer button, #viewer .pane, #viewer input')].filter("
        )
        outside += "e => { const b = e.getBoundingClientRect(); return e.checkVisibility() && (b.right > innerWidth ||"
        outside += " b.bottom > innerHeight || b.top < 0) }).length"
        assert page.run(outside) == 0
        page.keys(ESCAPE)


def test_seconds_are_counted_when_asked_for(study):
    page = study(times=True).open()
    assert "records how many seconds" in page.text("help")
    page.start()
    time.sleep(2.3)
    file = page.saved()
    seconds = {rating.case: rating.seconds for rating in read_export(file, page.key)}
    assert 1 <= seconds["casebb"] <= 5 and seconds["casebc"] == 0


def test_hostile_labels_are_text(study):
    for label in HOSTILE:
        page = study(cases=1, count=2, label=label, side=24).open().start()
        assert page.run("return typeof pwned") == "undefined"
        assert page.run("return document.querySelector('#query-answers span:last-child bdi').textContent") == label
        assert label in page.text("help") and page.browser.complaints() == []


def test_no_label_is_asked_for_where_there_is_none(study):
    page = study(label="").open().start()
    page.keys("p")
    assert page.run("return document.querySelectorAll('[data-kind=label]').length") == 0
    assert page.run("return reading.now.label") == {} and "present, absent" not in page.text("help")


def test_nothing_is_fetched_and_nothing_complains(page):
    page.image(page.order[0]).click()
    page.keys(ESCAPE)
    page.saved()
    fetched = [url for url in page.browser.requests() if not url.startswith(("data:", "blob:"))]
    assert {url.partition("#")[0] for url in fetched} <= {(page.browser.folder / "page.html").as_uri(), "about:blank"}
    assert page.browser.complaints() == []


def test_the_policy_allows_no_other_script_and_the_same_input_makes_the_same_page(study):
    page = study()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in page.html
    assert study().html == page.html and "http" not in page.html.replace("http-equiv", "")


def test_pictures_are_nothing_but_pixels():
    found = rating_page.encoded(picture(1))
    assert isinstance(found, Picture) and found.aspect == 1
    data = base64.b64decode(found.address.partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        assert (
            image.mode == "L"
            and not image.getexif()
            and set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        )
        assert abs(float(np.asarray(image).mean()) - picture(1).mean()) < 1
