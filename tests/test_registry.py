"""Names of methods: modules, families, spellings."""

import pytest

from cbir_cli import registry
from cbir_cli.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder ``saliency`` with a method, a family, a name that no module can have, and a helper."""
    inside = tmp_path / "saliency"
    inside.mkdir()
    (inside / "my_way.py").write_text("def explain(): ...\ndef other(): ...\n")
    (inside / "kin.py").write_text("def one_two(): ...\ndef three(): ...\ndef _four(): ...\ndef fit(): ...\n")
    (inside / "c_plus_plus.py").write_text("def explain(): ...\n")
    (inside / "many.py").write_text(
        'MEMBERS = {"a_1": 3, "b": 4}\n\n\nclass One:\n    def explain(self): ...\n\n\ndef member(name): ...\n'
    )
    (inside / "_helper.py").write_text("def explain(): ...\n")
    (inside / "shared.py").write_text('from there import explain, other\n\nALIASES = ("also", "a_kin")\n')
    monkeypatch.setattr(registry, "_ROOT", tmp_path)


@pytest.mark.usefixtures("folder")
def test_names_are_modules_and_members_of_families():
    assert registry.names("saliency") == ["c++", "kin.one-two", "kin.three", "many.a-1", "many.b", "my-way", "shared"]
    assert registry.listed("saliency") == ["c++", "kin.one-two", "kin.three", "many.*", "my-way", "shared"]
    assert registry.aliases("saliency") == {"also": "shared", "a-kin": "shared"}


@pytest.mark.parametrize(
    ("typed", "listed", "module"),
    [
        ("deep_taylor", "deep-taylor", "deep_taylor"),
        ("deep-taylor", "deep-taylor", "deep_taylor"),
        ("lrp.alpha_2_beta_1", "lrp.alpha-2-beta-1", "lrp.alpha_2_beta_1"),
        ("grad-cam++", "grad-cam++", "grad_cam_plus_plus"),
        ("grad_cam++", "grad-cam++", "grad_cam_plus_plus"),
    ],
)
def test_spellings(typed, listed, module):
    assert registry.canonical(typed) == listed
    assert registry.module_name(typed) == module
    registry.load("saliency", typed)


def test_a_member_of_a_family_is_its_function():
    from cbir_cli.saliency import lrp, pattern

    epsilon = registry.load("saliency", "lrp.epsilon")
    assert epsilon.explain is lrp.epsilon and epsilon.EXPLAINS == lrp.EXPLAINS
    assert epsilon.__doc__.startswith("LRP-epsilon:") and epsilon.__doc__.endswith(lrp.__doc__)
    assert registry.load("saliency", "pattern.net").fit is pattern.fit


def test_a_member_has_what_its_family_has_and_nothing_else():
    epsilon = registry.load("saliency", "lrp.epsilon")
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = epsilon.no_such_thing
    assert not hasattr(epsilon, "fit")


def test_a_member_that_is_listed_is_made_by_its_family():
    made = registry.load("models", "torchvision.resnet18")
    assert (made.HEAD, made.FEATURES, made.name) == ("fc", 512, "resnet18")
    with pytest.raises(UsageError, match=r"did you mean torchvision\.resnet18\? known: .*resnet50.*, torchvision\.\*$"):
        registry.load("models", "torchvision.resnet81")


def test_every_method_has_its_folders_function():
    for folder, function in registry.FUNCTIONS.items():
        for name in registry.names(folder):
            assert callable(getattr(registry.load(folder, name), function)), f"{folder} {name}"


@pytest.mark.parametrize("name", ["lrp", "lrp.", "lrp._explain", "lrp.replace", "_rules", "deep-tailor", "fit"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=r"unknown saliency method .* known: .*lrp\.epsilon"):
        registry.load("saliency", name)


def test_an_alias_is_its_method():
    from cbir_cli.metrics.ranking import average_precision, ndcg

    assert registry.load("metrics/ranking", "ap") is average_precision
    assert registry.load("metrics/ranking", "ndcg-burges") is registry.load("metrics/ranking", "ndcg_burges") is ndcg
    for folder in registry.FUNCTIONS:
        known = registry.names(folder)
        assert not set(registry.aliases(folder)) & set(known)
        assert set(registry.aliases(folder).values()) <= set(known)
