"""Label sets against the readers that state them."""

from cbir_cli import label_sets
from cbir_cli.data import chexpert, mimic_cxr_jpg, nih


def test_sets():
    assert chexpert.LABELS == label_sets.CHEXPERT_14
    assert sorted(label_sets.CHEXPERT_14) == list(mimic_cxr_jpg.LABELS)
    assert set(label_sets.CHEXPERT_14) - set(label_sets.CHEXPERT_13) == {"No Finding"}
    assert len(label_sets.CHEXPERT_13) == 13
    assert set(label_sets.CHEXPERT_5) < set(label_sets.CHEXPERT_13)
    assert len(label_sets.CHEXPERT_5) == 5


def test_names_differ_between_data_sets():
    assert set(label_sets.CHEXPERT_5) - set(nih.LABELS) == {"Pleural Effusion"}
