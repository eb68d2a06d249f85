"""Synthetic, labelled image sets whose truth is known: what to build, test and show retrieval on without patients.

A kind of set is a module of this folder with ``build(folder, n, size, seed)``.
"""

import importlib
import os
import shutil
import tempfile
from pathlib import Path

from cbir_cli import registry
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.phantom._raters import Rank, rank

__all__ = ["Rank", "rank", "write"]


def write(directory: Path, *, n: int = 400, kind: str = "chest", size: int = 256, seed: int = 1) -> None:
    """Write a synthetic set of images with labels, lesion masks and the hidden severities.

    The set is made in a temporary folder beside ``directory`` and renamed at the end: what is there is whole.

    Parameters
    ----------
    directory : Path
        Does not exist, or is an empty directory.
    n : int
        Images.
    kind : str
        ``chest``: radiographs with pleural effusion.
    size : int
        Side of an image in pixels, 32 to 2048.
    seed : int
        0 or more. Same seed, same bytes.

    Raises
    ------
    UsageError
        If ``kind``, ``n``, ``size`` or ``seed`` is not possible.
    CbirError
        If ``directory`` holds something, or cannot be written.
    """
    known = registry.names("phantom")
    if kind not in known:
        raise registry.unknown("kind of phantom", kind, known)
    if n < 1 or seed < 0 or not 32 <= size <= 2048:
        raise UsageError(f"expected n >= 1, seed >= 0 and 32 <= size <= 2048, found n={n}, seed={seed}, size={size}")
    target = Path(os.path.abspath(directory))
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CbirError(f"{directory}: expected a new or empty directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            importlib.import_module(f"cbir_cli.phantom.{kind}").build(building, n, size, seed)
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
