"""Harwell-Boeing and Rutherford-Boeing text (.rua, .rsa, .psa, .rb): assembled real and pattern matrices.

A card image: numbers stand in columns whose width the header's Fortran formats give, so that they may touch.
"""

from __future__ import annotations

import re
from typing import IO, NamedTuple

import numpy as np
from scipy.sparse import coo_array

from nnla.errors import DTypeError, FileFormatError, ShapeError
from nnla.problems.limits import check_need, check_rows, matrix_bytes
from nnla.problems.matrix_market import mirrored
from nnla.problems.number_text import Lines, parse_numbers

__all__ = ["is_harwell_boeing", "read_harwell_boeing"]

_KIND = re.compile(rb"\s*([RCPIQ])([SUHZR])([AE])\s+(\d{1,10})\s+(\d{1,10})\s+(\d{1,14})(?:\s+\d{1,10})?\s*", re.I)
_FORMAT = re.compile(
    rb"(?:(?P<scale>[+-]?\d{1,2})P,?)?(?P<count>\d{0,3})(?P<letter>[IFEDG])(?P<width>\d{1,3})"
    rb"(?:\.(?P<digits>\d{1,3})(?:E\d{1,2})?)?"
)
_NUMBER = re.compile(rb"\s*(?P<mantissa>[+-]?\d*\.?\d*)(?:[EDQ]?(?P<power>(?:(?<=[EDQ])[+-]?|[+-])\d{1,4}))?\s*", re.I)


def is_harwell_boeing(start: bytes) -> bool:
    """Whether a file that begins so is Harwell-Boeing: its third line says the type and the sizes.

    Examples
    --------
    >>> is_harwell_boeing(b"a title\\n 4 1 1 2\\nRSA   3   3   5   0\\n")
    True
    """
    lines = start.replace(b"\r\n", b"\n").split(b"\n")
    return len(lines) > 3 and bool(_KIND.fullmatch(lines[2])) and bool(re.fullmatch(rb"[\s\d]+", lines[1]))


class _Format(NamedTuple):
    count: int  # numbers a line
    width: int  # letters a number
    digits: int  # behind the decimal point where none is written
    scale: int  # powers of ten that a number without exponent is too large by


def read_harwell_boeing(stream: IO[bytes], available: int, size: int) -> coo_array:
    """Parse the text and read the stream to its end.

    Parameters
    ----------
    stream : at the start of the text
    available : an upper bound on its length in bytes
    size : bytes of the file that it comes from

    Returns
    -------
    coo_array
        Symmetric storage expanded; a pattern has the value 1 at each entry. Right-hand sides are left.

    Raises
    ------
    FileFormatError, DTypeError, ShapeError
        Text that is none, cut off or out of proportion; complex, skew or unassembled matrices.

    Notes
    -----
    Cost: one pass over the text; some 60 bytes of memory an entry.

    References
    ----------
    I. S. Duff, R. G. Grimes, J. G. Lewis, Users' guide for the Harwell-Boeing sparse matrix collection, 1992; The
    Rutherford-Boeing sparse matrix collection, 1997.
    """
    lines = Lines(stream)
    lines.line()
    cards = lines.line().split()
    header = _KIND.fullmatch(lines.line())
    if header is None or not 3 <= len(cards) <= 5:
        raise FileFormatError("has a malformed Harwell-Boeing header; get the file again")
    kind, symmetry, form = (header[k].decode().upper() for k in (1, 2, 3))
    rows, cols, count = (int(header[k]) for k in (4, 5, 6))
    _check_kind(kind, symmetry, form)
    if rows == 0 or cols == 0:
        raise ShapeError(f"holds an empty {rows} x {cols} matrix; give one with entries")
    symmetric = symmetry in "SH"
    if symmetric and rows != cols:
        raise ShapeError(f"is declared symmetric but is {rows} x {cols}; correct its header")
    formats = [word.strip(b"() ").replace(b" ", b"") for word in re.findall(rb"\([^()]*\)", lines.line())]
    pointers, indices, *values = [_format(word) for word in formats[: 2 if kind == "P" else 3]] or [None]
    if pointers is None or indices is None or (kind != "P" and not values):
        raise FileFormatError("lacks its Fortran formats; get the file again")
    if len(cards) == 5 and int(cards[4]) > 0:
        lines.line()  # formats of right-hand sides
    if count > rows * cols:
        raise FileFormatError(f"claims {count} entries in a {rows} x {cols} matrix; get the file again")
    check_rows(rows, cols, count)
    if cols + count > available:
        raise FileFormatError(f"is truncated: {count} entries claimed, too few bytes; get the file again")
    check_need(matrix_bytes(rows, 2 * count if symmetric else count), size)
    starts = _whole(_cards(lines, pointers, cols + 1), count + 1) - 1
    if starts[0] != 0 or starts[-1] != count or np.any(np.diff(starts) < 0):
        raise FileFormatError("has column pointers that do not fit its entries; get the file again")
    i = (_whole(_cards(lines, indices, count), rows) - 1).astype(np.int32)
    j = np.repeat(np.arange(cols, dtype=np.int32), np.diff(starts))
    data = _cards(lines, values[0], count) if values and values[0] else np.ones(count)
    while lines.block():  # to the end of the stream, as that is where gzip keeps its checksum
        pass
    A = coo_array((data, (i, j)), shape=(rows, cols))
    return mirrored(A) if symmetric else A


def _check_kind(kind: str, symmetry: str, form: str) -> None:
    if kind == "C":
        raise DTypeError("holds complex numbers; nnla computes with real matrices only")
    if kind == "Q":
        raise FileFormatError("keeps its values in another file; give a file that holds both")
    if form == "E":
        raise FileFormatError("holds element matrices; assemble them and save the sum")
    if symmetry == "Z":
        raise FileFormatError("is skew-symmetric; only general and symmetric files can be used")


def _format(word: bytes) -> _Format | None:
    match = _FORMAT.fullmatch(word.upper())
    if match is None or int(match["width"]) == 0:
        return None
    scale = int(match["scale"] or 0)
    return _Format(int(match["count"] or 1) or 1, int(match["width"]), int(match["digits"] or 0), scale)


def _whole(numbers: np.ndarray, largest: int) -> np.ndarray:
    if np.any(np.floor(numbers) != numbers) or (numbers.size and not 1 <= numbers.min() <= numbers.max() <= largest):
        raise FileFormatError("has an index outside the matrix; get the file again")
    return numbers.astype(np.int64)


def _cards(lines: Lines, form: _Format, count: int) -> np.ndarray:
    """`count` numbers in the columns that a format gives."""
    found: list[np.ndarray] = []
    left, cards = count, []
    while left > 0:
        line = lines.line()
        if not line:
            raise FileFormatError("is truncated; get the file again")
        line = line.rstrip()
        here = min(left, form.count)
        words = line.split()
        if len(words) != here:  # they touch; where they do not, SciPy's writer is not true to its format's columns
            words = [line[k * form.width : (k + 1) * form.width] for k in range(here)]
        cards.append(b" ".join(_point(word, form) for word in words))
        left -= here
        if len(cards) == 4096 or left == 0:
            found.append(parse_numbers(b"\n".join(cards) + b"\n", 0))
            cards = []
    numbers = np.concatenate([np.empty(0), *found])
    if numbers.size != count:
        raise FileFormatError("has a number that is blank or broken; get the file again")
    return numbers


def _point(word: bytes, form: _Format) -> bytes:
    """A number as Fortran reads it: with the decimal point that the format implies where none is written, and
    divided by the scale where it has no exponent."""
    if ((b"." in word or not form.digits) and not form.scale) or not word.strip():
        return word
    match = _NUMBER.fullmatch(word)
    if match is None:
        return word
    power = int(match["power"] or 0) - (0 if match["power"] else form.scale) - (0 if b"." in word else form.digits)
    return match["mantissa"] + b"e%d" % power
