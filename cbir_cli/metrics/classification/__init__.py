"""Scores of classifiers: one file a metric, each with ``score`` and ``expected``.

``score(truth, probability)`` gives one number for all images, or None where the metric is not defined, and never NaN.
``expected(truth, probability)`` is the exact mean of ``score`` over all ways of dealing the same predictions out to the
images: what predictions get that know nothing about them. It is None where ``score`` is.
"""
