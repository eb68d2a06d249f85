"""Counts on the real images, as their README states them."""

from collections import Counter

import pytest

from cbir_cli.data import read_source
from cbir_cli.images import InputSpec, decode, grey

pytestmark = pytest.mark.real


def test_nih(real_data):
    source = read_source(str(real_data / "nih-chest"))
    assert source.reader == "nih"
    assert len(source.records) == source.flow.read == 861
    assert source.flow.notes == []
    assert len({record.patient for record in source.records}) == 581
    positive = Counter(name for record in source.records for name, code in record.labels.items() if code == 1)
    # Counted in the table with awk: the README rounds.
    assert (positive["No Finding"], positive["Effusion"]) == (494, 68)
    assert Counter(r.view for r in source.records if r.labels["No Finding"]) == {"AP": 337, "PA": 157}
    assert decode(source.records[0].path).shape == (256, 256)


def test_kermany(real_data):
    source = read_source(str(real_data / "kermany-pneumonia"))
    assert source.reader == "imagefolder"
    assert Counter(tuple(sorted(record.labels.items())) for record in source.records) == {
        (("NORMAL", 0), ("PNEUMONIA", 1)): 700,
        (("NORMAL", 1), ("PNEUMONIA", 0)): 700,
    }
    assert all(record.patient for record in source.records)
    # Grouped with the prefix NORMAL2 and with the disease aside: 578 of normal, 551 of ill children.
    assert len({record.patient for record in source.records}) == 1129
    assert InputSpec(size=112).load(source.records[0]).shape == (112, 112)


def test_kermany_with_a_pattern(real_data):
    source = read_source(str(real_data / "kermany-pneumonia"), patient=r"(person\d+|IM-\d+)")
    assert source.reader == "imagefolder"
    assert len({record.patient for record in source.records}) == 1129
    assert source.flow.notes == ["classes: NORMAL 700, PNEUMONIA 700"]


def test_skin(real_data):
    source = read_source(str(real_data / "isic-skin"))
    assert (source.reader, len(source.records), source.flow.read) == ("isic2017", 548, 548)
    counts = {name: sum(record.labels[name] for record in source.records) for name in source.records[0].labels}
    assert counts == {"melanoma": 153, "seborrheic_keratosis": 0, "nevus": 395}
    assert source.flow.notes == ["ISIC-2017_Training_Part3_GroundTruth.csv: 548 rows, as published 2,000"]
    pixels = decode(source.records[0].path)
    assert pixels.shape[2] == 3
    assert grey(pixels).shape == pixels.shape[:2]
