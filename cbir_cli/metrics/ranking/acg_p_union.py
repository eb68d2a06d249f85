"""ACG_p@k over the positive labels of either: the mean Jaccard index of the first k results' labels and the query's.

``sum over i = 1..k of r_i / k``, where r_i is the number of labels that are positive in the query and in result i,
divided by the number that are positive in either. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``acg-p-total`` and ``acg-p-query``, which divide the same number by all labels and by the
query's positive ones. Here a label too many costs as much as one too few.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. ACG_p as the Jaccard index.
"""

from cbir_cli.metrics.ranking._gain import expected, score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "positives-of-union"
