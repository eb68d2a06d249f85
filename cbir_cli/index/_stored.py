"""What a community index keeps beside its vectors, as arrays and as the object that searches read.

====================  ==================  =============================================================================
array                 shape, type         what it is
====================  ==================  =============================================================================
rows                  (P,) int64          row in the vectors of each image of the graph; -1 if it is gone
labels                (P,) int32          its community, the largest being 0; -1 without edges
members, starts       (M,) int32,         images of each community, one after the other, and where each begins
                      (C + 1,) int64
sums                  (C, D) float64      sum of the directions of each community's images
graph_starts,         (P + 1,) int64,     the graph, in compressed rows: whom each image is joined to, and the cosine
graph_others,         (E,) int32,
graph_weights         (E,) float32
full_degrees          (P,) float64        sum of each image's cosines to all others: degrees of the paper's full graph
modularity            (1,) float64        of the communities in the graph
====================  ==================  =============================================================================
"""

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _payload


class Stored:
    """An open community index.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        As they are now: rows that the graph does not know have been added since.
    payload : dict of str to ndarray
        The arrays above; each is an attribute too.

    Attributes
    ----------
    loose : ndarray (L,), int64
        Ascending; rows that are in no community: added since, or joined to nothing. They are compared with every query.
    nodes : ndarray (N,), int32
        Image of the graph of each row; -1 for one that was added since.
    strengths, community_strengths : ndarray (P,) and (C,), float64
        Weighted degrees of the images, and their sums over communities.
    directions : ndarray (C, D), float64
        Sums scaled to length 1: centres of the communities.
    total : float
        Sum of all degrees, 2m.

    Raises
    ------
    ShapeError
        If the payload is damaged, or belongs to other vectors.
    """

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray]) -> None:
        count, width = vectors.shape
        self.vectors, self.rows = vectors, _payload.rows(payload, count)
        known = len(self.rows)
        self.labels = _payload.array(payload, "labels", (known,), "i4")
        self.sums = _payload.array(payload, "sums", (-1, width), "f8")
        self.members = _payload.array(payload, "members", (-1,), "i4")
        self.starts = _payload.array(payload, "starts", (len(self.sums) + 1,), "i8")
        self.graph_starts = _payload.array(payload, "graph_starts", (known + 1,), "i8")
        self.graph_others = _payload.array(payload, "graph_others", (-1,), "i4")
        self.graph_weights = _payload.array(payload, "graph_weights", (len(self.graph_others),), "f4")
        self.full_degrees = _payload.array(payload, "full_degrees", (known,), "f8")
        if not (
            _runs(self.starts, len(self.members))
            and _runs(self.graph_starts, len(self.graph_others))
            and _within(self.members, known)
            and _within(self.graph_others, known)
            and self._partition()
        ):
            raise ShapeError(f"communities do not belong to {count} vectors")
        there = np.flatnonzero(self.rows >= 0)
        self.nodes = np.full(count, -1, dtype=np.int32)
        self.nodes[self.rows[there]] = there
        in_one = np.zeros(count, dtype=bool)
        in_one[self.rows[there[self.labels[there] >= 0]]] = True
        self.loose = np.flatnonzero(~in_one)
        summed = np.concatenate([[0.0], np.cumsum(self.graph_weights, dtype=np.float64)])
        self.total = float(summed[-1])
        self.strengths = summed[self.graph_starts[1:]] - summed[self.graph_starts[:-1]]
        joined = self.labels >= 0
        self.community_strengths = np.bincount(self.labels[joined], self.strengths[joined], minlength=len(self.sums))
        lengths = np.sqrt(np.square(self.sums).sum(axis=1, keepdims=True))
        self.directions = np.divide(self.sums, lengths, out=np.zeros_like(self.sums), where=lengths > 0)

    def _partition(self) -> bool:
        """Say whether members are the images of each label, ascending, and all that have one."""
        labels = np.repeat(np.arange(len(self.sums)), np.diff(self.starts))
        return (
            np.array_equal(self.labels[self.members], labels)
            and bool((np.diff(self.members)[np.diff(labels) == 0] > 0).all())
            and len(labels) == np.count_nonzero(self.labels != -1)
        )

    def community(self, number: int) -> ndarray:
        """Rows of a community's images that are still there, ascending."""
        rows = self.rows[self.members[self.starts[number] : self.starts[number + 1]]]
        return np.sort(rows[rows >= 0])

    def edges(self, nodes: ndarray) -> tuple[ndarray, ndarray]:
        """Images that some images are joined to, and the weights, (E,) each; those of -1 are joined to nothing."""
        nodes = nodes[nodes >= 0]
        starts, counts = self.graph_starts[nodes], self.graph_starts[nodes + 1] - self.graph_starts[nodes]
        places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return self.graph_others[places], self.graph_weights[places]


def _runs(starts: ndarray, count: int) -> bool:
    """Say whether these are the first places of consecutive runs of so many."""
    return bool(starts[0] == 0 and starts[-1] == count and (np.diff(starts) >= 0).all())


def _within(numbers: ndarray, count: int) -> bool:
    return bool(not numbers.size or (numbers.min() >= 0 and numbers.max() < count))
