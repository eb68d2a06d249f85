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

from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Stored:
    """An open community index.

    Attributes
    ----------
    vectors : ndarray (N, D), float32
        As they are now: rows that the graph does not know have been added since.
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

    The others are those of the payload.
    """

    vectors: ndarray
    rows: ndarray
    labels: ndarray
    members: ndarray
    starts: ndarray
    sums: ndarray
    graph_starts: ndarray
    graph_others: ndarray
    graph_weights: ndarray
    full_degrees: ndarray
    loose: ndarray = field(init=False)
    nodes: ndarray = field(init=False)
    strengths: ndarray = field(init=False)
    community_strengths: ndarray = field(init=False)
    directions: ndarray = field(init=False)
    total: float = field(init=False)

    def __post_init__(self) -> None:
        count, known = len(self.vectors), len(self.rows)
        communities = len(self.sums)
        if (
            self.rows.max(initial=-1) >= count
            or len(self.labels) != known
            or len(self.full_degrees) != known
            or self.labels.max(initial=-1) != communities - 1
            or self.sums.shape[1] != self.vectors.shape[1]
            or len(self.starts) != communities + 1
            or self.starts[-1] != len(self.members)
            or self.members.max(initial=-1) >= known
            or len(self.graph_starts) != known + 1
            or not self.graph_starts[-1] == len(self.graph_others) == len(self.graph_weights)
            or self.graph_others.max(initial=-1) >= known
        ):
            raise ShapeError(f"communities do not belong to {count} vectors")
        there = np.flatnonzero(self.rows >= 0)
        nodes = np.full(count, -1, dtype=np.int32)
        nodes[self.rows[there]] = there
        in_one = np.zeros(count, dtype=bool)
        in_one[self.rows[there[self.labels[there] >= 0]]] = True
        summed = np.concatenate([[0.0], np.cumsum(self.graph_weights, dtype=np.float64)])
        strengths = summed[self.graph_starts[1:]] - summed[self.graph_starts[:-1]]
        joined = self.labels >= 0
        lengths = np.sqrt(np.square(self.sums).sum(axis=1, keepdims=True))
        values = {
            "loose": np.flatnonzero(~in_one),
            "nodes": nodes,
            "strengths": strengths,
            "community_strengths": np.bincount(self.labels[joined], strengths[joined], minlength=communities),
            "directions": np.divide(self.sums, lengths, out=np.zeros_like(self.sums), where=lengths > 0),
            "total": float(summed[-1]),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

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
