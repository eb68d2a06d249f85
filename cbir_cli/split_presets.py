"""The queries and catalogues of each paper, as split tables; none has a patient on both sides, unless it says so.

==================  ==================================================================================================
preset              draws
==================  ==================================================================================================
``ig-cbir``         for each of the seeds 42, 1, 27, 57, 77 one query, a positive, and catalogues of 10, 20 and 30
                    images (sets 1, 2, 3) that keep the proportion of the classes
``ig-cbir-code``    the same as the authors' script draws it: by images, whoever they show, and the query is the last
                    positive outside the catalogue
``silva``           ten queries, five for pneumonia, each by a seed of its own with a catalogue of ten images that
                    keeps the proportion of the classes
``x-mir``           every test image is a query once, and all test images of other patients are its catalogue
``wickstrom``       five slices with and five without the finding of each volume; those of the training volumes are the
                    catalogue of all those of the test volumes
==================  ==================================================================================================

References
----------
ig-cbir: Silva et al., Interpretability-guided content-based medical image retrieval, MICCAI 2020, section 3; seeds,
query and sizes from the authors' ``precision.py``.

silva: Silva et al., Computer-aided diagnosis through medical image retrieval in radiology, Scientific Reports 2022,
Data and Results.

x-mir: Hu, Vasu, Hoogs, X-MIR: EXplainable Medical Image Retrieval, WACV 2022, section 3.

wickstrom: Wickstrøm et al., A clinically motivated self-supervised approach for content-based image retrieval of CT
liver images, 2022, Data.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cbir_cli.errors import SourceError, UsageError
from cbir_cli.splits import Image, SplitRow, catalogues, digest, spread

log = logging.getLogger("cbir")

PRESETS = ("ig-cbir", "ig-cbir-code", "silva", "x-mir", "wickstrom")

IG_CBIR_SEEDS = (42, 1, 27, 57, 77)
IG_CBIR_SIZES = (10, 20, 30)
MOST = 1000
"""Test images that a leave-one-out table is written for: it has a row for every pair."""


def ig_cbir(
    ids: Sequence[str],
    labels: Sequence[int],
    patients: Sequence[str],
    *,
    sizes: Sequence[int] = IG_CBIR_SIZES,
    seeds: Sequence[int] = IG_CBIR_SEEDS,
) -> list[SplitRow]:
    """Draw one positive query a seed, and a catalogue of each size for it.

    Set 1 is what ``splits.catalogues`` draws with the first size, set 2 with the second, and so on: the query is the
    same. The query is drawn by the seed; the paper does not say how, and the script takes the last (``ig_cbir_code``).

    Parameters
    ----------
    ids, labels, patients : sequence
        As for ``splits.catalogues``.
    sizes : sequence of int
        Images in the catalogue of each set.
    seeds : sequence of int

    Returns
    -------
    list of SplitRow

    Raises
    ------
    UsageError, SourceError
        As ``splits.catalogues``.
    """
    rows = []
    for number, size in enumerate(sizes, start=1):
        rows += [
            replace(row, set=number) for row in catalogues(ids, labels, patients, catalogue=size, seeds=list(seeds))
        ]
    order = {seed: place for place, seed in enumerate(seeds)}
    return sorted(rows, key=lambda row: (order[row.seed], row.set))  # stable: the query stays before its catalogue


def ig_cbir_code(
    ids: Sequence[str],
    labels: Sequence[int],
    *,
    sizes: Sequence[int] = IG_CBIR_SIZES,
    seeds: Sequence[int] = IG_CBIR_SEEDS,
) -> list[SplitRow]:
    """Draw as the authors' script does: scikit-learn's stratified split, and the last positive of the rest as query.

    Its shares .055, .115 and .175 make 10, 20 and 30 images of 166 to 171; the sizes are asked for here, and drawn the
    same way. The script follows the order of its own files, which are not public; here images go by id. It looks at
    images only, so the query's patient may be in the catalogue: the leak check finds him.

    Parameters
    ----------
    ids : sequence of str
    labels : sequence of int
        0 or 1.
    sizes, seeds : sequence of int

    Returns
    -------
    list of SplitRow
        Set 1 for the first size, set 2 for the second, and so on.

    Raises
    ------
    SourceError
        If there are too few images, or no positive one is left for the query.
    """
    from sklearn.model_selection import train_test_split

    order = sorted(range(len(ids)), key=lambda i: ids[i])
    classes = [labels[i] for i in order]
    rows = []
    for seed in seeds:
        for number, size in enumerate(sizes, start=1):
            try:
                rest, chosen = train_test_split(order, stratify=classes, test_size=size, random_state=seed)
            except ValueError as error:
                raise SourceError(
                    f"split: a catalogue of {size} images cannot be drawn from {len(ids)}: {error}"
                ) from None
            positive = [i for i in rest if labels[i] == 1]
            if not positive:
                raise SourceError(f"split: no positive image is left for the query of seed {seed}")
            rows.append(SplitRow(seed, number, "query", ids[positive[-1]]))
            rows += [SplitRow(seed, number, "catalogue", ids[i]) for i in chosen]
    return rows


def silva(
    ids: Sequence[str],
    labels: Sequence[int],
    patients: Sequence[str],
    *,
    queries: int = 10,
    size: int = 10,
    seeds: Sequence[int] | None = None,
) -> list[SplitRow]:
    """Draw one query of either class a seed, with a catalogue that keeps the proportion of the classes.

    The paper has ten queries for pleural effusion and five for pneumonia, and gives no seeds: they are 1, 2, 3, ...
    here.

    Parameters
    ----------
    ids, labels, patients : sequence
        As for ``splits.catalogues``.
    queries : int
        How many seeds, where none are given.
    size : int
        Images in each catalogue.
    seeds : sequence of int, optional

    Returns
    -------
    list of SplitRow

    Raises
    ------
    UsageError, SourceError
        As ``splits.catalogues``.
    """
    return catalogues(
        ids, labels, patients, catalogue=size, seeds=list(seeds or range(1, queries + 1)), query_label=None
    )


def x_mir(
    ids: Sequence[str],
    classes: Sequence[int],
    patients: Sequence[str],
    *,
    per_class: int | None = None,
    queries: int | None = None,
    seeds: Sequence[int] = (0,),
) -> list[SplitRow]:
    """Make every test image a query, and the test images of other patients its catalogue.

    The authors leave out the query alone. In the COVIDx test set 17 patients own 45 of 300 images, so some of theirs
    are answered with themselves.

    Parameters
    ----------
    ids : sequence of str
        The test set.
    classes : sequence of int
        Of each image.
    patients : sequence of str
    per_class : int, optional
        Draw so many images of each class by the seed, a second one of a patient only where patients do not suffice. The
        paper takes 90 of each class of the ISIC test set; which ones was drawn, and only their own list has them.
    queries : int, optional
        Let only so many images ask, from each class in turn, drawn by the seed; all by default.
    seeds : sequence of int

    Returns
    -------
    list of SplitRow
        A set for each query.

    Raises
    ------
    UsageError
        If the table, with a row for every pair, would have more than ``MOST ** 2`` rows.
    SourceError
        If a class has fewer than ``per_class`` images, the test set fewer than ``queries``, or no image is left for a
        query.
    """
    pool = [Image(*image) for image in zip(ids, classes, patients, strict=True)]
    rows = []
    for seed in seeds:
        drawn = _balanced(pool, per_class, seed) if per_class else pool
        chosen = sorted(drawn, key=lambda image: image.id)
        asking = _from_each_class(chosen, queries, seed) if queries else chosen
        if (size := len(asking) * len(chosen)) > MOST**2:
            raise UsageError(
                f"split: leave-one-out over {len(chosen)} images is a table of {size} rows; --per-class and --queries "
                "take fewer, and cbir query without --split asks every image of an index among all the others"
            )
        for number, query in enumerate(asking, start=1):
            rest = [image.id for image in chosen if image.patient != query.patient]
            if not rest:
                raise SourceError(f"split: no image of another patient is left for the query {query.id!r}")
            rows.append(SplitRow(seed, number, "query", query.id))
            rows += [SplitRow(seed, number, "catalogue", name) for name in rest]
    return rows


def wickstrom(
    ids: Sequence[str],
    labels: Sequence[int],
    patients: Sequence[str],
    volumes: Sequence[str],
    held_out: Sequence[bool] | None = None,
    *,
    slices: int = 5,
    seeds: Sequence[int] = (0,),
) -> list[SplitRow]:
    """Draw slices of each volume: of the training volumes for the catalogue, of the test volumes for the queries.

    Without official sets the first 100 of 131 volumes are for training, or that share of another number, in the order
    of the numbers in their names: the paper says "the first 100", and not in which order. All volumes of a patient are
    on one side. The paper's 1310 training slices are those of all 131 volumes: 1000 are for training and 310 for
    testing.

    Parameters
    ----------
    ids : sequence of str
        Slices.
    labels : sequence of int
        Whether the slice shows the finding.
    patients, volumes : sequence of str
        Of each slice.
    held_out : sequence of bool, optional
        Whether the data set holds the slice out.
    slices : int
        Of each class of each volume; a volume that has fewer gives all it has, which is said.
    seeds : sequence of int

    Returns
    -------
    list of SplitRow
        One set a seed.

    Raises
    ------
    SourceError
        If one side has no volume.
    """
    names = dict(zip(patients, volumes, strict=True))
    order = sorted(names, key=lambda patient: (_natural(names[patient]), patient))
    if held_out is None:
        test = set(order[(100 * len(order) + 65) // 131 :])
    else:
        test = {patient for patient, held in zip(patients, held_out, strict=True) if held}
    rows = []
    for seed in seeds:
        of: dict[tuple[str, int], list[int]] = defaultdict(list)
        for i, place in enumerate(zip(volumes, labels, strict=True)):
            of[place].append(i)
        both = {(volume, label) for volume in set(volumes) for label in (0, 1)}
        if few := len({volume for volume, label in both if len(of[volume, label]) < slices}):
            log.warning("%d volumes have fewer than %d slices with or without the finding; all are taken", few, slices)
        chosen = [
            i for place in sorted(both) for i in sorted(of[place], key=lambda i: digest(seed, "slice", ids[i]))[:slices]
        ]
        sides = {
            "query": sorted(ids[i] for i in chosen if patients[i] in test),
            "catalogue": sorted(ids[i] for i in chosen if patients[i] not in test),
        }
        if lacking := [side for side, found in sides.items() if not found]:
            raise SourceError(f"split: no volume is left for the {lacking[0]} slices of {len(order)} patients")
        rows += [SplitRow(seed, 1, "query", name) for name in sides["query"]]
        rows += [SplitRow(seed, 1, "catalogue", name) for name in sides["catalogue"]]
    return rows


def _balanced(pool: list[Image], number: int, seed: int) -> list[Image]:
    chosen = []
    for label in sorted({image.label for image in pool}):
        images = [image for image in pool if image.label == label]
        if len(images) < number:
            raise SourceError(f"split: {number} images of each class wanted, but a class has {len(images)}")
        images.sort(key=lambda image: digest(seed, "class", image.id))
        chosen += spread(images)[:number]
    return chosen


def _from_each_class(images: list[Image], number: int, seed: int) -> list[Image]:
    if len(images) < number:
        raise SourceError(f"split: {number} queries wanted, but there are {len(images)} images")
    turns: dict[int, int] = defaultdict(int)
    order = []
    for image in sorted(images, key=lambda image: digest(seed, "query", image.id)):
        order.append((turns[image.label], image.label, image))
        turns[image.label] += 1
    order.sort(key=lambda turn: turn[:2])
    return sorted((image for *_, image in order[:number]), key=lambda image: image.id)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts liver_2 before liver_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
