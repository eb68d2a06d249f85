"""What a network is trained for: one file a paper's objective.

Each module has ``OUTPUTS`` (logits an image), ``class_weights(targets, scheme)``, ``loss(logits, targets, *, weights)``
and ``probability(logits)``. They know arrays and tensors; the loop is in ``training.py``.
"""
