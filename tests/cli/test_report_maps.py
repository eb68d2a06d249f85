"""``cbir report`` of maps files: which images, which maps, and what else may stand on the same page."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from PIL import Image

from cbir_cli.images import InputSpec
from cbir_cli.records import Record


@pytest.fixture(scope="module")
def made(linked, good):
    """The chain, and maps by the same method with another start."""
    folder = linked("maps")
    good("saliency", "-m", "cnn.h5", "nih:set", "--set", "start=one", "-o", "one.h5", cwd=folder)
    return folder


class Board(HTMLParser):
    """The table of maps, its head first: of each cell the text, and the names of the pictures in it."""

    def __init__(self, html):
        super().__init__()
        html = html.replace("<wbr>", "")
        self.stored = dict(re.findall(r'<image id="(\w+)"[^>]* href="data:image/\w+;base64,([^"]+)"', html))
        self.text = " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", html, flags=re.S).split())
        self._lines = []
        self.feed(re.search(r'<div class="scroll grid".*?</table>', html, re.S)[0])
        self.heads, *self.rows = self._lines

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self._lines.append([])
        elif tag in ("th", "td"):
            self._lines[-1].append({"text": "", "uses": []})
        elif tag == "use":
            self._lines[-1][-1]["uses"].append(dict(attrs)["href"][1:])

    def handle_data(self, data):
        if self._lines and self._lines[-1]:
            cell = self._lines[-1][-1]
            cell["text"] = f"{cell['text']} {data.strip()}".strip()

    @property
    def ids(self):
        return [row[0]["text"].split()[0] for row in self.rows]

    def pixels(self, name):
        return Image.open(io.BytesIO(base64.b64decode(self.stored[name])))


def test_a_row_an_image_and_a_column_a_file(good, made):
    board = Board(good("report", "maps.h5", "one.h5", cwd=made).out)
    assert [head["text"].split("0 ")[0].strip() for head in board.heads] == [
        "Image",
        "deep-taylor (maps) start probability",
        "deep-taylor (one) start one",
    ]
    assert len(board.rows) == 6 and all(len(row) == 3 for row in board.rows)
    for row in board.rows:
        image = row[0]["uses"]
        assert len(image) == 1 and all(cell["uses"][0] == image[0] and len(cell["uses"]) == 2 for cell in row[1:])
    assert "Saliency maps" in board.text and "Similar images" not in board.text


def test_the_pictures_are_the_images_at_the_size_of_the_network_and_the_maps_are_theirs(good, made):
    board = Board(good("report", "maps.h5", "one.h5", "-k", "3", cwd=made).out)
    with h5py.File(made / "maps.h5") as file:
        ids = [key.decode() for key in file["obs/_index"][()]]
        maps, scale = file["maps"][()].astype(np.float64), file["scale"][()]
    limit = max(np.percentile(np.abs(maps[ids.index(key)]), 99.5) for key in board.ids)
    for row, key in zip(board.rows, board.ids, strict=True):
        shown = np.asarray(board.pixels(row[0]["uses"][0]))
        pixels = InputSpec(size=32).load(Record(key, made / "set" / "images" / f"{key}.png", key))
        np.testing.assert_array_equal(shown, np.rint(pixels * 255))
        alpha = np.asarray(board.pixels(row[1]["uses"][1]).convert("RGBA"))[..., 3] / 255
        expected = np.clip(maps[ids.index(key)] / limit, 0, 1) ** 0.7
        np.testing.assert_allclose(alpha, expected, atol=0.1)  # steps of a 32nd, steep at 0
        assert row[1]["text"] == f"largest {scale[ids.index(key)]:.2g}"


def test_positive_images_come_first_and_the_page_says_so(good, made, phantom):
    table = next(phantom.glob("Data_Entry*.csv")).read_text().splitlines()[1:]
    ids = [line.split(",")[0].removesuffix(".png") for line in table]
    positive = [key for key, line in zip(ids, table, strict=True) if "Effusion" in line]
    rest = [key for key in ids if key not in positive]
    assert positive and rest
    few = Board(good("report", "maps.h5", "-k", "2", cwd=made).out)
    assert few.ids == positive[:2]
    assert all("Effusion" in row[0]["text"] and "no Effusion" not in row[0]["text"] for row in few.rows)
    assert f"2 of the {len(ids)} images: first those with Effusion, in the order of the file." in few.text
    everything = Board(good("report", "maps.h5", "one.h5", "-k", "1000", cwd=made).out)
    assert everything.ids == positive + rest
    assert f"All {len(ids)} images that all maps files hold: first those with Effusion" in everything.text
    other = Board(good("report", "maps.h5", "-k", "2", "--label", "No Finding", cwd=made).out)
    assert "first those with No Finding" in other.text and not set(other.ids) & set(positive)


def test_images_by_name_in_the_order_given(good, made):
    board = Board(
        good("report", "maps.h5", "one.h5", "--images", "00000003_000, 00000001_000,00000003_000", cwd=made).out
    )
    assert board.ids == ["00000003_000", "00000001_000"]
    assert "first those with" not in board.text


def test_only_images_that_all_files_hold(good, made, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for key in ("00000001_000", "00000002_000"):
        shutil.copy(made / "set" / "images" / f"{key}.png", folder)
    good("saliency", "-m", made / "cnn.h5", folder, "-o", tmp_path / "few.h5")
    with h5py.File(tmp_path / "few.h5") as file:
        assert {key.decode() for key in file["obs/_index"][()]} == {"00000001_000", "00000002_000"}
    html = good("report", made / "maps.h5", tmp_path / "few.h5", "--root", folder, cwd=made).out
    board = Board(html)
    assert set(board.ids) == {"00000001_000", "00000002_000"}
    assert "All 2 images that all maps files hold" in board.text


def test_images_are_found_below_root_and_below_the_source_of_any_file(cbir, good, made, tmp_path):
    names = ("maps.h5", "one.h5")
    for name in names:
        shutil.copy(made / name, tmp_path / name)
    lost = cbir("report", *names, cwd=tmp_path)
    assert lost.status == 1
    assert re.fullmatch(
        r"cbir report: \S+\.png: no such image; give the folder that the images are in with --root DIR", lost.error
    )
    assert good("report", *names, "--root", made / "set", cwd=tmp_path).out == good("report", *names, cwd=made).out


def test_another_image_under_the_same_name_is_refused(cbir, good, made, tmp_path):
    copy = tmp_path / "set"
    shutil.copytree(made / "set", copy, symlinks=False)
    key = Board(good("report", "maps.h5", "-k", "1", cwd=made).out).ids[0]
    Image.new("L", (64, 64)).save(copy / "images" / f"{key}.png")
    ran = cbir("report", made / "maps.h5", "-k", "1", "--root", copy)
    assert ran.status == 1 and f"{key}.png: is not the image that {key} was made from" in ran.error
    good("saliency", "-m", "cnn.h5", f"nih:{copy}", "-o", tmp_path / "other.h5", cwd=made)
    ran = cbir("report", "maps.h5", tmp_path / "other.h5", "--images", key, cwd=made)
    assert (ran.status, ran.error) == (
        2,
        f"cbir report: --images: {key} is not the same image in all of the maps files",
    )
    assert key not in Board(good("report", "maps.h5", tmp_path / "other.h5", "-k", "1000", cwd=made).out).ids


def test_everything_on_one_page(good, made, tmp_path):
    scores = tmp_path / "scores.json"
    scores.write_bytes(
        good("evaluate", "cnn.tsv", "--raters", "ranks.csv", "--split", "split.tsv", "--format", "json", cwd=made).data
    )
    files = ("maps.h5", "ex.h5", "cnn.h5", scores, "one.h5")
    html = good("report", *files, "--raters", "ranks.csv", cwd=made).out
    alone = Board(good("report", "maps.h5", "one.h5", cwd=made).out)
    together = Board(html)
    assert together.ids == alone.ids
    assert [head["text"] for head in together.heads] == [head["text"] for head in alone.heads]
    for name in ("cases", "maps", "scores", "figures", "about"):
        assert f'href="#{name}"' in html and f'id="{name}"' in html
    assert "Similar images, and why" in html
    without = good("report", "ex.h5", "cnn.h5", scores, "--raters", "ranks.csv", cwd=made).out
    cases = re.compile(r'<section class="case".*?data-name="([^"]*)"', re.S)
    assert cases.findall(html) == cases.findall(without) != []
    assert 'class="scroll grid"' not in without


def test_the_page_is_the_same_again_alone_and_from_a_pipe(good, made):
    page = good("report", "maps.h5", "one.h5", cwd=made).out
    assert good("report", "maps.h5", "one.h5", cwd=made).out == page
    assert not re.search(r"https?://(?!www\.w3)|@import|<img|url\((?!#)", page)
    piped = good("report", "-", "one.h5", stdin=(made / "maps.h5").read_bytes(), cwd=made).out
    assert Board(piped).ids == Board(page).ids and "deep-taylor (standard input)" in Board(piped).text


def test_one_file_is_called_by_its_method_and_one_file_twice_is_numbered(good, made):
    assert Board(good("report", "one.h5", cwd=made).out).heads[1]["text"].startswith("deep-taylor 0")
    heads = Board(good("report", "one.h5", "one.h5", cwd=made).out).heads
    assert [head["text"].split(")")[0] for head in heads[1:]] == ["deep-taylor (one, 1", "deep-taylor (one, 2"]


def test_three_channels_are_shown_as_their_sum(good, made, tmp_path):
    good("saliency", "-m", "cnn.h5", "nih:set", "--set", "input=rgb", "-o", tmp_path / "rgb.h5", cwd=made)
    board = Board(good("report", "maps.h5", tmp_path / "rgb.h5", "-k", "2", cwd=made).out)
    for row in board.rows:
        one, other = (np.asarray(board.pixels(cell["uses"][1]).convert("RGBA"), float) for cell in row[1:])
        np.testing.assert_allclose(one, other, atol=20)  # a step of the colours, where float16 rounds otherwise
        assert row[1]["text"] == row[2]["text"]  # the same largest sum


def test_a_flat_map_is_said_to_be(good, made, tmp_path):
    shutil.copy(made / "one.h5", tmp_path / "flat.h5")
    with h5py.File(tmp_path / "flat.h5", "r+") as file:
        file["maps"][...] = 0
        file["scale"][...] = 0
    board = Board(good("report", tmp_path / "flat.h5", "-k", "2", cwd=made).out)
    assert [row[1]["text"] for row in board.rows] == ["map is zero everywhere"] * 2


def test_hostile_names_are_shown_and_do_nothing(good, made, tmp_path):
    evil = "a<script>pwned=1</script>.png"
    folder = tmp_path / '"><img src=x>'
    folder.mkdir()
    shutil.copy(made / "set" / "images" / "00000001_000.png", folder / "x.png")
    (folder / "list.csv").write_text(f'id,path\n"{evil}",x.png\n')
    target = tmp_path / "'><svg onload=pwned=1>.h5"
    good("saliency", "-m", made / "cnn.h5", folder / "list.csv", "-o", target)
    html = good("report", target, target, "--root", folder).out
    assert "<script>pwned" not in html and "<img" not in html and "<svg onload" not in html
    assert html.count("<script>") == 1


ERRORS = [
    (["report", "maps.h5", "--images", "nobody"], 2, "cbir report: --images: maps.h5 has no map of nobody"),
    (["report", "maps.h5", "--images", " ,"], 2, "cbir report: --images: expected ids separated by commas, found none"),
    (["report", "maps.h5", "--label", "Edemaa"], 2, "cbir report: unknown label 'Edemaa': "),
    (["report", "maps.h5", "-k", "0"], 2, "cbir report: "),
    (
        ["report", "ex.h5", "--images", "a"],
        2,
        "cbir report: --images is for maps, and no saliency artifact is given",
    ),
    (
        ["report", "ex.h5", "--root", "set"],
        2,
        "cbir report: --root is for maps and embeddings, and no such artifact is given",
    ),
    (["report", "maps.h5", "words.tsv"], 1, "cbir report: words.tsv: "),
]


@pytest.mark.parametrize(
    ("arguments", "status", "message"), ERRORS, ids=lambda v: " ".join(v) if isinstance(v, list) else None
)
def test_one_clear_line(cbir, made, arguments, status, message):
    ran = cbir(*arguments, cwd=made)
    assert (ran.status, ran.data) == (status, b"")
    assert ran.error.startswith(message)


def test_no_image_in_common_is_one_line(cbir, good, made, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    Image.new("L", (40, 40), 90).save(folder / "somebody.png")
    good("saliency", "-m", made / "cnn.h5", folder, "-o", tmp_path / "other.h5")
    ran = cbir("report", "maps.h5", tmp_path / "other.h5", cwd=made)
    assert (ran.status, ran.error) == (1, f"cbir report: no image is in all of maps.h5, {tmp_path}/other.h5")


def test_maps_that_are_not_finite_are_refused(cbir, made, tmp_path):
    shutil.copy(made / "one.h5", tmp_path / "nan.h5")
    with h5py.File(tmp_path / "nan.h5", "r+") as file:
        file["maps"][...] = np.nan
    ran = cbir("report", tmp_path / "nan.h5", cwd=made)
    assert ran.status == 1 and "not finite" in ran.error


def test_the_page_names_no_folder_of_the_machine(good, made, tmp_path):
    shutil.copy(made / "maps.h5", tmp_path / "maps.h5")
    html = good("report", tmp_path / "maps.h5", tmp_path / "maps.h5", "--root", made / "set").out
    assert str(tmp_path) not in html and str(made) not in html
