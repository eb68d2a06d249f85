"""ACG_p@k over all labels: the mean number of positive labels shared with the query, divided by that of labels.

``sum over i = 1..k of r_i / k``, where r_i is the number of labels that are positive in the query and in result i,
divided by the number that the query states, positive or negative. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``acg-p-query`` and ``acg-p-union``, which divide the same number by the query's positive
labels and by those of either image. This one cannot reach 1 unless all labels are positive: 13 labels of which two are
give .15.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. ACG_p with the denominator of ``acg``.
"""

from cbir_cli.metrics.ranking._gain import expected, score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "positives-of-total"
