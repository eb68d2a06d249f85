"""All figures: the same bytes, text that can be read in print, and pixels at the resolution that is promised."""

import io
import re

import matplotlib
import numpy as np
import pytest
from conftest import blob, picture
from PIL import Image

from cbir_cli.reports import (
    contact_sheet,
    embedding_map,
    explanation_figures,
    figures,
    hounsfield,
    reliability,
    training_figures,
)
from cbir_cli.reports.drawing import DPI, SMALLEST, Drawing, wrapped

NAME = "<b>&$x$" + "n" * 60


def made() -> dict[str, Drawing]:
    """One of each, with a name that is markup, mathematics and too long."""
    rng = np.random.default_rng(0)
    groups = [embedding_map.Group(NAME, np.arange(4), [0], [picture(1)]), embedding_map.Group("b", np.arange(4, 9))]
    cells = [contact_sheet.Cell(picture(i), frame, NAME, NAME, blob(i), NAME)
             for i, frame in enumerate(contact_sheet.FRAMES)]  # fmt: skip
    edges = np.linspace(0, 1, 11)
    bins = reliability.Reliability(edges[:-1], edges[1:], np.arange(10), edges[:-1] + 0.05, edges[:-1], "ECE 0.05")
    return {
        "box_plot": figures.box_plot({NAME: {NAME: [0.1, 0.4], "rater R2": [0.5]}}, {NAME: 0.2}, raters=["rater R2"]),
        "history": training_figures.history({NAME: {NAME: [1.0, 0.5]}}, best=1),
        "over_runs": training_figures.over_runs({NAME: {NAME: [[0.1, 0.2], [0.3, 0.2]]}}),
        "embedding_map": embedding_map.embedding_map(rng.normal(size=(10, 2)), groups),
        "contact_sheet": contact_sheet.contact_sheet([contact_sheet.Line(NAME, [*cells, None])], [NAME], note=NAME),
        "panels": hounsfield.panels(rng.normal(0, 100, (20, 30)), {NAME: (-100.0, 100.0)}),
        "histogram": hounsfield.histogram(np.arange(10), np.arange(11.0), {NAME: (2.0, 5.0)}, of=NAME),
        "reliability": reliability.reliability({NAME: bins}),
        "mean_curves": explanation_figures.mean_curves(
            {NAME: {"insertion": {"map": rng.random((3, 5))}}}, {NAME: np.linspace(0, 1, 5)}
        ),
        "classes": explanation_figures.classes(
            [NAME, "b"], np.stack([picture(1), picture(2)]), np.stack([blob(1), blob(2)]), [1, 2]
        ),
    }


NAMES = ("box_plot", "history", "over_runs", "embedding_map", "contact_sheet", "panels", "histogram", "reliability",
         "mean_curves", "classes")  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> dict[str, tuple[Drawing, bytes]]:
    return {name: (one, one.png()) for name, one in made().items()}


@pytest.fixture(scope="module")
def again() -> dict[str, tuple[Drawing, bytes]]:
    """The same, drawn by somebody with settings of his own."""
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20, "svg.fonttype": "path", "axes.facecolor": "red"}):
        found = {name: (one, one.png()) for name, one in made().items()}
        assert matplotlib.rcParams["font.size"] == 30  # which are left alone
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_whatever_the_settings(name: str, drawn, again) -> None:
    svg, png = drawn[name]
    assert again[name][0] == svg and again[name][1] == png
    assert "<metadata" not in svg and "<script" not in svg and "<b>" not in svg


@pytest.mark.parametrize("name", NAMES)
def test_pixels_have_the_resolution_and_no_words_of_a_program(name: str, drawn) -> None:
    picture = Image.open(io.BytesIO(drawn[name][1]))
    inches = drawn[name][0].figure().get_size_inches()
    np.testing.assert_allclose(np.array(picture.size) / DPI, inches, atol=1.5 / DPI)
    assert set(picture.info) <= {"dpi"} and round(picture.info["dpi"][0]) == DPI == 300


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_too_small_and_nothing_is_cut_off(name: str, drawn) -> None:
    from matplotlib.text import Text

    shown = [t for t in drawn[name][0].figure().findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert shown and min(t.get_fontsize() for t in shown) >= SMALLEST == 7
    pixels = np.asarray(Image.open(io.BytesIO(drawn[name][1])).convert("L"))
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.min() == 255, "something reaches the edge of the figure"
    assert pixels.min() < 100


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("seborrheic_keratosis", ["seborrheic_", "keratosis"]),
        ("a_b c", ["a_b c"]),
        ("a _ b", ["a _ b"]),
        ("no Effusion at all", ["no Effusion at", "all"]),
        ("", [""]),
    ],
)
def test_long_names_break_at_spaces_and_underscores_and_lose_nothing(text, lines):
    assert wrapped(text, 15).split("\n") == lines


def test_the_last_bit_of_a_layout_is_in_no_name() -> None:
    """Matplotlib's solver goes by memory addresses; what it lays out differs by less than is printed."""

    def panel(left: float) -> Drawing:
        def draw(figure) -> None:
            figure.set_layout_engine("none")
            for place, height in ((0, 0.3), (0.5, 0.4)):
                axes = figure.add_axes((left, place, 0.4, height))
                axes.plot([0, 1], [0, 1], clip_on=True)
                axes.imshow(np.eye(3))

        return Drawing(draw, (3, 3))

    one, other = panel(0.1), panel(np.nextafter(0.1, 1))
    assert one == other and len(set(re.findall(r"url\(#(\w+)\)", one))) == one.count("<clipPath") == 2
