"""Qrels as text."""

import pytest

from cbir_cli.artifacts.qrels import lines, read_qrels
from cbir_cli.errors import ArtifactError, SourceError


def read(tmp_path, text):
    (tmp_path / "q.qrels").write_text(text)
    return read_qrels(tmp_path / "q.qrels")


def test_what_is_written_is_read(tmp_path):
    rows = [
        ((None, None, "a b"), "i%1", 2),
        ((None, None, "a b"), "{x", 0),
        ((None, None, "1:2:c"), "é\u00a0", 1),
        ((42, 7, "d"), "x", 11),
    ]
    text = "".join(lines(rows))
    assert text.splitlines()[0] == "a%20b 0 i%251 2" and text.splitlines()[3] == "42:7:d 0 x 11"
    assert all(len(line.split()) == 4 for line in text.splitlines())
    found = read(tmp_path, text)
    assert [(key, image, grade) for key, of in found.items() for image, grade in of.items()] == rows


def test_what_is_not_judged_is_left_out(tmp_path):
    found = read(tmp_path, "q 0 a -1\nq\t0  b\t1\n\nother Q0 c -2\n")
    assert found == {(None, None, "q"): {"b": 1}, (None, None, "other"): {}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("q 0 a 1\nq 0 b\n", "line 2: expected query 0 id grade, found 'q 0 b'"),
        ("q 0 a 1.5\n", "line 1: expected query 0 id grade, a grade that is an integer, found '1.5'"),
        ("q 0 a high\n", "found 'high'"),
        ("q 0 a 1\nq 0 a 0\n", "line 2: query 'q' has the image 'a' twice"),
        ("q 0 a -1\nq 0 a 2\n", "line 2: query 'q' has the image 'a' twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(SourceError) as raised:
        read(tmp_path, text)
    assert words in str(raised.value) and "q.qrels" in str(raised.value)


def test_a_name_that_cannot_be_written():
    with pytest.raises(ArtifactError):
        list(lines([((None, None, ""), "a", 1)]))
    with pytest.raises(SourceError, match=r"no\.qrels: cannot be read"):
        read_qrels("no.qrels")
