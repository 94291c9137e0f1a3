"""The levels of an incomplete Cholesky factorisation in NumPy: what `ic0` uses where there are no native kernels.

The factorisation runs over the levels of the column dependency graph, each in a handful of vectorised operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["LevelSets"]

# Candidates (i, j, k) handled at once, and how many may be kept for retries with another shift.
_CHUNK = 1_000_000
_KEEP = 20_000_000
# Pivots of the matrix scaled to unit diagonal; below this nothing but rounding error is left of them.
_SMALLEST_PIVOT = np.finfo(np.float64).eps


class LevelSets:
    """What depends on the pattern only: levels, storage order, and the list of updates.

    Entries are stored column by column, in the order of the columns' levels, the diagonal first in each
    column. So a level is one contiguous range, and everything that updates it comes from earlier ranges.
    """

    def __init__(self, lower: Any) -> None:
        self.n = n = int(lower.shape[0])
        self.lower = lower
        nnz = lower.nnz
        self.indptr = lower.indptr.astype(np.int64)
        self.indices = lower.indices.astype(np.int64)
        row = np.repeat(np.arange(n), np.diff(self.indptr))
        # A positive diagonal is stored, and in a sorted lower triangle it ends its row.
        self.root = np.sqrt(lower.diagonal())
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
        self.row = row[self.csr_of]
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
        kept: list[Any] | None = [] if total[-1] <= _KEEP else None
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

    def positive_share(self) -> float:
        """Of the entries below the diagonal of the scaled matrix, by size."""
        total = np.abs(self.values).sum() - self.n
        return 0.5 * (1.0 + (self.values.sum() - self.n) / total) if total > 0 else 0.0

    def factor(self, shift: float, modified: float = 0.0) -> tuple[sp.csr_array | None, int, float]:
        """(L of the matrix A + shift diag(A), -1, 0), or (None, row of the first bad pivot, that pivot)."""
        values = self.values.copy()
        values[self.diagonals] += shift
        # What is left of the row sums of A, in the scaling of `values`.
        sums = None
        if modified:
            column, root = self.columns[self.rank], self.root
            sums = np.bincount(self.row, values * root[column], minlength=self.n)
            off = self.row != column
            sums += np.bincount(column[off], (values * root[self.row])[off], minlength=self.n)
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
                    bad = self._finish(values, sums, modified, columns[ell], columns[ell + 1], entries[ell], hi)
                    if bad is not None:
                        return None, *bad
            level = last if entries[last] == stop else last - 1
        data = np.empty_like(values)
        data[self.csr_of] = values
        data *= np.repeat(self.root, np.diff(self.indptr))
        return sp.csr_array((data, self.lower.indices, self.lower.indptr), shape=(self.n, self.n)), -1, 0.0

    def _finish(
        self, values: np.ndarray, sums: np.ndarray | None, modified: float, c0: int, c1: int, lo: int, hi: int
    ) -> tuple[int, float] | None:
        """Turn the updated columns c0..c1 (entries lo..hi) of one level into columns of L; or the bad pivot."""
        at = self.diagonals[c0:c1]
        pivots, rank = values[at], self.rank[lo:hi] - c0
        if sums is not None:
            # The sum of a row of L L^T lacks what was dropped from that row.
            own, weight = self.columns[c0:c1], self.root[self.row[lo:hi]]
            below = np.bincount(rank, values[lo:hi] * weight, minlength=c1 - c0) - pivots * self.root[own]
            pivots = pivots - modified * (pivots + (below - sums[own]) / self.root[own])
        good = (pivots > _SMALLEST_PIVOT) & (pivots < np.inf)
        if not good.all():
            c = int(np.argmin(good))
            return int(self.columns[c0 + c]), float(pivots[c])
        root = np.sqrt(pivots)
        values[at] = pivots
        values[lo:hi] /= root[rank]
        if sums is not None:
            total = np.bincount(rank, values[lo:hi] * weight, minlength=c1 - c0)
            np.subtract.at(sums, self.row[lo:hi], values[lo:hi] * total[rank])
        return None
