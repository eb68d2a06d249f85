"""A reader takes nothing for granted: whatever is missing or of another kind in an artifact is one clear error."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import embeddings, explanation, files, index, items, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.errors import ArtifactError
from cbir_cli.stages import info

READERS = {
    "cnn.h5": lambda a: models.read(a),
    "ig.h5": lambda a: models.read(a),
    "maps.h5": lambda a: opened(a, saliency.KIND, saliency.read),
    "cnn.emb.h5": lambda a: opened(a, embeddings.KIND, embeddings.read),
    "cnn.idx.h5": lambda a: opened(a, index.KIND, index.read),
    "ex.h5": lambda a: opened(a, explanation.KIND, explanation.read),
}


def opened(path, kind, read):
    """Read everything that is lazy too."""
    with files.open_artifact(path, kind) as artifact:
        found = read(artifact)
        for part in (found, getattr(found, "embedding", None)):
            if isinstance(getattr(part, "items", None), items.Items):
                part.items.take(np.arange(len(part.items.ids))).records()
        return found


def paths_in(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append((name, isinstance(item, h5py.Dataset))))
        attributes = list(file.attrs)
    # Of many weights and labels two stand for all, and of two item tables one.
    alike = [[name for name, _ in found if part in name] for part in ("weights/", "label:", "results/obs/")]
    return [entry for entry in found if not any(entry[0] in names[2:] for names in alike)], attributes


def outcome(name, path):
    """Say whether a damaged file was read or refused; anything else is an error of ours."""
    for use in (lambda: READERS[name](str(path)), lambda: info.facts(str(path))):
        try:
            use()
        except ArtifactError as error:
            assert path.name in str(error) and "\n" not in str(error)
            return "refused"
    return "read"


# What an artifact can be read without: AnnData asks for the empty groups, and no weight is known by name.
FREE = ("layers", "obsm", "obsp", "varm", "varp", "var", "weights/", "payload")


@pytest.mark.parametrize("name", READERS)
def test_without_any_part(chain, tmp_path, name):
    objects, attributes = paths_in(chain / name)
    read = []
    for number, (part, _) in enumerate(objects):
        path = tmp_path / f"{number}.h5"
        shutil.copy(chain / name, path)
        with h5py.File(path, "r+") as file:
            del file[part]
        if outcome(name, path) == "read":
            read.append(part)
        path.unlink()
    needed = [p for p in read if not any(free in p for free in FREE) and p.split("/")[0] != "saliency_model"]
    assert not needed
    for attribute in attributes:
        path = tmp_path / "a.h5"
        shutil.copy(chain / name, path)
        with h5py.File(path, "r+") as file:
            del file.attrs[attribute]
        outcome(name, path)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("other", ["number", "text", "longer", "group", "matrix"])
def test_with_another_thing_in_its_place(chain, tmp_path, name, other):
    for number, (part, is_dataset) in enumerate(paths_in(chain / name)[0]):
        path = tmp_path / f"{number}.h5"
        shutil.copy(chain / name, path)
        with h5py.File(path, "r+") as file:
            attributes = dict(file[part].attrs)
            old = file[part][()] if is_dataset and file[part].shape else np.zeros(3)
            del file[part]
            if other == "group":
                file.create_group(part)
            elif other == "longer" and old.ndim:
                file[part] = np.concatenate([old, old[:1]])
            else:
                file[part] = {"number": 7.5, "text": "x", "longer": [1.0], "matrix": np.zeros((3, 5))}[other]
            for key, value in attributes.items():
                file[part].attrs[key] = value
        outcome(name, path)
        path.unlink()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", [7, "{", "[1, 2]", '{"a": 1}', "", np.zeros(3)], ids=str)
def test_with_other_attributes(chain, tmp_path, name, value):
    for attribute in paths_in(chain / name)[1]:
        path = tmp_path / "a.h5"
        shutil.copy(chain / name, path)
        with h5py.File(path, "r+") as file:
            file.attrs[attribute] = value
        outcome(name, path)


def test_what_was_written_is_read(chain, tmp_path):
    """A model, maps and an explanation come back as they were."""
    model = models.read(str(chain / "ig.h5"))
    models.write(str(tmp_path / "ig.h5"), model)
    assert files.verify(str(tmp_path / "ig.h5")) == files.verify(str(chain / "ig.h5"))
    assert model.saliency.model.split == models.read(str(chain / "cnn.h5")).split
    with files.open_artifact(str(chain / "maps.h5")) as artifact:
        one = saliency.read(artifact)
        names = ("method", "parameters", "input", "target", "model", "model-space", "source", "reader")
        attributes = {name: artifact.file.attrs[name] for name in names}
        more = {"attributes": attributes, "unreadable": one.unreadable, "history": artifact.history}
        saliency.write(str(tmp_path / "maps.h5"), one.maps, one.scale, one.items, **more)
    assert (tmp_path / "maps.h5").read_bytes() == (chain / "maps.h5").read_bytes()
    with files.open_artifact(str(chain / "ex.h5")) as artifact:
        explanation.write(str(tmp_path / "ex.h5"), explanation.read(artifact), history=artifact.history)
    assert (tmp_path / "ex.h5").read_bytes() == (chain / "ex.h5").read_bytes()
    with files.open_artifact(str(chain / "cnn.emb.h5")) as artifact:
        one = embeddings.read(artifact)
        embeddings.write(
            str(tmp_path / "emb.h5"), one.vectors, one.items, one.space, logits=one.logits, history=artifact.history
        )
    assert (tmp_path / "emb.h5").read_bytes() == (chain / "cnn.emb.h5").read_bytes()


FITTED = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7)}


def test_what_a_method_has_learnt_is_read_as_it_was(chain, tmp_path):
    with files.open_artifact(str(chain / "maps.h5")) as artifact:
        one = saliency.read(artifact)
        attributes = {name.replace("_", "-"): getattr(one, name) for name in
                      ("method", "parameters", "target", "model", "model_space", "source", "reader")}  # fmt: skip
        three = np.stack([one.maps[()]] * 3, axis=1)
        saliency.write(
            str(tmp_path / "maps.h5"),
            three,
            one.scale,
            one.items.take(np.arange(len(one.items.ids))),
            attributes={**attributes, "input": "rgb"},
            fitted=FITTED,
            unreadable={},
            history=[],
        )
    model = models.read(str(chain / "ig.h5"))
    fitted = replace(model.saliency, fitted=FITTED, input="rgb")
    models.write(str(tmp_path / "ig.h5"), replace(model, saliency=fitted))
    again = models.read(str(tmp_path / "ig.h5")).saliency
    with files.open_artifact(str(tmp_path / "maps.h5")) as artifact:
        maps = saliency.read(artifact)
        np.testing.assert_array_equal(maps.maps, three)
        assert artifact.file["maps"].chunks == (1, 3, 32, 32)
    for found in (maps, again):
        assert found.input == "rgb" and found.fitted.keys() == FITTED.keys()
        for name, value in FITTED.items():
            assert found.fitted[name].dtype == value.dtype
            np.testing.assert_array_equal(found.fitted[name], value)
    assert maps.space == again.space() == fitted.space()
    others = [replace(fitted, fitted={**FITTED, "a": np.array(8)}), replace(fitted, fitted={}), model.saliency]
    others += [replace(fitted, input="positive"), replace(fitted, fitted={"a": FITTED["b"], "b": FITTED["a"]})]
    assert len({one.space() for one in (fitted, *others)}) == 6


@pytest.mark.parametrize("shape", [(40, 3, 32, 32), (40, 1, 32, 32), (40, 32, 31), (40, 3, 32, 31), (39, 32, 32)])
@pytest.mark.parametrize("form", ["sum-repeat", "positive", "rgb"])
def test_maps_of_another_shape_than_their_form(chain, tmp_path, shape, form):
    path = tmp_path / "maps.h5"
    shutil.copy(chain / "maps.h5", path)
    with h5py.File(path, "r+") as file:
        del file["maps"]
        file["maps"] = np.zeros(shape, np.float16)
        file.attrs["input"] = form
    assert outcome("maps.h5", path) == ("read" if shape == (40, 3, 32, 32) and form == "rgb" else "refused")


def test_a_vector_that_is_not_finite_is_not_written(chain, tmp_path):
    with files.open_artifact(str(chain / "cnn.emb.h5")) as artifact:
        one = embeddings.read(artifact)
        for value in (np.nan, np.inf):
            vectors = np.array(one.vectors)
            vectors[5, 3] = value
            with pytest.raises(ArtifactError, match="NaN or infinity"):
                embeddings.write(str(tmp_path / "emb.h5"), vectors, one.items, one.space, history=[])
    assert not list(tmp_path.iterdir())


def test_an_index_is_sorted_by_id_and_holds_the_embedding(chain):
    with h5py.File(chain / "cnn.idx.h5") as one, h5py.File(chain / "cnn.emb.h5") as other:
        ids, before = (file["obs/_index"][()].tolist() for file in (one, other))
        assert ids == sorted(before)
        order = [before.index(key) for key in ids]
        for name in ("X", "obsm/logits", "obs/patient", "obs/label:Effusion/values"):
            np.testing.assert_array_equal(one[name][()], other[name][()][order])


def test_maps_are_scaled_to_their_largest_magnitude(chain):
    with h5py.File(chain / "maps.h5") as file:
        maps, scale = file["maps"][()].astype(float), file["scale"][()]
        largest = np.abs(maps).max(axis=(1, 2))
        assert set(largest[scale > 0]) == {1.0} and not largest[scale == 0].any()
        assert file.attrs["flat-maps"] == np.count_nonzero(scale == 0)
        assert file["maps"].chunks == (1, 32, 32)
