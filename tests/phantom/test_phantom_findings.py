import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from cbir_cli import phantom
from cbir_cli.errors import UsageError
from cbir_cli.phantom import _cohort, _layouts, chest
from cbir_cli.phantom._anatomy import Study, draw_patient
from cbir_cli.phantom._canvas import Canvas
from cbir_cli.phantom._opacities import LOBES, Disease
from cbir_cli.phantom._projection import project

ALL = ("effusion", "pneumonia", "covid", "cardiomegaly")
N = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every layout and DICOM, of the same patients."""
    folder = tmp_path_factory.mktemp("findings")
    for name in _layouts.LAYOUTS:
        phantom.write(folder / name, n=N, size=32, seed=5, findings=ALL, layout=name)
    phantom.write(folder / "dicom", n=N, size=32, seed=5, findings=ALL, format="dicom")
    return folder


def files(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def truth(directory):
    return pd.read_csv(directory / "severity.csv", keep_default_na=False)


def has(table, kind):
    columns = {"effusion": "effusion_", "pneumonia": "pneumonia", "covid": "covid_", "cardiomegaly": "cardiomegaly"}
    return (table[[c for c in table if c.startswith(columns[kind])]] > 0).any(axis=1).to_numpy()


def shadow(disease, size=128, severity=(0.0, 0.0)):
    body = draw_patient(np.random.default_rng(5), 34 / size)
    study = Study(view="PA", recumbent=0.0, breath=0.0, turn=0.0, severity=severity, disease=disease)
    return project(body, study, Canvas(size, 34.0), [])


# What a patient has


def test_effusions_stay_as_they_are_when_more_findings_are_wanted():
    plain = list(itertools.chain(*_cohort.cohort(3, 300)))
    more = list(itertools.chain(*_cohort.cohort(3, 300, ALL)))
    assert [p.severity for p in plain] == [p.severity for p in more]
    assert all(p.disease.sides == (0, 0) and p.disease.heart == 1 for p in plain)


def test_findings_come_alone_and_together_but_never_two_pneumonias():
    plans = list(itertools.chain(*_cohort.cohort(1, 600, ALL)))
    found = [frozenset(k for k, v in p.findings(ALL).items() if v) for p in plans]
    assert not any({"pneumonia", "covid"} <= f for f in found)
    kinds = {f for f in found}
    assert {
        frozenset(),
        frozenset({"effusion", "pneumonia", "cardiomegaly"}),
        frozenset({"covid", "effusion"}),
    } <= kinds
    for kind, low, high in (("pneumonia", 0.22, 0.4), ("covid", 0.22, 0.4), ("cardiomegaly", 0.25, 0.42)):
        assert low < np.mean([kind in f for f in found]) < high
    alone = list(itertools.chain(*_cohort.cohort(1, 600, ("pneumonia",))))
    assert 0.4 < np.mean([p.disease.pneumonia > 0 for p in alone]) < 0.6
    assert not any(p.severity != (0.0, 0.0) or any(p.disease.covid) for p in alone)


def test_covid_is_bilateral_and_pneumonia_in_one_lobe():
    plans = list(itertools.chain(*_cohort.cohort(2, 500, ALL)))
    assert all(min(p.disease.covid) >= 0.1 for p in plans if any(p.disease.covid))
    assert {p.disease.lobe for p in plans if p.disease.pneumonia} == set(LOBES)
    assert all(bool(p.disease.lobe) == (p.disease.pneumonia > 0) for p in plans)


# What the film shows


@pytest.mark.parametrize("lobe", LOBES)
def test_a_lobe_fills_on_its_side_and_at_its_height(lobe):
    well, sick = shadow(Disease()), shadow(Disease(pneumonia=0.8, lobe=lobe, seed=3))
    more = sick.thickness - well.thickness
    mask = sick.found["pneumonia"]
    assert (more[mask] > 0).all() and mask.sum() > 150
    assert (mask & (sick.left != lobe.startswith("left"))).sum() == 0
    assert (np.nonzero(mask)[0].mean() < 55) == lobe.endswith("upper")
    assert not sick.fluid.any() and not sick.lesion.any()
    assert np.abs(more[:, ~mask.any(axis=0)]).max() < 2


def test_ground_glass_lies_on_both_sides_at_the_periphery():
    found = shadow(Disease(covid=(0.7, 0.5), seed=4))
    mask, lungs = found.found["covid"], shadow(Disease(pneumonia=1.0, lobe="right lower", seed=4)).found["pneumonia"]
    right, left = (mask & ~found.left).sum(), (mask & found.left).sum()
    assert min(right, left) > 100
    side = np.abs(np.nonzero(mask)[1] - 63.5).mean()
    assert side > np.abs(np.nonzero(lungs)[1] - 63.5).mean()


@pytest.mark.parametrize("kind", ["pneumonia", "covid", "cardiomegaly"])
def test_worse_is_more(kind):
    masses, areas = [], []
    base = shadow(Disease(), 64).thickness
    for v in (0.1, 0.3, 0.5, 0.7, 0.9):
        disease = {
            "pneumonia": Disease(pneumonia=v, lobe="right lower", seed=1),
            "covid": Disease(covid=(v, v), seed=1),
            "cardiomegaly": Disease(cardiomegaly=v),
        }[kind]
        made = shadow(disease, 64)
        masses.append(float((made.thickness - base).sum()))
        areas.append(int(made.found[kind].sum()))
    assert masses[0] > 0 and (np.diff(masses) > 0).all() and (np.diff(areas) >= 0).all() and areas[-1] > areas[0]


def test_nothing_but_the_disease_depends_on_it():
    plan = _cohort.Plan(1, 2, 0, (0.0, 0.0), Disease(pneumonia=0.6, lobe="left lower", seed=9))
    body = draw_patient(np.random.default_rng(2), 0.3)
    sick, found, row = chest.render(plan, body, 64)
    well, none, other = chest.render(replace(plan, disease=Disease()), body, 64)
    free = list(row)[list(row).index("view") :]
    assert [row[c] for c in free] == [other[c] for c in free]
    assert set(found) == {"pneumonia"} and not none and (sick != well).any()


# The tables


def test_masks_and_truth_agree(made):
    table = truth(made / "nih")
    for row, *present in zip(table.itertuples(), *(has(table, k) for k in ALL), strict=True):
        name = row[1]
        parts = []
        for kind, there in zip(ALL, present, strict=True):
            path = made / "nih" / f"masks-{kind}" / name
            assert path.is_file() == there
            assert (getattr(row, f"mask_{kind}") > 0) == there
            if there:
                parts.append(np.asarray(Image.open(path)) > 0)
                assert parts[-1].sum() == getattr(row, f"mask_{kind}")
        union = made / "nih" / "masks" / name
        assert union.is_file() == bool(parts) == (row.severity > 0)
        if parts:
            np.testing.assert_array_equal(np.asarray(Image.open(union)) > 0, np.logical_or.reduce(parts))


def test_nih_names_and_boxes(made):
    table = truth(made / "nih")
    with (made / "nih" / "Data_Entry_2017_v2020.csv").open() as file:
        labels = [row[1].split("|") for row in list(csv.reader(file))[1:]]
    np.testing.assert_array_equal(["Effusion" in v for v in labels], has(table, "effusion"))
    np.testing.assert_array_equal(["Consolidation" in v for v in labels], has(table, "pneumonia"))
    np.testing.assert_array_equal(["Infiltration" in v for v in labels], has(table, "covid"))
    np.testing.assert_array_equal(["Pneumonia" in v for v in labels], has(table, "covid") | has(table, "pneumonia"))
    assert all(v == ["No Finding"] for v, s in zip(labels, table.severity, strict=True) if s == 0)
    rows = (made / "nih" / "BBox_List_2017.csv").read_text().splitlines()
    assert rows[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    folder = {"Effusion": "effusion", "Pneumonia": "pneumonia", "Infiltrate": "covid", "Cardiomegaly": "cardiomegaly"}
    assert len(rows) - 1 == sum(has(table, k).sum() for k in ALL)
    for line in rows[1:]:
        name, label, x, y, w, h, *rest = line.split(",")
        mask = np.asarray(Image.open(made / "nih" / f"masks-{folder[label]}" / name)) > 0
        x, y, w, h = int(x), int(y), int(w), int(h)
        assert rest == ["", "", ""] and mask[y : y + h, x : x + w].sum() == mask.sum()
        assert mask[y].any() and mask[y + h - 1].any() and mask[:, x].any() and mask[:, x + w - 1].any()


def test_chexpert_hedges_what_is_faint(tmp_path):
    phantom.write(tmp_path / "set", n=150, size=32, seed=1, layout="chexpert", findings=ALL)
    tables = {part: pd.read_csv(tmp_path / "set" / f"{part}.csv") for part in ("train", "valid")}
    for part, table in tables.items():
        assert list(table)[5:] == _layouts.CHEXPERT and list(table)[:2] == ["Path", "Sex"]
        for path in table.Path:
            assert path.startswith(f"CheXpert-v1.0-small/{part}/patient")
            assert (tmp_path / "set" / path.partition("/")[2]).is_file()
    assert sum(map(len, tables.values())) == 150
    assert not tables["valid"].iloc[:, 5:].isin([-1]).any(axis=None) and not tables["valid"].isna().any(axis=None)
    effusion, severity = tables["train"]["Pleural Effusion"], truth(tmp_path / "set").set_index("Image Index")
    amount = severity.loc[[p.partition("/")[2] for p in tables["train"].Path], ["effusion_right", "effusion_left"]]
    amount = amount.max(axis=1).to_numpy()
    assert {1.0, 0.0, -1.0} <= set(effusion.dropna()) and effusion.isna().any()
    assert (amount[effusion == 1] > 0).all() and (amount[effusion == 0] == 0).all()
    assert amount[effusion == 1].mean() > amount[(effusion == -1) & (amount > 0)].mean()
    patients = {part: {p.split("/")[2] for p in table.Path} for part, table in tables.items()}
    assert not patients["train"] & patients["valid"]


def test_mimic_tables_lead_to_the_files(made):
    root = made / "mimic"
    meta, split, labels = (
        pd.read_csv(root / f"mimic-cxr-2.0.0-{part}.csv.gz") for part in ("metadata", "split", "chexpert")
    )
    assert list(split) == ["dicom_id", "study_id", "subject_id", "split"]
    assert set(split.split) <= {"train", "validate", "test"} and len(set(split.split)) > 1
    assert list(labels)[2:] == sorted(_layouts.CHEXPERT)
    assert meta.dicom_id.is_unique and labels.study_id.is_unique and len(meta) == len(labels) == N
    for row in meta.itertuples():
        p = f"p{row.subject_id}"
        assert (root / "files" / p[:3] / p / f"s{row.study_id}" / f"{row.dicom_id}.jpg").is_file()
    assert split.groupby("subject_id").split.nunique().max() == 1
    assert set(truth(root)["Image Index"]) == {f"{i}.jpg" for i in meta.dicom_id}


def test_mimic_identifiers_never_repeat():
    ids = [_layouts._mimic_ids(1, p, f) for p in range(1, 3000) for f in range(4)]
    assert len({i[0] for i in ids}) == 2999 and len({i[1] for i in ids}) == len({i[2] for i in ids}) == len(ids)
    assert all(len(str(s)) == len(str(t)) == 8 for s, t, _ in ids)


def test_covidx_lists_three_classes(made):
    table = truth(made / "covidx").set_index("Image Index")
    seen, patients = [], {}
    for part in ("train", "test"):
        for line in (made / "covidx" / f"{part}_COVIDx5.txt").read_text().splitlines():
            patient, name, label, source = line.split(" ")
            assert (made / "covidx" / part / name).is_file() and source in name
            row = table.loc[name]
            sick = "COVID-19" if row.covid_right else "pneumonia" if row.pneumonia else "normal"
            assert label == sick
            seen.append(label)
            patients.setdefault(patient, set()).add(part)
    assert len(seen) == N and set(seen) == {"normal", "pneumonia", "COVID-19"}
    assert all(len(parts) == 1 for parts in patients.values())


def test_the_layout_changes_no_pixel(made):
    """Layouts with PNG files show the same images; DICOM the same in twelve bits."""
    nih, covidx = (truth(made / name)["Image Index"] for name in ("nih", "covidx"))
    paths = pd.read_csv(made / "dicom" / "labels.csv").path
    inverted = 0
    for a, b, c in zip(nih, covidx, paths, strict=True):
        eight = np.asarray(Image.open(made / "nih" / "images" / a), float)
        (other,) = (p for part in ("train", "test") if (p := made / "covidx" / part / b).is_file())
        np.testing.assert_array_equal(eight, np.asarray(Image.open(other), float))
        file = pydicom.dcmread(made / "dicom" / c)
        greys = file.pixel_array.astype(float)
        inverted += file.PhotometricInterpretation == "MONOCHROME1"
        if file.PhotometricInterpretation == "MONOCHROME1":
            greys = 4095 - greys
        assert np.abs(greys / 4095 - eight / 255).max() < 0.6 / 255
    assert 0.15 * N < inverted < 0.6 * N


def test_radiographs_have_the_tags_of_an_archive(made):
    labels = pd.read_csv(made / "dicom" / "labels.csv", keep_default_na=False)
    positive = truth(made / "dicom").severity > 0
    assert all((made / "dicom" / m).is_file() if p else m == "" for m, p in zip(labels["mask"], positive, strict=True))
    np.testing.assert_array_equal(labels["label:Effusion"], has(truth(made / "dicom"), "effusion"))
    read = [pydicom.dcmread(made / "dicom" / p) for p in labels.path]
    assert len({f.SOPInstanceUID for f in read}) == len({f.StudyInstanceUID for f in read}) == N
    assert all(f.SOPInstanceUID.is_valid and f.StudyInstanceUID.is_valid for f in read)
    assert len({f.PatientID for f in read}) == labels.patient.nunique() < N
    for f, row in zip(read, labels.itertuples(), strict=True):
        assert (f.Modality, f.BitsStored, f.HighBit, f.BitsAllocated) == ("DX", 12, 11, 16)
        assert f.ViewPosition in ("", row.view) and f.PatientSex == row.sex and "SYNTHETIC" in str(f.PatientName)
        assert f.pixel_array.max() <= 4095 and int(f.StudyDate[:4]) >= 2100
        assert f.get("PresentationLUTShape") in (
            (None, "INVERSE") if f.PhotometricInterpretation == "MONOCHROME1" else (None, "IDENTITY")
        )
    assert {f.get("PresentationLUTShape") for f in read} == {None, "INVERSE", "IDENTITY"}
    dates = pd.DataFrame({"who": labels.patient, "when": [f.StudyDate for f in read]})
    assert dates.groupby("who").when.apply(lambda d: d.is_monotonic_increasing and d.is_unique).all()


@pytest.mark.parametrize("options", [{"layout": "chexpert"}, {"layout": "mimic"}, {"format": "dicom"}])
def test_same_seed_same_bytes(tmp_path, options):
    for name in ("a", "b"):
        phantom.write(tmp_path / name, n=6, size=32, seed=2, findings=ALL, **options)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_raters_know_images_whose_names_repeat(made):
    table = truth(made / "chexpert")
    ids = [str(Path(p).with_suffix("")) for p in table["Image Index"][:8]]
    split = made / "split.tsv"
    lines = ["seed\tset\trole\tid", *(f"1\ts\t{'query' if i == 0 else 'catalogue'}\t{v}" for i, v in enumerate(ids))]
    split.write_text("\n".join(lines) + "\n")
    ranks = list(phantom.rank(made / "chexpert", split, raters=1))
    assert sorted(r.id for r in ranks) == sorted(ids[1:])
    right, left = table.severity_right.to_numpy(), table.severity_left.to_numpy()
    worst = [np.abs(right[i] - right[0]) + np.abs(left[i] - left[0]) for i in range(1, 8)]
    differs = [0.5 * ((right[i] + left[i] > 0) != (right[0] + left[0] > 0)) for i in range(1, 8)]
    expected = sorted(range(7), key=lambda i: (round(worst[i] + differs[i], 6), ids[1:][i]))
    assert [r.id for r in ranks] == [ids[1:][i] for i in expected]


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"findings": ["efusion"]}, "efusion.*effusion"),
        ({"findings": []}, "at least one"),
        ({"layout": "nhi"}, "nhi.*nih"),
        ({"format": "jpeg"}, "jpeg.*png"),
        ({"format": "dicom", "layout": "mimic"}, "mimic"),
        ({"layout": "covidx", "findings": ["effusion"]}, "pneumonia and covid"),
    ],
)
def test_impossible_options_are_one_line(tmp_path, options, words):
    with pytest.raises(UsageError, match=words) as raised:
        phantom.write(tmp_path / "x", n=1, size=32, **options)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())
