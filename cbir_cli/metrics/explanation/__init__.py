"""How true explanations are: one file a metric, with ``score``, which gives one value a map, and what chance gets.

``NEEDS`` says what a metric looks at:

``masks``
    ``score(maps, masks)``: maps against masks of what they should show. ``expected(masks)`` is the exact mean of
    ``score`` over all orders of the map's pixels: what an uninformative map gets. Maps and masks are
    arrays (N, H, W) of one shape: bringing a map to the size of its mask is the caller's business.
``maps``
    ``score(maps)``: maps alone. ``expected(maps)``, where there is one, is the mean over all orders of their pixels.
``curves``
    ``score(curves)``: similarity after each step of a perturbation, (N, T). ``CURVES`` names those of an explanation
    artifact. What chance gets is another curve, of a random map: so there is no ``expected``.

Undefined values: the result is a masked array of shape (N,), masked where a mask is empty or a map has no relevance,
and never NaN. Callers leave those images out of the mean and count them.
Signed maps: with ``sign="positive"`` pixels count by their relevance as it is, so what speaks against the answer comes
last, and has no share; with ``sign="absolute"`` they count by its magnitude.
"""
