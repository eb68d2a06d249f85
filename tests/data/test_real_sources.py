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
    assert InputSpec(size=112).load(source.records[0].path).shape == (112, 112)


def test_skin_is_a_folder_of_colour_images(real_data):
    source = read_source(str(real_data / "isic-skin"))
    assert (source.reader, len(source.records)) == ("directory", 548)
    pixels = decode(source.records[0].path)
    assert pixels.shape[2] == 3
    assert grey(pixels).shape == pixels.shape[:2]
