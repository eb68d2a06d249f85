"""precision-exact@k: the share of the first k results whose labels all agree with the query's.

``results among the first k with all labels as in the query / k``; positive and negative labels count alike.
From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries that state no label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``precision-any``, where one common positive label is enough; ``precision``, which looks at one
label. Never above ``acg``: a result whose labels all agree adds 1 to both.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. "73% of the retrieved images' disease labels matched exactly with the query image."
"""

from cbir_cli.metrics.ranking._gain import expected
from cbir_cli.metrics.ranking._gain import share as score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "exact"
