"""precision-any@k: the share of the first k results that have a positive label in common with the query.

``results among the first k with a common positive label / k``, where one such label is enough. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``precision-exact``, where all labels must agree; ``precision``, which looks at one label. The
paper says that labels "matched exactly" in 73 % of its results, which its ACG of .65 rules out, so this weaker one is
likely meant.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. "The relevance of each retrieved image is calculated based on the common disease labels."
"""

from cbir_cli.metrics.ranking._gain import expected
from cbir_cli.metrics.ranking._gain import share as score

__all__ = ["RELEVANCE", "expected", "score"]

RELEVANCE = "any"
