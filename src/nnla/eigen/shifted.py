"""Factors of A - mu I for a sparse symmetric A: solves where it is definite, and how many eigenvalues are below mu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.errors import NNLAError, NotPositiveDefiniteError
from nnla.kernels.cholesky import FILL, Cholesky, level_structure
from nnla.kernels.machine import memory_limit

__all__ = ["Shifted", "factor_flops"]


def factor_flops(csr: Any) -> float:
    """Operations that a factorisation of A may take, from its graph alone; infinite without the native kernels.

    Cost: about a product.
    """
    return FILL * level_structure(csr)[1] if Cholesky.available() else math.inf


class Shifted:
    """The matrices s A - mu I, s = 1 or -1, of one pattern, one of them factored at a time.

    Parameters
    ----------
    csr : (n, n) sparse symmetric A
    sign : s; eigenvalues are those of s A everywhere here
    max_flops : of a factorisation; beyond it nothing is factored
    analysed : a Cholesky analysis of A, where it has been made already

    Attributes
    ----------
    factorisations : how many have been tried

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 3.3 (spectrum slicing by Sylvester's law of inertia).

    Examples
    --------
    >>> from nnla.problems import poisson2d
    >>> shifted = Shifted(poisson2d(3), 1.0)
    >>> count, error = shifted.below(4.5)  # 4 - 2 sqrt 2, 2 (4 - sqrt 2), 3 x 4, 2 (4 + sqrt 2), 4 + 2 sqrt 2
    >>> count, error < 1e-13
    (6, True)
    """

    def __init__(self, csr: Any, sign: float, *, max_flops: float = math.inf, analysed: Cholesky | None = None) -> None:
        self._csr, places = _with_diagonal(csr)
        self._sign, self._places, self._max_flops = sign, places, max_flops
        # an analysis of A is that of A - mu I where A stores its whole diagonal
        self._analysed = analysed if self._csr is csr else None
        self._key: tuple[float, bool] | None = None
        self._rng = np.random.default_rng(0)
        self.factorisations = 0

    def solver(self, mu: float) -> Any:
        """Solves with s A - mu I, a callable; None where it is not positive definite or cannot be factored."""
        if not self._factor(mu, indefinite=False):
            return None

        def solve(b: np.ndarray) -> np.ndarray:
            self._factor(mu, indefinite=False)  # nothing to do, unless eigenvalues have been counted since
            assert self._analysed is not None
            return self._analysed.solve(b)

        return solve

    def below(self, mu: float) -> tuple[int, float] | None:
        """Eigenvalues of s A below mu, and how far mu may be off for that count; None where nothing was factored.

        L D L^T without exchanges is that of s A - mu I + E, and may be far from stable. E is estimated, in the
        Frobenius norm, from what it does to two random vectors: the count is that of a number within ||E|| of mu.

        Cost: a factorisation, two solves and four products.
        """
        if not self._factor(mu, indefinite=True):
            return None
        assert self._analysed is not None
        error, n = 0.0, self._csr.shape[0]
        for _ in range(2):
            z = self._rng.standard_normal(n)
            b = self._product(z, mu)
            with np.errstate(all="ignore"):
                y = self._analysed.solve(b)
                # L D L^T y = b, so that E y = b - (s A - mu I) y
                off = float(np.linalg.norm(b - self._product(y, mu)) / np.linalg.norm(y))
            error = max(error, off) if math.isfinite(off) else math.inf
        return self._analysed.negative, error * math.sqrt(n)

    def _product(self, v: np.ndarray, mu: float) -> np.ndarray:
        return self._sign * (self._csr @ v) - mu * v

    def _factor(self, mu: float, *, indefinite: bool) -> bool:
        if self._key == (mu, indefinite):
            return True
        self._key = None
        if not Cholesky.available():
            return False
        try:
            if self._analysed is None:
                self._analysed = Cholesky(self._csr, max_flops=self._max_flops)
            if not self._analysed.complete or self._analysed.flops > self._max_flops:
                return False
            self.factorisations += 1
            data = self._sign * self._csr.data
            data[self._places] -= mu
            self._analysed.factor(data, max_bytes=memory_limit(), indefinite=indefinite)
        except NotPositiveDefiniteError:
            return False
        except (NNLAError, MemoryError):
            self._max_flops = 0.0  # it will not go better with another shift
            return False
        self._key = mu, indefinite
        return True


def _with_diagonal(csr: Any) -> tuple[Any, np.ndarray]:
    """The matrix with every diagonal entry stored, be it zero, and where they are."""
    n = csr.shape[0]
    rows = np.repeat(np.arange(n, dtype=csr.indices.dtype), np.diff(csr.indptr))
    places = np.flatnonzero(csr.indices == rows)
    if places.size == n:
        return csr, places
    i = np.arange(n, dtype=csr.indices.dtype)
    parts = np.concatenate([csr.data, np.zeros(n)]), (np.concatenate([rows, i]), np.concatenate([csr.indices, i]))
    full = sp.csr_array(sp.coo_array(parts, shape=csr.shape))  # sums what meets, and keeps zeros
    full.sum_duplicates()
    return _with_diagonal(full)
