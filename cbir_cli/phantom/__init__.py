"""Synthetic, labelled image sets whose truth is known: what to build, test and show retrieval on without patients.

A kind of set is a module of this folder with ``build(folder, n, size, seed)`` and ``IMAGES``, how many images it has
unless told otherwise. What a kind can be told beside are the keyword-only arguments of its ``build``.
"""

import importlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbir_cli import registry
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.phantom._raters import Rank, rank

__all__ = ["Rank", "rank", "write"]


def write(
    directory: Path,
    *,
    n: int | None = None,
    kind: str = "chest",
    size: int = 256,
    seed: int = 1,
    findings: Sequence[str] | None = None,
    layout: str | None = None,
    format: str | None = None,
) -> None:
    """Write a synthetic set of images with labels, lesion masks and the hidden severities.

    The set is made in a temporary folder beside ``directory`` and renamed at the end: what is there is whole.

    Parameters
    ----------
    directory : Path
        Does not exist, or is an empty directory.
    n : int, optional
        Images; volumes where the kind has volumes. None takes the kind's own number.
    kind : str
        ``chest``: radiographs of the chest. ``ct``: volumes of the upper abdomen. ``skin``: dermoscopy.
    size : int
        Side of an image in pixels, 32 to 2048; the shorter side where images are not square.
    seed : int
        0 or more. Same seed, same bytes.
    findings, layout, format : optional
        What the kind's ``build`` makes of them; None takes its default.

    Raises
    ------
    UsageError
        If ``kind``, ``n``, ``size`` or ``seed`` is not possible, or the kind does not have the option or its value.
    CbirError
        If ``directory`` holds something, or cannot be written.
    """
    known = registry.names("phantom")
    if kind not in known:
        raise registry.unknown("kind of phantom", kind, known)
    module = importlib.import_module(f"cbir_cli.phantom.{kind}")
    n = module.IMAGES if n is None else n
    if n < 1 or seed < 0 or not 32 <= size <= 2048:
        raise UsageError(f"expected n >= 1, seed >= 0 and 32 <= size <= 2048, found n={n}, seed={seed}, size={size}")
    given: dict[str, Any] = {"findings": findings, "layout": layout, "format": format}
    options = {key: value for key, value in given.items() if value is not None}
    for key in options:
        if key not in inspect.signature(module.build).parameters:
            raise UsageError(f"a phantom of kind {kind} has no {key}")
    target = Path(os.path.abspath(directory))
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CbirError(f"{directory}: expected a new or empty directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            module.build(building, n, size, seed, **options)
            building.chmod(0o777 & ~_umask())
            building.rename(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    except OSError as error:
        raise CbirError(f"{directory}: cannot be written: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
