"""Maps of several explainers on a page: which of them lie over a picture, on which scale, and in what order queries."""

import base64
import json
import re

import numpy as np
import pytest
from conftest import blob, picture
from test_report_curves import of

from cbir_cli.reports import gallery, overlay
from cbir_cli.reports.gallery import EXPERT, Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look
from cbir_cli.reports.page import Section, page


def result(name: str, looks: dict[str, Look], agrees: bool | None = True, distance: float = 0.5, **more) -> Neighbour:
    return Neighbour(Tile(name, picture(len(name)), "x", looks), 1, distance, agrees, **more)


def overlays(html: str, label: str) -> list[tuple[str, str]]:
    """Return class and data of each map over the picture with a label, in order."""
    stored = dict(re.findall(r'<image id="(m\d+)"[^>]* href="data:image/png;base64,([^"]+)"', html))
    svg = re.search(rf'<svg class="picture"[^>]*aria-label="{label}[^"]*">.*?</svg>', html)[0]
    return [(kind, stored[name]) for kind, name in re.findall(r'class="overlay ([^"]*)" href="#(m\d+)"', svg)]


def data(values: np.ndarray, scale: overlay.Scale) -> str:
    return base64.b64encode(overlay.heat(values, scale, (48, 48))).decode()


def test_every_map_is_there_once_with_its_explainer_and_kind_and_scale() -> None:
    one, other, unsure = blob(1), 2 * blob(2, signed=True), blob(3)
    looks = {"occlusion": Look(one), "relax": Look(other, unsure)}
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", [Row("CNN", [result("a", looks)])])])
    plain, signed, uncertain = (
        overlay.scale([one]), overlay.scale([other]), overlay.scale([unsure], uncertainty=True)
    )  # fmt: skip
    certain = np.where(unsure < np.median(unsure), other, 0)
    assert overlays(html, "CNN, rank 1: a") == [
        ("m l0", data(one, plain)),
        ("m l1", data(other, signed)),
        ("u l1", data(unsure, uncertain)),
        ("c l1", data(certain, signed)),
    ]
    assert data(unsure, uncertain) != data(unsure, overlay.scale([unsure]))  # other colours
    assert 'html:not([data-layer="1"]) .l1 { visibility: hidden; }' in html
    assert re.findall(r'name="explainer" value="(\d)"[^>]*> <bdi>([^<]*)', html) == [("0", "occlusion"), ("1", "relax")]
    assert 'id="kinds"' in html


def test_a_single_explainer_is_always_shown_and_needs_no_switch() -> None:
    rows = [Row(n, [result("a", {by: Look(blob(i))})]) for i, (n, by) in enumerate((("A", "ig"), ("B", "occ")))]
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", rows)])
    assert [kind for kind, _ in overlays(html, "A, rank 1")] == ["m"]
    assert [kind for kind, _ in overlays(html, "B, rank 1")] == ["m"]
    assert 'id="explainers"' not in html and 'id="kinds"' not in html and ":not([data-layer=" not in html
    assert "maps by <bdi>ig</bdi>" in html and "maps by <bdi>occ</bdi>" in html


def test_the_switch_leaves_rows_with_a_single_explainer_alone() -> None:
    both = {"ig": Look(blob(1)), "occlusion": Look(blob(2))}
    rows = [Row("A", [result("a", both)]), Row("B", [result("a", {"occlusion": Look(blob(3))})])]
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", rows)])
    assert [kind for kind, _ in overlays(html, "A, rank 1")] == ["m l0", "m l1"]
    assert [kind for kind, _ in overlays(html, "B, rank 1")] == ["m"]


def test_an_image_without_a_map_by_one_of_them_says_so() -> None:
    both = {"ig": Look(blob(1)), "occlusion": Look(blob(2))}
    row = Row("CNN", [result("a", both), result("bb", {"ig": Look(blob(3))})], "", {"ig": Look(blob(4))})
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", [row])])
    assert html.count("no map by occlusion") == 2 and "no map by ig" not in html


def test_the_query_in_view_of_a_result_waits_for_the_script() -> None:
    shown, own = blob(1), blob(2)
    row = Row("CNN", [result("a", {"cam": Look(blob(3))}, query_looks={"cam": Look(own)})], "",
              {"cam": Look(shown)})  # fmt: skip
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", [row])])
    ((kind, layer, name),) = json.loads(re.search(r"data-query='([^']*)'", html)[1])
    stored = dict(re.findall(r'<image id="(m\d+)"[^>]* href="data:image/png;base64,([^"]+)"', html))
    scale = overlay.scale([shown, own, blob(3)])
    assert (kind, layer, stored[name]) == ("m", None, data(own, scale))


def test_curves_areas_and_warnings_stand_beside_the_picture() -> None:
    curves = of({"map": 0.4, "random map": 0.5}, {"map": 0.61, "random map": 0.5, "random network": 0.55})
    looks = {"occlusion": Look(blob(1), None, curves, ("60% lies on the border",)), "ig": Look(blob(2))}
    html = page(title="t", cases=[Case(Tile("q", picture(0)), "x", [Row("CNN", [result("a", looks)])])])
    (entry,) = json.loads(re.search(r"data-curves='([^']*)'", html)[1])
    assert entry["layer"] == 0 and entry["name"] == "occlusion"
    assert [line and line[0] for line in entry["curves"]["deletion"]] == [0.61, 0.5, 0.55]
    said = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", re.search(r'<div class="said l0">.*?</div>', html, re.S)[0]))
    assert said.strip() == (
        "insertion 0.400 (0.500) deletion 0.610 (0.500) no better than a random map 60% lies on the border"
    )
    assert json.loads(re.search(r"data-axes='([^']*)'", html)[1]) == [[0, 0.25, 0.5, 0.75, 1]]


def test_an_explainer_of_a_hostile_name_is_text(hostile) -> None:
    for evil in (*hostile, "it's"):
        looks = {evil: Look(blob(1), None, of({"map": 0.4}, {})), "b": Look(blob(2))}
        html = page(
            title="t",
            cases=[Case(Tile("q", picture(0)), "x", [Row("CNN", [result("a", looks)])])],
            sections=[Section("s", evil, notes=[evil])],
        )
        assert "<img" not in html and "<script>pwned" not in html and "<svg onload" not in html
        (entry,) = json.loads(re.search(r"data-curves='([^']*)'", html)[1].replace("&#39;", "'"))
        assert entry["name"] == evil


# --- order ------------------------------------------------------------------------------------------------------------


def failing(name: str, found: list[tuple[bool | None, float]]) -> Case:
    rows = [Row("CNN", [result("a", {}, agrees, distance) for agrees, distance in found])]
    expert = Row(EXPERT, [Neighbour(Tile("e", picture(1)), 1, None, False)], rater=True)
    return Case(Tile(name, picture(0)), "x", [expert, *rows])


QUERIES = [
    failing("fine", [(True, 0.1), (True, 0.2)]),
    failing("half, far", [(True, 0.1), (False, 0.9)]),
    failing("unknown", [(None, 0.1), (None, 0.2)]),
    failing("half, near", [(False, 0.3), (True, 0.4)]),
    failing("third", [(True, 0.1), (True, 0.15), (False, 0.2)]),
    failing("half, far again", [(False, 0.9), (True, 0.95)]),
    failing("none", [(False, 0.5), (None, 0.6)]),
]
WORST = ["none", "half, near", "half, far", "half, far again", "third", "fine", "unknown"]


def test_failures_first_by_precision_then_nearest_error_then_as_given() -> None:
    assert [QUERIES[i].query.id for i in gallery.worst_first(QUERIES)] == WORST


@pytest.mark.parametrize("first", [False, True])
def test_the_page_holds_both_orders(first: bool) -> None:
    html = page(title="t", cases=QUERIES, failures_first=first)
    found = re.findall(r'id="case-(\d+)" data-given="(\d+)" data-worst="(\d+)".*?data-name="\d+\. ([^"]*?) - x', html)
    assert [name for *_, name in found] == (WORST if first else [case.query.id for case in QUERIES])
    for number, given, worst, name in found:
        assert number == given and QUERIES[int(given) - 1].query.id == name == WORST[int(worst)]
    assert ("selected>failures first" in html) == first


def test_a_query_explained_with_itself_is_not_judged() -> None:
    itself = Neighbour(Tile("q", picture(0), "x", {"ig": Look(blob(1))}), 0, 0.0, None)
    case = Case(Tile("q", picture(0)), "x", [Row("CNN", [itself])])
    html = page(title="t", cases=[case])
    assert case.judged == 0 and '<span class="rank">itself</span>' in html and "the query itself: q" in html
    assert 'class="distance"' not in html
