"""How large what comes out of an untrusted file may become, decided before anything of that size is allocated.

Two numbers bound a reader, both multiples of the file's size: the bytes that a compressed file unpacks to, and the
bytes that the matrix (or the vector) then needs. Small files have the first `FREE_BYTES` free. What readers hold beside
the matrix is a multiple of it (see `nnla.problems.files.read_matrix`), so these bound their memory.
"""

from __future__ import annotations

from nnla.errors import FileFormatError

__all__ = [
    "FREE_BYTES",
    "MAX_EMPTY_ROWS",
    "MAX_MEMBERS",
    "MAX_RATIO",
    "check_need",
    "check_rows",
    "matrix_bytes",
    "unpacked_limit",
]

#: Compressed files may unpack to this many bytes, or to `MAX_RATIO` times their size if that is more. Sparse
#: matrices as text shrink by 3 to 30; a bomb by 1000.
FREE_BYTES = 64 * 2**20
MAX_RATIO = 200
#: An n x n matrix with fewer entries than rows is singular; beyond this n its row pointers are a burden.
MAX_EMPTY_ROWS = 2**24
#: Members of an archive, variables of a MATLAB file: each costs time, however small it is.
MAX_MEMBERS = 10_000

_ENTRY, _ROW = 12, 4  # bytes of a csr_array: float64 and int32


def unpacked_limit(compressed: int) -> int:
    """Bytes that a compressed file of this size may unpack to.

    Examples
    --------
    >>> unpacked_limit(10) == FREE_BYTES, unpacked_limit(2**30) == MAX_RATIO * 2**30
    (True, True)
    """
    return max(FREE_BYTES, MAX_RATIO * compressed)


def matrix_bytes(rows: int, entries: int) -> int:
    """Bytes of a `csr_array`.

    Examples
    --------
    >>> matrix_bytes(2, 4)
    56
    """
    return _ENTRY * entries + _ROW * rows


def check_need(need: int, size: int) -> None:
    """Raise `FileFormatError` where what is to be made needs far more bytes than its file, of ``size``, warrants.

    Examples
    --------
    >>> check_need(10**6, 1000)
    """
    if need > 2 * unpacked_limit(size):
        raise FileFormatError(
            f"needs {need / 1e6:.0f} MB of memory, far more than a file of {size / 1e6:.3g} MB warrants; "
            "if you trust it, save it uncompressed and as a sparse matrix"
        )


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
