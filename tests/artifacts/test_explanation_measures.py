"""What an explanation artifact may hold beside its maps: written where it is there, read back, refused if it is odd."""

import json
import shutil
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import explanation, files
from cbir_cli.artifacts.explanation import Classes, Curves, Measures, Randomisation
from cbir_cli.errors import ArtifactError

STEPS, LAYERS = 5, ["classifier", "features.norm5"]
GROUPS = ("map_what", "measures", "randomisation", "classes")


def read(path):
    with files.open_artifact(str(path), explanation.KIND) as artifact:
        return explanation.read(artifact), artifact.history


def same(one, other):
    """Compare dataclasses of arrays, to any depth."""
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name))
            for f in fields(one)
            if f.name not in ("queries", "results")
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module")
def full(chain, tmp_path_factory):
    """An explanation whose every second map is the uncertainty of the one before it, with all that it may hold."""
    plain, history = read(chain / "ex.h5")
    count, size = len(plain.maps), plain.maps.shape[1]
    draw = np.random.default_rng(0)

    def curves():
        return draw.random((count, STEPS), np.float32)

    whole = replace(
        plain,
        **{name: np.repeat(getattr(plain, name), 2, axis=0) for name in ("scale", "map_pair", "map_on")},
        maps=np.stack([plain.maps, plain.maps / np.float16(2)], axis=1).reshape(-1, size, size),
        map_what=np.tile(np.array([0, 1], np.int8), count),
        measures=Measures(
            curves(), curves(), Curves(curves(), curves()), Curves(curves(), curves()),
            {"steps": STEPS - 1, "fill": "zeros"}, np.linspace(0, 1, STEPS),
        ),
        randomisation=Randomisation(
            LAYERS, "signed", *(np.linspace(-1, 1, count * 2, dtype=np.float32).reshape(count, 2) for _ in range(2))
        ),
        classes=Classes(
            ["healthy", "sick"], plain.query_images[:2], plain.maps[:2].astype(np.float32), np.array([3, 4], np.int32)
        ),
    )  # fmt: skip
    whole.randomisation.cascade[0, 0] = np.nan
    path = tmp_path_factory.mktemp("full") / "full.h5"
    explanation.write(str(path), whole, history=history)
    return whole, path


def test_all_of_it_comes_back(full):
    whole, path = full
    found, _ = read(path)
    assert same(found, whole)
    assert not same(replace(found, measures=replace(found.measures, random_map=Curves())), whole)
    with h5py.File(path) as file:
        assert set(GROUPS) < set(file)
        assert set(file["measures"]) == {"insertion", "deletion", "random-map", "random-model"}
        assert json.loads(file["measures"].attrs["fractions"]) == [0, 0.25, 0.5, 0.75, 1]
        assert json.loads(file["randomisation"].attrs["layers"]) == LAYERS
        assert file["randomisation"].attrs["sign"] == "signed"
        assert json.loads(file["classes"].attrs["names"]) == ["healthy", "sick"]


def test_every_other_map_is_importance(full):
    found, _ = read(full[1])
    assert found.importance.tolist() == list(range(0, len(found.maps), 2))


def test_a_file_without_any_of_it_is_importance_alone(chain):
    found, _ = read(chain / "ex.h5")
    assert len(found.maps) and not found.map_what.any() and found.map_what.dtype == np.int8
    assert found.measures is found.randomisation is found.classes is None
    assert found.importance.tolist() == list(range(len(found.maps)))
    with h5py.File(chain / "ex.h5") as file:
        assert not set(GROUPS) & set(file)


@pytest.mark.parametrize("lost", ["insertion", "deletion", "random-map", "random-model", "random-map/insertion"])
def test_a_part_of_the_measures_may_be_absent(full, tmp_path, lost):
    shutil.copy(full[1], path := tmp_path / "part.h5")
    with h5py.File(path, "r+") as file:
        del file["measures"][lost]
    found, history = read(path)
    curves, _, curve = lost.replace("-", "_").rpartition("/")
    if lost.startswith("random-"):
        expected = replace(full[0].measures.random_map, insertion=None) if curve == "insertion" else Curves()
        measures = replace(full[0].measures, **{curves or curve: expected})
    else:
        measures = replace(full[0].measures, **{curve: None})
    assert same(found.measures, measures)
    explanation.write(str(tmp_path / "again.h5"), found, history=history)
    assert same(read(tmp_path / "again.h5")[0].measures, measures)


def change(path, value=None, *, index=None, attribute=None):
    def apply(file):
        if attribute:
            file[path].attrs[attribute] = value
        elif index is not None:
            file[path][index] = value
        else:
            old = file[path][()]
            del file[path]
            if value is not None:
                file[path] = value(old)

    return apply


ODD = {
    "a row too many": change("measures/insertion", lambda old: np.concatenate([old, old[:1]])),
    "a step too many": change("measures/random-map/deletion", lambda old: np.concatenate([old, old[:, :1]], axis=1)),
    "double": change("measures/deletion", lambda old: old.astype(np.float64)),
    "below zero": change("measures/insertion", -0.1, index=(0, 0)),
    "above one": change("measures/random-model/insertion", 1.1, index=(0, 0)),
    "no number": change("measures/deletion", np.nan, index=(0, 0)),
    "fractions that fall": change("measures", "[0, 0.5, 0.4, 0.7, 1]", attribute="fractions"),
    "fractions that are none": change("measures", "[0, 0.2, NaN, 0.7, 1]", attribute="fractions"),
    "fractions that end early": change("measures", "[0, 0.2, 0.4, 0.6, 0.8]", attribute="fractions"),
    "one fraction": change("measures", "1", attribute="fractions"),
    "parameters that are a list": change("measures", "[1]", attribute="parameters"),
    "a layer too few": change("randomisation", '["classifier"]', attribute="layers"),
    "layers that are no names": change("randomisation", "[1, 2]", attribute="layers"),
    "another sign": change("randomisation", "both", attribute="sign"),
    "correlation above one": change("randomisation/cascade", 1.5, index=(0, 0)),
    "endless correlation": change("randomisation/independent", -np.inf, index=(0, 0)),
    "a class too few": change("classes", '["sick"]', attribute="names"),
    "an empty class": change("classes/count", 0, index=0),
    "small averages": change("classes/maps", lambda old: old[:, :-1]),
    "averages that are none": change("classes/maps", np.nan, index=(0, 0, 0)),
    "grey as float": change("classes/images", lambda old: old.astype(np.float32)),
    "no count": change("classes/count"),
    "a map that is none": change("maps", np.nan, index=(0, 0, 0)),
    "an endless map": change("maps", -np.inf, index=(1, 2, 3)),
    "a scale that is none": change("scale", np.nan, index=0),
    "a negative scale": change("scale", -1, index=0),
    "a map on neither image": change("map_on", 2, index=0),
    "a map before the query": change("map_on", -1, index=0),
    "a distance that is none": change("pairs/distance", np.nan, index=0),
    "an endless distance": change("pairs/distance", np.inf, index=0),
    "a target that is no name": change("/", "[1]", attribute="targets"),
    "targets that are one name": change("/", '"abc"', attribute="targets"),
    "targets that are a table": change("/", '{"a": 1}', attribute="targets"),
    "a third kind of map": change("map_what", 2, index=0),
    "all importance, so too few rows": change("map_what", lambda old: old * 0),
    "kinds of too few maps": change("map_what", lambda old: old[:-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_refused(full, tmp_path, name):
    shutil.copy(full[1], path := tmp_path / "odd.h5")
    with h5py.File(path, "r+") as file:
        ODD[name](file)
    with pytest.raises(ArtifactError, match=r"odd\.h5: damaged: ") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("group", GROUPS)
def test_something_else_in_the_place_of_a_group(full, tmp_path, group):
    for number, other in enumerate((7.5, "x", np.zeros(3), None)):
        shutil.copy(full[1], path := tmp_path / f"{number}.h5")
        with h5py.File(path, "r+") as file:
            del file[group]
            if other is None:
                file.create_group(group)
            else:
                file[group] = other
        with pytest.raises(ArtifactError, match=rf"{number}\.h5: damaged: "):
            read(path)
