"""Where eigenvalues of A can be that a vector has not shown: row sums, and Lanczos from a random vector.

A vector may lie in few eigenvectors of A, or next to none of some. What f is there matters to it where f is much
larger there: the error of f(A) v is then that of components that rounding alone has put into v.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh_tridiagonal

from nnla.functions.christoffel import Measure
from nnla.operators.operator import Operator
from nnla.spectra.lanczos import lanczos

__all__ = ["Hull"]

_UNLIKELY = 1e-6  # probability with which a random vector misses an eigenvector, or nearly
_FIRST = 8  # steps of the first look


class Hull:
    """An interval that holds the spectrum, made smaller step by step.

    Parameters
    ----------
    op : Operator
    seed : of the random vector

    Attributes
    ----------
    products : products with A that it has cost
    """

    def __init__(self, op: Operator, seed: int | None = 0) -> None:
        self._op, self._seed = op, seed
        self._process: Any = None
        self._alpha: list[float] = []
        self._beta: list[float] = []
        self._top = 0.0
        self._ends: tuple[float, float] | None = None
        self.products = 0

    def ends(self) -> tuple[float, float]:
        """The interval as it is known.

        Cost: two products' time (Gershgorin's circles), once; `refine` where the entries are not known.

        References
        ----------
        Golub & Van Loan, Matrix Computations, 4th ed., theorem 7.2.1.
        """
        if self._ends is None:
            self._ends = _circles(self._op)
        if self._ends is None:
            self._ends = (-np.inf, np.inf)
            self.refine()
        return self._ends

    @property
    def steps(self) -> int:
        """Lanczos steps from the random vector."""
        return len(self._alpha)

    @property
    def exhausted(self) -> bool:
        """Whether the random vector's Krylov space ended: nothing more is to be learned."""
        return bool(self._beta) and self._beta[-1] == 0.0

    def refine(self, most: int = _FIRST) -> None:
        """Twice the steps from a random vector, 8 at first: the interval ends where it excludes eigenvalues.

        Parameters
        ----------
        most : steps in all

        Notes
        -----
        Cost: a product a step, three vectors.

        Validity: an eigenvalue outside has probability 1e-6: the random vector would have to be all but orthogonal to
        its eigenvector. The Christoffel function bounds the component that it can have there.

        References
        ----------
        Kuczynski, Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094-1122 (random starts).
        """
        space = self._op.space
        if self._process is None:
            start = self._op.as_vector(np.random.default_rng(self._seed).standard_normal(self._op.n))
            self._process = lanczos(self._op.matvec, start * (1.0 / space.norm(start)), space)
        aim = max(_FIRST, min(2 * self.steps, most))
        while self.steps < aim and not self.exhausted:
            step = next(self._process)
            self._top = max(self._top, float(abs(step.alpha) + step.beta))
            self._alpha.append(float(step.alpha))
            self._beta.append(float(step.beta) if step.beta > 1e-13 * self._top else 0.0)
            self.products += 1
        low, high = self._excluded()
        ends = self._ends or (-np.inf, np.inf)
        self._ends = (max(ends[0], low), min(ends[1], high))

    def _excluded(self) -> tuple[float, float]:
        alpha, beta = np.array(self._alpha), np.array(self._beta)
        theta, S = eigh_tridiagonal(alpha, beta[:-1])
        measure = Measure(alpha, beta, theta, S[-1])
        size = max(float(np.abs(theta).max()), 1e-300)
        distance = np.concatenate([[1e-14], np.geomspace(1e-13, 1e4, 340)]) * size
        least = _UNLIKELY / np.sqrt(self._op.n)
        ends = []
        for end, sign in ((float(theta[0]), -1.0), (float(theta[-1]), 1.0)):
            out = np.flatnonzero(measure.room(end + sign * distance) < least)
            ends.append(end + sign * float(distance[out[0]] if out.size else np.inf))
        return ends[0], ends[1]


def _circles(op: Operator) -> tuple[float, float] | None:
    """Gershgorin's interval of a matrix of NumPy with known entries, widened by rounding; else None."""
    csr, dense = op.csr, op.matrix
    if csr is None and not isinstance(dense, np.ndarray):
        return None
    with np.errstate(over="ignore"):
        if csr is not None:
            diagonal = np.asarray(csr.diagonal(), dtype=np.float64)
            sizes = sp.csr_array((np.abs(csr.data), csr.indices, csr.indptr), shape=op.shape)
            rows = np.asarray(sizes @ np.ones(op.n))
        else:
            diagonal = np.asarray(dense.diagonal(), dtype=np.float64)
            rows = np.abs(dense).sum(axis=1)
        rows = rows - np.abs(diagonal)
        low, high = float((diagonal - rows).min()), float((diagonal + rows).max())
    rounding = 4 * np.finfo(float).eps * max(abs(low), abs(high))
    return (low - rounding, high + rounding) if np.isfinite(low + high) else None
