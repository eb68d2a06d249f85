"""ACG_p@k over the query's positive labels: the mean share of them that the first k results have.

``sum over i = 1..k of r_i / k``, where r_i is the number of labels that are positive in the query and in result i,
divided by the number of the query's positive labels. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``acg-p-total`` and ``acg-p-union``, which divide the same number by all labels and by the
positive ones of either image. Here a result that is positive for everything scores 1.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. ACG_p as the recall of the query's labels.
"""

from cbir_cli.metrics.ranking._gain import expected, score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "positives-of-query"
