"""Incomplete Cholesky without fill, IC(0) and modified IC(0): the classical preconditioner to beat.

Native where the package was built with a compiler (native/incomplete_*.cpp); else the factorisation runs in NumPy
(`nnla.preconditioners.incomplete_cholesky_numpy`) and the triangular solves are SuperLU's.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla import kernels
from nnla.errors import DTypeError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.sparse import sound
from nnla.preconditioners.incomplete_cholesky_numpy import LevelSets

__all__ = ["IncompleteCholesky", "IncompleteFactorizationError", "ic0"]

_FIRST_SHIFT, _LAST_SHIFT = 1e-3, 1.0
# modified="auto", as in native/incomplete_factor.cpp: the share, and for which matrices.
_RELAXATION, _POSITIVE = 0.98, 0.15


class IncompleteFactorizationError(NotPositiveDefiniteError):
    """IC(0) met a pivot that is not positive, which also happens for matrices that are positive definite."""


class IncompleteCholesky:
    """A factor L with L L^T close to A, and its solves; make one with `ic0`.

    Attributes
    ----------
    L : lower triangular float64 ``csr_array``, with the pattern of the lower triangle of A
    n, nnz : order, and stored entries of `L`
    shift : L factors A + shift * diag(A)
    modified : share of the dropped entries that was moved to the diagonal (what "auto" chose)
    dtype : precision in which the solves hold L
    native : the ``nnla.kernels.native`` object for use by other native kernels, or None
    seconds : wall time of the factorisation and of the preparation of the solves
    """

    def __init__(self, factor: Any, shift: float, modified: float, seconds: float) -> None:
        start = time.perf_counter()
        self.shift, self.modified = shift, modified
        self.native: Any = None
        self._L: Any = None
        if sp.issparse(factor):
            self._L = factor
            self.n, self.nnz, self.dtype = int(factor.shape[0]), int(factor.nnz), np.dtype(np.float64)
            # The LU factors of a lower triangular matrix are the matrix itself, its columns divided by the
            # diagonal, and the diagonal: nothing to eliminate, no fill, and SuperLU's compiled substitutions come
            # for free. Threshold 0 keeps every pivot on the diagonal; relax=1 keeps zeros out of the supernodes.
            options = {"Equil": False, "SymmetricMode": False}
            self._lu: Any = splu(
                factor.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, relax=1, panel_size=1, options=options
            )
        else:
            self.native = factor
            self.n, self.nnz = factor.size, factor.nnz
            self.dtype = np.dtype(np.float32 if factor.itemsize == 4 else np.float64)
        self.seconds = seconds + time.perf_counter() - start

    def __repr__(self) -> str:
        return f"<IncompleteCholesky {self.n}x{self.n}, nnz={self.nnz}, shift={self.shift:g}>"

    @property
    def L(self) -> sp.csr_array:
        if self._L is None:
            indptr, indices, data = self.native.lower()
            self._L = sp.csr_array((data, indices, indptr), shape=(self.n, self.n))
        return self._L

    def solve(self, r: Any) -> np.ndarray:
        """``(L L^T)^-1 r`` for `r` of shape (n,) or (n, k), as a new float64 array of that shape.

        Cost: 4 nnz flops per column, the time of about one product with A (several without native kernels).
        """
        r = plain(r, np.float64)
        if r.ndim not in (1, 2) or r.shape[0] != self.n:
            raise ShapeError(f"r has shape {r.shape}; it must be ({self.n},) or ({self.n}, k)")
        if self.native is None:
            return self._lu.solve(self._lu.solve(r), "T")
        z = np.empty_like(r)
        if r.ndim == 1:
            self.native.solve(r, z)
        else:
            self.native.solve_block(r, z)
        return z


def ic0(
    A: Any,
    *,
    shift: float | str = 0.0,
    modified: float | str = 0.0,
    dtype: str | np.dtype | type = np.float64,
    triangle: str = "lower",
) -> IncompleteCholesky:
    """Incomplete Cholesky factorisation of a symmetric positive definite matrix, without fill.

    Parameters
    ----------
    A
        SciPy sparse matrix or array (n, n); only one triangle is read, and all its stored entries, zero or not,
        are the pattern. Never modified.
    shift
        Factor A + shift * diag(A). ``"auto"`` takes the first of 0, 1e-3, 2e-3, 4e-3, ... up to 1 for which
        the factorisation exists (Manteuffel's remedy).
    modified
        The share, in 0..1, of every dropped entry (i, j) that is moved to the diagonal entries of rows i and j:
        0 is IC(0), 1 is modified IC (Gustafsson), whose L L^T has the row sums of A + shift diag(A). ``"auto"`` is
        0.98 where few entries off the diagonal are positive (grids, circuits, diffusion: a third to two thirds
        fewer iterations) and that factor exists, else 0.
    dtype
        Precision in which the solves hold L, float64 or float32 (less memory and time, and as good a
        preconditioner). All computations are float64. Without native kernels: float64.
    triangle
        Which one is read, ``"lower"`` or ``"upper"``; the upper one of a matrix stored by rows is faster.

    Returns
    -------
    IncompleteCholesky

    Raises
    ------
    IncompleteFactorizationError
        A pivot is not positive: always possible unless A is an M- or H-matrix and `modified` is 0.

    Cost: no products with A, the time of some ten. Flops proportional to the sum over columns of (entries below
    the diagonal)². Memory: 12 bytes for each entry of L, and the result's 16 (float32) or 24; without native
    kernels more, up to 0.4 GB of index triplets, and some ten NumPy calls for each level of the dependency graph.

    Validity: ``(L L^T)_ij = a_ij`` off the diagonal of the pattern (and on it where `modified` is 0), to rounding.
    The factors of D A D are D L for every diagonal D, so scaling does not matter (where `modified` is 0).

    References
    ----------
    Meijerink and van der Vorst, Math. Comp. 31 (1977) 148-162. Gustafsson, BIT 18 (1978) 142-156. Manteuffel,
    Math. Comp. 34 (1980) 473-497.

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
    if isinstance(modified, str):
        if modified != "auto":
            raise OptionError(f"modified={modified!r} is not known; pass 'auto' or a number from 0 to 1")
    elif not 0.0 <= modified <= 1.0:
        raise OptionError(f"modified={modified} must be a number from 0 to 1, or 'auto'")
    if triangle not in ("lower", "upper"):
        raise OptionError(f"triangle={triangle!r} must be 'lower' or 'upper'")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise OptionError(f"dtype={dtype} must be float32 or float64")
    automatic, first = shift == "auto", 0.0 if isinstance(shift, str) else float(shift)
    share = -1.0 if isinstance(modified, str) else float(modified)
    rows, upper = _rows(A), triangle == "upper"
    if kernels.native is not None and rows.indices.dtype == np.int32:
        single = np.dtype(dtype) == np.float32
        factor, row, bad_diagonal, pivot, tried = kernels.native.factor_incomplete(
            *csr_arrays(rows), share, first, automatic, single, upper
        )
        share = factor.modified if factor is not None else share
    else:
        lower = sp.csr_array(sp.triu(rows).T if upper else sp.tril(rows), dtype=np.float64)
        factor, row, bad_diagonal, pivot, tried, share = _factor_levels(lower, share, first, automatic)
    if bad_diagonal:
        raise IncompleteFactorizationError(
            f"no incomplete Cholesky factor: the diagonal entry in row {row} (from 0) is {pivot:.6g} "
            "and must be positive"
        )
    if factor is None:
        what = f"at shift {tried:g} the pivot of row {row} (from 0) is {pivot:.3g} times its diagonal entry"
        if automatic:
            raise IncompleteFactorizationError(f"no incomplete Cholesky factor: even {what}; A may be indefinite")
        raise IncompleteFactorizationError(
            f"no incomplete Cholesky factor: {what}; pass shift='auto' or a larger shift"
        )
    return IncompleteCholesky(factor, tried, share, time.perf_counter() - start)


def _rows(A: Any) -> Any:
    """A by rows in float64, with sorted indices and no duplicates; not a copy where it is so already."""
    if not sp.issparse(A):
        raise DTypeError(f"ic0 needs a SciPy sparse matrix, not {type(A).__name__}")
    if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
        raise ShapeError(f"A has shape {A.shape}; a square matrix is needed")
    if A.dtype.kind not in "iuf":
        raise DTypeError(f"A has dtype {A.dtype}; a real matrix is needed")
    A = sound(A)
    rows = sp.csr_array(A, dtype=np.float64)
    if A.format == "csr" and A.has_canonical_format:  # what A knows need not be checked once more
        rows.has_canonical_format = True
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return _with_small_indices(rows)


def _with_small_indices(rows: Any) -> Any:
    if rows.indices.dtype == np.int32 or rows.nnz > np.iinfo(np.int32).max:
        return rows
    small = (rows.data, rows.indices.astype(np.int32), rows.indptr.astype(np.int32))
    return sp.csr_array(small, shape=rows.shape)


def _factor_levels(
    lower: sp.csr_array, modified: float, shift: float, automatic: bool
) -> tuple[Any, int, bool, float, float, float]:
    """What the native ``factor_incomplete`` returns, with L as a matrix, and the share that was used."""
    diagonal = lower.diagonal()
    bad = np.flatnonzero(~((diagonal > 0) & (diagonal < np.inf)))
    if len(bad):
        return None, int(bad[0]), True, float(diagonal[bad[0]]), shift, modified
    levels = LevelSets(lower)
    choose = modified < 0
    if choose:
        modified = _RELAXATION if levels.positive_share() <= _POSITIVE else 0.0
    while True:
        L, row, pivot = levels.factor(shift, modified)
        if L is None and choose and modified:
            modified = 0.0
        elif L is not None or not automatic or shift >= _LAST_SHIFT:
            return L, row, False, pivot, shift, modified
        else:
            shift = min(2 * shift, _LAST_SHIFT) if shift else _FIRST_SHIFT
