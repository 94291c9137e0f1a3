"""Matrix Market text from untrusted streams: bounded, and with the declared symmetry applied once.

Sizes that the header claims are checked against the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
from typing import IO, Any

import numpy as np
from scipy.sparse import coo_array

from nnla.errors import DTypeError, FileFormatError, ShapeError
from nnla.problems.assembly import triplets

__all__ = ["bounded_gzip", "check_rows", "read_market", "unpacked_limit"]

#: Compressed files may unpack to this many bytes, or to `MAX_RATIO` times their size if that is more. Sparse
#: matrices as text shrink by 3 to 30; a bomb by 1000.
FREE_BYTES = 64 * 2**20
MAX_RATIO = 200
#: An n x n matrix with fewer entries than rows is singular; beyond this n its row pointers are a burden.
MAX_EMPTY_ROWS = 2**24

_MAX_HEADER = 2**20
_BLOCK = 2**22


class _Bounded(io.RawIOBase):
    """A readable stream that fails once more than `limit` bytes have come out of it."""

    def __init__(self, stream: IO[bytes] | io.BufferedIOBase, limit: int) -> None:
        self._stream, self._left = stream, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise FileFormatError("unpacks to far more than its header or size warrants; get the file again")
        buffer[: len(data)] = data
        return len(data)


def bounded_gzip(stream: IO[bytes], size: int) -> io.RawIOBase:
    """Decompress a gzip file of `size` bytes, up to the limit for files of that size."""
    return _Bounded(gzip.GzipFile(fileobj=stream), unpacked_limit(size))


def unpacked_limit(compressed: int) -> int:
    """Bytes that a compressed file of this size may unpack to.

    Examples
    --------
    >>> unpacked_limit(10) == FREE_BYTES, unpacked_limit(2**30) == MAX_RATIO * 2**30
    (True, True)
    """
    return max(FREE_BYTES, MAX_RATIO * compressed)


def read_market(stream: IO[bytes], available: int) -> Any:
    """Parse Matrix Market text and read the stream to its end.

    Parameters
    ----------
    stream : binary stream
        At the banner.
    available : int
        An upper bound on its length in bytes.

    Returns
    -------
    coo_array or ndarray
        Symmetric storage expanded.

    Notes
    -----
    Cost: one pass over the text.

    References
    ----------
    R. F. Boisvert, R. Pozo, K. A. Remington, The Matrix Market exchange formats, NISTIR 5935, 1996.

    Examples
    --------
    >>> text = b"%%MatrixMarket matrix array real general\\n2 1\\n3\\n4\\n"
    >>> read_market(io.BytesIO(text), len(text))
    array([[3.],
           [4.]])
    """
    banner = stream.readline(_MAX_HEADER).decode("latin-1").lower().split()
    if len(banner) != 5 or banner[0] != "%%matrixmarket" or banner[1] != "matrix":
        raise FileFormatError("has a malformed Matrix Market banner; get the file again")
    layout, kind, symmetry = banner[2:]
    if kind == "complex":
        raise DTypeError("holds complex numbers; nnla computes with real matrices only")
    if kind == "pattern":
        raise FileFormatError("holds a pattern without values; add a value to each entry and declare it real")
    if kind not in ("real", "double", "integer", "unsigned-integer"):
        raise FileFormatError(f"has the unknown field {kind!r}; use real or integer")
    if layout not in ("coordinate", "array"):
        raise FileFormatError(f"has the unknown layout {layout!r}; use coordinate or array")
    if symmetry not in ("general", "symmetric", "hermitian"):
        raise FileFormatError(f"has the symmetry {symmetry!r}; only general and symmetric files can be used")
    sizes = _market_sizes(stream, 3 if layout == "coordinate" else 2)
    rows, cols = sizes[:2]
    symmetric = symmetry != "general"
    if rows == 0 or cols == 0:
        raise ShapeError(f"holds an empty {rows} x {cols} matrix; give one with entries")
    if symmetric and rows != cols:
        raise ShapeError(f"is declared symmetric but is {rows} x {cols}; correct its header")
    if layout == "coordinate":
        count = sizes[2]
        if count > rows * cols:
            raise FileFormatError(f"claims {count} entries in a {rows} x {cols} matrix; get the file again")
        check_rows(rows, cols, count)
        least, most = 6 * count, 256 * count  # "1 1 1\n"
    else:
        count = rows * (rows + 1) // 2 if symmetric else rows * cols
        least, most = 2 * count, 256 * count
    if least - 1 > available:
        raise FileFormatError(f"is truncated: {count} entries claimed, too few bytes; get the file again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it met no number
        numbers = _body(stream, 3 if layout == "coordinate" else 1, count, most + _MAX_HEADER)
    if layout == "coordinate":
        # Expanded here and not by a library, which would double a file that stores both triangles.
        return _coordinates(numbers, rows, cols, symmetric)
    values = np.concatenate([block[:, 0] for block in numbers])
    if not symmetric:
        return values.reshape((rows, cols), order="F")
    full = np.zeros((rows, rows))
    full[np.triu_indices(rows)] = values  # columns of the lower triangle = rows of the upper
    return full + np.triu(full, 1).T


def _body(stream: IO[bytes], width: int, count: int, limit: int) -> list[np.ndarray]:
    """Exactly `count` lines of `width` numbers, in blocks (m, width); reads on to the end of the stream.

    NumPy's text parser, not `scipy.io.mmread`: that one crashes the interpreter on some truncated files.
    """
    blocks, lines, read = [np.empty((0, width))], 0, 0
    # To the end of the stream, as that is where gzip keeps its checksum.
    while text := stream.read(_BLOCK):
        text += stream.readline(_MAX_HEADER)
        read += len(text)
        if read > limit:
            raise FileFormatError(f"goes on far beyond its {count} entries; get the file again")
        if text.isspace():
            continue
        try:
            values = np.fromstring(text, dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise FileFormatError("has an entry that is no number; get the file again") from None
        if values.size % width:
            raise FileFormatError("has an incomplete entry; get the file again")
        blocks.append(values.reshape(-1, width))
        lines += len(blocks[-1])
        if lines > count:
            break
    if lines != count:
        found = "more" if lines > count else f"only {lines}"
        raise FileFormatError(f"claims {count} entries but holds {found}; get the file again")
    return blocks


def _coordinates(blocks: list[np.ndarray], rows: int, cols: int, symmetric: bool) -> coo_array:
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while blocks:  # freeing each block as it is converted
        block = blocks.pop(0)
        i, j = block[:, 0], block[:, 1]
        within = (i >= 1) & (i <= rows) & (j >= 1) & (j <= cols) & (np.floor(i) == i) & (np.floor(j) == j)
        if not within.all():
            raise FileFormatError(f"has an index outside the {rows} x {cols} matrix; get the file again")
        parts.append(((i - 1).astype(np.int32), (j - 1).astype(np.int32), block[:, 2].copy()))
    i, j, values = (np.concatenate([part[k] for part in parts]) for k in range(3))
    A = coo_array((values, (i, j)), shape=(rows, cols))
    return _expand(A) if symmetric else A


def _market_sizes(stream: IO[bytes], count: int) -> tuple[int, ...]:
    """The size line, after comments and blank lines."""
    read = 0
    while True:
        line = stream.readline(_MAX_HEADER)
        read += len(line)
        if not line or read > _MAX_HEADER:
            raise FileFormatError("has no size line; get the file again")
        if line.startswith(b"%") or not line.strip():
            continue
        words = line.split()
        if len(words) != count or not all(re.fullmatch(rb"\d{1,18}", word) for word in words):
            raise FileFormatError("has a malformed size line; get the file again")
        return tuple(int(word) for word in words)


def _expand(half: coo_array) -> coo_array:
    """Both triangles of a symmetric matrix from the one stored."""
    i, j, data = triplets(half)
    strict = i != j
    if np.any(i < j) and np.any(i > j):
        raise FileFormatError("is declared symmetric but stores both triangles; declare it general")
    coords = (np.concatenate([i, j[strict]]), np.concatenate([j, i[strict]]))
    return coo_array((np.concatenate([data, data[strict]]), coords), shape=half.shape)


def check_rows(rows: int, cols: int, count: int) -> None:
    """Refuse dimensions that are out of proportion to the number of entries.

    Examples
    --------
    >>> check_rows(1000, 1000, 1)
    """
    longest = max(rows, cols)
    if longest >= 2**31 or (longest > MAX_EMPTY_ROWS and longest > 4 * count):
        raise FileFormatError(
            f"claims {rows} x {cols} with {count} entries, beyond reach or singular; check its size line"
        )
