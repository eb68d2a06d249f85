"""Metrics as the command line names them, and which are computed if none is named."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import ModuleType

from cbir_cli import metric_settings, registry, shared_labels
from cbir_cli.errors import UsageError

RANKING, CLASSIFICATION, EXPLANATION = "metrics/ranking", "metrics/classification", "metrics/explanation"
ANOMALY = "metrics/anomaly"
GRADED_DEFAULTS = ("ndcg@4", "ndcg@7", "ndcg@10")
BINARY_DEFAULTS = ("r-precision", "precision@5")
CLASSIFICATION_DEFAULTS = ("f1", "auroc")
EXPLANATION_DEFAULTS = ("relevance-rank", "pointing-game")
WHAT = {RANKING: "a run", CLASSIFICATION: "an embedding's logits", EXPLANATION: "saliency maps"}
WHAT[ANOMALY] = "an embedding against an index (--items)"
"""What the metrics of each folder score, in words."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as the command line names it.

    Attributes
    ----------
    folder : str
        ``RANKING`` (scores a run), ``CLASSIFICATION`` (an embedding's logits), ``ANOMALY`` (an embedding against an
        index) or ``EXPLANATION`` (saliency maps).
    name : str
        Name of the method, short forms spelt out.
    k : int or None
        Cut-off, for metrics that have one.
    setting : tuple of str and float, or None
        The parameter that is spelt with its name, such as ``("specificity", 0.95)``, and its value.
    """

    folder: str
    name: str
    k: int | None = None
    setting: metric_settings.Setting | None = None

    def __str__(self) -> str:
        if self.setting:
            return f"{self.name}@{metric_settings.spelt(self.setting)}"
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @property
    def module(self) -> ModuleType:
        """The metric's file."""
        return registry.load(self.folder, self.name)

    @property
    def what(self) -> str:
        """What it scores, in words."""
        return WHAT[self.folder]

    @property
    def of_label_sets(self) -> bool:
        """Whether it looks at sets of labels, not at one."""
        return self.folder == RANKING and self.module.RELEVANCE in shared_labels.WORDS


def parse_metrics(names: Iterable[str]) -> list[Metric]:
    """Read metrics as the command line spells them: ``ndcg@4``, ``p@5``, ``f1``, ``sensitivity@95specificity``.

    Raises
    ------
    UsageError
        If there is no such metric, or a cut-off is lacking, superfluous, or no integer of at least 1.
    """
    folders = {name: folder for folder in WHAT for name in registry.names(folder)}
    aliases = {alias: name for folder in WHAT for alias, name in registry.aliases(folder).items()}
    metrics = []
    for text in names:
        name, at, k = text.strip().partition("@")
        name = aliases.get(name, name)
        if name not in folders:
            raise registry.unknown("metric", name, folders)
        metric = Metric(folders[name], name)
        if hasattr(metric.module, "SPELT"):
            metric = replace(metric, setting=metric_settings.parse(name, metric.module, k if at else None))
        elif "k" not in inspect.signature(metric.module.score).parameters:
            if at:
                raise UsageError(f"metric {text!r}: {name} takes no cut-off")
        elif not (k.isascii() and k.isdigit() and int(k) > 0):
            raise UsageError(f"metric {text!r}: expected a cut-off of at least 1, such as {name}@5")
        else:
            metric = Metric(metric.folder, name, int(k))
        metrics.append(metric)
    return list(dict.fromkeys(metrics))  # two spellings of one are no second test for Holm's correction
