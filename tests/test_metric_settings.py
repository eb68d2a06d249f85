import pytest

from cbir_cli.errors import UsageError
from cbir_cli.metric_names import parse_metrics


def test_parameters_are_spelt_with_the_metric():
    (found,) = parse_metrics(["sensitivity@90specificity"])
    assert found.setting == ("specificity", 0.9) and str(found) == "sensitivity@90specificity"
    (found,) = parse_metrics(["sensitivity@99.5specificity"])
    assert found.setting == ("specificity", 0.995) and str(found) == "sensitivity@99.5specificity"
    (found,) = parse_metrics(["ece-mass@20bins"])
    assert found.setting == ("bins", 20) and str(found) == "ece-mass@20bins"


def test_a_fraction_is_always_named():
    assert [str(m) for m in parse_metrics(["sensitivity", "false-positive-rate", "ece", "f1"])] == [
        "sensitivity@95specificity",
        "false-positive-rate@95sensitivity",
        "ece",
        "f1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sensitivity@95", "expected percent between 0 and 100, such as sensitivity@95specificity"),
        ("sensitivity@", "expected percent"),
        ("sensitivity@specificity", "expected percent"),
        ("sensitivity@0.95", "expected percent"),
        ("sensitivity@0specificity", "expected percent"),
        ("sensitivity@100specificity", "expected percent"),
        ("sensitivity@-5specificity", "expected percent"),
        ("sensitivity@1e1specificity", "expected percent"),
        ("sensitivity@٩٥specificity", "expected percent"),
        ("sensitivity@95sensitivity", "expected percent"),
        ("ece@10", "expected a number of at least 1, such as ece@15bins"),
        ("ece@0bins", "expected a number"),
        ("ece@1.5bins", "expected a number"),
        ("auprc@5", "auprc takes no cut-off"),
    ],
)
def test_what_is_spelt_in_another_way_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_metrics([text])


def test_two_spellings_are_one_metric():
    found = parse_metrics(["p@5", "ap", "precision@5", "p@10", "average-precision", "f1", "f1"])
    assert [str(metric) for metric in found] == ["precision@5", "average-precision", "precision@10", "f1"]
