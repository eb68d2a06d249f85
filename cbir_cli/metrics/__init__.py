"""Scores of ranked lists (``ranking``) and of classifiers (``classification``)."""
