"""(A + shift I)^-1 v: by the user's function, or by a factorisation that is kept for every shift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.kernels.cholesky import Cholesky
from nnla.operators.operator import Operator

__all__ = ["ShiftedSolver"]


class ShiftedSolver:
    """Solves (A + shift I) x = v and counts.

    Parameters
    ----------
    op : Operator; its entries are needed unless `solve` is given
    solve : ``solve(shift, v)``

    Attributes
    ----------
    solves, factorisations : so far; the factorisations of a given `solve` are its own affair

    Notes
    -----
    A sparse matrix is factored by the native Cholesky where the shifted matrix is positive definite, else by SuperLU;
    every shift keeps its factor. Complex shifts solve in complex arithmetic.
    """

    def __init__(self, op: Operator, solve: Callable[[complex, np.ndarray], np.ndarray] | None) -> None:
        if op.xp != "numpy":
            raise DTypeError("shifted solves are for matrices of NumPy and SciPy; convert A, or solve with torch")
        if solve is not None and not callable(solve):
            raise OptionError(f"solve must be a function of (shift, v), not {type(solve).__name__}")
        if solve is None and op.csr is None and op.nnz is None:
            raise OptionError("this operator is known by products only: pass solve=, a function of (shift, v)")
        self._op, self._given = op, solve
        self._dense = None if op.csr is not None or solve is not None else op.dense()
        self._factors: dict[complex, Callable[[np.ndarray], np.ndarray]] = {}
        self.solves = self.factorisations = 0

    def __call__(self, shift: complex, v: np.ndarray) -> np.ndarray:
        """(A + shift I)^-1 v, complex where the shift is."""
        shift = shift.real if isinstance(shift, complex) and shift.imag == 0 else shift
        self.solves += 1
        if self._given is not None:
            x = np.asarray(self._given(shift, v))
            if x.shape != v.shape:
                raise ShapeError(f"solve returned shape {x.shape} for a vector of shape {v.shape}")
        else:
            if shift not in self._factors:
                self._factors[shift] = self._factor(shift)
                self.factorisations += 1
            x = self._factors[shift](v)
        if not np.all(np.isfinite(x)):
            raise NonFiniteError(f"the solve with shift {shift:.6g} returned NaN or Inf: A + shift I is singular")
        return x

    def _factor(self, shift: complex) -> Callable[[np.ndarray], np.ndarray]:
        n, csr = self._op.n, self._op.csr
        if csr is None:
            assert self._dense is not None
            factor = scipy.linalg.lu_factor(self._dense + shift * np.eye(n), check_finite=False)
            return lambda v: scipy.linalg.lu_solve(factor, v, check_finite=False)
        shifted = csr + shift * sp.eye_array(n, format="csr")
        if Cholesky.available() and not isinstance(shift, complex):
            shifted = sp.csr_array(shifted)
            shifted.sort_indices()
            try:
                return Cholesky(shifted).factor().solve
            except (NotPositiveDefiniteError, NotSymmetricError):
                pass  # indefinite: LU
        try:
            lu = splu(sp.csc_array(shifted), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        except RuntimeError as error:
            raise NonFiniteError(f"A + {shift:.6g} I is singular; choose another interval or other poles") from error
        if isinstance(shift, complex):
            return lambda v: lu.solve(np.asarray(v, dtype=np.complex128))
        return lu.solve
