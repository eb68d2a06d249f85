"""Patient-safe splits: train/validation/test sets, and catalogues with a query.

All draws are orders of SHA-256 digests of seed and name. A split is therefore a function of patients, ids and seed, the
same on every machine and library version, whatever the order of the input.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), section 3: five seeds, each splitting the
data "into test and catalogue (keeping the proportion of the classes)", catalogues of 10, 20 and 30 images.

Differs from the authors' code
------------------------------
Theirs is a stratified ``train_test_split`` with sizes .055, .115 and .175, which makes catalogues of exactly 10, 20
and 30 images only from pools of 166 to 171; the size is asked for here. Theirs looks at images only; here no patient is
both query and in the catalogue, and a catalogue shows a patient once as long as there are enough patients. Theirs takes
the last positive image outside the catalogue as query, so its queries are always positive: that is the default here too
(``query_label``), but the query is drawn by the seed. The seeds are 42, 1, 27, 57, 77.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cbir_cli.errors import SourceError, UsageError

Role = Literal["query", "catalogue", "train", "validation", "test"]
ROLES: tuple[Role, ...] = ("query", "catalogue", "train", "validation", "test")


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One image's role in one set.

    Attributes
    ----------
    seed : int
        Seed of the draw.
    set : int
        Number of the set under this seed: 1, 2, ... for catalogues, 0 for train, validation and test.
    role : str
        One of ``ROLES``.
    id : str
        The image.
    """

    seed: int
    set: int
    role: str
    id: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the pool: its id, class and patient."""

    id: str
    label: int
    patient: str


def assign(
    patients: Sequence[str],
    *,
    seed: int,
    validation: float = 0.1,
    test: float = 0.0,
    classes: Sequence[int] | None = None,
) -> list[Role]:
    """Give the set of each image from its patient and the seed alone.

    A patient lands in the same set whatever else is in the data, and a larger ``validation`` share moves no one out of
    the test set. Shares hold on average over patients: with few of them a set can be empty, which the caller checks.

    With ``classes`` each class is cut at its shares instead, the patients of the class in the same order. The numbers
    of patients are then those of the shares, rounded, in every class; a patient who joins moves at most one other
    across each border.

    Parameters
    ----------
    patients : sequence of str
        Patient of each image; or the study or hospital, where those are to be kept whole.
    seed : int
        Another seed, another split.
    validation, test : float
        Share of the patients in these sets; the rest is for training.
    classes : sequence of int, optional
        Class of each image. A patient is of the highest class of his images: of two classes positive, if one is.

    Returns
    -------
    list of str
        "train", "validation" or "test" for each image.

    Raises
    ------
    UsageError
        If the shares are not between 0 and 1 with something left to train on.
    SourceError
        If a patient is empty, that is unknown: all such images would land in one set.
    """
    if min(validation, test) < 0 or not validation + test < 1:
        raise UsageError(
            f"split: validation {validation:g} and test {test:g} must be shares that add up to less than 1"
        )
    check_known(patients)
    places = {patient: int.from_bytes(digest(seed, patient)[:8], "big") / 2**64 for patient in set(patients)}
    if classes is not None:
        places = _in_turn(places, patients, classes)
    roles: dict[str, Role] = {
        patient: "test" if place < test else "validation" if place < test + validation else "train"
        for patient, place in places.items()
    }
    return [roles[patient] for patient in patients]


def _in_turn(places: Mapping[str, float], patients: Sequence[str], classes: Sequence[int]) -> dict[str, float]:
    """Return the patients of each class at equal distances from 0 to 1, in the order of their places."""
    highest: dict[str, int] = {}
    for patient, label in zip(patients, classes, strict=True):
        highest[patient] = max(label, highest.get(patient, label))
    turns: dict[str, float] = {}
    for label in set(highest.values()):
        order = sorted((p for p, its in highest.items() if its == label), key=lambda p: (places[p], p))
        # The middle of a step, so that n times a share is rounded and not cut off.
        turns |= {patient: (number + 0.5) / len(order) for number, patient in enumerate(order)}
    return turns


def catalogues(
    ids: Sequence[str],
    labels: Sequence[int],
    patients: Sequence[str],
    *,
    catalogue: int,
    seeds: Sequence[int],
    queries: int = 1,
    stratify: bool = True,
    positives: int | None = None,
    query_label: int | None = 1,
) -> list[SplitRow]:
    """Draw query images and a catalogue for each, for every seed.

    The query comes first: images of the wanted class in random order, one for each patient before any second one. Its
    patient then leaves the pool, and the catalogue is drawn from the rest. Each patient enters with one image, drawn at
    random (where his images are of both classes, one of the class that is short); only when the patients of a class do
    not suffice are further images of theirs taken. Catalogues of different sets are drawn independently and may share
    images.

    Parameters
    ----------
    ids : sequence of str
        The pool; unique.
    labels : sequence of int
        Class of each image, 0 or 1; images whose label is uncertain or missing are left out beforehand.
    patients : sequence of str
        Patient of each image.
    catalogue : int
        Images in each catalogue.
    seeds : sequence of int
        One draw for each, at least 0.
    queries : int
        Sets (a query with its catalogue) for each seed.
    stratify : bool
        Keep the pool's class proportion in the catalogue: ``catalogue`` times the share of each class, rounded down,
        and the image that is left over goes to the class with the larger remainder, to the positive one if equal.
        Otherwise the classes come as they fall.
    positives : int, optional
        Positive images in each catalogue, instead of the pool's proportion (the paper's catalogues of 10, 20 and 30
        images have 4, 7 and 11).
    query_label : {1, 0, None}
        Class of the queries; None for any.

    Returns
    -------
    list of SplitRow
        By seed as given and set number; in each set the query, then the catalogue by id.

    Raises
    ------
    UsageError
        If a number makes no sense (an empty catalogue, the same seed twice, more positives than images).
    SourceError
        If ids repeat, a label is not 0 or 1, a patient is unknown, or the images do not suffice: the message says
        how many there are.
    """
    pool = _pool(ids, labels, patients)
    quotas = _quotas(pool, catalogue, stratify, positives)
    if queries < 1:
        raise UsageError(f"split: expected at least 1 query, found {queries}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UsageError("split: expected at least one seed, each of at least 0 and given once")
    rows = []
    for seed in seeds:
        for number, query in enumerate(_queries(pool, seed, queries, query_label), start=1):
            rest = [image for image in pool if image.patient != query.patient]
            chosen = _draw(rest, quotas, seed, number)
            rows.append(SplitRow(seed, number, "query", query.id))
            rows += [SplitRow(seed, number, "catalogue", name) for name in sorted(image.id for image in chosen)]
    return rows


def catalogues_for(
    queries: Sequence[str],
    own: Sequence[Collection[str]],
    ids: Sequence[str],
    labels: Sequence[int],
    patients: Sequence[str],
    *,
    catalogue: int,
    seed: int,
    stratify: bool = True,
) -> list[SplitRow]:
    """Draw a catalogue for each query that is given, as ``catalogues`` draws one for a query of its own choice.

    Parameters
    ----------
    queries : sequence of str
        Ids; they may be images of the pool.
    own : sequence of collection of str
        Of each query the images of the pool that may not be in its catalogue: the same image, study and patient.
    ids, labels, patients : sequence
        The pool, as for ``catalogues``.
    catalogue : int
        Images in each catalogue.
    seed : int
        At least 0.
    stratify : bool
        Keep the pool's class proportion in each catalogue.

    Returns
    -------
    list of SplitRow
        Set 1 for the first query, set 2 for the second, and so on; in each the query, then the catalogue by id.

    Raises
    ------
    UsageError, SourceError
        As ``catalogues``.
    """
    pool = _pool(ids, labels, patients)
    quotas = _quotas(pool, catalogue, stratify, None)
    rows = []
    for number, (query, apart) in enumerate(zip(queries, own, strict=True), start=1):
        left_out = {query, *apart}
        chosen = _draw([image for image in pool if image.id not in left_out], quotas, seed, number)
        rows.append(SplitRow(seed, number, "query", query))
        rows += [SplitRow(seed, number, "catalogue", name) for name in sorted(image.id for image in chosen)]
    return rows


def digest(*parts: object) -> bytes:
    """Return the SHA-256 of a seed and names: the order in which images and patients are drawn."""
    # Surrogates stand for bytes of file names that are not UTF-8; they hash like any other name.
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()


def check_known(patients: Sequence[str]) -> None:
    """Refuse images whose patient is empty, that is unknown.

    Raises
    ------
    SourceError
        The message has the number.
    """
    if unknown := sum(not patient for patient in patients):
        raise SourceError(f"split: the patient of {unknown} of {len(patients)} images is not known")


def _pool(ids: Sequence[str], labels: Sequence[int], patients: Sequence[str]) -> list[Image]:
    if not len(ids) == len(labels) == len(patients):
        raise SourceError(f"split: {len(ids)} ids, {len(labels)} labels and {len(patients)} patients do not match")
    if repeated := [name for name, count in Counter(ids).items() if count > 1]:
        raise SourceError(f"split: id {min(repeated)!r} is there more than once")
    if other := sum(label not in (0, 1) for label in labels):
        raise SourceError(f"split: the label of {other} images is neither 0 nor 1")
    check_known(patients)
    return [Image(*image) for image in zip(ids, map(int, labels), patients, strict=True)]


def _quotas(pool: list[Image], catalogue: int, stratify: bool, positives: int | None) -> dict[int | None, int]:
    if catalogue < 1:
        raise UsageError(f"split: expected a catalogue of at least 1 image, found {catalogue}")
    if positives is not None:
        if not 0 <= positives <= catalogue:
            raise UsageError(f"split: {positives} positive images do not fit into a catalogue of {catalogue}")
    elif not stratify:
        return {None: catalogue}
    else:
        ones = sum(image.label for image in pool)
        # Two remainders add up to one image or none, so "the larger, or the positive one" is rounding half up.
        positives = (2 * catalogue * ones + len(pool)) // (2 * len(pool)) if pool else 0
    return {1: positives, 0: catalogue - positives}


def _queries(pool: list[Image], seed: int, queries: int, label: int | None) -> list[Image]:
    candidates = [image for image in pool if label in (None, image.label)]
    if len(candidates) < queries:
        kind = "" if label is None else " positive" if label else " negative"
        raise SourceError(
            f"split: {queries} queries wanted for seed {seed}, but there are {len(candidates)}{kind} images"
        )
    candidates.sort(key=lambda image: digest(seed, "query", image.id))
    return spread(candidates)[:queries]


def _draw(rest: list[Image], quotas: dict[int | None, int], seed: int, number: int) -> list[Image]:
    order = sorted(rest, key=lambda image: digest(seed, number, image.id))
    faces: dict[str, Image] = {}
    for image in order:
        faces.setdefault(image.patient, image)
    chosen = []
    for label, wanted in quotas.items():
        if label is not None:
            _switch(faces, order, label, wanted)
    for label, wanted in quotas.items():
        images = [image for image in order if label in (None, image.label)]
        if len(images) < wanted:
            raise SourceError(_short(rest, quotas, seed))
        first = [image for image in images if faces[image.patient] is image]
        if len(first) < wanted:
            first += spread([image for image in images if faces[image.patient] is not image])
        chosen += first[:wanted]
    return chosen


def _switch(faces: dict[str, Image], order: list[Image], label: int, wanted: int) -> None:
    """Let patients with images of both classes stand for the class that is short."""
    short = wanted - sum(image.label == label for image in faces.values())
    for image in order if short > 0 else ():
        if short > 0 and image.label == label and faces[image.patient].label != label:
            faces[image.patient] = image
            short -= 1


def spread(order: Iterable[Image]) -> list[Image]:
    """Put one image of every patient first, then the second ones, and so on; otherwise keep the order."""
    seen: Counter[str] = Counter()
    turns = []
    for image in order:
        turns.append((seen[image.patient], image))
        seen[image.patient] += 1
    return [image for _, image in sorted(turns, key=lambda turn: turn[0])]


def _short(rest: list[Image], quotas: dict[int | None, int], seed: int) -> str:
    wanted = sum(quotas.values())
    ones = sum(image.label for image in rest)
    parts = f" ({quotas[1]} positive, {quotas[0]} negative)" if 1 in quotas else ""
    return (
        f"split: a catalogue of {wanted} images{parts} cannot be drawn for seed {seed}: besides the query's patient "
        f"there are {len(rest)} images ({ones} positive, {len(rest) - ones} negative)"
    )
