"""What a network is trained for: one file a paper's objective.

Each module says how the vectors that it trains are compared (``SIMILARITY``), how many pictures it is shown of an image
(``VIEWS``), whether its loss needs a batch whole (``WHOLE_BATCH``: it is not a mean over images), and has
``outputs(names)``, ``class_weights(targets, scheme)`` and ``loss(outputs, targets, *, weights, ...)``, whose other
keywords are its parameters; ``check`` refuses bad ones before anything is read. A classifier also has
``probability(logits)``. An objective with layers of its own has ``attach(module, width, *, statistics)``,
``FIXED_RATE`` if some of them keep their first learning rate, and ``monitor(outputs)`` where there is something to
watch; one that learns without labels has ``LABELLED = False``. They know arrays and tensors; the loop is in
``training.py``.
"""
