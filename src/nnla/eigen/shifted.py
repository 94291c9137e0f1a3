"""Factors of A - mu M for sparse symmetric A and M: solves, and how many eigenvalues are below mu."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.errors import NNLAError, NotPositiveDefiniteError
from nnla.kernels.cholesky import FILL, Cholesky, level_structure
from nnla.kernels.machine import memory_limit

__all__ = ["Shifted", "factor_flops"]

_EPS = float(np.finfo(np.float64).eps)
_SOUND = 1e-10  # of a solve with L D L^T, relative: what one step of refinement then leaves is rounding


def factor_flops(csr: Any) -> float:
    """Operations that a factorisation of A may take, from its graph alone; infinite without the native kernels.

    Cost: about a product.
    """
    return FILL * level_structure(csr)[1] if Cholesky.available() else math.inf


class Shifted:
    """The matrices s (A - mu M), s = 1 or -1, of one pattern, one of them factored at a time.

    Parameters
    ----------
    csr : (n, n) sparse symmetric A
    mass : (n, n) sparse symmetric positive definite M; None for the identity
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
    >>> shifted = Shifted(poisson2d(3))
    >>> count, error = shifted.below(4.5)  # 4 - 2 sqrt 2, 2 (4 - sqrt 2), 3 x 4, 2 (4 + sqrt 2), 4 + 2 sqrt 2
    >>> count, error < 1e-13
    (6, True)
    """

    def __init__(
        self, csr: Any, mass: Any = None, *, max_flops: float = math.inf, analysed: Cholesky | None = None
    ) -> None:
        self._csr, self._mass_data = _on_one_pattern(csr, mass)
        self._mass, self._max_flops = mass, max_flops
        # E in units of M: of D^-1/2 E D^-1/2, D the diagonal of M
        self._scale = np.ones((csr.shape[0], 1)) if mass is None else np.sqrt(mass.diagonal())[:, None]
        # an analysis of A is that of A - mu M where A stores all that M does
        self._analysed = analysed if self._csr.nnz == csr.nnz else None
        self._key: tuple[float, float, bool] | None = None
        self._solve_error = math.inf
        self._rng = np.random.default_rng(0)
        self.factorisations = 0

    @property
    def analysed(self) -> Cholesky | None:
        """The analysis of the pattern, once there is one."""
        return self._analysed

    def definite(self, mu: float, sign: float) -> Callable[[np.ndarray], np.ndarray] | None:
        """Solves with s (A - mu M), vectors or blocks; None where it is not positive definite or cannot be factored."""
        if not self._factor(mu, sign, indefinite=False):
            return None

        def solve(b: np.ndarray) -> np.ndarray:
            self._factor(mu, sign, indefinite=False)  # nothing to do, unless eigenvalues have been counted since
            assert self._analysed is not None
            return self._analysed.solve(b)

        return solve

    def indefinite(self, mu: float) -> Callable[[np.ndarray], np.ndarray] | None:
        """Solves with A - mu M, which need not be definite; None where no factor of it does.

        L D L^T without exchanges, with a step of refinement, where it is sound enough for that; else SuperLU's
        factors, with exchanges.
        """
        counted = self.below(mu)
        if counted is not None and self._solve_error <= _SOUND:

            def solve(b: np.ndarray) -> np.ndarray:
                self._factor(mu, 1.0, indefinite=True)
                assert self._analysed is not None
                y = self._analysed.solve(b)
                return y + self._analysed.solve(b - self._times(y, mu))

            return solve
        return self._exchanging(mu)

    def _exchanging(self, mu: float) -> Callable[[np.ndarray], np.ndarray] | None:
        from scipy.sparse.linalg import splu

        if self._analysed is not None and not self._analysed.complete:
            return None
        try:
            with np.errstate(all="ignore"):
                self.factorisations += 1
                data = self._csr.data - mu * self._mass_data
                lu = splu(sp.csc_matrix((data, self._csr.indices, self._csr.indptr), shape=self._csr.shape))
        except (RuntimeError, MemoryError, ValueError):
            return None
        return lu.solve

    def singular(self, mu: float, solve: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether A - mu M is singular as far as rounding tells.

        Cost: a product and a solve.
        """
        n = self._csr.shape[0]
        z = self._rng.standard_normal(n)
        with np.errstate(all="ignore"):
            # a random vector holds about 1 / sqrt n of the one that the inverse makes largest
            condition = np.linalg.norm(self._times(z, mu)) * np.linalg.norm(solve(z)) / (z @ z) * math.sqrt(n)
        return not condition * _EPS < 1e-3

    def below(self, mu: float) -> tuple[int, float] | None:
        """Eigenvalues below mu, and how far mu may be off for that count; None where nothing was factored.

        L D L^T without exchanges is that of A - mu M + E, and may be far from stable. E is estimated, in the
        Frobenius norm, from what it does to two random vectors: the count is that of a number within ||E|| of mu (in
        units of M).

        Cost: a factorisation, two solves and four products.
        """
        if not self._factor(mu, 1.0, indefinite=True):
            return None
        assert self._analysed is not None
        n = self._csr.shape[0]
        Z = self._rng.standard_normal((n, 2))
        with np.errstate(all="ignore"):
            B = self._times(Z, mu)
            Y = self._analysed.solve(B)
            # L D L^T y = b, so that E y = b - (A - mu M) y
            R = B - self._times(Y, mu)
            off = np.linalg.norm(R / self._scale, axis=0) / np.linalg.norm(Y * self._scale, axis=0)
            wrong = np.linalg.norm(R, axis=0) / np.linalg.norm(B, axis=0)
        error = float(off.max()) if np.all(np.isfinite(off)) else math.inf
        self._solve_error = float(wrong.max()) if np.all(np.isfinite(wrong)) else math.inf
        return self._analysed.negative, error * math.sqrt(n)

    def _times(self, V: np.ndarray, mu: float) -> np.ndarray:
        scaled = mu * V
        return self._csr @ V - (scaled if self._mass is None else self._mass @ scaled)

    def _factor(self, mu: float, sign: float, *, indefinite: bool) -> bool:
        if self._key == (mu, sign, indefinite):
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
            data = sign * (self._csr.data - mu * self._mass_data) if mu != 0 else sign * self._csr.data
            self._analysed.factor(data, max_bytes=memory_limit(), indefinite=indefinite)
        except NotPositiveDefiniteError:
            return False
        except (NNLAError, MemoryError):
            self._max_flops = 0.0  # it will not go better with another shift
            return False
        self._key = mu, sign, indefinite
        return True


def _on_one_pattern(csr: Any, mass: Any) -> tuple[Any, np.ndarray]:
    """A with every entry stored that M stores, be it zero, and the entries of M in the same places."""
    n = csr.shape[0]
    rows = np.repeat(np.arange(n, dtype=csr.indices.dtype), np.diff(csr.indptr))
    if mass is None:
        places = np.flatnonzero(csr.indices == rows)
        if places.size == n:
            data = np.zeros(csr.nnz)
            data[places] = 1.0
            return csr, data
        mass = sp.eye_array(n, format="csr")
    mass_rows = np.repeat(np.arange(n, dtype=csr.indices.dtype), np.diff(mass.indptr))
    places = np.concatenate([rows, mass_rows]), np.concatenate([csr.indices, mass.indices])
    both = []
    for data in (np.concatenate([csr.data, 0.0 * mass.data]), np.concatenate([0.0 * csr.data, mass.data])):
        full = sp.csr_array(sp.coo_array((data, places), shape=csr.shape))  # sums what meets, and keeps zeros
        full.sum_duplicates()
        both.append(full)
    return both[0], both[1].data
