"""How far raters agree: one file a statistic, each with ``score`` and ``expected``.

The names of ``score``'s parameters say what it looks at:

``first, second``
    The ranks that two raters gave the images of one query. The table has the mean over queries.
``ranks``
    Those of all raters. The same.
``first_severity, second_severity``
    The severities that two raters gave the same images, of all queries together: one query holds too few for a
    statistic that is corrected for chance.
``severities``
    Those of any number of raters. The same.

``score`` gives one number, or None where the statistic is not defined, and never NaN. ``expected(raters)`` is its exact
mean over all ways of dealing each rater's ranks or severities out to the images; a statistic without it has no closed
form of that.
"""
