"""Scores of how well distances tell anomalies: one file a metric, each with ``score`` and ``expected``.

``score(anomaly, distance)`` gives one number for all images, or None where the metric is not defined. ``anomaly`` is 1
for the images that are of a class which the catalogue, and the network, have never seen: they are the positive class,
and the larger distance is to be theirs. ``expected`` is the exact mean over all ways of dealing the same distances out.
"""
