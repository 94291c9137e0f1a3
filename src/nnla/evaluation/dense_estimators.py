"""Yardsticks for dense systems of a family: exact solves, the mean operator, and regressions on a training set.

Each is a small frozen class with ``fit(A, b, x, noisy)`` on the training set that a network has too, and
``solve(A, b)`` on a batch. Those that look at matrices as points of the family's space lie in
`nnla.evaluation.dense_projections`, the one that is a network in `nnla.evaluation.dense_network`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.problems.bvp import BVPSystems
from nnla.problems.perturbations import perturbed

__all__ = [
    "LU",
    "QR",
    "SVD",
    "AffineMap",
    "MeanOperator",
    "Noisy",
    "Ridge",
    "check_training",
    "noisy_copies",
    "relative_errors",
    "solve_each",
]

RIDGES = tuple(10.0**e for e in range(-14, 1))  # relative to the largest variance of the features
HELD_OUT = 5  # every fifth training system chooses what has to be chosen


@dataclass(frozen=True, eq=False)
class Noisy:
    """Training systems as they are seen, and what is known of their noise.

    Attributes
    ----------
    A, b : (B, n, n), (B, n)
    law, level, part : as `nnla.problems.perturbed` takes them; the level is 0 for what has no noise
    """

    A: np.ndarray
    b: np.ndarray
    law: str = "entrywise"
    level: float = 0.0
    part: str = "A"

    @property
    def level_of_matrix(self) -> float:
        """0 if only b has noise."""
        return self.level if self.part != "b" else 0.0


def noisy_copies(
    systems: BVPSystems, law: str, level: float, *, part: str = "A", seed: int | list[int] | np.random.Generator = 0
) -> Noisy:
    """Systems with noise, and its law; arguments and errors of `nnla.problems.perturbed`.

    Examples
    --------
    >>> from nnla.problems import bvp_systems
    >>> noisy_copies(bvp_systems(2, n=8), "entrywise", 0.01).level
    0.01
    """
    some = perturbed(systems, law, level, part=part, seed=seed)
    return Noisy(some.A, some.b, law, float(level), part)


def check_training(A: np.ndarray, b: np.ndarray, x: np.ndarray, noisy: Noisy | None) -> Noisy:
    """The noisy copies, or the systems themselves where there are none.

    Raises
    ------
    ShapeError, NonFiniteError, OptionError
        Arrays that do not belong together, NaN or Inf, less than ten systems.
    """
    if np.ndim(A) != 3 or A.shape[1] != A.shape[2] or np.shape(b) != A.shape[:2] or np.shape(x) != A.shape[:2]:
        shapes = f"{np.shape(A)}, {np.shape(b)}, {np.shape(x)}"
        raise ShapeError(f"training systems have to be A (B, n, n), b (B, n), x (B, n), not {shapes}")
    if len(A) < 10:
        raise OptionError(f"{len(A)} training systems are too few; give ten or more, better thousands")
    noisy = noisy if noisy is not None else Noisy(A, b)
    if noisy.A.shape != A.shape or noisy.b.shape != b.shape:
        raise ShapeError("the noisy copies have to be of the training systems, one of each")
    if not all(np.isfinite(part).all() for part in (A, b, x, noisy.A, noisy.b)):
        raise NonFiniteError("NaN or Inf in the training systems; remove such systems first")
    return noisy


def relative_errors(x: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """||x - exact||^2 / ||exact||^2 of each system; inf where x is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> relative_errors(np.array([[3.0, 0.0], [np.nan, 0.0]]), np.array([[2.0, 0.0], [1.0, 0.0]])).tolist()
    [0.25, inf]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sum(np.square(x - exact), axis=1) / np.sum(np.square(exact), axis=1)
    return np.where(np.isfinite(errors), errors, np.inf)


def solve_each(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x of A x = b in float64 for a batch, by LU; where a matrix is exactly singular, of least norm.

    Examples
    --------
    >>> import numpy as np
    >>> solve_each(np.stack([2 * np.eye(2), np.zeros((2, 2))]), np.ones((2, 2))).tolist()
    [[0.5, 0.5], [0.0, 0.0]]
    """
    try:
        return np.linalg.solve(A, b[..., None])[..., 0]
    except np.linalg.LinAlgError:  # one of them: the others must not suffer
        out = np.empty_like(b)
        for i, (matrix, right) in enumerate(zip(A, b, strict=True)):
            try:
                out[i] = np.linalg.solve(matrix, right)
            except np.linalg.LinAlgError:
                out[i] = np.linalg.lstsq(matrix, right, rcond=None)[0]
        return out


@dataclass(frozen=True)
class LU:
    """LAPACK's solve, which knows nothing of the family."""

    @classmethod
    def fit(cls, A: np.ndarray, b: np.ndarray, x: np.ndarray, noisy: Noisy | None = None) -> Self:
        """Nothing to fit."""
        return cls()

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return solve_each(A, b)


@dataclass(frozen=True)
class QR(LU):
    """Q R x = b by Householder's reflections."""

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        Q, R = np.linalg.qr(A)
        return solve_each(R, np.einsum("bji,bj->bi", Q, b))


@dataclass(frozen=True)
class SVD(LU):
    """The pseudo-inverse, singular values below n eps times the largest left out: `numpy.linalg.lstsq`."""

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        U, s, Vt = np.linalg.svd(A)
        keep = s > A.shape[-1] * np.finfo(A.dtype).eps * s[:, :1]
        c = np.einsum("bji,bj->bi", U, b) / np.where(keep, s, 1.0) * keep
        return np.einsum("bij,bi->bj", Vt, c)


@dataclass(frozen=True, eq=False)
class MeanOperator:
    """The inverse of the training matrices' mean, whatever A is.

    Attributes
    ----------
    inverse : (n, n)
    """

    inverse: np.ndarray

    @classmethod
    def fit(cls, A: np.ndarray, b: np.ndarray, x: np.ndarray, noisy: Noisy | None = None) -> Self:
        """From the matrices without noise."""
        check_training(A, b, x, noisy)
        return cls(np.linalg.inv(A.mean(axis=0)))

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return b @ self.inverse.T


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression with an intercept; the ridge is chosen on a fifth of the rows, then all are used.

    Attributes
    ----------
    mean : (p,) of the features
    weight : (p, q)
    intercept : (q,)
    ridge : relative to the largest variance of a combination of the features
    """

    mean: np.ndarray
    weight: np.ndarray
    intercept: np.ndarray
    ridge: float

    @classmethod
    def fit(cls, features: np.ndarray, x: np.ndarray) -> Self:
        """Of x (B, q) on features (B, p); the error that counts is relative to the size of each row of x.

        Notes
        -----
        Cost: B p^2 + p^3 operations twice, and q p^2 for each of fifteen ridges.
        """
        held = np.arange(len(x)) % HELD_OUT == 0
        size = np.linalg.norm(x[held], axis=1, keepdims=True)
        size = np.maximum(size, 1e-6 * size.max() or 1.0)
        mean, eigenvalues, vectors, moments, intercept = cls._moments(features[~held], x[~held])
        at = (features[held] - mean) @ vectors
        errors = []
        for ridge in RIDGES:
            found = at @ (moments / (eigenvalues + ridge * eigenvalues.max())[:, None]) + intercept
            errors.append(float(np.mean(np.sum(((found - x[held]) / size) ** 2, axis=1))))
        ridge = RIDGES[int(np.argmin(errors))]
        mean, eigenvalues, vectors, moments, intercept = cls._moments(features, x)
        weight = vectors @ (moments / (eigenvalues + ridge * eigenvalues.max())[:, None])
        return cls(mean, weight, intercept, ridge)

    @staticmethod
    def _moments(features: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
        mean, intercept = features.mean(axis=0), x.mean(axis=0)
        centred = features - mean
        eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / len(x))
        if eigenvalues[-1] <= 0:
            eigenvalues = np.ones_like(eigenvalues)  # features that do not vary: their moments are zero
        eigenvalues = np.maximum(eigenvalues, np.finfo(float).eps * eigenvalues[-1])
        return mean, eigenvalues, vectors, vectors.T @ (centred.T @ (x - intercept)) / len(x), intercept

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(B, q)."""
        return (features - self.mean) @ self.weight + self.intercept


@dataclass(frozen=True, eq=False)
class AffineMap:
    """The best affine map of b, pooled over all A: the empirical linear estimator of least mean square error (LMMSE).

    Attributes
    ----------
    regression : `Ridge` of x on b

    Notes
    -----
    It is the ceiling of learned quadratic regularisers for one A; a network has to beat it where A varies.

    References
    ----------
    arXiv 2510.12521.
    """

    regression: Ridge

    @classmethod
    def fit(cls, A: np.ndarray, b: np.ndarray, x: np.ndarray, noisy: Noisy | None = None) -> Self:
        """Of the clean x on the b that is seen."""
        return cls(Ridge.fit(check_training(A, b, x, noisy).b, x))

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return self.regression.predict(b)
