"""Files that repeat one method, such as runs of networks trained from other seeds, as one score.

Files repeat a method if their names differ only in the last number: ``cnn-1.tsv cnn-2.tsv`` is ``cnn-*.tsv``, and
``cnn/1.tsv cnn/2.tsv`` is ``cnn``. Mean, smallest, largest and standard deviation (n - 1) are then those of the files'
means, as the CT-liver paper prints five trainings.
"""

import logging
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from cbir_cli.errors import UsageError
from cbir_cli.raters import with_range
from cbir_cli.scores import RATER, Score
from cbir_cli.uncertainty import with_interval

_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
_LOG = logging.getLogger("cbir")


def over_files(scores: Sequence[Score]) -> list[Score]:
    """Sum up the scores of files that repeat one method.

    Parameters
    ----------
    scores : sequence of Score
        As ``uncertainty.filled`` returns them.

    Returns
    -------
    list of Score
        In the order of the first file of each method. A query's value is its mean over files, and the interval is that
        of those: over patients, for these files. ``sd`` says what another training may change. ``p_random`` is None.

    Raises
    ------
    UsageError
        If no file repeats another, or files of one method were scored on different queries.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(score.method for score in scores):
        files[name if name.startswith(RATER) else method(name)].append(name)  # R2 does not repeat R1
    names = {name: (of if len(several) > 1 else name) for of, several in files.items() for name in several}
    if all(name == of for name, of in names.items()):
        raise UsageError("--over-files: no two names differ only in their last number, as cnn-1.tsv and cnn-2.tsv do")
    rows: dict[tuple[str, str, str, str], list[Score]] = defaultdict(list)
    for score in scores:
        rows[names[score.method], score.metric, score.against, score.group].append(score)
    for of, several in files.items():
        if len(several) > 1:
            _LOG.info("%s: over %d files: %s", of, len(several), ", ".join(several))
    pooled = [_pooled(of, several) if of != several[0].method else several[0] for (of, *_), several in rows.items()]
    return with_range(pooled)


def method(name: str) -> str:
    """Return a file's name with a star for its last number, or the folder's where that is all of it."""
    path = PurePath(name)
    stem = _LAST_NUMBER.sub("*", str(path.with_suffix("")))
    folder, _, last = stem.rpartition("/")
    return folder if last == "*" and folder else stem + path.suffix


def _pooled(name: str, scores: Sequence[Score]) -> Score:
    first = scores[0]
    for score in scores:
        if score.values.keys() != first.values.keys():
            raise UsageError(
                f"--over-files: {first.method} and {score.method} were scored on different queries ({first.metric})"
            )
    means = [score.mean for score in scores if score.mean is not None]
    randoms = [score.random for score in scores if score.random is not None]
    pooled = replace(
        first,
        method=name,
        mean=statistics.fmean(means) if means else None,
        minimum=min(means, default=None),
        maximum=max(means, default=None),
        sd=statistics.stdev(means) if len(means) > 1 else None,
        random=statistics.fmean(randoms) if len(randoms) == len(scores) else None,
        values={key: statistics.fmean(score.values[key] for score in scores) for key in first.values},
        p_random=None,
        tail=None,
    )
    return with_interval(pooled, first.patients) if pooled.values else pooled
