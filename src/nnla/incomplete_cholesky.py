"""Incomplete Cholesky without fill, IC(0): the classical preconditioner to beat, in NumPy and SciPy alone.

The factorisation runs over the levels of the column dependency graph, each in a handful of vectorised
operations; the triangular solves are SuperLU's compiled ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.errors import DTypeError, NotPositiveDefiniteError, OptionError, ShapeError

__all__ = ["IncompleteCholesky", "IncompleteFactorizationError", "ic0"]

# Candidates (i, j, k) handled at once, and how many may be kept for retries with another shift.
_CHUNK = 1_000_000
_KEEP = 20_000_000
# Pivots of the matrix scaled to unit diagonal; below this nothing but rounding error is left of them.
_SMALLEST_PIVOT = np.finfo(np.float64).eps
_FIRST_SHIFT, _LAST_SHIFT = 1e-3, 1.0


class IncompleteFactorizationError(NotPositiveDefiniteError):
    """IC(0) met a pivot that is not positive, which also happens for matrices that are positive definite."""


class IncompleteCholesky:
    """A factor L with L L^T close to A, and its solves; make one with `ic0`.

    Attributes
    ----------
    L : lower triangular float64 ``csr_array``, with the pattern of the lower triangle of A
    n, nnz : order, and stored entries of `L`
    shift : L factors A + shift * diag(A)
    seconds : wall time of the factorisation and of the preparation of the solves
    """

    def __init__(self, L: Any, shift: float, seconds: float) -> None:
        start = time.perf_counter()
        self.L: sp.csr_array = L
        self.n = int(L.shape[0])
        self.nnz = int(L.nnz)
        self.shift = shift
        # The LU factors of a lower triangular matrix are the matrix itself, its columns divided by the
        # diagonal, and the diagonal: nothing to eliminate, no fill, and SuperLU's compiled substitutions come
        # for free. Threshold 0 keeps every pivot on the diagonal; relax=1 keeps zeros out of the supernodes.
        options = {"Equil": False, "SymmetricMode": False}
        self._lu = splu(L.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, relax=1, panel_size=1, options=options)
        self.seconds = seconds + time.perf_counter() - start

    def __repr__(self) -> str:
        return f"<IncompleteCholesky {self.n}x{self.n}, nnz={self.nnz}, shift={self.shift:g}>"

    def solve(self, r: Any) -> np.ndarray:
        """``(L L^T)^-1 r`` for `r` of shape (n,) or (n, k), as a new float64 array of that shape.

        Cost: 4 nnz flops per column, the time of a few products with A.
        """
        r = np.asarray(r, dtype=np.float64)
        if r.ndim not in (1, 2) or r.shape[0] != self.n:
            raise ShapeError(f"r has shape {r.shape}; it must be ({self.n},) or ({self.n}, k)")
        return self._lu.solve(self._lu.solve(r), "T")


def ic0(A: Any, *, shift: float | str = 0.0) -> IncompleteCholesky:
    """Incomplete Cholesky factorisation of a symmetric positive definite matrix, without fill.

    Parameters
    ----------
    A
        SciPy sparse matrix or array (n, n); only its lower triangle is read, and all its stored entries,
        zero or not, are the pattern. Never modified.
    shift
        Factor A + shift * diag(A). ``"auto"`` takes the first of 0, 1e-3, 2e-3, 4e-3, ... up to 1 for which
        the factorisation exists (Manteuffel's remedy).

    Returns
    -------
    IncompleteCholesky

    Raises
    ------
    IncompleteFactorizationError
        A pivot is not positive: always possible unless A is an M- or H-matrix.

    Cost: no products with A. Flops proportional to the triplets k < j < i with (i, j), (i, k), (j, k) in the
    pattern, found among sum over (i, j) of min(row i, row j) candidates; some ten NumPy calls for each level
    of the dependency graph (the longest chain of columns: 2 sqrt(n) for a grid, n for a tridiagonal matrix).
    Memory: a few copies of the lower triangle, and at most 0.4 GB of triplets.

    Validity: ``(L L^T)_ij = a_ij`` on the pattern, to rounding. The factors of D A D are D L for every
    diagonal D, so scaling does not matter.

    References
    ----------
    Meijerink and van der Vorst, Math. Comp. 31 (1977) 148-162. Manteuffel, Math. Comp. 34 (1980) 473-497.

    Examples
    --------
    >>> A = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(4, 4), format="csr")
    >>> r = np.array([1.0, 0.0, 0.0, 1.0])
    >>> ic0(A).solve(r).round(12)  # exact, as the Cholesky factor of a tridiagonal matrix has no fill
    array([1., 1., 1., 1.])
    """
    start = time.perf_counter()
    if isinstance(shift, str):
        if shift != "auto":
            raise OptionError(f"shift={shift!r} is not known; pass 'auto' or a number >= 0")
    elif not 0.0 <= shift < np.inf:
        raise OptionError(f"shift={shift} must be a finite number >= 0, or 'auto'")
    factory = _Factory(A)
    tried = float(shift) if shift != "auto" else 0.0
    while True:
        try:
            L = factory.factor(tried)
        except IncompleteFactorizationError:
            if shift != "auto" or tried >= _LAST_SHIFT:
                raise
            tried = min(2 * tried, _LAST_SHIFT) if tried else _FIRST_SHIFT
        else:
            return IncompleteCholesky(L, tried, time.perf_counter() - start)


class _Factory:
    """What depends on the pattern only: levels, storage order, and the list of updates.

    Entries are stored column by column, in the order of the columns' levels, the diagonal first in each
    column. So a level is one contiguous range, and everything that updates it comes from earlier ranges.
    """

    def __init__(self, A: Any) -> None:
        if not sp.issparse(A):
            raise DTypeError(f"ic0 needs a SciPy sparse matrix, not {type(A).__name__}")
        if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
            raise ShapeError(f"A has shape {A.shape}; a square matrix is needed")
        if A.dtype.kind not in "iuf":
            raise DTypeError(f"A has dtype {A.dtype}; a real matrix is needed")
        self.n = n = int(A.shape[0])
        lower: Any = sp.csr_array(sp.tril(sp.csr_array(A, dtype=np.float64), format="csr"))
        lower.sum_duplicates()  # of the copy that tril made; sorts too
        self.lower = lower
        nnz = lower.nnz
        self.indptr = lower.indptr.astype(np.int64)
        self.indices = lower.indices.astype(np.int64)
        row = np.repeat(np.arange(n), np.diff(self.indptr))
        diagonal = lower.diagonal()
        bad = np.flatnonzero(~((diagonal > 0) & (diagonal < np.inf)))
        if len(bad):
            raise IncompleteFactorizationError(
                f"no incomplete Cholesky factor: the diagonal entry in row {bad[0]} (from 0) is "
                f"{diagonal[bad[0]]:.6g} and must be positive"
            )
        # A positive diagonal is stored, and in a sorted lower triangle it ends its row.
        self.root = np.sqrt(diagonal)
        scaled = lower.data / self.root[row] / self.root[self.indices]
        scaled[self.indptr[1:] - 1] = 1.0

        level = self._levels()
        columns = np.argsort(level, kind="stable")
        count = np.bincount(self.indices, minlength=n)
        first = np.empty(n, dtype=np.int64)
        first[columns] = np.cumsum(count[columns]) - count[columns]
        by_column: Any = sp.csr_array((np.arange(nnz), lower.indices, lower.indptr), shape=(n, n)).tocsc()
        csr_of_csc = by_column.data  # position in CSR of every entry in CSC order, diagonal first in its column
        column = self.indices[csr_of_csc]
        position = first[column] + np.arange(nnz) - by_column.indptr[column]
        self.csr_of = np.empty(nnz, dtype=np.int64)
        self.csr_of[position] = csr_of_csc
        self.position_of = np.empty(nnz, dtype=np.int64)  # inverse of csr_of
        self.position_of[csr_of_csc] = position
        self.values = scaled[self.csr_of]
        self.columns = columns
        self.diagonals = first[columns]
        # The column of each entry, numbered in storage order.
        self.rank = np.repeat(np.arange(n), count[columns])
        self.level_columns = np.concatenate([[0], np.cumsum(np.bincount(level))])
        self.level_entries = np.append(self.diagonals, nnz)[self.level_columns]

        # Entry (i, j) is updated by all k < j in both row i and row j; the shorter of the two is walked.
        i, j = row[self.csr_of], self.indices[self.csr_of]
        from_i, from_j = self.csr_of - self.indptr[i], self.indptr[j + 1] - 1 - self.indptr[j]
        self.candidates = np.minimum(from_i, from_j)
        self.walked = np.where(from_i <= from_j, self.indptr[i], self.indptr[j])
        self.searched = np.where(from_i <= from_j, j, i) * n
        self.keys = row * n + self.indices
        self.kept: list[tuple[int, int, tuple[np.ndarray, ...]]] | None = None

    def _levels(self) -> np.ndarray:
        # level(j) = 1 + max over the k < j of row j. A recurrence down the rows: plain Python, on lists, is
        # some 50 ns for each entry, and spares a sweep over the graph for every level.
        indptr, indices = self.indptr.tolist(), self.indices.tolist()
        level = [0] * self.n
        for j in range(self.n):
            start, end = indptr[j], indptr[j + 1] - 1
            if end > start:
                level[j] = 1 + max([level[k] for k in indices[start:end]])
        return np.array(level)

    def _updates(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (t, p, q), sorted by t, of all updates v[t] -= v[p] v[q] of the entries start..stop."""
        count = self.candidates[start:stop]
        ends = np.cumsum(count)
        target = np.repeat(np.arange(start, stop), count)
        walked = np.arange(len(target)) + np.repeat(self.walked[start:stop] - (ends - count), count)
        key = self.searched[target] + self.indices[walked]
        other = np.searchsorted(self.keys, key)
        found = np.flatnonzero(self.keys[other] == key)
        position = self.position_of
        small = np.int32 if len(position) <= np.iinfo(np.int32).max else np.int64
        parts = (target[found], position[walked[found]], position[other[found]])
        return tuple(part.astype(small) for part in parts)  # type: ignore[return-value]

    def _batches(self) -> Iterator[tuple[int, int, tuple[np.ndarray, ...]]]:
        """(start, stop, updates) of consecutive ranges of entries with about `_CHUNK` candidates each.

        Ranges end with a level, unless one level alone is larger than that.
        """
        if self.kept is not None:
            yield from self.kept
            return
        total = np.concatenate([[0], np.cumsum(self.candidates)])
        nnz = len(self.values)
        kept = [] if total[-1] <= _KEEP else None
        start = 0
        while start < nnz:
            # The last entry within the budget, moved back to the end of a level where there is one.
            stop = max(int(np.searchsorted(total, total[start] + _CHUNK, side="right")) - 1, start + 1)
            end = int(self.level_entries[np.searchsorted(self.level_entries, stop, side="right") - 1])
            stop = end if end > start else stop
            batch = (start, stop, self._updates(start, stop))
            if kept is not None:
                kept.append(batch)
            yield batch
            start = stop
        self.kept = kept

    def factor(self, shift: float) -> sp.csr_array:
        """L of the matrix A + shift diag(A), or `IncompleteFactorizationError`."""
        values = self.values.copy()
        values[self.diagonals] += shift
        columns, entries = self.level_columns.tolist(), self.level_entries.tolist()
        level = 0
        for start, stop, (target, p, q) in self._batches():
            last = int(np.searchsorted(self.level_entries, stop, side="left"))  # levels that begin before stop
            bounds = np.clip(self.level_entries[level : last + 1], start, stop)
            cuts = np.searchsorted(target, bounds).tolist()
            for step, ell in enumerate(range(level, last)):
                lo, hi = max(entries[ell], start), min(entries[ell + 1], stop)
                t0, t1 = cuts[step], cuts[step + 1]
                if t1 > t0:
                    products = values[p[t0:t1]] * values[q[t0:t1]]
                    values[lo:hi] -= np.bincount(target[t0:t1] - lo, products, minlength=hi - lo)
                if hi == entries[ell + 1]:
                    self._finish(values, ell, columns[ell], columns[ell + 1], entries[ell], hi, shift)
            level = last if entries[last] == stop else last - 1
        data = np.empty_like(values)
        data[self.csr_of] = values
        data *= np.repeat(self.root, np.diff(self.indptr))
        return sp.csr_array((data, self.lower.indices, self.lower.indptr), shape=(self.n, self.n))

    def _finish(self, values: np.ndarray, ell: int, c0: int, c1: int, lo: int, hi: int, shift: float) -> None:
        """Turn the updated columns c0..c1 (entries lo..hi) of one level into columns of L."""
        at = self.diagonals[c0:c1]
        pivots = values[at]
        good = pivots > _SMALLEST_PIVOT
        if not good.all():
            c = int(np.argmin(good))
            raise IncompleteFactorizationError(
                f"no incomplete Cholesky factor: at shift {shift:g} the pivot of row {self.columns[c0 + c]} "
                f"(from 0) is {pivots[c]:.3g} times its diagonal entry; pass shift='auto' or a larger shift"
            )
        root = np.sqrt(pivots)
        values[lo:hi] /= root[self.rank[lo:hi] - c0]
        values[at] = root
