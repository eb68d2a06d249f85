"""Stores: engines that hold vectors and search them, where one machine's memory does not do.

A module has ``recognise(uri)``, whether a URI is its own, and ``open(uri, name, *, make, timeout)``, which connects and
returns a ``Store`` for one collection, which need not exist. All stores have the same methods:

=====================================  ==============================================================================
``names()``                            collections in the engine, those of other programs too
``record()``                           what is known of the collection: a dict, or None where there is none
``create(record, columns, width, ..)`` an empty collection; keyword-only parameters are those of ``cbir index --set``
``present(ids)``                       which of some ids it holds
``insert(ids, vectors, columns)``      rows that are not there yet; all of them or none
``finish()``                           make what is there searchable, and note that it is whole
``whole()``                            whether that note is there
``columns()``                          the columns that it has, ``id`` first
``count(tree)``                        how many rows an expression holds for, or how many there are
``rows(tree, columns)``                some columns of the rows that it holds for
``search(vectors, k, tree)``           candidates for each vector: ids, vectors and columns
``largest_k``                          how many results an engine gives at most
``drop()``                             remove the collection
``close()``                            leave the engine
=====================================  ==============================================================================

The columns are those of the item table, one field each (see ``_columns`` for their names). A field holds what the table
holds: an empty text, -128 and a negative ``part`` mean "not known", so no engine's NULL has a say. ``tree`` is an
expression of ``cbir_cli.where`` over these columns, which the engine evaluates.

``search`` gives k candidates wherever k rows exist. Which rows those are is the engine's affair, approximate or exact;
how far they are and in which order is not: whoever asks computes the distances from the vectors that are returned.

The note that a collection is whole is written last: a load that was interrupted is continued by what ``present`` says,
and nobody searches half of a catalogue unknowingly.
"""
