"""Score classifiers by the logits that an embedding holds: part of ``cbir evaluate``."""

from collections.abc import Sequence

import numpy as np

from cbir_cli.artifacts import embeddings, files, saliency
from cbir_cli.classes import ALL
from cbir_cli.classification import classification
from cbir_cli.errors import UsageError
from cbir_cli.label_policy import Policy
from cbir_cli.scores import Score
from cbir_cli.tasks import find_label


def evaluate(name: str, path: str, *, label: str | None, metrics: Sequence[str], policy: Policy) -> list[Score]:
    """Score the logits of an embedding on the images that no training has seen.

    Parameters
    ----------
    name, path : str
        The file as it is called, and where it is.
    label : str or None
        Which label is classified; ``all``, or None, for all of a model with several outputs.
    metrics : sequence of str
        As on the command line.
    policy : Policy
        What becomes of labels that are uncertain or not stated.

    Returns
    -------
    list of Score
        One a label and metric.

    Raises
    ------
    UsageError
        If a metric is unknown, or it is not clear which label the model classifies.
    """
    with files.open_artifact(path, embeddings.KIND, "cbir-index", saliency.KIND, name=name) as artifact:
        if artifact.kind == saliency.KIND:
            raise UsageError("saliency maps are scored against masks of what they should show (--masks DIR)")
        stored = embeddings.read(artifact)
        columns = _columns(stored, label)
        scores = []
        for column, target in columns.items():
            scores += classification(
                np.array(stored.logits[:, column]),  # type: ignore[index]  # _columns has looked
                policy.of(stored.items.label(target)),
                metrics=metrics,
                method=name,
                label=f"{target}{policy}",
                keep=stored.items.held_out,
                patients=stored.items["patient"].tolist(),
            )
        return scores


def _columns(stored: embeddings.Embedding, label: str | None) -> dict[int, str]:
    """Return which label each logit stands for: the one asked for, or all of a model with several outputs."""
    count = 0 if stored.logits is None else stored.logits.shape[1]
    known = stored.items.label_names
    names = ", ".join(known) or "none"
    if count == 1 and label != ALL:
        targets = [label] if label else stored.space.targets
        if len(targets) != 1 or targets[0] not in known:
            raise UsageError(f"which label does its model classify? give --label; it has: {names}")
        return {0: targets[0]}
    if count < 2 or len(stored.space.outputs) != count:
        raise UsageError("its model does not classify one finding")
    found = {column: find_label(known, [name]) for column, name in enumerate(stored.space.outputs)}
    columns = {column: name for column, name in found.items() if name and label in (None, ALL, name)}
    if not columns:
        raise UsageError(f"its model classifies {', '.join(stored.space.outputs)}; its images have the labels: {names}")
    return columns
