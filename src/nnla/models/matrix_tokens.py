"""Matrices as sequences of tokens: numbers of three significant digits in four encodings, and the grammar of sequences.

A number is sign, mantissa m (100..999) and a power of ten, +-m 10^k. What stands at each place of a sequence is one run
of ids, which is all that constrained decoding needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.operators.arrays import is_torch, namespace
from nnla.operators.validation import asarray, dtype_error

__all__ = ["BOS", "ENCODINGS", "EOS", "LARGEST_SIZE", "MatrixTokens", "NumberEncoding", "encoding_table"]

BOS, EOS = 0, 1
LARGEST_SIZE = 8
_NUMBERS = 2 + LARGEST_SIZE  # ids from here on are those of numbers; V_1 .. V_8 lie between

# tokens of a number, and the usual powers of ten: the smallest and how many
ENCODINGS = {"P10": (5, -100, 201), "P1000": (3, -100, 201), "B1999": (2, -100, 201), "FP15": (1, -10, 16)}


@dataclass(frozen=True)
class NumberEncoding:
    """Three significant digits of a number as tokens.

    Attributes
    ----------
    name : "P10" (sign, digit, digit, digit, E_k), "P1000" (sign, mantissa, E_k), "B1999" (signed mantissa, E_k) or
        "FP15" (one token N_m e_k)
    lowest, exponents : the smallest k and how many there are; 0 exponents for the usual ones of `ENCODINGS`

    Notes
    -----
    Written are mantissas 100..999, and 0 (with sign + and the smallest k) for zeros of either sign. Rounding is to the
    nearest, halves to even, in float64 arithmetic; 999.5 is carried to 100 10^(k+1). Between 0 and the smallest number
    the nearer of the two is written. Reading takes any mantissa of the vocabulary. What is written and
    read is written to the same tokens again; a number read is the float64 nearest to its decimal, as long as the power
    of ten is exact (10^22), and a last bit beside it beyond.

    References
    ----------
    Charton, Linear algebra with transformers (arXiv:2112.01898), section 3.1 and table 1.

    Examples
    --------
    >>> fp = NumberEncoding("FP15")
    >>> fp.vocabulary, float(fp.largest), float(fp.smallest)
    (28801, 99900000.0, 1e-08)
    >>> [NumberEncoding(name).decode(NumberEncoding(name).encode(np.array([-3.14159]))).tolist() for name in ENCODINGS]
    [[-3.14], [-3.14], [-3.14], [-3.14]]
    """

    name: str
    lowest: int = 0
    exponents: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ENCODINGS:
            raise OptionError(f"no encoding {self.name!r}; use {', '.join(ENCODINGS)}")
        if not (isinstance(self.lowest, int) and isinstance(self.exponents, int)):
            raise OptionError(f"lowest={self.lowest!r}, exponents={self.exponents!r}: give whole numbers")
        if self.exponents == 0:
            object.__setattr__(self, "lowest", ENCODINGS[self.name][1])
            object.__setattr__(self, "exponents", ENCODINGS[self.name][2])
        fits = 1 <= self.exponents <= 201 and self.lowest >= -200 and self.lowest + self.exponents <= 201
        if not fits:
            raise OptionError(f"exponents {self.lowest} to {self.lowest + self.exponents - 1} do not fit -200 to 200")

    @property
    def tokens(self) -> int:
        """Tokens of a number."""
        return ENCODINGS[self.name][0]

    @property
    def smallest(self) -> float:
        """The smallest positive number that is written."""
        return float(self._value(np.array(100), np.array(0)))

    @property
    def largest(self) -> float:
        """The largest number."""
        return float(self._value(np.array(999), np.array(self.exponents - 1)))

    @property
    def runs(self) -> list[tuple[int, int]]:
        """First id, and the one after the last, of what may stand at each place of a number; ids from 0."""
        K = self.exponents
        if self.name == "P10":
            return [(0, 2), (2, 12), (2, 12), (2, 12), (12, 12 + K)]
        if self.name == "P1000":
            return [(0, 2), (2, 1002), (1002, 1002 + K)]
        return [(0, 2001), (2001, 2001 + K)] if self.name == "B1999" else [(0, 1 + 1800 * K)]

    @property
    def vocabulary(self) -> int:
        """Symbols of numbers."""
        return self.runs[-1][1]

    def holds(self, x: Any) -> Any:
        """Whether numbers round to one that is written (bool, of their shape); NaN and Inf do not.

        Cost: one pass.
        """
        return abs(x) < 999.5 * (self.largest / 999)

    def encode(self, x: Any) -> Any:
        """Ids (..., tokens) of numbers (...), NumPy or torch; read as float64.

        Raises
        ------
        DTypeError
            What are no real numbers.
        NonFiniteError
            NaN or Inf.
        OptionError
            A number beyond the largest.

        Notes
        -----
        Cost: some twenty passes over x, and one read of the device.
        """
        x = _numbers(x)
        xp = namespace(x)
        if not bool(self.holds(x).all()):
            if not bool(xp.isfinite(x).all()):
                raise NonFiniteError("there are NaN or Inf among the numbers to encode; remove them")
            raise OptionError(f"{self.name} holds numbers up to {self.largest:.3g}; pass a larger `lowest`")
        minus, m, k = self._parts(x)
        ids = self._ids(minus, m, k)
        return xp.stack(ids, -1)

    def decode(self, ids: Any) -> Any:
        """Numbers (...), float64, of ids (..., tokens); NaN where one is not in its place.

        Raises
        ------
        ShapeError, DTypeError
            Other shapes, or ids that are no integers.

        Notes
        -----
        Cost: some ten passes.
        """
        ids = _integers(ids)
        if ids.ndim == 0 or ids.shape[-1] != self.tokens:
            raise ShapeError(
                f"ids have shape {tuple(ids.shape)}; {self.name} has {self.tokens} for a number: the last axis"
            )
        xp = namespace(ids)
        well = ids[..., 0] >= 0
        for place, (first, after) in enumerate(self.runs):
            well = well & (ids[..., place] >= first) & (ids[..., place] < after)
        ids = xp.where(well[..., None], ids, xp.zeros_like(ids) + _like([run[0] for run in self.runs], ids))
        if self.name == "FP15":
            number = ids[..., 0] - 1
            k, rest = number // 1800, number % 1800
            m = xp.where(rest < 900, rest - 999, rest - 800)
            zero = number < 0
            m, k = xp.where(zero, xp.zeros_like(m), m), xp.where(zero, xp.zeros_like(k), k)
        elif self.name == "B1999":
            m, k = ids[..., 0] - 1000, ids[..., 1] - 2001
        else:
            digits = [ids[..., place] - 2 for place in range(1, self.tokens - 1)]
            m = digits[0]
            for digit in digits[1:]:
                m = 10 * m + digit
            m, k = xp.where(ids[..., 0] == 1, -m, m), ids[..., -1] - self.runs[-1][0]
        return xp.where(well, self._value(m, k), xp.full_like(self._value(m, k), float("nan")))

    @cached_property
    def _powers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Factors and divisors that stand for the powers of ten, exact up to 22; and the smallest number of each."""
        k = range(self.lowest, self.lowest + self.exponents)
        up, down = (np.array([10.0 ** max(sign * j, 0) for j in k]) for sign in (1, -1))
        return up, down, 100.0 * up / down

    def _value(self, m: Any, k: Any) -> Any:
        """m 10^(k + lowest)."""
        xp = namespace(m)
        up, down, _ = self._powers
        m = m.astype(np.float64) if xp is np else m.to(xp.float64)
        return m * _like(up, m)[k] / _like(down, m)[k]

    def _parts(self, x: Any) -> tuple[Any, Any, Any]:
        """Whether negative, mantissa (0 or 100..999) and exponent from 0."""
        xp = namespace(x)
        size = abs(x)
        tiny = size < self.smallest
        zero = size <= self.smallest / 2
        size = xp.where(tiny, xp.full_like(size, self.smallest), size)
        # each 10^k is compared with, so that no logarithm decides
        k = xp.searchsorted(_like(self._powers[2], size), size, side="right") - 1
        one = self._value(xp.ones_like(k), k)
        m = xp.round(size / one)
        m = m.astype(np.int64) if xp is np else m.to(xp.int64)
        k = xp.where(m > 999, k + 1, k)
        m = xp.where(m > 999, xp.full_like(m, 100), m)
        m, k = xp.where(zero, xp.zeros_like(m), m), xp.where(zero, xp.zeros_like(k), k)
        return (x < 0) & ~zero, m, k

    def _ids(self, minus: Any, m: Any, k: Any) -> list[Any]:
        xp = namespace(m)
        signed = xp.where(minus, -m, m)
        if self.name == "FP15":
            rest = xp.where(minus, 999 - m, m + 800)
            return [xp.where(m == 0, xp.zeros_like(m), 1 + 1800 * k + rest)]
        if self.name == "B1999":
            return [signed + 1000, k + 2001]
        sign = xp.where(minus, xp.ones_like(m), xp.zeros_like(m))
        mantissa = [m + 2] if self.name == "P1000" else [m // 100 + 2, m // 10 % 10 + 2, m % 10 + 2]
        return [sign, *mantissa, k + self.runs[-1][0]]


def _numbers(x: Any) -> Any:
    """Real numbers, float64."""
    if is_torch(x):
        if x.is_complex():
            raise dtype_error(x.dtype)
        return x.detach().to(namespace(x).float64)
    given = asarray(x, "what is to be encoded")
    if given.dtype.kind not in "biuf":
        raise dtype_error(given.dtype)
    return given.astype(np.float64)


def _integers(ids: Any) -> Any:
    if is_torch(ids):
        if ids.is_complex() or ids.is_floating_point():
            raise DTypeError(f"ids have dtype {ids.dtype}; pass integers")
        return ids
    given = asarray(ids, "ids")
    if given.dtype.kind not in "iu":
        raise DTypeError(f"ids have dtype {given.dtype}; pass integers")
    return given.astype(np.int64)


def _like(values: Any, like: Any) -> Any:
    """Numbers as an array of the kind and on the device that `like` is."""
    if not is_torch(like):
        return np.asarray(values)
    return namespace(like).as_tensor(np.asarray(values), device=like.device)


@dataclass(frozen=True)
class MatrixTokens:
    """Sequences [V_n, V_n, entries row by row, EOS] of matrices n x n.

    Attributes
    ----------
    encoding : of the numbers
    triangle : whether only the upper triangle is written, of symmetric matrices

    Examples
    --------
    >>> text = MatrixTokens(NumberEncoding("B1999"), triangle=True)
    >>> ids = text.write(np.array([[[1.0, -0.5], [-0.5, 20.0]]]))
    >>> ids.tolist()
    [[3, 3, 1110, 2109, 510, 2108, 1210, 2110, 1]]
    >>> text.read(ids, 2).tolist()
    [[[1.0, -0.5], [-0.5, 20.0]]]
    """

    encoding: NumberEncoding
    triangle: bool = False

    @property
    def vocabulary(self) -> int:
        """Symbols: begin, end, sizes, numbers."""
        return _NUMBERS + self.encoding.vocabulary

    def length(self, n: int) -> int:
        """Tokens of a matrix.

        Examples
        --------
        >>> MatrixTokens(NumberEncoding("FP15"), triangle=True).length(3)
        9
        """
        return 3 + self.encoding.tokens * len(self.places(n)[0])

    def places(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the entries in their order."""
        if self.triangle:
            return np.triu_indices(n)
        return np.divmod(np.arange(n * n), n)

    def write(self, A: Any) -> Any:
        """Ids (B, length), int64, of matrices (B, n, n).

        Raises
        ------
        ShapeError
            No batch of square matrices, or more than 8 rows.
        DTypeError, NonFiniteError, OptionError
            As of `NumberEncoding.encode`.
        """
        A = _numbers(A)
        if A.ndim != 3 or A.shape[1] != A.shape[2]:
            raise ShapeError(f"matrices have shape {tuple(A.shape)}; pass a batch (B, n, n)")
        B, n = A.shape[0], A.shape[-1]
        if not 1 <= n <= LARGEST_SIZE:
            raise ShapeError(f"sequences are of matrices of at most {LARGEST_SIZE} rows, not {n}")
        rows, columns = self.places(n)
        xp = namespace(A)
        numbers = self.encoding.encode(A[:, rows, columns]).reshape(B, self.length(n) - 3) + _NUMBERS
        size = xp.full_like(numbers[:, :1], n + 1)
        parts = [size, size, numbers, xp.full_like(size, EOS)]
        return xp.cat(parts, 1) if is_torch(A) else np.concatenate(parts, 1)

    def read(self, ids: Any, n: int) -> Any:
        """Matrices (B, n, n), float64, of ids (B, length); all NaN where a sequence is malformed.

        Raises
        ------
        ShapeError, DTypeError
            Sequences of another length, or ids that are no integers.
        """
        ids = _integers(ids)
        if ids.ndim != 2 or ids.shape[1] != self.length(n):
            raise ShapeError(f"ids have shape {tuple(ids.shape)}; sequences of n = {n} are (B, {self.length(n)})")
        xp, B = namespace(ids), ids.shape[0]
        well = (ids[:, 0] == n + 1) & (ids[:, 1] == n + 1) & (ids[:, -1] == EOS)
        rows, columns = self.places(n)
        numbers = self.encoding.decode(ids[:, 2:-1].reshape(B, len(rows), self.encoding.tokens) - _NUMBERS)
        well = well & xp.isfinite(numbers).all(-1)
        numbers = xp.where(well[:, None], numbers, xp.full_like(numbers, float("nan")))
        at = np.zeros((n, n), dtype=np.int64)
        at[rows, columns] = np.arange(len(rows))
        if self.triangle:
            at = np.maximum(at, at.T)
        return numbers[:, at.ravel()].reshape(B, n, n)

    def grammar(self, n: int) -> list[tuple[int, int]]:
        """First id, and the one after the last, of what may stand at each place: the grammar of the sequences."""
        number = [(first + _NUMBERS, after + _NUMBERS) for first, after in self.encoding.runs]
        entries = [run for _ in self.places(n)[0] for run in number]
        return [(n + 1, n + 2), (n + 1, n + 2), *entries, (EOS, EOS + 1)]

    def mirrors(self, n: int) -> list[int]:
        """For each place of a sequence that of the token mirrored at the diagonal, itself where that comes later."""
        rows, columns = self.places(n)
        order = {(i, j): at for at, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
        found, t = [0, 1], self.encoding.tokens
        for (i, j), at in order.items():
            source = min(at, order.get((j, i), at))
            found += [2 + t * source + place for place in range(t)]
        return [*found, len(found)]

    @cached_property
    def values(self) -> np.ndarray:
        """What each id is worth, (V, 2): of one token for a whole number its value, else the value of its part; and
        which part it is of (0 begin, end and sizes, then from 1 by the runs of the encoding)."""
        worth = np.zeros((self.vocabulary, 2))
        worth[2:_NUMBERS, 0] = np.arange(1, LARGEST_SIZE + 1)
        kinds: dict[tuple[int, int], int] = {}
        for run in self.encoding.runs:
            kinds.setdefault(run, len(kinds) + 1)
        for (first, after), kind in kinds.items():
            ids = np.arange(first, after)
            worth[_NUMBERS + ids, 1] = kind
            worth[_NUMBERS + ids, 0] = ids - first
        if self.encoding.name == "B1999":
            worth[_NUMBERS : _NUMBERS + 2001, 0] -= 1000
        if self.encoding.name == "FP15":
            worth[_NUMBERS:, 0] = self.encoding.decode(np.arange(self.encoding.vocabulary)[:, None])
        return worth


def encoding_table(sizes: tuple[int, ...] = (3, 4, 5, 8)) -> list[dict[str, Any]]:
    """Symbols of each encoding, tokens of a number, and of a matrix of each size, whole and its upper triangle.

    Examples
    --------
    >>> [(row["encoding"], row["symbols"], row["tokens"], row["n=3"]) for row in encoding_table((3,))]
    [('P10', 223, 5, (48, 33)), ('P1000', 1213, 3, (30, 21)), ('B1999', 2212, 2, (21, 15)), ('FP15', 28811, 1, (12, 9))]
    """
    table = []
    for name in ENCODINGS:
        texts = [MatrixTokens(NumberEncoding(name), triangle=triangle) for triangle in (False, True)]
        row: dict[str, Any] = {"encoding": name, "symbols": texts[0].vocabulary, "tokens": texts[0].encoding.tokens}
        row |= {f"n={n}": tuple(text.length(n) for text in texts) for n in sizes}
        table.append(row)
    return table
