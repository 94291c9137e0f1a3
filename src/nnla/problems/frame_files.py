"""The file format of the StAnD data set: one linear system with its solution per ``.npz``.

Keys ``A_indices`` (2, nnz), ``A_values`` (nnz,), ``x`` (n,), ``b`` (n,). Files are untrusted: what they
claim is checked against the bytes that are there, and nothing is ever unpickled.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

from nnla._files import write_atomic
from nnla.errors import DTypeError, FileFormatError, NonFiniteError, OptionError, ShapeError
from nnla.problems.archives import open_zip, zip_member
from nnla.problems.assembly import triplets
from nnla.problems.conversions import as_matrix
from nnla.problems.files import guarded
from nnla.problems.limits import check_need, matrix_bytes
from nnla.problems.numpy_files import read_npy
from nnla.problems.sparse_parts import as_real, checked_coordinates
from nnla.types import Problem

__all__ = ["read_stand", "write_stand"]

_KEYS = ("A_indices", "A_values", "x", "b")


def read_stand(path: str | os.PathLike[str]) -> Problem:
    """Read one StAnD problem.

    Parameters
    ----------
    path : ``.npz`` with A_indices, A_values, x and b

    Returns
    -------
    Problem : A is a csr_array (n, n), duplicates summed and stored zeros kept; b and x are (n,)

    Raises
    ------
    FileFormatError
        Missing, truncated or malformed file, absent keys, pickled objects, indices out of range.
    ShapeError, DTypeError, NonFiniteError
        Arrays that do not fit each other, are not real numbers, or hold NaN or Inf.

    Notes
    -----
    Cost: the file read once; memory of its arrays and of A.

    References
    ----------
    Grementieri & Finelli, StAnD: a dataset of linear static analysis problems, arXiv:2201.05356.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "one.npz")
    ...     write_stand(path, coo_array(np.diag([2.0, 4.0])), [2.0, 4.0], [1.0, 1.0])
    ...     read_stand(path).A.toarray()
    array([[2., 0.],
           [0., 4.]])
    """
    A, b, x = guarded(path, _read)
    return Problem(Path(path).stem, A, b, x, {"source": "StAnD", "file": Path(path).name})


def write_stand(path: str | os.PathLike[str], A: Any, b: ArrayLike, x: ArrayLike) -> None:
    """Write one problem in the format of StAnD, atomically.

    Parameters
    ----------
    path : ends in .npz
    A : (n, n) sparse or dense
    b, x : (n,) right-hand side and solution

    Raises
    ------
    OptionError
        Another suffix, or a place that cannot be written.
    ShapeError, DTypeError
        Arrays that do not fit each other, or are not real.

    Notes
    -----
    Cost: one copy of A in triplets, compressed.

    References
    ----------
    Grementieri & Finelli, StAnD: a dataset of linear static analysis problems, arXiv:2201.05356.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise OptionError(f"{path}: StAnD problems are .npz files; use a name that ends in .npz")
    A = as_matrix(A if hasattr(A, "tocoo") else np.asarray(A))
    b, x = as_real(np.asarray(b)), as_real(np.asarray(x))
    n = int(A.shape[0])
    if b.shape != (n,) or x.shape != b.shape:
        raise ShapeError(f"A is {n} x {n}, so b and x must be ({n},), got {b.shape} and {x.shape}")
    stream = io.BytesIO()
    indices = np.stack([c.astype(np.int32) for c in triplets(A.tocoo())[:2]])
    np.savez_compressed(stream, A_indices=indices, A_values=A.data, x=x, b=b)
    try:
        write_atomic(path, stream.getvalue())
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _read(stream: IO[bytes]) -> tuple[csr_array, np.ndarray, np.ndarray]:
    size = os.fstat(stream.fileno()).st_size
    if stream.read(4) != b"PK\x03\x04":
        raise FileFormatError("is not an .npz archive; get the file again")
    stream.seek(0)
    archive, listed = open_zip(stream, size)
    members = {member.filename.removesuffix(".npy"): member for member in listed}
    lacking = [key for key in _KEYS if key not in members]
    if lacking:
        raise FileFormatError(f"lacks {', '.join(lacking)}; a StAnD problem has {', '.join(_KEYS)}")
    arrays: dict[str, np.ndarray] = {}
    for key in _KEYS:
        with zip_member(archive, members[key]) as content:
            try:
                arrays[key] = read_npy(content, members[key].file_size)
            except DTypeError as error:
                raise FileFormatError(f"{key} {error}") from None
    indices, values, x, b = (arrays[key] for key in _KEYS)
    return _check(indices, values, x, b, size)


def _check(
    indices: np.ndarray, values: np.ndarray, x: np.ndarray, b: np.ndarray, size: int
) -> tuple[csr_array, np.ndarray, np.ndarray]:
    if indices.dtype.kind not in "iu":
        raise FileFormatError("has A_indices that are not integers; save it again")
    check_need(matrix_bytes(b.size, values.size) + 8 * (b.size + x.size), size)
    values, x, b = as_real(values), as_real(x), as_real(b)
    if b.ndim != 1 or b.size == 0 or x.shape != b.shape:
        raise ShapeError(f"has x {x.shape} and b {b.shape}; both must be (n,) with n of at least 1")
    if values.ndim != 1 or indices.shape != (2, values.size):
        raise ShapeError(f"has A_indices {indices.shape} and A_values {values.shape}; they must be (2, m) and (m,)")
    for name, array in (("A_values", values), ("x", x), ("b", b)):
        if not np.all(np.isfinite(array)):
            raise NonFiniteError(f"has NaN or Inf in {name}; get the file again")
    i, j = (checked_coordinates(c, b.size) for c in indices)
    A = coo_array((values, (i, j)), shape=(b.size, b.size))
    return as_matrix(A.tocsr()), b, x
