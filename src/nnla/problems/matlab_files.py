"""A reader for MATLAB level-5 files (.mat, -v6 and -v7) that allocates nothing the file does not back.

`scipy.io.loadmat` believes the dimensions a header claims; this one slices a buffer instead, so a damaged or
hostile file ends in `FileFormatError`. It reads numeric arrays, sparse matrices and scalar structs of them
(the layout of the SuiteSparse collection), and steps over everything else.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from nnla.errors import DTypeError, FileFormatError

__all__ = ["read_mat_variables"]

# miINT8 .. miUINT64 of the format's description, table 1-1.
_NUMERIC = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _SPARSE, _FULL = 2, 5, range(6, 16)
_MAX_DEPTH = 4
# Stands in for a complex variable, which is an error only if it is the one that is wanted.
_COMPLEX = DTypeError("holds complex numbers; nnla computes with real matrices only")


def _elements(buffer: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each data element in a buffer."""
    at = 0
    while at < len(buffer):
        if len(buffer) - at < 8:
            raise FileFormatError("a data element is cut off")
        kind, size = struct.unpack_from(order + "II", buffer, at)
        if kind >> 16:  # the small format: size and up to four bytes of data in the tag itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if size > 4:
                raise FileFormatError("a small data element claims more than 4 bytes")
        else:
            start = at + 8
            step = 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(buffer):
            raise FileFormatError("a data element is cut off")
        yield kind, buffer[start : start + size]
        at += step


def _numbers(element: tuple[int, memoryview], order: str) -> np.ndarray:
    kind, data = element
    if kind not in _NUMERIC:
        raise FileFormatError(f"a numeric element has the unknown type {kind}")
    dtype = np.dtype(order + _NUMERIC[kind])
    if len(data) % dtype.itemsize:
        raise FileFormatError("a numeric element has a broken length")
    return np.frombuffer(data, dtype=dtype)


def _sparse(parts: list[tuple[int, memoryview]], shape: tuple[int, ...], is_complex: bool, order: str) -> Any:
    if is_complex:
        return _COMPLEX
    if len(shape) != 2 or len(parts) < 3:
        raise FileFormatError("a sparse matrix lacks a part")
    rows, starts, values = (_numbers(part, order) for part in parts[:3])
    if starts.size != shape[1] + 1:
        raise FileFormatError("a sparse matrix has the wrong number of column pointers")
    starts = starts.astype(np.int64)
    stored = int(starts[-1])
    if starts[0] != 0 or np.any(np.diff(starts) < 0) or stored > min(rows.size, values.size):
        raise FileFormatError("the column pointers of a sparse matrix do not fit its entries")
    rows = rows[:stored].astype(np.int64)
    if stored and (rows.min() < 0 or rows.max() >= shape[0]):
        raise FileFormatError("a row index of a sparse matrix is out of range")
    return csc_array((values[:stored].astype(np.float64), rows, starts), shape=shape)


def _variable(buffer: memoryview, order: str, depth: int = 0) -> tuple[str, Any]:
    """Name and value of one miMATRIX element; the value is None for classes that hold no numbers."""
    parts = list(_elements(buffer, order))
    if len(parts) < 3:
        raise FileFormatError("a variable lacks its header")
    flags = _numbers(parts[0], order)
    dims = _numbers(parts[1], order)
    if flags.size < 1 or dims.size < 2 or np.any(dims.astype(np.int64) < 0):
        raise FileFormatError("a variable has a broken header")
    shape = tuple(int(m) for m in dims)
    name = bytes(parts[2][1]).decode("latin-1")
    what, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & 0x0800)
    parts = parts[3:]
    if what == _SPARSE:
        return name, _sparse(parts, shape, is_complex, order)
    if what in _FULL:
        if is_complex:
            return name, _COMPLEX
        values = _numbers(parts[0], order) if parts else np.empty(0)
        if values.size != prod(shape):
            raise FileFormatError(f"variable {name!r} claims {shape} but holds {values.size} numbers")
        return name, values.reshape(shape, order="F")
    if what == _STRUCT and prod(shape) == 1 and depth < _MAX_DEPTH and len(parts) >= 2:
        width = int(_numbers(parts[0], order)[0])
        text = bytes(parts[1][1])
        if width < 1 or len(text) // width != len(parts) - 2:
            raise FileFormatError(f"struct {name!r} has a broken list of fields")
        fields: dict[str, Any] = {}
        for k, (kind, data) in enumerate(parts[2:]):
            field = text[k * width : (k + 1) * width].split(b"\0")[0].decode("latin-1")
            if kind == _MATRIX and len(data):
                fields[field] = _variable(data, order, depth + 1)[1]
        return name, fields
    return name, None


def read_mat_variables(data: bytes, limit: int) -> dict[str, Any]:
    """Variables of a MATLAB level-5 file.

    Parameters
    ----------
    data : bytes
        The whole file.
    limit : int
        Largest number of bytes that compressed variables may unpack to, all together.

    Returns
    -------
    dict
        name -> ndarray, csc_array, dict (struct), None (text, cells and other classes), or for a complex
        variable the DTypeError to raise if it is wanted.

    Raises
    ------
    FileFormatError
        Truncated or inconsistent content, or more than `limit` bytes.

    Notes
    -----
    Cost: one pass over the data; memory of what it unpacks to, at most ``limit``.

    References
    ----------
    The MathWorks, MAT-File Format, 2019, chapter 1.

    Examples
    --------
    >>> import io, scipy.io
    >>> stream = io.BytesIO()
    >>> scipy.io.savemat(stream, {"b": np.ones((2, 1))})
    >>> read_mat_variables(stream.getvalue(), 1000)["b"].shape
    (2, 1)
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise FileFormatError("the MATLAB header is damaged")
    variables: dict[str, Any] = {}
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            plain = inflater.decompress(content, limit + 1)
            if len(plain) > limit:
                raise FileFormatError("a compressed variable unpacks to far more than the file's size")
            if not inflater.eof:
                raise FileFormatError("a compressed variable is cut off")
            limit -= len(plain)
            kind, content = next(_elements(memoryview(plain), order), (0, memoryview(b"")))
        if kind == _MATRIX:
            name, value = _variable(content, order)
            variables[name] = value
    return variables
