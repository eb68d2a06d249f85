"""ACG@k, average cumulated gain: the mean share of labels on which the first k results agree with the query.

``ACG@k = sum over i = 1..k of r_i / k``, where r_i is the number of labels that result i states as the query does,
positive or negative, divided by the number that the query states. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries that state no label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ACG_p, of which there are three readings, ``acg-p-total``, ``acg-p-query`` and ``acg-p-union``,
in which negative labels count for nothing: most labels are negative for most images, so that ACG is high by chance;
``average-gain``, the ACG of the literature on hashing, a number of labels and no share.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. "The ratio of common labels": the paper does not say of what; here of all that the query states.
"""

from cbir_cli.metrics.ranking._gain import expected, score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "agreement"
