"""Images as a reader sees them: whole, with their proportions, in the window that is asked for."""

import base64
import io
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image

from cbir_cli.artifacts import items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.artifacts.ratings import Case, Key
from cbir_cli.errors import SourceError
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages.rating_pictures import Whole, pictures_of


@pytest.mark.parametrize(("width", "height", "shape"), [(200, 100, (25, 50)), (90, 180, (50, 25)), (40, 30, (30, 40))])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_proportions_are_kept_and_nothing_is_enlarged(tmp_path, width, height, shape, mode):
    path = tmp_path / "a.png"
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(path)
    found = Whole(size=50).load_here(Record(id="a", path=path, relative="a.png"))
    assert found.shape == shape + (3,) * (mode == "RGB") and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    rows = found.reshape(shape[0], -1).mean(axis=1)  # a ramp from top to bottom stays one
    assert np.abs(rows - (np.arange(shape[0]) + 0.5) / shape[0]).max() < 0.02


@pytest.fixture
def volumes(tmp_path):
    """An index with a slice of each of three volumes, of 0, 50 and 100 Hounsfield units, and the key of a study."""
    records = []
    for name, units in (("query", 0), ("one", 50), ("two", 100)):
        path = tmp_path / f"{name}.nii.gz"
        values = np.full((32, 32, 2), -1000, np.int16)  # air around a block
        values[8:24, 8:24] = units
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        records.append(Record(id=name, path=path, relative=path.name, part=1))
    contents = [content_hash(record.path, record.part) for record in records]
    table = items.from_records(records, contents, Pseudonyms(None))
    key = Key("s", "", {"c": Case("c", 0, 1, ("q", "query"), {"x": "one", "y": "two"})})

    def run(stored, window, root=str(tmp_path)):
        space = SimpleNamespace(input=stored, source="elsewhere")
        index = SimpleNamespace(embedding=SimpleNamespace(space=space, items=table))
        paths = {"query": records[0].path}
        found = pictures_of(index, table.take([0]), paths, key, root, size=64, window=window, workers=1)
        data = {code: base64.b64decode(picture.address.partition(",")[2]) for code, picture in found.items()}
        return {code: np.asarray(Image.open(io.BytesIO(one)))[12:20, 12:20].mean() for code, one in data.items()}

    return run


def test_the_window_is_the_models_unless_one_is_given(volumes):
    assert volumes({"window": [0.0, 100.0]}, None) == pytest.approx({"q": 0, "x": 127.5, "y": 255}, abs=2)
    assert volumes({"window": [0.0, 100.0]}, (-100.0, 100.0)) == pytest.approx({"q": 127.5, "x": 191, "y": 255}, abs=2)
    assert volumes({}, (50.0, 150.0)) == pytest.approx({"q": 0, "x": 0, "y": 127.5}, abs=2)


def test_files_that_are_not_there(volumes):
    with pytest.raises(SourceError, match="no such image"):
        volumes({"window": [0.0, 100.0]}, None, root="nowhere")
