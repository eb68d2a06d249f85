"""The list of images that could not be decoded, in the artifact that lacks them."""

from collections.abc import Mapping
from typing import Any

from cbir_cli.artifacts import _anndata


def read(parent: Any) -> dict[str, str]:
    """Return why each image that could not be decoded is not there."""
    ids, reasons = (_anndata.column(parent["unreadable"], name).tolist() for name in ("id", "reason"))
    return dict(zip(ids, reasons, strict=True))


def write(parent: Any, unreadable: Mapping[str, str]) -> None:
    """List the images that could not be decoded, and why."""
    group = _anndata.dictionary(parent, "unreadable")
    _anndata.texts(group, "id", list(unreadable))
    _anndata.texts(group, "reason", list(unreadable.values()))
