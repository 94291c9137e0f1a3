"""NumPy's .npy and SciPy's .npz from untrusted streams: nothing unpickled, sizes and indices checked first."""

from __future__ import annotations

import zipfile
from math import prod
from typing import IO, Any

import numpy as np
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array

from nnla.errors import DTypeError, FileFormatError, ShapeError
from nnla.problems.archives import zip_member
from nnla.problems.limits import check_need, check_rows, matrix_bytes
from nnla.problems.sparse_parts import as_real, checked_coordinates, compressed

__all__ = ["is_npz", "read_npy", "read_npz"]

_BLOCK = 2**20
_PARTS = ("format", "shape", "data", "indices", "indptr", "row", "col", "coords", "offsets")


def read_npy(stream: IO[bytes], available: int) -> np.ndarray:
    """One array, writable, and the stream's end behind it.

    Parameters
    ----------
    stream : at the magic string
    available : an upper bound on its length in bytes

    Raises
    ------
    FileFormatError, DTypeError
        Another length than the shape asks for, an unknown version; pickled objects.

    Notes
    -----
    Cost: the array.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> np.save(stream, np.arange(3)); _ = stream.seek(0)
    >>> read_npy(stream, 200).tolist()
    [0, 1, 2]
    """
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise FileFormatError(f"has the .npy version {version}; save it again with numpy.save")
    if dtype.hasobject:
        raise DTypeError("holds Python objects, which nnla never unpickles; save it as float64")
    if not all(isinstance(m, int) and m >= 0 for m in shape):
        raise FileFormatError("has a malformed shape; save it again with numpy.save")
    size = prod(shape) * dtype.itemsize
    if size > available:
        raise FileFormatError(f"is truncated: shape {shape} claimed, too few bytes; get the file again")
    data, at = np.empty(size, dtype=np.uint8), 0  # pages that nothing is written to take no memory
    view = data.data
    while at < size and (block := stream.read(min(_BLOCK, size - at))):
        view[at : at + len(block)] = block
        at += len(block)
    if at != size or stream.read(1):
        raise FileFormatError(f"has another length than its shape {shape} asks for; get the file again")
    if dtype.itemsize == 0:
        return np.empty(shape, dtype=dtype)
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def is_npz(members: list[zipfile.ZipInfo]) -> bool:
    """Whether a zip archive holds NumPy's arrays."""
    return any(member.filename.endswith(".npy") for member in members)


def read_npz(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], size: int) -> Any:
    """The array of a .npz archive, or the matrix that scipy.sparse.save_npz wrote.

    Parameters
    ----------
    archive, members : from `nnla.problems.archives.open_zip`
    size : of the file, bytes

    Raises
    ------
    FileFormatError, DTypeError, ShapeError
        Several arrays that are no matrix, arrays that do not fit, indices that point outside.

    Notes
    -----
    Cost: the arrays, and for other layouts than CSR those of the matrix beside.
    """
    names = [member.filename.removesuffix(".npy") for member in members]
    if len(set(names)) != len(names):
        raise FileFormatError("has two arrays of one name; save it again")
    if "format" not in names:
        if len(members) != 1:
            raise FileFormatError("is not from scipy.sparse.save_npz; save the matrix with that")
        return _array(archive, members[0])
    arrays = {k: _array(archive, member) for k, member in zip(names, members, strict=True) if k in _PARTS}
    if "shape" not in arrays or "data" not in arrays or arrays["format"].size != 1:
        raise FileFormatError("lacks arrays that scipy.sparse.save_npz writes; save it again")
    text = arrays["format"].item()
    layout = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    if arrays["shape"].dtype.kind not in "iu":
        raise FileFormatError("has a shape that is not of integers; save it again")
    shape = tuple(int(m) for m in arrays["shape"].ravel()[:3])
    if len(shape) != 2 or min(shape) < 0:
        raise ShapeError(f"holds an array of shape {shape}; give a matrix")
    data = arrays["data"]
    check_rows(*shape, data.size)
    check_need(matrix_bytes(shape[0], data.size), size)
    if layout == "coo":
        return _coo(arrays, data, shape)
    if layout == "dia":
        return _dia(_part(arrays, "offsets"), data, shape)
    if layout not in ("csr", "csc", "bsr"):
        raise FileFormatError(f"has the sparse format {layout[:20]!r}; save it as csr")
    indices, starts = _part(arrays, "indices"), _part(arrays, "indptr")
    if layout == "bsr":
        return _bsr(data, indices, starts, shape)
    if data.ndim != 1:
        raise FileFormatError("has data of another shape than its layout asks for; save it again")
    if layout == "csr":
        return csr_array(compressed(data, indices, starts, major=shape[0], minor=shape[1]), shape=shape)
    return csc_array(compressed(data, indices, starts, major=shape[1], minor=shape[0]), shape=shape)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with zip_member(archive, member) as content:
        return read_npy(content, member.file_size)


def _part(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise FileFormatError(f"lacks the array {name!r}; save it again with scipy.sparse.save_npz")
    if arrays[name].dtype.kind not in "iu":
        raise FileFormatError("has indices that are not integers; save it again")
    return arrays[name]


def _coo(arrays: dict[str, np.ndarray], data: np.ndarray, shape: tuple[int, ...]) -> coo_array:
    coords = _part(arrays, "coords") if "coords" in arrays else (_part(arrays, "row"), _part(arrays, "col"))
    if data.ndim != 1 or len(coords) != 2 or any(c.shape != data.shape for c in coords):
        raise FileFormatError("has indices and values of different numbers; save it again")
    i, j = (checked_coordinates(c, m) for c, m in zip(coords, shape, strict=True))
    return coo_array((as_real(data), (i, j)), shape=shape)


def _bsr(data: np.ndarray, indices: np.ndarray, starts: np.ndarray, shape: tuple[int, ...]) -> csr_array:
    if data.ndim != 3 or 0 in data.shape[1:] or any(m % k for m, k in zip(shape, data.shape[1:], strict=True)):
        raise FileFormatError(f"has blocks of shape {data.shape[1:]} in a matrix of {shape}; save it as csr")
    rows, cols = (m // k for m, k in zip(shape, data.shape[1:], strict=True))
    parts = compressed(data, indices, starts, major=rows, minor=cols)
    return bsr_array(parts, shape=shape, blocksize=data.shape[1:]).tocsr()


def _dia(offsets: np.ndarray, data: np.ndarray, shape: tuple[int, ...]) -> coo_array:
    """Diagonal k has its entry of column j at place j; what lies outside of the matrix is no entry, nor are zeros."""
    if offsets.ndim != 1 or data.ndim != 2 or len(data) != len(offsets) or len(np.unique(offsets)) != len(offsets):
        raise FileFormatError("has offsets and diagonals that do not fit; save it as csr")
    rows, cols = shape
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    inside = (offsets > -rows) & (offsets < cols) if offsets.dtype.kind == "i" else offsets < cols
    for k in np.flatnonzero(inside):
        offset = int(offsets[k])
        first, last = max(0, offset), max(0, min(cols, data.shape[1], rows + offset))
        j = first + np.flatnonzero(data[k, first:last])
        parts.append(((j - offset).astype(np.int32), j.astype(np.int32), as_real(data[k, j])))
    empty = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    i, j, values = (np.concatenate([part[c] for part in [empty, *parts]]) for c in range(3))
    return coo_array((values, (i, j)), shape=shape)
