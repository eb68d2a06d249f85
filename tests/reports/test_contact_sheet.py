"""Contact sheets: which image stands where, in which frame, with which words and under which map."""

import io

import numpy as np
import pytest
from conftest import blob, picture
from PIL import Image

from cbir_cli.errors import ShapeError
from cbir_cli.reports import contact_sheet, overlay
from cbir_cli.reports.contact_sheet import DISPUTED, FRAMES, OTHER, QUERY, SAME, Cell, Line


def test_images_stand_in_their_row_and_column_in_their_frame() -> None:
    cells = [Cell(picture(0), QUERY), Cell(picture(1), SAME, "1"), Cell(picture(2), OTHER, "10", "least similar")]
    other = [None, Cell(picture(3), DISPUTED, "2"), Cell(None, SAME)]
    figure = contact_sheet.contact_sheet([Line("IG", cells), Line("R2", other)], ["query"]).figure()
    axes = figure.axes
    shown = [one.images[0].get_array() for one in axes if one.images]
    assert [np.array_equal(x, picture(i)) for i, x in enumerate(shown)] == [True] * 4
    places = [one.get_position() for one in axes]
    assert places[0].y0 == places[1].y0 == places[2].y0 > places[3].y1  # a line is above the next one
    assert places[0].x1 < places[1].x0 < places[1].x1 < places[2].x0 and places[3].x0 == places[1].x0
    assert [one.get_title() for one in axes] == ["", "1", "10", "2", ""]
    assert [one.get_xlabel() for one in axes] == ["", "", "least similar", "", ""]
    assert axes[4].texts[0].get_text() == "no image"
    styles = [(one.spines["left"].get_edgecolor(), one.spines["left"].get_linestyle()) for one in axes]
    assert len(set(map(str, styles[:4]))) == 4 and styles[4] == styles[1]
    assert {text.get_text() for text in figure.texts} >= {"IG", "R2", "query"}
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == [name for name in FRAMES if name != "label not known"]


def test_maps_of_one_explainer_share_a_scale_and_those_of_another_do_not() -> None:
    small, large = blob(1), 4 * blob(1)
    cells = [Cell(picture(i), SAME, map=values, explainer=name)
             for i, (values, name) in enumerate([(small, "a"), (large, "a"), (small, "b")])]  # fmt: skip
    drawn = [one.images[1].get_array() for one in contact_sheet.contact_sheet([Line("", cells)]).figure().axes]
    for seen, values, together in zip(
        drawn, (small, large, small), ([small, large], [small, large], [small]), strict=True
    ):
        scale = overlay.scale(together)
        expected = Image.open(io.BytesIO(overlay.heat(values, scale, (48, 48)))).convert("RGBA")
        assert np.array_equal(seen, np.asarray(expected))
    assert drawn[0][..., 3].max() < drawn[1][..., 3].max() == drawn[2][..., 3].max()


def test_frames_differ_by_pattern_too() -> None:
    patterns = [str(FRAMES[name][1:]) for name in FRAMES]
    assert len(set(patterns)) == len(FRAMES)


@pytest.mark.parametrize("lines", [[], [Line("a", [])], [Line("a", [None])], [Line("a", [Cell(picture(0), "blue")])]])
def test_what_cannot_be_drawn_is_refused(lines) -> None:
    with pytest.raises(ShapeError):
        contact_sheet.contact_sheet(lines)
