"""Errors that reach the user as one line; ``cli/main.py`` alone prints them and sets the exit status."""


class CbirError(Exception):
    """Anything that stops a command for a reason the user can act on. Exit status 1."""

    exit_status = 1


class UsageError(CbirError):
    """The command line asks for something that does not exist or does not fit together. Exit status 2."""

    exit_status = 2


class ArtifactError(CbirError):
    """A file is not the artifact that was expected, is incomplete, or is damaged."""


class SourceError(CbirError):
    """An image source holds nothing usable, or its table lacks a column or label."""


class ImageError(CbirError):
    """One image cannot be decoded. Commands that stream images record it and go on."""


class WeightsError(CbirError):
    """Initial weights cannot be had, or do not fit the network."""


class ShapeError(CbirError, ValueError):
    """An array has a shape or dtype that a method does not accept."""
