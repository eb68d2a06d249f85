"""Synthetic galleries: smooth random pictures stand for radiographs, blobs for saliency."""

from collections.abc import Callable, Iterator

import browsing
import numpy as np
import pytest

from cbir_cli.reports.board import Board, Column, Line
from cbir_cli.reports.gallery import EXPERT, Case, Neighbour, Row, Tile
from cbir_cli.reports.look import Look

HOSTILE = (
    "<script>alert(1)</script>",
    "<script>pwned=1</script>",
    '"><img src=x onerror="pwned=1">',
    "'><svg onload=pwned=1>",
    "{{ 7*7 }}$x$",
)


def picture(seed: int, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = sum(np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6)) for _ in range(4))
    return np.clip(120 + 28 * waves + rng.normal(0, 4, (side, side)), 0, 255).astype(np.uint8)


def blob(seed: int, side: int = 48, signed: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    values = np.exp(-((x - rng.uniform(0.2, 0.8)) ** 2 + (y - rng.uniform(0.2, 0.8)) ** 2) * 30)
    return (values - 0.3 if signed else values).astype(np.float32)


@pytest.fixture
def gallery() -> Callable[..., list[Case]]:
    """Build queries over a catalogue of ten images; later queries disagree more often."""

    def build(queries: int = 3, results: int = 4, names: Callable[[int], str] = "item_{:02d}.png".format) -> list[Case]:
        labels = ["Effusion", "No Finding"]
        catalogue = [picture(i) for i in range(10)]
        cases = []
        for q in range(queries):
            rows = []
            for m, method in enumerate((EXPERT, "SSIM", "IG")):
                found = []
                for r in range(results):
                    i = (q + r * (m + 1)) % 10
                    agrees = None if (method, r) == ("SSIM", 3) else r >= q
                    tile = Tile(
                        names(i), catalogue[i], labels[not agrees], {"IG": Look(blob(i))} if method == "IG" else {}
                    )
                    distance = None if method == EXPERT else 0.25 * (r + 1)
                    found.append(Neighbour(tile, r + 1, distance, agrees, (i - q) % 10 + 1))
                rows.append(
                    Row(
                        method,
                        found,
                        "" if m == 0 else "nDCG@4 0.80",
                        {"IG": Look(blob(90 + q))} if method == "IG" else {},
                        rater=m == 0,
                        reference=m == 0,
                    )
                )
            query = Tile(names(90 + q), picture(90 + q), "Effusion")
            cases.append(Case(query, "Effusion", rows))
        return cases

    return build


@pytest.fixture
def board() -> Callable[..., Board]:
    """Build a board of images by methods: every second method has maps with both signs, the last image a zero map."""

    def build(lines: int = 3, columns: int = 3, name: Callable[[int], str] = "item_{:02d}.png".format) -> Board:
        heads = [Column(f"method-{c}", f"start {c}" if c else "") for c in range(columns)]
        rows = []
        for i in range(lines):
            maps = [blob(10 * i + c, signed=bool(c % 2)) for c in range(columns)]
            if i == lines - 1:
                maps[-1] = np.zeros((48, 48), np.float32)
            rows.append(Line(Tile(name(i), picture(i), "Effusion"), maps, [f"largest {c}" for c in range(columns)]))
        return Board(heads, rows, "Chosen by hand.")

    return build


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Iterator[object]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browsing.CHROMIUM
    for flag in (*browsing.FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(browsing.DRIVER))
    yield chrome
    chrome.quit()


@pytest.fixture
def browser(driver, tmp_path) -> browsing.Browser:
    return browsing.Browser(driver, tmp_path)
