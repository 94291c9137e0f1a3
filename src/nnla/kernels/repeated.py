"""Systems of one pattern, one after the other: analysed once, then factored, solved and verified in one native call."""

from __future__ import annotations

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np

from nnla.errors import NotSymmetricError, OptionError, ShapeError
from nnla.kernels import native, why_not
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.limits import INDEX_MAX

__all__ = ["ANOTHER_PATTERN", "DECLINED", "RepeatedCholesky", "RepeatedSolution"]

# why a system is left to the ordinary way, by the numbers of native/verification.hpp
DECLINED = {
    1: "there are no rows",
    2: "the matrix is not finite, symmetric and of positive diagonal",
    3: "its numbers are beyond 1e-27 ... 1e27, or those of b beyond 1e-100 ... 1e100",
    5: "the right-hand side is zero or not finite",
    6: "the target is zero, or met by x = 0",
    8: "a factorisation takes more operations than are allowed",
    10: "the residual did not reach the target",
    9: "a pivot is not positive, or is zero to rounding",
    11: "the pattern is another one",
}
ANOTHER_PATTERN = 11
_VALUE = np.dtype(np.float64)
_ROUNDING = 1e-10  # as in nnla.operators.validation


class RepeatedSolution(NamedTuple):
    """x with the figures of its verification.

    Attributes
    ----------
    x : of the shape of b
    relative_residual : ||b - A x|| / ||b||, recomputed with A in float64
    backward_error : a bound of the normwise one
    equilibrated_residual : relative, by the rows' weights, the larger of two norms; negative where these do not differ
    factored : whether the values were new, so that the matrix was factored
    products : with A: one more than refinements
    seconds_factor, seconds_solve : wall time, the look at the matrix within the former
    """

    x: np.ndarray
    relative_residual: float
    backward_error: float
    equilibrated_residual: float
    factored: bool
    products: int
    seconds_factor: float
    seconds_solve: float


class RepeatedCholesky:
    """Solver of symmetric positive definite systems whose matrices share a pattern.

    Parameters
    ----------
    A : ``csr_array`` (n, n), float64, rows sorted, both triangles stored: its pattern is kept, in a copy
    max_flops : `complete` is False where a factorisation would take more operations
    analysed : the analysis of A, where it has been made before: taken over, and its factor where that is of A's values

    Attributes
    ----------
    n : order of the matrices
    complete : whether there is an analysis
    factored : whether there is a factor
    banded : whether the matrices are factored within their band, as takes less time for small ones
    flops, nnz : multiplications of a factorisation, and stored entries of the factor
    nbytes : memory of all that is kept

    Raises
    ------
    NotSymmetricError
        The pattern is not symmetric, or its rows are not sorted.
    OptionError
        The native kernels are not there, or more than 2^31 - 1 entries.

    Notes
    -----
    One call at a time: a second one, from another thread, ends in ``RuntimeError``. A call that a signal ends leaves
    the object usable.

    Cost: an ordering and an analysis of the pattern; no look at the values.

    References
    ----------
    Davis, Direct Methods for Sparse Linear Systems (2006), chapter 4. Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., chapter 12 (refinement).

    Examples
    --------
    >>> from nnla.problems import poisson2d
    >>> A, b = poisson2d(30), np.ones(900)
    >>> kept = RepeatedCholesky(A)
    >>> kept.solve(A, b).factored, kept.solve(A, 2 * b).factored, kept.solve(1.5 * A, b).factored
    (True, False, True)
    >>> DECLINED[kept.solve(-A, b)]
    'the matrix is not finite, symmetric and of positive diagonal'
    """

    def __init__(self, A: Any, *, max_flops: float = math.inf, analysed: Cholesky | None = None) -> None:
        if native is None:
            raise OptionError(f"the native Cholesky factorisation is not available: {why_not}")
        if A.ndim != 2 or A.shape[0] != A.shape[1]:
            raise ShapeError(f"a matrix to factor is square, not of shape {A.shape}")
        if A.nnz > INDEX_MAX:
            raise OptionError(f"{A.nnz} stored entries are too many to factor; use an iterative method")
        if not max_flops >= 0:
            raise OptionError(f"max_flops must not be negative, got {max_flops}")
        indptr, indices, data = csr_arrays(A)
        self.n = int(A.shape[0])
        made = None if analysed is None else analysed.native
        try:
            self._native: Any = native.RepeatedCholesky(indptr, indices, float(max_flops), made)
        except ShapeError:
            raise
        except ValueError as error:  # std::invalid_argument, std::length_error
            raise NotSymmetricError(f"this pattern cannot be factored: {error}") from None
        if analysed is not None and analysed.is_factor_of(data):
            with contextlib.suppress(ShapeError):  # of another pattern
                self._native.adopt(made, indptr, indices, data, _ROUNDING)

    def __repr__(self) -> str:
        state = "factored" if self.factored else "analysed" if self.complete else "given up"
        return f"<RepeatedCholesky n={self.n}, nnz={self.nnz:.3g}, flops={self.flops:.3g}, {state}>"

    @property
    def complete(self) -> bool:
        return self._native.complete

    @property
    def factored(self) -> bool:
        return self._native.factored

    @property
    def banded(self) -> bool:
        return self._native.banded

    @property
    def flops(self) -> float:
        return self._native.flops

    @property
    def nnz(self) -> int:
        return int(self._native.nnz)

    @property
    def nbytes(self) -> int:
        return int(self._native.bytes)

    def solve(
        self, A: Any, b: np.ndarray, rtol: float = 1e-8, atol: float = 0.0, *, asymmetry: float = _ROUNDING
    ) -> RepeatedSolution | int:
        """x with ``||b - A x|| <= max(rtol ||b||, atol)``, verified; or the number in `DECLINED` of why there is none.

        Parameters
        ----------
        A : CSR matrix (n, n) with float64 entries; one that has not the kept pattern is declined
        b : (n,) or (n, k) float64; of the columns of a block, the worst figures
        rtol, atol : 0 <= rtol < 1, atol >= 0
        asymmetry : ``|a_ij - a_ji|`` relative to the diagonal that counts as rounding

        Notes
        -----
        Cost: a comparison with what was kept; where the values differ a check of symmetry and `flops`; then a solution
        by the factor and a product with A, and as much again for each refinement. Where b lies on heavy rows, the
        equilibrated residual has to be small, too, as in `nnla.linear.criterion`.

        Validity: no factor of other values is ever used; a matrix that is declined leaves the factor of the last one,
        unless it failed in the factorisation itself.
        """
        indptr, indices, data, flat = A.indptr, A.indices, A.data, b if b.ndim == 1 else b.reshape(-1)
        if len(b) != self.n:
            return ANOTHER_PATTERN
        try:
            found = self._native.solve(indptr, indices, data, flat, rtol, atol, asymmetry)
        except TypeError:  # strided, unaligned, or of another type
            if np.iscomplexobj(data) or np.iscomplexobj(b):
                raise
            arrays = plain(indptr, np.int64), plain(indices, np.int64), plain(data, _VALUE)
            found = self._native.solve(*arrays, plain(flat, _VALUE), rtol, atol, asymmetry)
        return found if type(found) is int else _solution(found, b)

    def solve_again(self, b: np.ndarray, rtol: float = 1e-8, atol: float = 0.0) -> RepeatedSolution | int:
        """The same with the matrix of the last call that was not declined, of which nothing is looked at.

        Cost: a solution by the factor, a product with A, and as much again for each refinement.
        """
        if len(b) != self.n:
            return ANOTHER_PATTERN
        found = self._native.solve_again(plain(b, _VALUE).reshape(-1), rtol, atol)
        return found if type(found) is int else _solution(found, b)

    def change(self, A: Any, *, asymmetry: float = _ROUNDING) -> int:
        """0 where A is the matrix that is factored, 1 for other values (or no factor yet), 2 for another pattern.

        Cost: a comparison of the arrays, up to the first difference.
        """
        try:
            return self._native.change(A.indptr, A.indices, A.data, asymmetry)
        except TypeError:
            arrays = plain(A.indptr, np.int64), plain(A.indices, np.int64), plain(A.data, _VALUE)
            return self._native.change(*arrays, asymmetry)

    def apply(self, r: np.ndarray) -> np.ndarray:
        """A^-1 r by the factor for (n,) or (n, k): not refined, and not verified.

        Raises
        ------
        OptionError
            There is no factor.
        ShapeError

        Notes
        -----
        Cost: 4 `nnz` operations a column; the factor is read twice for up to eight columns together.
        """
        if not self.factored:
            raise OptionError("there is no factor yet; call solve() first")
        r = plain(r, _VALUE)
        if r.ndim not in (1, 2) or len(r) != self.n:
            raise ShapeError(f"a right-hand side of shape {r.shape} does not fit a matrix of order {self.n}")
        return self._native.apply(r.reshape(-1)).reshape(r.shape) if r.size else np.empty(r.shape)

    def preconditioner(self) -> Any:
        """A^-1 of the matrix that was factored last, as the M of `nnla.krylov.native_cg`; None without a factor.

        It lives on, with its factor, when another matrix is factored here: for CG on a later matrix.

        Cost: nothing now; a solution by the factor for each application.
        """
        return self._native.preconditioner()


def _solution(found: tuple[Any, ...], b: np.ndarray) -> RepeatedSolution:
    return RepeatedSolution(*found) if b.ndim == 1 else RepeatedSolution(found[0].reshape(b.shape), *found[1:])
