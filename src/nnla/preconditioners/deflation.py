"""Deflated conjugate gradients: what a known subspace can tell of A^-1 is solved for directly, step after step.

A network, a coarse grid or eigenvectors give the subspace; whatever it holds of the small eigenvalues no longer
slows CG down. Any symmetric positive definite preconditioner works beneath.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from nnla.errors import NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.kernels.sparse import sound
from nnla.operators.operator import Operator, as_operator
from nnla.operators.validation import asarray, require_real
from nnla.preconditioners.galerkin import largest_entries, scaled_columns
from nnla.types import Kind

__all__ = ["DeflatedPreconditioner", "DeflationSpace"]

_DEPENDENT = 1e-10  # eigenvalues of the scaled coarse matrix below this say that vectors depend on one another


def _columns(W: Any, name: str, n: int) -> csr_array:
    """Finite real vectors (n, k) in sparse form."""
    W = sound(W, name) if issparse(W) else asarray(W, name)
    require_real(W.dtype)
    if W.ndim != 2 or W.shape[0] != n:
        raise ShapeError(f"{name} has shape {W.shape}, A is {n} x {n}; give vectors of length {n}")
    W = csr_array(W, dtype=np.float64)
    if not np.all(np.isfinite(W.data)):
        raise NonFiniteError(f"{name} has NaN or Inf")
    return W


class DeflationSpace:
    """A subspace W with A W and the factors of W' A W: set up once for a matrix, used for any right-hand side.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite
    W : (n, k), dense or sparse; columns may depend on each other, or be zero
    AW : A W, where it is known

    Attributes
    ----------
    W, AW : (n, k) csr_array
    products : products with A that A W amounted to: entries of W over n, 0 where it was given
    rank : independent columns
    seconds : set-up time

    Raises
    ------
    ShapeError, NonFiniteError
        W does not fit A, or holds NaN or Inf.
    NotPositiveDefiniteError
        W' A W has a negative eigenvalue: A is not positive definite.

    Notes
    -----
    Cost: A W, and a k x k eigenproblem. Memory: W, A W, twice each, and k^2.

    References
    ----------
    Tang, Nabben, Vuik, Erlangga, Comparison of two-level preconditioners, J. Sci. Comput. 39 (2009), section 2.3.

    Examples
    --------
    >>> A = np.diag([1e-3, 1.0, 2.0])
    >>> space = DeflationSpace(A, np.array([[1.0], [0.0], [0.0]]))
    >>> space.solve(np.array([1.0, 1.0, 1.0]))
    array([1000.,    0.,    0.])
    """

    def __init__(self, A: Any, W: Any, AW: Any = None) -> None:
        started = time.perf_counter()
        op = as_operator(A)
        W = _columns(W, "the subspace", op.n)
        largest = largest_entries(W)
        used = np.nonzero(largest)[0]
        self.W = scaled_columns(W, used, 1.0 / largest[used])
        self.products = 0 if AW is not None else -(-self.W.nnz // op.n)
        if AW is None:
            self.AW = _times(op, self.W, self.products)
        else:
            image = _columns(AW, "AW", op.n)
            if image.shape != W.shape:
                raise ShapeError(f"AW has shape {image.shape}, the subspace {W.shape}")
            self.AW = scaled_columns(image, used, 1.0 / largest[used])
        E = np.asarray((self.W.T @ self.AW).todense())
        self.rank, self._inverse = _pseudo_inverse((E + E.T) / 2)
        self._Wt: Any = self.W.T.tocsr()
        self._AWt: Any = self.AW.T.tocsr()
        self.n = op.n
        self.seconds = time.perf_counter() - started

    def __repr__(self) -> str:
        return f"DeflationSpace(n={self.n}, rank={self.rank})"

    def check(self, A: Any) -> None:
        """Raise `OptionError` unless the space was made with this matrix. Cost: a product.

        Raises
        ------
        ShapeError, OptionError
        """
        op = as_operator(A)
        if op.n != self.n:
            raise ShapeError(f"the subspace is for {self.n} unknowns, A has {op.n}")
        c = 1.0 + np.arange(self._inverse.shape[0]) % 7  # any combination of all vectors shows another matrix
        known, found = self.AW @ c, op.matvec(self.W @ c)
        if np.linalg.norm(found - known) > 1e-6 * np.linalg.norm(known):
            raise OptionError("the subspace was made with another matrix; make it anew with this one")

    def native(self, base: Any) -> Any:
        """None: sparse vectors have no native form; see `nnla.krylov.deflated_cg.DeflationBasis`."""
        return None

    def solve(self, r: np.ndarray) -> np.ndarray:
        """W (W'AW)^-1 W' r for (n,) or (n, m): the best approximation to A^-1 r in the subspace, in the A-norm."""
        return self.W @ (self._inverse @ (self._Wt @ r))

    def image(self, r: np.ndarray) -> np.ndarray:
        """A times `solve` of r, without a product with A."""
        return self.AW @ (self._inverse @ (self._Wt @ r))

    def precondition(self, r: np.ndarray, z: np.ndarray) -> np.ndarray:
        """z + W (W'AW)^-1 W' (r - A z): a preconditioned residual z, corrected in the subspace."""
        return z + self.W @ (self._inverse @ (self._Wt @ r - self._AWt @ z))


class DeflatedPreconditioner:
    """P' M + Q ("A-DEF2"): with it, CG from an iterate whose residual is orthogonal to W is deflated CG.

    Parameters
    ----------
    base : a scaling or a polynomial
    space : DeflationSpace, or for dense vectors `nnla.krylov.deflated_cg.DeflationBasis`, natively where the base is

    Attributes
    ----------
    kind : that of the base

    Notes
    -----
    P' = I - Q A and Q = W (W'AW)^-1 W'. On residuals orthogonal to W, which CG's then are, it is symmetric; Q
    takes back what rounding brings of W into them.

    References
    ----------
    Tang, Nabben, Vuik, Erlangga, Comparison of two-level preconditioners, J. Sci. Comput. 39 (2009), section 2.3.
    """

    def __init__(self, base: Any, space: Any) -> None:
        self.base, self.space = base, space
        self.name, self.inverse = "deflated", None
        self.native = space.native(base)
        self.kind: Kind = base.kind
        self._inner: Callable[[Any], Any] = (lambda r: r) if base.name == "none" else base

    def __call__(self, r: Any) -> Any:
        """(P' M + Q) r."""
        return self.space.precondition(r, self._inner(r))

    def count(self, applies: int) -> None:
        """Those of native CG; Python's calls the base itself, which counts."""
        self.base.count(applies)


def _times(op: Operator, W: csr_array, products: int) -> csr_array:
    if op.csr is not None:
        op.count(products)
        return csr_array(op.csr @ W)
    return csr_array(op.matvec(W.toarray())) if W.nnz else csr_array(W.shape)


def _pseudo_inverse(E: np.ndarray) -> tuple[int, np.ndarray]:
    """Rank and inverse of a semidefinite matrix on the space of its eigenvalues that are not zero."""
    diagonal = E.diagonal()
    if diagonal.size == 0:
        return 0, E
    if diagonal.min() <= 0:
        raise NotPositiveDefiniteError("w' A w <= 0 for a vector of the subspace; CG needs a positive definite A")
    scale = 1.0 / np.sqrt(diagonal)
    values, Q = np.linalg.eigh(E * scale * scale[:, None])
    if values[0] < -1e-8 * values[-1]:
        raise NotPositiveDefiniteError("w' A w < 0 for a vector of the subspace; CG needs a positive definite A")
    keep = values > _DEPENDENT * values[-1]
    Q = scale[:, None] * Q[:, keep]
    return int(keep.sum()), (Q / values[keep]) @ Q.T
