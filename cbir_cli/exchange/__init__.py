"""Files of other programs: vectors and results out, vectors in.

A module here is a format. Those that hold vectors have ``write(path, vectors, columns)`` and, if they can be taken in,
``read(path, name)``, which returns ``(vectors, columns)``. ``columns`` is the item table as text: the cells (N,) by the
name of the column, ``id`` first; a label is called ``label:NAME``, and what is not known is empty. ``name`` is what the
place of the vectors is called in formats that have several.
"""

from collections.abc import Mapping, Sequence

Columns = Mapping[str, Sequence[str]]
"""The item table as text, (N,) cells a column."""
