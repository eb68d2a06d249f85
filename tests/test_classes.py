from types import SimpleNamespace

import pytest

from cbir_cli import classes
from cbir_cli.errors import UsageError
from cbir_cli.records import MISSING

THREE = ["normal", "pneumonia", "COVID-19"]


@pytest.mark.parametrize(
    ("codes", "labels", "found"),
    [
        ({"normal": 0, "pneumonia": 1, "COVID-19": 0}, THREE, ["pneumonia"]),
        ({"normal": 0, "pneumonia": 0, "COVID-19": 0}, THREE, ["none"]),
        ({"normal": 0, "pneumonia": 1, "COVID-19": 1}, THREE, ["pneumonia", "COVID-19"]),
        ({"normal": 0, "pneumonia": -1, "COVID-19": 0}, THREE, []),
        ({"normal": 0, "pneumonia": 0}, THREE, []),
        ({"Effusion": 1}, ["Effusion"], ["Effusion"]),
        ({"Effusion": 0, "Mass": 1}, ["Effusion"], ["no Effusion"]),
        ({"Effusion": -1}, ["Effusion"], []),
        ({"Effusion": MISSING}, ["Effusion"], []),
        ({"Effusion": 1}, [], []),
    ],
)
def test_classes_of_an_image(codes, labels, found):
    assert classes.of(codes, labels) == found
    assert set(found) <= set(classes.names(labels))


def test_names_of_classes():
    assert classes.names(THREE) == [*THREE, "none"]
    assert classes.names(["Effusion"]) == ["Effusion", "no Effusion"]
    assert classes.names([]) == []


SEVERAL, NONE = SimpleNamespace(label_names=["Mass", "Edema"]), SimpleNamespace(label_names=[])


@pytest.mark.parametrize(
    ("items", "targets", "label", "found"),
    [
        (SEVERAL, ["Edema", "Hernia"], None, ["Edema"]),
        (SEVERAL, ["Edema", "Mass"], None, ["Edema", "Mass"]),
        (SEVERAL, [], None, ["Mass", "Edema"]),
        (SEVERAL, ["Hernia"], None, []),
        (SEVERAL, ["Edema"], "Mass", ["Mass"]),
        (SEVERAL, ["Edema"], "all", ["Mass", "Edema"]),
        (NONE, ["Edema"], None, []),
        (NONE, ["Edema"], "all", []),
        (NONE, ["Edema"], "Mass", []),  # which the results have
    ],
)
def test_labels_of_images(items, targets, label, found):
    assert classes.labels_of(items, targets, label, SEVERAL) == found


def test_a_label_that_no_image_has():
    with pytest.raises(UsageError, match=r"^unknown label 'Mas': did you mean Mass\? known: Mass, Edema$"):
        classes.labels_of(NONE, [], "Mas", SEVERAL)
    with pytest.raises(UsageError, match=r"^unknown label 'Mass': known: none$"):
        classes.labels_of(NONE, ["Mass"], "Mass")
