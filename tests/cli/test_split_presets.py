"""What ``cbir split`` draws: official sets, what is kept whole, classes, and the presets of the papers."""

import json
import shutil
from collections import Counter, defaultdict

import pytest

from cbir_cli.artifacts.split import read_split


def sets_of(text, tmp_path):
    path = tmp_path / "drawn.tsv"
    path.write_text(text)
    sets = defaultdict(lambda: defaultdict(list))
    for row in read_split(path):
        sets[row.seed, row.set][row.role].append(row.id)
    return sets


@pytest.fixture(scope="module")
def listed(tmp_path_factory, phantom):
    """120 images of 60 patients in three hospitals, in a manifest; the files are links to one image."""
    folder = tmp_path_factory.mktemp("listed")
    shutil.copy(next((phantom / "images").glob("*.png")), folder / "image.png")
    lines = ["path,id,patient,study,source,split,label:x"]
    for n in range(120):
        patient = n // 2
        split = "test" if patient >= 40 else "valid" if patient >= 34 else "train"
        lines.append(f"image.png,i{n:03d},p{patient:02d},s{n},h{patient % 3},{split},{int(patient % 3 == 0)}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder


def patient(name):
    return int(name[1:]) // 2


OFFICIAL = {"train": set(range(34)), "validation": set(range(34, 40)), "test": set(range(40, 60))}


def test_official_sets_are_kept(good, listed, tmp_path):
    (roles,) = sets_of(good("split", "m.csv", "--official", cwd=listed).out, tmp_path).values()
    assert {role: {patient(name) for name in names} for role, names in roles.items()} == OFFICIAL


def test_shares_are_drawn_from_the_official_training_set(good, listed, tmp_path):
    options = ["--official", "--test", "0.3", "--validation", "0.2"]
    (roles,) = sets_of(good("split", "m.csv", *options, cwd=listed).out, tmp_path).values()
    whose = {role: {patient(name) for name in names} for role, names in roles.items()}
    assert whose["test"] > OFFICIAL["test"] and whose["validation"] > OFFICIAL["validation"]
    assert not whose["test"] & whose["train"] and not whose["validation"] & whose["train"]
    assert set.union(*whose.values()) == set(range(60))


def test_no_official_sets(cbir, phantom, tmp_path):
    ran = cbir("split", f"nih:{phantom}", "--task", "pleural", "--official")
    assert ran.status == 1 and "no official set for" in ran.err


def test_official_lists_that_leak_are_refused(cbir, listed, tmp_path):
    text = (listed / "m.csv").read_text().replace("i000,p00,s0,h0,train", "i000,p00,s0,h0,test")
    (listed / "leaky.csv").write_text(text)
    ran = cbir("split", "leaky.csv", "--official", cwd=listed)
    assert ran.status == 1 and ran.out == ""
    assert "1 of 41 test images are of patients of train (1 patient)" in ran.err
    ran = cbir("split", "leaky.csv", "--official", "--allow-leaks", cwd=listed)
    assert ran.status == 0 and "\ttest\ti000\n" in ran.out and "warning: leak" in ran.err


def test_catalogues_from_the_official_test_images(good, listed, tmp_path):
    ran = good("split", "m.csv", "--official", "--catalogue", "6", "--seeds", "1,2", cwd=listed)
    assert "drawn from the official test set: 40 of 120 images" in ran.err
    for roles in sets_of(ran.out, tmp_path).values():
        assert {patient(name) for names in roles.values() for name in names} <= OFFICIAL["test"]


def test_by_source(good, listed, tmp_path):
    options = ["--by", "source", "--test", "0.4", "--validation", "0", "--seeds", "0,1,2,3,4,5"]
    sets = sets_of(good("split", "m.csv", *options, cwd=listed).out, tmp_path)
    for roles in sets.values():
        hospitals = [{patient(name) % 3 for name in names} for names in roles.values()]
        assert sum(map(len, hospitals)) == 3 and set.union(*hospitals) == {0, 1, 2}
    assert len({frozenset(map(len, roles.values())) for roles in sets.values()}) > 1


def test_sources_with_a_patient_in_common_are_one(good, listed, tmp_path):
    """p00 is in h0 and h1, so these two are never apart."""
    (listed / "both.csv").write_text((listed / "m.csv").read_text().replace("i001,p00,s1,h0", "i001,p00,s1,h1"))
    options = ["--by", "source", "--test", "0.5", "--validation", "0", "--seeds", ",".join(map(str, range(12)))]
    sets = sets_of(good("split", "both.csv", *options, cwd=listed).out, tmp_path)
    for roles in sets.values():
        role = {name: role for role, names in roles.items() for name in names}
        assert len({role[f"i{n:03d}"] for n in range(120) if patient(f"i{n:03d}") % 3 in (0, 1)}) == 1
    assert any(len(roles) == 2 for roles in sets.values())


def test_by_study_is_refused_where_a_patient_has_several(cbir, listed):
    ran = cbir("split", "m.csv", "--by", "study", "--test", "0.5", "--validation", "0", cwd=listed)
    assert ran.status == 1 and "--allow-leaks" in ran.err
    ran = cbir("split", "m.csv", "--by", "study", "--test", "0.5", "--validation", "0", "--allow-leaks", cwd=listed)
    assert ran.status == 0 and ran.out.count("\n") == 121


def test_stratified_sets(good, listed, tmp_path):
    options = ["--stratify", "--test", "0.25", "--validation", "0.1", "--seeds", "3"]
    (roles,) = sets_of(good("split", "m.csv", *options, cwd=listed).out, tmp_path).values()
    for share, role in ((0.25, "test"), (0.1, "validation")):
        people = {patient(name) for name in roles[role]}
        assert Counter(p % 3 == 0 for p in people) == {True: 20 * share, False: 40 * share}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--preset", "ig"], "unknown preset 'ig'"),
        (["--preset", "silva", "--queries", "3"], "--queries does not go with the preset silva"),
        (["--preset", "silva", "--stratify"], "--stratify does not go with --preset"),
        (["--preset", "x-mir", "--catalogue", "3"], "--catalogue does not go with the preset x-mir"),
        (["--preset", "silva", "--per-class", "3"], "--per-class does not go with the preset silva"),
        (["--per-class", "3"], "--per-class goes with --preset x-mir"),
        (["--by", "study", "--catalogue", "3"], "--catalogue does not go with --by"),
        (["--check", "t.tsv", "--preset", "silva"], "--preset does not go with --check"),
        (["--set", "epochs=3"], "epochs"),
        (["--set", "uncertain=maybe"], "policy for uncertain labels"),
    ],
)
def test_what_does_not_go_together(cbir, listed, options, says):
    ran = cbir("split", "m.csv", "--label", "x", *options, cwd=listed)
    assert ran.status == 2 and says in ran.err and ran.out == ""


def test_ig_cbir(good, cbir, listed, tmp_path):
    ran = good("split", "m.csv", "--preset", "ig-cbir", cwd=listed)
    sets = sets_of(ran.out, tmp_path)
    assert list(sets) == [(seed, number) for seed in (42, 1, 27, 57, 77) for number in (1, 2, 3)]
    assert [len(roles["catalogue"]) for roles in sets.values()] == [10, 20, 30] * 5
    one = sets_of(
        good("split", "m.csv", "--preset", "ig-cbir", "--catalogue", "8", "--seeds", "5", cwd=listed).out, tmp_path
    )
    assert [(key, len(roles["catalogue"])) for key, roles in one.items()] == [((5, 1), 8)]
    # The script looks at images, so with two of each patient its query is soon in its own catalogue.
    ran = cbir("split", "m.csv", "--preset", "ig-cbir-code", cwd=listed)
    assert ran.status == 1 and "query images are of patients of catalogue" in ran.err
    ran = cbir("split", "m.csv", "--preset", "ig-cbir-code", "--allow-leaks", cwd=listed)
    assert ran.status == 0 and ran.out.count("\n") == 1 + 5 * (60 + 3)


def test_silva_draws_from_the_test_images(good, listed, tmp_path):
    sets = sets_of(good("split", "m.csv", "--preset", "silva", cwd=listed).out, tmp_path)
    assert list(sets) == [(seed, 1) for seed in range(1, 11)]
    for roles in sets.values():
        assert len(roles["query"]) == 1 and len(roles["catalogue"]) == 10
        assert {patient(name) for names in roles.values() for name in names} <= OFFICIAL["test"]
    (listed / "pneumonia.toml").write_text('labels = ["x"]\n')
    ran = good("split", "m.csv", "--preset", "silva", "--task", "pneumonia.toml", cwd=listed)
    assert len(sets_of(ran.out, tmp_path)) == 5


def test_x_mir_through_the_whole_pipeline(good, chain, tmp_path):
    """Every image asks once, and nobody is found for himself."""
    drawn = good("split", "ssim.emb.h5", "--task", "pleural", "--set", "views=any", "--preset", "x-mir", cwd=chain).out
    (tmp_path / "loo.tsv").write_text(drawn)
    run = good("query", "ssim.idx.h5", "ssim.emb.h5", "--split", tmp_path / "loo.tsv", cwd=chain)
    assert "left out" not in run.err
    lines = [line.split("\t") for line in run.out.splitlines()]
    query, found = lines[0].index("query"), lines[0].index("id")
    pairs = {(line[query][:8], line[found][:8]) for line in lines[1:]}
    assert pairs and all(who != other for who, other in pairs)
    (tmp_path / "run.tsv").write_text(run.out)
    options = ["--split", "loo.tsv", "--items", chain / "ssim.idx.h5", "--metrics", "p@1", "--format", "json"]
    (line,) = good("evaluate", "run.tsv", *options, "--label", "Effusion", cwd=tmp_path).out.splitlines()
    score = json.loads(line)
    assert (score["against"], score["n"]) == ("label Effusion", len(sets_of(drawn, tmp_path)))
    lines = good("evaluate", "run.tsv", *options, "--label", "all", cwd=tmp_path).out.splitlines()
    assert line in lines and len(lines) == 15


def test_x_mir_takes_as_many_of_each_class(good, listed, tmp_path):
    ran = good("split", "m.csv", "--preset", "x-mir", "--per-class", "6", "--seeds", "2", cwd=listed)
    sets = sets_of(ran.out, tmp_path)
    asked = [roles["query"][0] for roles in sets.values()]
    assert Counter(patient(name) % 3 == 0 for name in asked) == {True: 6, False: 6}
    assert {patient(name) for name in asked} <= OFFICIAL["test"]
    # Six positive patients do for six images, fourteen for as many.
    assert len({patient(name) for name in asked}) == 12


def test_x_mir_where_no_image_is_held_out(good, listed, tmp_path):
    """An official training set alone, as of ISIC 2017 without its test images: all of them may ask."""
    text = (listed / "m.csv").read_text().replace(",valid,", ",train,").replace(",test,", ",train,")
    (listed / "training.csv").write_text(text)
    ran = good("split", "training.csv", "--preset", "x-mir", "--per-class", "9", "--queries", "5", cwd=listed)
    sets = sets_of(ran.out, tmp_path)
    asked = [roles["query"][0] for roles in sets.values()]
    assert sorted(Counter(patient(name) % 3 == 0 for name in asked).values()) == [2, 3]
    assert len({name for roles in sets.values() for name in roles["catalogue"]}) == 18


def test_wickstrom(good, phantom, tmp_path):
    shutil.copy(next((phantom / "images").glob("*.png")), tmp_path / "image.png")
    lines = ["path,id,patient,label:liver"]
    lines += [f"image.png,liver_{v}/{s:02d},liver_{v},{int(s < 7)}" for v in range(13) for s in range(14)]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    (roles,) = sets_of(
        good("split", "m.csv", "--preset", "wickstrom", "--keep-ids", cwd=tmp_path).out, tmp_path
    ).values()
    assert Counter(name.split("/")[0] for name in roles["query"]) == {f"liver_{v}": 10 for v in (10, 11, 12)}
    assert Counter(name.split("/")[0] for name in roles["catalogue"]) == {f"liver_{v}": 10 for v in range(10)}


def test_a_task_with_several_outputs(cbir, good, phantom, tmp_path):
    """Sets need no class; catalogues do."""
    (tmp_path / "two.toml").write_text('uncertain = "ignore"\n[outputs]\nE = ["Effusion"]\nC = ["Cardiomegaly"]\n')
    source = f"nih:{phantom}"
    whole = good("split", source, "--task", "two.toml", cwd=tmp_path)
    assert whole.out.count("\n") == 41
    ran = cbir("split", source, "--task", "two.toml", "--catalogue", "4", cwd=tmp_path)
    assert ran.status == 2 and "choose one with --label: E, C" in ran.err
    ran = good("split", source, "--task", "two.toml", "--label", "E", "--catalogue", "4", cwd=tmp_path)
    assert ran.out.count("\n") == 6
    ran = cbir("train", source, "--task", "two.toml", "-o", "m.h5", cwd=tmp_path)
    assert ran.status == 2 and "the objective binary has one output, the task has 2" in ran.err


def test_a_task_whose_objective_is_not_there(cbir, phantom, tmp_path):
    (tmp_path / "x.toml").write_text('labels = ["Effusion"]\nobjective = "quadruplet"\n')
    ran = cbir("train", f"nih:{phantom}", "--task", "x.toml", "-q", "-o", "m.h5", cwd=tmp_path)
    assert ran.status == 2 and "unknown objectives method 'quadruplet'" in ran.error
