"""AnnData files of other programs. Needs anndata (``pip install 'cbir-cli[h5ad]'``).

There is no writer: an embedding or index artifact is an AnnData file already, and a copy under this ending is read by
anndata, Scanpy and their kin.
"""

from pathlib import Path

import numpy as np

from cbir_cli.errors import CbirError, SourceError

ENDINGS = (".h5ad",)


def read(path: Path, name: str = "") -> tuple[np.ndarray, dict[str, list[str]]]:
    """Read vectors and ``obs`` as text, the index as ``id``.

    Parameters
    ----------
    path : Path
    name : str
        Where the vectors are: ``X``, the default, or a key of ``obsm`` such as ``X_pca``.

    Returns
    -------
    vectors : ndarray (N, D), float32
    columns : dict of str to list of str

    Raises
    ------
    CbirError
        If anndata is not there.
    SourceError
        If the file cannot be read as AnnData, or holds no dense vectors there.
    """
    try:
        import anndata
    except ImportError as error:
        raise CbirError(".h5ad files of other programs need anndata: pip install 'cbir-cli[h5ad]'") from error
    try:
        found = anndata.read_h5ad(path)
    except Exception as error:  # whatever is wrong with the file; anndata has no error of its own
        raise SourceError(f"{path}: anndata cannot read it: {' '.join(str(error).split())[:200]}") from error
    if name not in ("", "X", *found.obsm):
        raise SourceError(f"{path}: no vectors {name!r}; there are: {', '.join(['X', *found.obsm])}")
    held = found.X if name in ("", "X") else found.obsm[name]
    if held is None:
        raise SourceError(f"{path}: X is empty; there are: {', '.join(found.obsm) or 'no other vectors'}")
    vectors = np.asarray(held.todense() if hasattr(held, "todense") else held)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise SourceError(f"{path}: {name or 'X'} holds no vectors but {vectors.dtype} {vectors.shape}")
    columns = {"id": [str(key) for key in found.obs_names]}
    for column in found.obs.columns:
        cells = found.obs[column]
        missing = cells.isna().tolist()
        columns[str(column)] = ["" if gone else _text(cell) for cell, gone in zip(cells.tolist(), missing, strict=True)]
    return vectors.astype(np.float32), columns


def _text(cell: object) -> str:
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
