"""Scores of ranked lists (``ranking``), of classifiers (``classification``) and of saliency maps (``explanation``).

How far raters agree is in ``agreement``.
"""
