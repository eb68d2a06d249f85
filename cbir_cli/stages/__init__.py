"""Each stage of the pipeline as library functions: read artifacts, put methods to work, write artifacts.

A command in ``cli/`` parses and calls one of these; a notebook can call them as well.
"""
