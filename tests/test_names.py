"""Which names are hidden, and how they are found again."""

import hashlib
import hmac
import uuid

import pytest

from cbir_cli import names
from cbir_cli.artifacts.pseudonyms import Pseudonyms

HIDE = Pseudonyms(b"k" * 32)


def stand_in(text):
    return hmac.new(b"k" * 32, text.encode(), hashlib.sha256).hexdigest()[:16]


def test_stand_ins():
    """Sixteen digits of the HMAC; of a UID a UUID of version 8 as a UID."""
    assert HIDE("MRN-1") == stand_in("MRN-1") and HIDE("") == ""
    made = HIDE("1.2.840.113619.2.55")
    number = uuid.UUID(int=int(made.removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122) and len(made) <= 64
    digest = hmac.new(b"k" * 32, b"1.2.840.113619.2.55", hashlib.sha256).digest()
    assert number.bytes[:6] == digest[:6] and number.bytes[9:] == digest[9:16]
    assert names.is_uid(made) and not names.looks_like(made)
    assert names.looks_like(f"2.25.{uuid.UUID('12345678-1234-4234-8234-123456789abc').int}") == ["UID"]
    assert len({HIDE(f"1.2.840.{i}") for i in range(5000)}) == 5000


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("DOE^JANE", ["person name"]),
        ("1.2.840.10008.5", ["UID"]),
        ("CT_19620304_a", ["date"]),
        ("2024-02-29", ["date"]),
        ("jane.doe@example.org", ["e-mail"]),
        ("/home/jane/x.png", ["absolute path"]),
        ("C:\\scans\\x", ["absolute path"]),
        ("view1_frontal", []),
        ("patient00001/study1/view1_frontal.jpg", []),
        ("BACTERIA-1910202-0001", []),
        ("ISIC_0012345", []),
        ("00000061_012.png", []),
        ("2.10.0+cpu", []),
        ("0.20200101", []),
        ("a19620304b19620304", []),
        (stand_in("x") + "19620304", []),
        ("and/or", []),
        ("S0140673620303706", []),
        ("1.19620304", []),
        ("20241301", []),
    ],
)
def test_what_looks_like_an_identifier(text, kinds):
    assert names.looks_like(text) == kinds


@pytest.mark.parametrize(
    ("name", "identifier", "found"),
    [
        ("doe_jane-ap.png", "DOE^JANE", True),
        ("img12345.png", "0012345", True),
        ("img0012345.png", "12345", True),
        ("image10.png", "1", False),
        ("image10.png", "10", True),
        ("p7_a.png", "7", True),
        ("ann.png", "an", False),
        ("study3", "P00001/study3", True),
        ("a.png", "", False),
    ],
)
def test_a_name_holds_an_identifier(name, identifier, found):
    assert names.holds(name, [identifier]) is found
    assert (names.shown(name, HIDE, [identifier]) == name) is not found


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.dcm", ("a", ".dcm")),
        ("v.nii.gz", ("v", ".nii.gz")),
        ("1.2.840.7", ("1.2.840.7", "")),
        ("IM.DOE", ("IM.DOE", "")),
        ("IM.DCM", ("IM", ".DCM")),
        ("jane.gz", ("jane", ".gz")),
    ],
)
def test_only_usual_endings_stay(name, parts):
    assert names.cut(name) == parts
    assert names.hidden(f"../{name}", HIDE) == f"../{HIDE(parts[0])}{parts[1]}"


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("P/1.2.3", "P/1.2.3.dcm", "{P}/{1.2.3}"),
        ("P/a.dcm", "P/a.dcm", "{P}/{a}.dcm"),
        ("P/a/0003", "P/a.dcm", "{P}/{a}/0003"),
        ("P/a#3", "P/a.dcm", "{P}/{a}#3"),
        ("P/series-2/0001", "P/S/a.dcm", "{P}/series-2/0001"),
        ("P/series-48151623/0001", "P/S/a.dcm", "{P}/{series-48151623}/0001"),
        ("P/1.2.840.7", "P/1.2.840.7", "{P}/{1.2.840.7}"),
        ("own name", "P/a.dcm", "{own name}"),
    ],
)
def test_ids_follow_their_paths(key, old, new):
    wanted = new
    for part in ("P", "1.2.3", "a", "series-48151623", "1.2.840.7", "own name"):
        wanted = wanted.replace(f"{{{part}}}", HIDE(part))
    assert names.shown_id(key, old, names.hidden(old, HIDE), HIDE, every=True) == wanted


def test_a_hidden_file_is_found(tmp_path):
    path = tmp_path / "DOE^JANE" / "plain" / "1.2.840.7"
    path.parent.mkdir(parents=True)
    path.touch()
    find = names.Finder(HIDE)
    assert find(tmp_path, names.hidden("DOE^JANE/plain/1.2.840.7", HIDE)) == path
    assert find(tmp_path, names.shown("DOE^JANE/plain/1.2.840.7", HIDE)) == path
    assert find(tmp_path, "DOE^JANE/plain/1.2.840.7") == path
    assert names.Finder(Pseudonyms(b"l" * 32))(tmp_path, names.hidden("DOE^JANE", HIDE)) is None
