"""Scores of classifiers: one file a metric, each with ``score`` and ``expected``.

``score(truth, probability)`` gives one number for all images, or None where the metric is not defined, and never NaN.
``expected(truth, probability)`` is the exact mean of ``score`` over all ways of dealing the same predictions out to the
images: what predictions get that know nothing about them. It is None where ``score`` is.

Constants where a metric is not as the rest: ``TAKES = "probability"`` where predictions have to be probabilities
(elsewhere anything that rises with them will do, such as logits), and ``BEST = 0.0`` where less is better. ``SPELT``
names a parameter that is spelt behind an ``@``: ``sensitivity@95specificity``, ``ece@10bins``; fractions in percent.
``BOOTSTRAP = False`` where an interval by the bootstrap is wrong (see ``cbir_cli/bootstrap.py``).
"""
