"""MATLAB 7.3 files, which are HDF5: read by h5py where that is installed.

Only what lies in the file itself is followed: no links to other files, no datasets stored elsewhere. What a dataset
claims is checked before it is read. The HDF5 library itself parses the file; it is as safe as that is.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import IO, Any

import numpy as np
from scipy.sparse import csc_array

from nnla.errors import FileFormatError
from nnla.problems.limits import MAX_MEMBERS, check_need, check_rows, matrix_bytes, unpacked_limit
from nnla.problems.sparse_parts import compressed
from nnla.problems.variables import COMPLEX, Variable

__all__ = ["hdf5_variables", "is_hdf5"]

_MAGIC = b"\x89HDF\r\n\x1a\n"
_OTHERS = {"cell": "a cell array", "char": "text", "function_handle": "a function", "struct": "a struct"}
_WORDS = ("double", "single", "logical", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


def is_hdf5(start: bytes) -> bool:
    """Whether a file that begins so, with some 600 bytes, is HDF5, MATLAB's header in front of it or not."""
    return start.startswith((_MAGIC, b"MATLAB 7.3 MAT")) or start[512:520] == _MAGIC


def hdf5_variables(stream: IO[bytes], size: int) -> list[Variable]:
    """Variables of a MATLAB 7.3 file, read when they are loaded, as long as the stream is open.

    Parameters
    ----------
    stream : seekable
    size : of the file, bytes

    Raises
    ------
    FileFormatError
        h5py is not installed, or the file is damaged.

    Notes
    -----
    Cost: the list of variables.

    References
    ----------
    The HDF Group, HDF5 File Format Specification, version 3. MATLAB marks its arrays by attributes: MATLAB_class, and
    MATLAB_sparse for the number of rows of a group of ``data``, ``ir`` and ``jc``.
    """
    try:
        import h5py
    except ImportError:
        raise FileFormatError(
            "is a MATLAB 7.3 (HDF5) file; install h5py to read it (pip install h5py), or save it again with "
            "save(..., '-v7')"
        ) from None
    try:
        root = h5py.File(stream, "r")
    except OSError as error:
        raise FileFormatError(f"is no readable HDF5 file ({error}); save it again with save(..., '-v7')") from None
    found = _variables(h5py, root, size)
    if not found:
        raise FileFormatError("is an HDF5 file without MATLAB's variables; save the matrix with save(..., '-v7')")
    return found


def _variables(h5py: Any, group: Any, size: int, depth: int = 0) -> list[Variable]:
    if len(group) > MAX_MEMBERS:
        raise FileFormatError(f"holds more than {MAX_MEMBERS} variables; save the one you mean alone")
    found: list[Variable] = []
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink) or name.startswith("#"):
            continue  # another file, or what cells refer to
        item = group[name]
        what = _class(item)
        if "MATLAB_empty" in item.attrs and not isinstance(item, h5py.Group):
            found.append(Variable(name, "empty"))
        elif isinstance(item, h5py.Group) and "MATLAB_sparse" in item.attrs:
            found.append(_sparse(h5py, name, item, size))
        elif isinstance(item, h5py.Group):
            fields = partial(_variables, h5py, item, size, depth + 1) if depth == 0 else None
            found.append(Variable(name, _OTHERS["struct"], fields=fields))
        elif what in _WORDS and isinstance(item, h5py.Dataset):
            if item.dtype.names is not None:
                found.append(Variable(name, COMPLEX))
            else:
                load = partial(_array, item, size)
                found.append(Variable(name, shape=tuple(reversed(item.shape or ())), load=lambda read=load: read().T))
        elif what:
            found.append(Variable(name, _OTHERS.get(what, "an object")))
    return found


def _class(item: Any) -> str:
    text = item.attrs.get("MATLAB_class", b"")
    return text.decode("latin-1") if isinstance(text, bytes) else str(text)


def _array(item: Any, size: int) -> np.ndarray:
    """A dataset whose bytes lie in the file."""
    if item.dtype.kind not in "biuf":
        raise FileFormatError("has a dataset that is not of numbers; save it again with save(..., '-v7')")
    if item.is_virtual or item.external:
        raise FileFormatError("keeps its numbers in another file; give a file that holds them")
    limit = unpacked_limit(size) if item.chunks else size
    largest = max(prod(item.shape), prod(item.chunks or ()))
    if largest * item.dtype.itemsize > limit:
        raise FileFormatError(f"claims an array of shape {item.shape}, far more than its size warrants; save it again")
    return item[()]


def _sparse(h5py: Any, name: str, group: Any, size: int) -> Variable:
    parts: dict[str, Any] = {}
    for key in ("data", "ir", "jc"):
        if key in group and isinstance(group.get(key, getlink=True), h5py.HardLink):
            parts[key] = group[key]
    if "jc" not in parts or not all(isinstance(p, h5py.Dataset) and len(p.shape or ()) == 1 for p in parts.values()):
        raise FileFormatError(f"the sparse variable {name!r} lacks a part; save it again with save(..., '-v7')")
    if "data" in parts and parts["data"].dtype.names is not None:
        return Variable(name, COMPLEX)
    rows, cols = int(group.attrs["MATLAB_sparse"]), int(parts["jc"].shape[0]) - 1

    def load() -> csc_array:
        starts = _array(parts["jc"], size)
        none = np.empty(0, dtype=np.int32)  # MATLAB leaves out what is empty
        values, indices = (_array(parts[key], size) if key in parts else none for key in ("data", "ir"))
        check_rows(rows, cols, values.size)
        check_need(matrix_bytes(cols, values.size), size)
        return csc_array(compressed(values, indices, starts, major=cols, minor=rows), shape=(rows, cols))

    return Variable(name, shape=(rows, cols), load=load)
