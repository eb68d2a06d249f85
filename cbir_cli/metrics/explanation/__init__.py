"""Scores of saliency maps against masks of what they should show: one file a metric, with ``score`` and ``expected``.

``score(maps, masks)`` gives one value a map, from 0 to 1. ``expected(masks)`` is the exact mean of ``score`` over all
orders of the map's pixels: what a map gets that knows nothing of the lesion. Maps and masks are arrays (N, H, W) of one
shape: bringing a map to the size of its mask is the caller's business.

Undefined values: the result is a masked array of shape (N,), masked where a mask is empty, and never NaN. Callers leave
those images out of the mean and count them.
Signed maps: with ``sign="positive"`` pixels count by their relevance as it is, so what speaks against the answer comes
last; with ``sign="absolute"`` they count by its magnitude.
"""
