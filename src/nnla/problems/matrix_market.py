"""Matrix Market text from untrusted streams: bounded, and with the declared symmetry applied once.

Sizes that the header claims are checked against the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from scipy.sparse import coo_array

from nnla.errors import DTypeError, FileFormatError, ShapeError
from nnla.problems.assembly import triplets
from nnla.problems.limits import check_need, check_rows, matrix_bytes
from nnla.problems.number_text import Lines, parse_numbers

__all__ = ["is_market", "mirrored", "read_market"]

_MAX_HEADER = 2**20
_MOST_PER_ENTRY = 256  # bytes
_BANNER = re.compile(rb"\s*%{1,2}\s*MatrixMarket\b", re.IGNORECASE)
_SIZE = re.compile(r"\d{1,18}", re.ASCII)


def is_market(start: bytes) -> bool:
    """Whether a file that begins so is Matrix Market text: its banner, after blanks and other comments at most.

    Examples
    --------
    >>> is_market(b"%%MatrixMarket matrix"), is_market(b"% from Fortran\\n\\n  %matrixmarket"), is_market(b"PK")
    (True, True, False)
    """
    if (
        start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
        or start[1:4:2] == b"\0\0"
        or start[:4:2] == b"\0\0"
    ):
        start = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")
    for line in start.replace(b"\r", b"\n").split(b"\n"):
        if _BANNER.match(line):
            return True
        if line.strip() and not line.lstrip().startswith(b"%"):
            return False
    return False


def read_market(stream: IO[bytes], available: int, size: int | None = None, *, dense: bool = True) -> Any:
    """Parse Matrix Market text and read the stream to its end.

    Parameters
    ----------
    stream : binary stream
        At the start of the text.
    available : int
        An upper bound on its length in bytes.
    size : int, optional
        Bytes of the file that it comes from, where that is compressed.
    dense : bool
        Whether the array layout comes as a dense array, or as its non-zeros.

    Returns
    -------
    coo_array or ndarray
        Symmetric storage expanded; a pattern has the value 1 at each entry.

    Raises
    ------
    FileFormatError, DTypeError, ShapeError
        Text that is none, cut off or out of proportion; complex numbers; no entries.

    Notes
    -----
    Cost: one pass over the text; 16 bytes of memory an entry while it is read, twice that where it is mirrored.

    References
    ----------
    R. F. Boisvert, R. Pozo, K. A. Remington, The Matrix Market exchange formats, NISTIR 5935, 1996.

    Examples
    --------
    >>> import io
    >>> text = b"%%MatrixMarket matrix array real general\\n2 1\\n3\\n4\\n"
    >>> read_market(io.BytesIO(text), len(text))
    array([[3.],
           [4.]])
    """
    lines = Lines(stream)
    size = available if size is None else size
    layout, kind, symmetry = _banner(lines)
    sizes = _market_sizes(lines, 3 if layout == "coordinate" else 2)
    rows, cols = sizes[:2]
    symmetric = symmetry != "general"
    if rows == 0 or cols == 0:
        raise ShapeError(f"holds an empty {rows} x {cols} matrix; give one with entries")
    if symmetric and rows != cols:
        raise ShapeError(f"is declared symmetric but is {rows} x {cols}; correct its header")
    if layout == "array":
        count = rows * (rows + 1) // 2 if symmetric else rows * cols
        _check_backing(count, 2, available)
        body = _body(lines, 0, count)
        if dense:
            check_need(8 * rows * cols, size)
            return _dense(body, rows, cols, symmetric)
        return _array(body, rows, cols, symmetric, size)
    count = sizes[2]
    if count > rows * cols:
        raise FileFormatError(f"claims {count} entries in a {rows} x {cols} matrix; get the file again")
    check_rows(rows, cols, count)
    width = 2 if kind == "pattern" else 3
    _check_backing(count, 2 * width, available)  # "1 1 1\n"
    check_need(matrix_bytes(rows, 2 * count if symmetric else count), size)
    # Expanded here and not by a library, which would double a file that stores both triangles.
    A = _coordinates(_body(lines, width, count), rows, cols)
    return mirrored(A) if symmetric else A


def _banner(lines: Lines) -> tuple[str, str, str]:
    """Layout, field and symmetry."""
    read = 0
    while not _BANNER.match(line := lines.line()):
        read += len(line)
        if not line or read > _MAX_HEADER:
            raise FileFormatError("has no Matrix Market banner; get the file again")
    words = _BANNER.sub(b"", line, count=1).decode("latin-1").lower().split()
    if len(words) != 4 or words[0] != "matrix":
        raise FileFormatError(
            "has a malformed Matrix Market banner; it should say: %%MatrixMarket matrix coordinate real general"
        )
    layout, kind, symmetry = words[1:]
    if kind == "complex":
        raise DTypeError("holds complex numbers; nnla computes with real matrices only")
    if kind not in ("real", "double", "integer", "unsigned-integer", "pattern"):
        raise FileFormatError(f"has the unknown field {kind!r}; use real, integer or pattern")
    if layout not in ("coordinate", "array") or (layout == "array" and kind == "pattern"):
        raise FileFormatError(f"has the unknown layout {layout!r} of {kind}; use coordinate, or array with values")
    if symmetry not in ("general", "symmetric", "hermitian"):
        raise FileFormatError(
            f"has the symmetry {symmetry!r}; only general and symmetric files can be used, as nnla needs a symmetric "
            "matrix (such as K.T @ K of a skew-symmetric K)"
        )
    return layout, kind, symmetry


def _check_backing(count: int, least: int, available: int) -> None:
    if least * count - 1 > available:
        raise FileFormatError(f"is truncated: {count} entries claimed, too few bytes; get the file again")


def _body(lines: Lines, width: int, count: int) -> Iterator[np.ndarray]:
    """Exactly `count` entries of `width` numbers (0: of one, however many a line), in blocks (m, width).

    NumPy's text parser, not `scipy.io.mmread`: that one crashes the interpreter on some truncated files.
    """
    found, read, limit = 0, 0, _MOST_PER_ENTRY * count + _MAX_HEADER
    # To the end of the stream, as that is where gzip keeps its checksum.
    while text := lines.block():
        read += len(text)
        if read > limit:
            raise FileFormatError(f"goes on far beyond its {count} entries; get the file again")
        values = parse_numbers(text, width).reshape(-1, width or 1)
        found += len(values)
        if found > count:
            break
        if len(values):
            yield values
    if found != count:
        what = "more" if found > count else f"only {found}"
        raise FileFormatError(f"claims {count} entries but holds {what}; get the file again")


def _coordinates(blocks: Iterator[np.ndarray], rows: int, cols: int) -> coo_array:
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in blocks:
        i, j = block[:, 0], block[:, 1]
        within = (i >= 1) & (i <= rows) & (j >= 1) & (j <= cols) & (np.floor(i) == i) & (np.floor(j) == j)
        if not within.all():
            raise FileFormatError(f"has an index outside the {rows} x {cols} matrix; get the file again")
        values = block[:, 2].copy() if block.shape[1] == 3 else np.ones(len(block))
        parts.append(((i - 1).astype(np.int32), (j - 1).astype(np.int32), values))
    return _joined(parts, rows, cols)


def _array(blocks: Iterator[np.ndarray], rows: int, cols: int, symmetric: bool, size: int) -> coo_array:
    """The non-zeros of an array by columns, of which a symmetric one holds the lower triangle."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    # where each column starts
    starts = np.arange(cols, dtype=np.int64) * rows
    if symmetric:
        starts -= np.arange(cols, dtype=np.int64) * (np.arange(cols, dtype=np.int64) - 1) // 2
    at = found = 0
    for block in blocks:
        there = np.flatnonzero(block[:, 0])
        position = there + at
        j = np.searchsorted(starts, position, side="right") - 1
        i = position - starts[j] + (j if symmetric else 0)
        parts.append((i.astype(np.int32), j.astype(np.int32), block[there, 0]))
        at, found = at + len(block), found + there.size
        check_need(matrix_bytes(rows, 2 * found if symmetric else found), size)
    A = _joined(parts, rows, cols)
    return mirrored(A) if symmetric else A


def _dense(blocks: Iterator[np.ndarray], rows: int, cols: int, symmetric: bool) -> np.ndarray:
    values = np.concatenate([np.empty(0), *(block[:, 0] for block in blocks)])
    if not symmetric:
        return values.reshape((rows, cols), order="F")
    full = np.zeros((rows, rows))
    full[np.triu_indices(rows)] = values  # columns of the lower triangle = rows of the upper
    return full + np.triu(full, 1).T


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], rows: int, cols: int) -> coo_array:
    """The triplets of all blocks; the parts are given up one by one, as both together are a lot."""
    columns = [[part[k] for part in parts] for k in range(3)]
    parts.clear()
    whole = []
    for k, kind in enumerate((np.int32, np.int32, np.float64)):
        whole.append(np.concatenate([np.empty(0, dtype=kind), *columns[k]]))
        columns[k].clear()
    return coo_array((whole[2], (whole[0], whole[1])), shape=(rows, cols))


def _market_sizes(lines: Lines, count: int) -> tuple[int, ...]:
    """The size line, after comments and blank lines."""
    read = 0
    while True:
        line = lines.line()
        read += len(line)
        if not line or read > _MAX_HEADER:
            raise FileFormatError("has no size line; get the file again")
        words = line.partition(b"%")[0].decode("latin-1").split()
        if not words:
            continue
        if len(words) != count or not all(_SIZE.fullmatch(word) for word in words):
            raise FileFormatError("has a malformed size line; get the file again")
        return tuple(int(word) for word in words)


def mirrored(half: coo_array) -> coo_array:
    """Both triangles of a symmetric matrix from the one stored.

    Raises
    ------
    FileFormatError
        Entries on both sides of the diagonal: adding their mirror images would double the matrix.

    Examples
    --------
    >>> mirrored(coo_array(([1.0, 2.0], ([0, 1], [0, 0])), shape=(2, 2))).toarray()
    array([[1., 2.],
           [2., 0.]])
    """
    i, j, data = triplets(half)
    strict = i != j
    if np.any(i < j) and np.any(i > j):
        raise FileFormatError("is declared symmetric but stores both triangles; declare it general")
    coords = (np.concatenate([i, j[strict]]), np.concatenate([j, i[strict]]))
    return coo_array((np.concatenate([data, data[strict]]), coords), shape=half.shape)
