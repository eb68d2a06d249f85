"""How much two images have in common, by sets of labels: the relevances behind ACG and its kin.

The retrieval paper grades a result by "the ratio of common labels" and does not say of what. Each way to read it has a
name of its own here. Q is what the query states, P its positive labels, P' the positive labels of the result:

====================  ==================================================================  ============================
name                  relevance                                                           left out: queries
====================  ==================================================================  ============================
agreement             labels of Q that the result states alike / Q                        that state nothing
exact                 1 if all labels of Q are stated alike, else 0                       that state nothing
positives-of-total    P and P' / Q                                                        without a positive label
positives-of-query    P and P' / P                                                        without a positive label
positives-of-union    P and P' / P or P' (Jaccard)                                        without a positive label
positives-in-common   P and P', a number of labels, not a share                           without a positive label
any                   1 if P and P' share a label, else 0                                 without a positive label
====================  ==================================================================  ============================

A label that is uncertain or not stated, after the policy for such labels, does not belong to Q; of a result it agrees
with nothing and is not positive. P' counts labels of Q alone.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3: "r_i is the graded relevance of the image retrieved at position i and is defined as the ratio of common labels
between the retrieved image and the query image. ACG_p is calculated using the same formulation but using the common
positive labels only"; "relevance of each retrieved image is calculated based on the common disease labels".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.records import POSITIVE
from cbir_cli.registry import unknown
from cbir_cli.relevance import stated

WORDS = {
    "agreement": "labels that agree, of those of the query",
    "exact": "all labels agree",
    "positives-of-total": "common positive labels, of all labels",
    "positives-of-query": "common positive labels, of the query's",
    "positives-of-union": "common positive labels, of either's",
    "positives-in-common": "number of common positive labels",
    "any": "a common positive label",
}
"""Every relevance, in words."""


def defined(kind: str, query: ArrayLike) -> NDArray[np.bool_]:
    """Say for which queries (Q,) a relevance has a meaning; parameters as for ``relevance``."""
    codes = _codes(kind, query, 2)
    count = stated(codes) if kind in ("agreement", "exact") else codes == POSITIVE
    return np.asarray(count.any(axis=1))


def relevance(kind: str, query: ArrayLike, results: ArrayLike) -> NDArray[np.float64]:
    """Relevance of results to their queries.

    Parameters
    ----------
    kind : str
        One of ``WORDS``.
    query : array (Q, L) of int
        Label codes of the queries, after the policy.
    results : array (Q, K, L) of int
        Label codes of their results.

    Returns
    -------
    ndarray (Q, K) of float64
        From 0 to 1; ``positives-in-common`` is a count.

    Raises
    ------
    UsageError
        If there is no such relevance.
    ShapeError
        If the shapes do not fit, or the relevance has no meaning for a query.
    """
    wanted, found = _codes(kind, query, 2), _codes(kind, results, 3)
    if wanted.shape != (found.shape[0], found.shape[2]):
        raise ShapeError(f"labels: expected (Q, L) and (Q, K, L), found {wanted.shape} and {found.shape}")
    if not defined(kind, wanted).all():
        raise ShapeError(f"labels: a query without labels that count has no relevance {kind!r}")
    known = stated(wanted)[:, None]
    if kind in ("agreement", "exact"):
        alike = ((wanted[:, None] == found) & known).sum(axis=2)
        return (alike == known.sum(axis=2)).astype(np.float64) if kind == "exact" else alike / known.sum(axis=2)
    here, there = (wanted == POSITIVE)[:, None], (found == POSITIVE) & known
    common = (here & there).sum(axis=2)
    if kind == "any":
        return (common > 0).astype(np.float64)
    if kind == "positives-in-common":
        return common.astype(np.float64)
    of = {"positives-of-total": known, "positives-of-query": here, "positives-of-union": here | there}[kind]
    return common / of.sum(axis=2)


def _codes(kind: str, codes: ArrayLike, dimensions: int) -> NDArray[np.int64]:
    if kind not in WORDS:
        raise unknown("relevance", kind, WORDS)
    array = np.asarray(codes)
    if array.ndim != dimensions or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ShapeError(f"labels: expected {dimensions}-D integers, found {array.ndim}-D {array.dtype}")
    return array.astype(np.int64)
