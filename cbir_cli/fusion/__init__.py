"""Ways to make one ranked list of several, one file each.

``fuse(lists, weights, ...)`` gets the results that several indexes have for one query, and returns one list. A result
is a number, the same in all lists; what is in one list only counts as not found in the others.
"""
