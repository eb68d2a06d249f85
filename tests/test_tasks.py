import json
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cbir_cli
from cbir_cli import registry, tasks
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.label_policy import DROPPED, IGNORED, collapse, of_studies
from cbir_cli.recipe import NEWER, OPTIMIZERS, Recipe
from cbir_cli.records import MISSING, Flow, Record


def record(number, view="", **labels):
    names = {name.replace("_", " "): code for name, code in labels.items()}
    return Record(id=str(number), path=Path(f"{number}.png"), relative=f"{number}.png", labels=names, view=view)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_the_presets_are_there():
    assert {"pleural", "pneumonia"} <= set(tasks.names())


@pytest.mark.parametrize("name", tasks.names())
def test_every_value_of_a_preset_is_written_down_with_its_source(name):
    task = tasks.load(name)
    of_optimizers = {key for keys in OPTIMIZERS.values() for key in keys}
    unused = of_optimizers - set(OPTIMIZERS[task.recipe.optimizer])
    # These say nothing where they are not set.
    unused |= {
        key
        for key in ("labels", "label_set", "unit", "window", "embedding", "colour", "normalise", *NEWER)
        if key not in task.sources
    }
    assert set(task.sources) == set(task.settings()) - unused
    for key, source in task.sources.items():
        assert source.startswith(("2020", "2021", "2022", "ours: ", "name")), (key, source)
    table = (Path(tasks.__file__).parent / f"{name}.toml").read_text()
    for key in task.sources:
        assert table.count(f"\n{key} = ") == 2, f"{key}: expected a value and a source"


def test_presets_agree_with_the_papers():
    pleural, pneumonia = tasks.load("pleural"), tasks.load("pneumonia")
    assert pleural.recipe == Recipe()  # the recipe's defaults are this preset's
    assert (pleural.views, pneumonia.views) == (("AP",), ("PA",))
    assert (pleural.recipe.epochs, pneumonia.recipe.epochs) == (10, 15)
    assert (pneumonia.recipe.optimizer, pneumonia.recipe.lr) == ("adam", 1e-4)
    assert pleural.image_size == pneumonia.image_size == 224


def test_the_2020_procedure_is_reached_by_set():
    task = tasks.load("pleural")
    pairs = ["sampler=bootstrap", "class-weights=none", "rotation=0", "shift=0", "selection=last", "validation=0"]
    other = task.override(**registry.settings(pairs, task.settings(), "task pleural"))
    assert other.recipe == Recipe(sampler="bootstrap", class_weights="none", rotation=0, shift=0, selection="last")
    assert other.validation == 0
    assert "rotation" not in other.sources and "lr" in other.sources
    assert task.recipe == Recipe()


def test_set_takes_lists_and_names_unknown_keys():
    task = tasks.load("pleural")
    values = registry.settings(["views=AP,PA", "betas=0.5,0.9"], task.settings(), "task pleural")
    assert task.override(**values).views == ("AP", "PA")
    assert registry.settings(["test=.25", "lr=2.", "rho=1"], task.settings(), "it") == {"test": 0.25, "lr": 2, "rho": 1}
    with pytest.raises(UsageError, match="did you mean rotation"):
        registry.settings(["rotatoin=3"], task.settings(), "task pleural")
    with pytest.raises(UsageError, match="flavour"):
        task.override(flavour="sweet")


def test_the_parameters_of_the_loss_come_with_the_objective():
    isic, pleural = tasks.load("isic"), tasks.load("pleural")
    assert (isic.settings()["margin"], dict(isic.loss)) == (0.2, {"margin": 0.2, "mining": "batch-all"})
    changed = isic.override(margin=0.5)
    assert changed.settings()["margin"] == 0.5 and "margin" not in changed.sources
    assert tasks.from_dict(changed.to_dict()) == changed
    assert "margin" not in pleural.settings()
    turned = pleural.override(objective="triplet").override(mining="batch-hard")
    assert turned.settings()["margin"] == 0.2 and dict(turned.loss) == {"mining": "batch-hard"}
    assert "margin" not in isic.override(objective="multilabel").settings()
    with pytest.raises(UsageError, match="margin"):
        pleural.override(margin=0.3)


def test_another_optimizer_needs_its_own_learning_rate():
    task = tasks.load("pleural")
    with pytest.raises(UsageError, match="lr"):
        task.override(optimizer="adam")
    assert task.override(optimizer="adam", lr=1e-4).recipe.lr == 1e-4
    assert task.override(optimizer="adadelta").recipe == task.recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": -1},
        {"batch_size": 1},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"rho": 1.0},
        {"betas": (0.9,)},
        {"eps": 0.0},
        {"rotation": -1.0},
        {"shift": 1.0},
        {"sampler": "weighted"},
        {"uncertain": "maybe"},
        {"uncertain": "ignore"},
        {"blank": "ignore"},
        {"unit": "series"},
        {"label_set": "chexpert-5"},
        {"blank": "positive"},
        {"labels": ()},
        {"image_size": 16},
        {"validation": 1.0},
        {"optimizer": "rmsprop", "lr": 0.1},
    ],
)
def test_senseless_values_are_refused(changes):
    with pytest.raises(UsageError):
        tasks.load("pleural").override(**changes)


@pytest.mark.parametrize("name", tasks.names())
def test_json_and_back(name):
    task = tasks.load(name).override(epochs=2, views=("AP", "PA"))
    assert tasks.from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_a_file_needs_labels_only(write):
    task = tasks.load(write('labels = ["Mass"]\n'))
    assert (task.name, task.labels, task.views, task.recipe) == ("mine", ("Mass",), ("any",), Recipe())
    assert tasks.load(str(write('labels = ["Mass"]\n[recipe]\nlr = 1\nbetas = [0, 0.5]\n'))).recipe.betas == (0.0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('labels = ["Mass"]\nview = "AP"', "did you mean views"),
        ('labels = ["Mass"]\n[recipe]\nlearning_rate = 1', "learning_rate"),
        ('labels = ["Mass"]\n[sources]\nflavour = "x"', "flavour"),
        ('labels = ["Mass"]\nname = "x"', "name"),
        ('labels = "Mass"', "labels: expected a list"),
        ("labels = [1]", "labels: expected a text"),
        ('labels = ["Mass"]\n[recipe]\nepochs = "ten"', "epochs: expected a whole number"),
        ('labels = ["Mass"]\n[recipe]\nepochs = true', "epochs: expected a whole number"),
        ('labels = ["Mass"]\n[recipe]\nepochs = -1', "epochs=-1"),
        ('labels = ["Mass"]\nrecipe = 3', "expected tables"),
        ('title = "no labels"', "labels is missing"),
        ("labels = [", "not a task file"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_key(write, text, says):
    path = write(text)
    with pytest.raises(UsageError, match=says) as caught:
        tasks.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"did you mean pleural.*pleural, pneumonia"):
        tasks.load("plueral")
    with pytest.raises(UsageError, match="cannot be read"):
        tasks.load(tmp_path / "absent.toml")


def test_select_drops_and_counts_by_reason():
    records = [
        record(0, "AP", Pleural_Effusion=1),
        record(1, "PA", Pleural_Effusion=1),
        record(2, "ap", Pleural_Effusion=0),
        record(3, "", Pleural_Effusion=0),
        record(4, "AP", Pleural_Effusion=-1),
        record(5, "AP", Edema=1),
        record(6, "LATERAL", Pleural_Effusion=-1),
        record(7, "PA", Edema=1),
    ]
    flow = Flow(read=8)
    kept, targets = tasks.load("pleural").select(records, flow)
    assert [r.id for r in kept] == ["0", "2"]
    assert targets.tolist() == [1, 0] and targets.dtype == np.int64
    assert flow.dropped == {
        "view PA": 2,
        "view LATERAL": 1,
        "view not stated": 1,
        "label uncertain": 1,
        "label not stated": 1,
    }
    assert flow.kept == len(kept)


def test_a_source_without_views_keeps_its_images():
    records = [record(0, "", Pleural_Effusion=1), record(1, "", Pleural_Effusion=0)]
    flow = Flow(read=2)
    assert len(tasks.load("pleural").select(records, flow)[0]) == 2 and not flow.dropped
    kept, _ = (
        tasks.load("pleural").override(views=("any",)).select([*records, record(2, "PA", Pleural_Effusion=1)], flow)
    )
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"uncertain": "positive"}, {"0": 1, "1": 0, "2": 1}),
        ({"uncertain": "negative"}, {"0": 1, "1": 0, "2": 0}),
        ({"blank": "negative"}, {"0": 1, "1": 0, "3": 0}),
        ({"blank": "negative", "uncertain": "positive"}, {"0": 1, "1": 0, "2": 1, "3": 0}),
    ],
)
def test_label_policies(policy, expected):
    records = [record(0, Effusion=1), record(1, Effusion=0), record(2, Effusion=-1), record(3, Mass=1)]
    kept, targets = tasks.load("pleural").override(**policy).select(records, Flow(read=4))
    assert dict(zip([r.id for r in kept], targets.tolist(), strict=True)) == expected


MULTI = """
uncertain = "ignore"
blank = "negative"
[outputs]
Effusion = ["Pleural Effusion", "Effusion"]
Edema = ["Edema"]
"""


def codes(**labels):
    return {name.replace("_", " "): code for name, code in labels.items()}


def chest(number, labels, *, view="AP", study="", patient="p"):
    name = str(number)
    return Record(id=name, path=Path(name), relative=name, labels=labels, view=view, study=study, patient=patient)


def test_several_outputs(write):
    task = tasks.load(write(MULTI))
    records = [
        chest(0, codes(Effusion=1, Edema=0)),
        chest(1, codes(Effusion=-1, Edema=1)),
        chest(2, codes(Effusion=-1, Edema=-1)),
        chest(3, codes(Edema=-1)),
        chest(4, {}),
    ]
    flow = Flow(read=5)
    kept, targets = task.select(records, flow)
    assert [r.id for r in kept] == ["0", "1", "3", "4"]
    assert targets.tolist() == [[1, 0], [IGNORED, 1], [0, IGNORED], [0, 0]] and targets.dtype == np.int64
    assert flow.dropped == {"label not stated": 1} and flow.kept == 4
    _, targets = task.override(uncertain="positive", blank="ignore").select(records, Flow())
    assert targets.tolist() == [[1, 0], [1, 1], [1, 1], [IGNORED, 1]]
    flow = Flow()
    kept, targets = task.override(uncertain="drop").select(records, flow)
    assert [r.id for r in kept] == ["0", "4"] and flow.dropped == {"label uncertain": 3}


def test_several_labels_are_no_classes_but_one_of_them_is(write):
    task = tasks.load(write(MULTI))
    records = [chest(0, codes(Effusion=1, Edema=0)), chest(1, codes(Effusion=0, Edema=-1))]
    with pytest.raises(UsageError, match="choose one with --label: Effusion, Edema"):
        task.classes(task.select(records, Flow())[1])
    alone = task.alone("edema")
    kept, targets = alone.select(records, Flow())
    assert (alone.labels, alone.uncertain, alone.blank) == (("Edema",), "drop", "negative")
    assert [r.id for r in kept] == ["0"] and alone.classes(targets).tolist() == [0]
    with pytest.raises(UsageError, match="unknown output"):
        task.alone("Mass")


def test_exclusive_classes(write):
    task = tasks.load(write("exclusive = true\n[outputs]\na = ['A']\nb = ['B']\nc = ['C']\n"))
    records = [
        chest(i, {"A": a, "B": b, "C": c}) for i, (a, b, c) in enumerate([(0, 0, 1), (1, 0, 0), (1, 1, 0), (0,) * 3])
    ]
    flow = Flow()
    kept, targets = task.select(records, flow)
    assert task.classes(targets).tolist() == [2, 0] and [r.id for r in kept] == ["0", "1"]
    assert flow.dropped == {"of several classes": 1, "of no class": 1}


def test_a_source_that_lacks_one_of_several_labels(write):
    with pytest.raises(SourceError, match="no label 'Edema'; it has: Effusion"):
        tasks.load(write(MULTI)).select([chest(0, codes(Effusion=1))], Flow())


def test_label_sets(monkeypatch):
    stub = ModuleType("cbir_cli.label_sets")
    stub.CHEXPERT_5 = ("Edema", "Pleural Effusion")
    monkeypatch.setitem(sys.modules, "cbir_cli.label_sets", stub)
    monkeypatch.setattr(cbir_cli, "label_sets", stub, raising=False)
    task = tasks.load("chexpert").override(label_set="chexpert-5")
    assert list(task.names) == ["Edema", "Pleural Effusion"]
    _, targets = task.select([chest(0, {"Pleural_Effusion": 1, "Edema": 0})], Flow())
    assert targets.tolist() == [[0, 1]]
    with pytest.raises(UsageError, match="chexpert-13"):
        task.override(label_set="chexpert-12")


def test_a_study_has_the_labels_of_all_its_images():
    records = [
        chest(0, codes(Effusion=0), study="s"),
        chest(1, {}, study="s", view="PA"),
        chest(2, codes(Effusion=1), study="s", view="LATERAL"),
        chest(3, {}, study="t"),
        chest(4, codes(Effusion=-1), study="t"),
        chest(5, codes(Effusion=0), study="s", patient="another"),
        chest(6, codes(Effusion=0)),
    ]
    task = tasks.load("pleural").override(unit="study", views=("AP", "PA"))
    flow = Flow(read=7)
    kept, targets = task.select(records, flow)
    assert dict(zip([r.id for r in kept], targets.tolist(), strict=True)) == {"0": 1, "1": 1, "5": 0, "6": 0}
    assert flow.dropped == {"view LATERAL": 1, "label uncertain": 2}


def test_models_of_one_label_store_what_they_always_did():
    stored = tasks.load("pleural").to_dict()
    assert not {"unit", "label_set", "outputs", "exclusive"} & stored.keys()
    assert tasks.load("pleural").override(unit="study").to_dict()["unit"] == "study"
    assert tasks.load("covid").to_dict()["outputs"]["COVID-19"] == ["COVID-19"]


PLAIN = {
    "uncertain": {"drop": DROPPED, "positive": 1, "negative": 0, "ignore": IGNORED},
    "blank": {"drop": DROPPED, "negative": 0, "ignore": IGNORED},
}


@given(
    st.lists(st.lists(st.sampled_from([1, 0, -1, MISSING]), min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from(sorted(PLAIN["uncertain"])),
    st.sampled_from(sorted(PLAIN["blank"])),
)
def test_collapse_is_a_table(raw, uncertain, blank):
    plain = {1: 1, 0: 0, -1: PLAIN["uncertain"][uncertain], MISSING: PLAIN["blank"][blank]}
    expected = [[plain[code] for code in row] for row in raw]
    assert collapse(raw, uncertain=uncertain, blank=blank).tolist() == expected


@given(
    st.lists(st.tuples(st.sampled_from([1, 0, -1, MISSING]), st.sampled_from(["", "s", "t"])), min_size=1, max_size=9)
)
def test_studies_by_a_plain_loop(images):
    found = of_studies([[code] for code, _ in images], [study for _, study in images])[:, 0].tolist()
    for (code, study), its in zip(images, found, strict=True):
        codes = {c for c, s in images if s == study} if study else {code}
        assert its == next(c for c in (1, -1, 0, MISSING) if c in codes)


def test_any_view():
    records = [record(0, "AP", Effusion=1), record(1, "LL", Effusion=0)]
    kept, _ = tasks.load("pleural").override(views=("any",)).select(records, Flow(read=2))
    assert len(kept) == 2


def test_the_label_is_found_under_any_of_its_names():
    pleural, pneumonia = tasks.load("pleural"), tasks.load("pneumonia")
    assert pleural.label([record(0, Effusion=0), record(1, Pleural_Effusion=0)]) == "Pleural Effusion"
    assert pleural.label([record(0, Mass=0), record(1, Effusion=0)]) == "Effusion"
    assert pneumonia.label([record(0, PNEUMONIA=1)]) == "PNEUMONIA"
    assert pneumonia.label([record(0, PNEUMONIA=1, Pneumonia=0)]) == "Pneumonia"


def test_a_source_without_the_label_says_what_it_has():
    with pytest.raises(SourceError, match="no label 'Pneumonia'; it has: Edema, Mass"):
        tasks.load("pneumonia").select([record(0, Mass=1), record(1, Edema=0)], Flow(read=2))
    with pytest.raises(SourceError, match="it has: none"):
        tasks.load("pneumonia").select([], Flow())


def test_a_source_of_which_nothing_is_left_says_why():
    with pytest.raises(SourceError, match=r"view PA \(2\)"):
        tasks.load("pleural").select([record(i, "PA", Effusion=i) for i in range(2)], Flow(read=2))


def test_settings_cover_task_and_recipe_without_a_clash():
    own = {f.name for f in fields(tasks.Task)} - {"name", "title", "recipe", "loss", "sources", "outputs", "exclusive"}
    of_recipe = {f.name for f in fields(Recipe)}
    assert not own & of_recipe
    assert set(tasks.load("pleural").settings()) == own | of_recipe
