"""Images of queries and results from their files: in the order of the table on any number of threads, or refused."""

import logging

import numpy as np
import pytest
from PIL import Image

from cbir_cli import progress
from cbir_cli.artifacts import items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.images import InputSpec
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages.pictures import Pictures

COUNT = 40


@pytest.fixture
def stored(tmp_path):
    """Images of one level each, in an order that is not that of their names, and their table."""
    levels = np.random.default_rng(0).permutation(COUNT)
    records = []
    for level in levels.tolist():
        path = tmp_path / f"{level:02}.png"
        Image.new("L", (16, 16), level).save(path)
        records.append(Record(id=f"i{level}", path=path, relative=path.name))
    contents = [content_hash(record.path) for record in records]
    return levels, {r.id: r.path for r in records}, items.from_records(records, contents, Pseudonyms(None))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_in_the_order_of_the_table(stored, monkeypatch, caplog, workers, colour):
    levels, paths, table = stored
    monkeypatch.setattr(progress, "_LINE_EVERY", 0)
    with caplog.at_level(logging.INFO, "cbir"):
        pixels = Pictures(InputSpec(size=16, colour=colour), paths, {}, workers).load(paths, table)
    assert pixels.shape == (COUNT, 16, 16) + (3,) * (colour == "rgb") and pixels.dtype == np.float32
    assert (
        np.rint(pixels.reshape(COUNT, -1) * 255).astype(int).tolist()
        == np.repeat(levels[:, None], pixels[0].size, 1).tolist()
    )
    assert caplog.messages[-1].startswith(f"reading images: {COUNT} of {COUNT}, ")


def test_no_images(stored):
    _, paths, table = stored
    assert Pictures(InputSpec(size=16), paths, {}).load(paths, table.take([])).shape == (0, 16, 16)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_file_that_is_not_there_not_the_same_or_none(stored, workers):
    _, paths, table = stored
    load = Pictures(InputSpec(size=16), paths, {}, workers).load
    path = paths["i7"]
    Image.new("L", (16, 16), 200).save(path)
    with pytest.raises(SourceError, match=r"07\.png: is not the image that i7 was made from; --root DIR names"):
        load(paths, table)
    path.write_bytes(b"no image")
    contents = table["content"].copy()
    contents[table.ids == "i7"] = content_hash(path)
    with pytest.raises(ImageError, match=r"07\.png: "):
        load(paths, table.replace(content=contents))
    path.unlink()
    with pytest.raises(SourceError, match=r"07\.png: no such image"):
        load(paths, table)
