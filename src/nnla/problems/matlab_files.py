"""Readers for MATLAB files of level 5 (-v6 and -v7) and 4 that allocate nothing the file does not back.

`scipy.io.loadmat` believes the dimensions a header claims; these slice a buffer instead, so a damaged or hostile file
ends in `FileFormatError`. Headers are read first and a variable only if it is the one wanted: numeric arrays, sparse
matrices and those in scalar structs (the layout of the SuiteSparse collection).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache, partial
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csc_array

from nnla.errors import FileFormatError
from nnla.problems.limits import MAX_MEMBERS, check_need, check_rows, matrix_bytes, unpacked_limit
from nnla.problems.sparse_parts import checked_coordinates, compressed
from nnla.problems.variables import COMPLEX, Variable

__all__ = ["is_mat4", "is_mat5", "mat4_variables", "mat5_variables"]

# miINT8 .. miUINT64 of the format's description, table 1-1.
_NUMERIC = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _SPARSE, _FULL = 2, 5, range(6, 16)
_OTHERS = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 16: "a function", 17: "an object"}
_HEADER = 4096  # bytes that flags, dimensions and name of a variable take at most
_MAX_FIELDS = 1000
_Element = tuple[int, memoryview]


def is_mat5(head: bytes) -> bool:
    """Whether a file that begins so, with 128 bytes, is of level 5."""
    return head[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def _elements(buffer: memoryview, order: str) -> Iterator[_Element]:
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


def _numbers(element: _Element, order: str) -> np.ndarray:
    kind, data = element
    if kind not in _NUMERIC:
        raise FileFormatError(f"a numeric element has the unknown type {kind}")
    dtype = np.dtype(order + _NUMERIC[kind])
    if len(data) % dtype.itemsize:
        raise FileFormatError("a numeric element has a broken length")
    return np.frombuffer(data, dtype=dtype)


class _Header:
    """Flags, dimensions and name of one miMATRIX element, of which the start is enough."""

    def __init__(self, buffer: memoryview, order: str) -> None:
        parts = list(islice(_elements(buffer[:_HEADER], order), 3))
        if len(parts) < 3:
            raise FileFormatError("a variable lacks its header")
        flags, dims = _numbers(parts[0], order), _numbers(parts[1], order)
        if flags.size < 1 or not 2 <= dims.size <= 64 or np.any(dims.astype(np.int64) < 0):
            raise FileFormatError("a variable has a broken header")
        self.shape = tuple(int(m) for m in dims)
        self.name = bytes(parts[2][1]).decode("latin-1")
        self.what, self.is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & 0x0800)


def _variable(head: memoryview, whole: Any, order: str, size: int) -> Variable:
    """The variable of one miMATRIX element: its start, and a function that returns its content."""
    header = _Header(head, order)
    if header.what == _SPARSE or header.what in _FULL:
        if header.is_complex:
            return Variable(header.name, COMPLEX)
        read = partial(_sparse if header.what == _SPARSE else _full, whole, header, order, size)
        return Variable(header.name, shape=header.shape, load=read)
    what = _OTHERS.get(header.what, "of a class that is not known")
    if header.what == _STRUCT and prod(header.shape) == 1:
        return Variable(header.name, what, fields=partial(_fields, whole, header, order, size))
    return Variable(header.name, what)


def _parts(whole: Any, order: str, count: int) -> list[_Element]:
    """The first elements behind the header: no more, as a variable may be made of millions of empty ones."""
    return list(islice(_elements(whole(), order), 3, 3 + count))


def _full(whole: Any, header: _Header, order: str, size: int) -> np.ndarray:
    parts = _parts(whole, order, 1)
    values = _numbers(parts[0], order) if parts else np.empty(0)
    if values.size != prod(header.shape):
        raise FileFormatError(f"variable {header.name!r} claims {header.shape} but holds {values.size} numbers")
    return values.reshape(header.shape, order="F")


def _sparse(whole: Any, header: _Header, order: str, size: int) -> csc_array:
    parts, shape = _parts(whole, order, 3), header.shape
    if len(shape) != 2 or len(parts) < 3:
        raise FileFormatError("a sparse matrix lacks a part")
    rows, starts, values = (_numbers(part, order) for part in parts)
    check_rows(*shape, values.size)
    check_need(matrix_bytes(shape[1], values.size), size)
    return csc_array(compressed(values, rows, starts, major=shape[1], minor=shape[0]), shape=shape)


def _fields(whole: Any, header: _Header, order: str, size: int) -> list[Variable]:
    parts = _parts(whole, order, _MAX_FIELDS + 3)
    if len(parts) < 2:
        raise FileFormatError(f"struct {header.name!r} has a broken list of fields")
    lengths, text = _numbers(parts[0], order), bytes(parts[1][1])
    width = int(lengths[0]) if lengths.size else 0
    if not 1 <= width <= _HEADER or len(text) // width != len(parts) - 2 or len(parts) > _MAX_FIELDS + 2:
        raise FileFormatError(f"struct {header.name!r} has a broken list of fields")
    found: list[Variable] = []
    for k, (kind, data) in enumerate(parts[2:]):
        name = text[k * width : (k + 1) * width].split(b"\0")[0].decode("latin-1")
        if kind == _MATRIX and len(data):
            inner = _variable(data, partial(memoryview, data), order, size)
            found.append(Variable(name, inner.what, inner.shape, inner.load))
    return found


def _inflated(content: memoryview, limit: int, most: int | None = None) -> bytes:
    """What a compressed variable unpacks to: all, which must be at most ``limit`` bytes, or the first ``most``."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(content, limit + 1 if most is None else most)
    except zlib.error as error:
        raise FileFormatError(f"a compressed variable is damaged ({error}); get the file again") from None
    if most is None and len(plain) > limit:
        raise FileFormatError("a compressed variable unpacks to far more than the file's size; save it with '-v6'")
    if most is None and not inflater.eof:
        raise FileFormatError("a compressed variable is cut off")
    return plain


def mat5_variables(data: bytes) -> list[Variable]:
    """Variables of a MATLAB level-5 file, of which a compressed one is unpacked when it is loaded.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    FileFormatError
        Truncated or inconsistent headers, or a great many variables. Loading one: the same, or more bytes than a
        file of this size may unpack to.

    Notes
    -----
    Cost: the headers; of a compressed variable some kilobytes.

    References
    ----------
    The MathWorks, MAT-File Format, 2019, chapter 1.

    Examples
    --------
    >>> import io, scipy.io
    >>> stream = io.BytesIO()
    >>> scipy.io.savemat(stream, {"b": np.ones((2, 1))})
    >>> [(v.name, v.shape) for v in mat5_variables(stream.getvalue())]
    [('b', (2, 1))]
    """
    order, limit = "<" if data[126:128] == b"IM" else ">", unpacked_limit(len(data))
    variables: list[Variable] = []
    for number, (kind, content) in enumerate(_elements(memoryview(data)[128:], order)):
        if number >= MAX_MEMBERS:
            raise FileFormatError(f"holds more than {MAX_MEMBERS} variables; save the one you mean alone")
        if kind == _COMPRESSED:
            start = _inflated(content, limit, most=_HEADER + 8)
            if len(start) < 8 or struct.unpack_from(order + "I", start)[0] != _MATRIX:
                continue
            variables.append(_variable(memoryview(start)[8:], _once(content, order, limit), order, len(data)))
        elif kind == _MATRIX:
            variables.append(_variable(content, partial(memoryview, content), order, len(data)))
    return variables


def _once(content: memoryview, order: str, limit: int) -> Any:
    @cache  # the fields of a struct are asked one by one
    def whole() -> memoryview:
        return next(_elements(memoryview(_inflated(content, limit)), order))[1]

    return whole


# --- level 4: a header of five integers, a name, numbers

_LEVEL4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_TEXT4, _SPARSE4 = 1, 2


def is_mat4(head: bytes) -> bool:
    """Whether a file that begins so, with 64 bytes or all of it, is of level 4.

    Examples
    --------
    >>> is_mat4(struct.pack("<5i", 0, 1, 1, 0, 2) + b"a" + bytes(9))
    True
    """
    return _order4(head) is not None


def _order4(head: bytes) -> str | None:
    for order, machine in (("<", 0), (">", 1)):
        if len(head) < 22:
            return None
        kind, rows, cols, imaginary, length = struct.unpack_from(order + "5i", head)
        known = kind // 1000 == machine and kind // 100 % 10 == 0 and kind // 10 % 10 in _LEVEL4 and kind % 10 <= 2
        name = re.match(rb"[A-Za-z]\w{0,254}\0", head[20:])
        # a name longer than what is at hand of it is believed
        if known and min(rows, cols) >= 0 and imaginary in (0, 1) and length >= 2:
            if name is not None and len(name[0]) == length:
                return order
            if length > len(head) - 20 and re.fullmatch(rb"[A-Za-z]\w*", head[20:]):
                return order
    return None


def mat4_variables(data: bytes) -> list[Variable]:
    """Variables of a MATLAB level-4 file, as MATLAB's -v4, Octave and Scilab write them.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    FileFormatError
        Truncated or inconsistent content, machines other than those of IEEE 754, or a great many variables.

    Notes
    -----
    Cost: the headers.

    References
    ----------
    The MathWorks, MAT-File Format, 2019, chapter 2.

    Examples
    --------
    >>> import io, scipy.io
    >>> stream = io.BytesIO()
    >>> scipy.io.savemat(stream, {"b": np.ones((2, 1))}, format="4")
    >>> [(v.name, v.shape) for v in mat4_variables(stream.getvalue())]
    [('b', (2, 1))]
    """
    variables: list[Variable] = []
    at = 0
    while at < len(data):
        order = _order4(data[at : at + 300])
        if order is None:
            raise FileFormatError("a variable of the MATLAB 4 file is cut off or damaged; save it with '-v7'")
        kind, rows, cols, imaginary, length = struct.unpack_from(order + "5i", data, at)
        name = data[at + 20 : at + 20 + length - 1].decode("latin-1")
        dtype = np.dtype(order + _LEVEL4[kind // 10 % 10])
        count, at = rows * cols, at + 20 + length
        end = at + count * dtype.itemsize * (1 + imaginary)
        if end > len(data):
            raise FileFormatError(f"is truncated: variable {name!r} claims {rows} x {cols}; get the file again")
        array = np.frombuffer(data, dtype, count, at).reshape((rows, cols), order="F")
        variables.append(_variable4(name, kind % 10, array, bool(imaginary), len(data)))
        if len(variables) > MAX_MEMBERS:
            raise FileFormatError(f"holds more than {MAX_MEMBERS} variables; save the one you mean alone")
        at = end
    return variables


def _variable4(name: str, kind: int, array: np.ndarray, is_complex: bool, size: int) -> Variable:
    if kind == _TEXT4:
        return Variable(name, "text")
    if is_complex or (kind == _SPARSE4 and array.shape[1] == 4):
        return Variable(name, COMPLEX)
    if kind != _SPARSE4:
        return Variable(name, shape=array.shape, load=lambda: array)
    # rows of (i, j, value), the last of them (rows, columns, 0)
    if array.shape[0] < 1 or array.shape[1] != 3:
        raise FileFormatError(f"the sparse variable {name!r} has {array.shape[1]} columns for 3; save it with '-v7'")
    shape = tuple(float(m) for m in array[-1, :2])
    if not all(m == np.floor(m) and 0 <= m < 2**31 for m in shape):
        raise FileFormatError(f"the sparse variable {name!r} has a broken size; save it with '-v7'")
    rows, cols = int(shape[0]), int(shape[1])

    def load() -> coo_array:
        count = len(array) - 1
        check_rows(rows, cols, count)
        check_need(matrix_bytes(rows, count), size)
        i, j = (checked_coordinates(array[:-1, k], m, base=1) for k, m in enumerate((rows, cols)))
        return coo_array((array[:-1, 2].astype(np.float64), (i, j)), shape=(rows, cols))

    return Variable(name, shape=(rows, cols), load=load)
