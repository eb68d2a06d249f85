"""Label policies: what becomes of labels that are uncertain or not stated, and whose labels an image has.

==============  ====================================================================================================
policy          what it does with such a label
==============  ====================================================================================================
``drop``        leaves the image out
``positive``    takes it for positive
``negative``    takes it for negative
``ignore``      keeps the image, without this label: for tasks with several outputs, whose loss passes it over
==============  ====================================================================================================

Raw codes stay in every artifact. A policy belongs to a task, or to a score, and is recorded with it: training may
ignore what retrieval counts as positive (Haq et al., ISBI 2021).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.records import MISSING, NEGATIVE, POSITIVE, UNCERTAIN
from cbir_cli.registry import unknown

UNCERTAIN_POLICIES = ("drop", "positive", "negative", "ignore")
BLANK_POLICIES = ("drop", "negative", "ignore")

IGNORED = -1
"""Target of an output that the loss passes over."""
DROPPED = -2
"""Target of an output for which the image is left out."""

_TARGETS = {"positive": POSITIVE, "negative": NEGATIVE, "ignore": IGNORED, "drop": DROPPED}
_WEIGHT = {MISSING: 0, NEGATIVE: 1, UNCERTAIN: 2, POSITIVE: 3}
"""Which of a study's codes counts: the heaviest."""


def collapse(codes: ArrayLike, *, uncertain: str, blank: str) -> NDArray[np.int64]:
    """Return targets for raw codes.

    Parameters
    ----------
    codes : array of int
        1, 0, -1 uncertain, or ``MISSING``.
    uncertain, blank : str
        Policies for uncertain labels and for those that are not stated.

    Returns
    -------
    array of int64, same shape
        1, 0, ``IGNORED`` or ``DROPPED``.

    Raises
    ------
    UsageError
        If there is no such policy.
    """
    for kind, name, known in (
        ("uncertain", uncertain, UNCERTAIN_POLICIES),
        ("blank", blank, BLANK_POLICIES),
    ):
        if name not in known:
            raise unknown(f"policy for {kind} labels", name, known)
    raw = np.asarray(codes, dtype=np.int64)
    targets = np.where(raw == POSITIVE, POSITIVE, NEGATIVE)
    targets[raw == UNCERTAIN] = _TARGETS[uncertain]
    targets[raw == MISSING] = _TARGETS[blank]
    return targets


@dataclass(frozen=True)
class Policy:
    """What becomes of labels that are uncertain or not stated when a run or classifier is scored.

    By default both are ignored: such an image makes no query, and as a result it is not relevant.
    """

    uncertain: str = "ignore"
    blank: str = "ignore"

    def __post_init__(self) -> None:
        for kind, known in (("uncertain", ("ignore", "positive", "negative")), ("blank", ("ignore", "negative"))):
            if getattr(self, kind) not in known:
                raise unknown(f"policy for {kind} labels", getattr(self, kind), known)

    def __call__(self, code: int) -> int:
        """Return the code that counts for a raw code; what is ignored stays as it is."""
        return int(self.of(code))

    def of(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Return the codes that count for an array of raw codes; what is ignored stays as it is."""
        targets = collapse(codes, uncertain=self.uncertain, blank=self.blank)
        return np.where(targets == IGNORED, np.asarray(codes, dtype=np.int64), targets)

    def __str__(self) -> str:
        parts = [f"{kind}={name}" for kind, name in asdict(self).items() if name != "ignore"]
        return f" ({', '.join(parts)})" if parts else ""


def of_studies(codes: ArrayLike, studies: Sequence[str]) -> NDArray[np.int64]:
    """Give every image the labels of its whole study.

    Of a study's codes positive comes before uncertain, uncertain before negative, and negative before not stated. An
    image without study keeps its own.

    Parameters
    ----------
    codes : array (N, K) of int
    studies : sequence of str, (N,)
        Empty where unknown.

    Returns
    -------
    array (N, K), int64
    """
    raw = np.array(codes, dtype=np.int64)
    rows = defaultdict(list)
    for i, study in enumerate(studies):
        if study:
            rows[study].append(i)
    for same in rows.values():
        for column in range(raw.shape[1]):
            raw[same, column] = max(raw[same, column].tolist(), key=_WEIGHT.__getitem__)
    return raw
