"""Scores of ranked lists: one file a metric, each with ``score`` and ``expected``.

``score`` gives one value a query, ``expected`` the exact mean of ``score`` over all orders of the query's catalogue:
what a blind ranking gets. A metric asks for what it needs by the names of its parameters:

relevance : (Q, K) float64
    Relevance of the results, best result first. All queries of one call have lists of equal length.
ideal : (Q, N) float64
    Relevance of every image in the catalogue of each query, in any order.
relevant : (Q,) int
    Number of relevant images in the catalogue of each query.
total : (Q,) float64
    Sum of the relevance of every image in the catalogue of each query.
size : (Q,) int
    Number of images in the catalogue of each query.
classes : (Q, K) int
    Class of each result, numbered from 0; -1 for a result without one.
query_class : (Q,) int
    Class of each query.
class_sizes : (Q, C) int
    Number of images of each class in the catalogue of each query.
k : int
    Cut-off: the first k results count. A metric without this parameter takes none (``r-precision``).

The constant ``RELEVANCE`` says which relevance is meant: ``"graded"`` (expert ranks), ``"binary"`` (one label),
``"classes"`` (votes for classes) or one of those in ``cbir_cli.shared_labels`` (sets of labels). ``ALIASES`` are other
names that the field has for the same number.

Undefined values: the result is a masked array of shape (Q,), masked where the metric is not defined for a query (say,
nothing in the catalogue is relevant), and never NaN. Callers leave masked queries out of the mean and count them.
Ties in distance are the ranking's business: the list comes in its final order (ties broken by id). The mean over all
orders of tied results is taken by ``cbir_cli.ties``. It needs of a metric that what a group of neighbouring results
adds depends on their own order and on which results stand before them, not on the order of those.
"""
