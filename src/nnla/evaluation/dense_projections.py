"""Yardsticks that take a matrix for a point of its family's space: cleaned there, then solved exactly.

A family of n x n matrices often spans far less than n^2 directions, so that a noisy matrix is cleaned by a projection:
plain, in the noise's own metric (generalised least squares), or with the family's Gaussian prior (LMMSE, empirical
Bayes). None of it knows the equation, only training matrices and the law and level of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from nnla.evaluation.dense_estimators import Noisy, check_training, relative_errors, solve_each

__all__ = [
    "BayesLU",
    "FamilySpace",
    "PosteriorLU",
    "ProjectedLU",
    "Safeguard",
    "WeightedProjectedLU",
    "family_spaces",
    "known",
    "space_of",
]

LARGEST_RANK = 800
RANKS = (5, 10, 13, 20, 40, 66, 100, 150, 200, 300, 400, 600, 800)
CHOOSERS = 400  # training systems that choose a rank; the components are made without them
ROUNDING = 1e-13  # of the largest deviation: below it a direction is rounding
FLOOR = 0.1  # of an entry's root mean square in the family: what is measured as less is measured with less noise, but
# a weight without bound would trust one entry with everything
STEPS = 8  # of conjugate gradients at most
REDUCTION = 1e-2  # of the residual: they start from an estimate that is wrong by a small factor only
SMALLEST = 1e-9  # level that is assumed at least: rounding
NORMWISE = ("normwise", "quantised")  # laws whose deviation is the same for all entries of a matrix


@dataclass(frozen=True, eq=False)
class FamilySpace:
    """Principal components of a family's matrices, in units of the noise's standard deviation at level 1.

    Attributes
    ----------
    mean : (n, n)
    unit : (n, n) deviation of the noise at level 1, averaged over the family: root mean square of each entry, or one
        number for all
    basis : (n^2, k) orthonormal in these units
    deviations : (k,) of the family along it, in these units
    outside : deviation of an entry that lies outside of this space, measured on held-out matrices
    """

    mean: np.ndarray
    unit: np.ndarray
    basis: np.ndarray
    deviations: np.ndarray
    outside: float

    @classmethod
    def fit(cls, A: np.ndarray, *, weighted: bool, rank: int = LARGEST_RANK, seed: int = 0) -> Self:
        """From matrices without noise.

        Parameters
        ----------
        A : (B, n, n)
        weighted : in units of each entry's root mean square, for noise relative to the entries; else of all entries'
        rank : components at most
        seed : of the sketch

        Notes
        -----
        By a sketch and two steps of subspace iteration.

        Cost: about 12 B n^2 k operations.
        """
        n = A.shape[-1]
        chooser = choosers(len(A))
        held = np.zeros(len(A), dtype=bool)
        held[chooser] = True
        mean = A[~held].mean(axis=0)
        unit = np.sqrt(np.mean(np.square(A[~held]), axis=0))
        overall = np.sqrt(np.mean(np.square(unit)))
        unit = np.maximum(unit, 1e-12 * overall) if weighted else np.full((n, n), overall)
        known = ((A[~held] - mean) / unit).reshape(-1, n * n)
        k = min(rank, len(known) - 1, n * n)
        rng = np.random.default_rng(seed)
        Q = np.linalg.qr(known.T @ rng.standard_normal((len(known), k)))[0]
        for _ in range(2):
            Q = np.linalg.qr(known.T @ (known @ Q))[0]
        _, s, Vt = np.linalg.svd(known @ Q, full_matrices=False)
        keep = s > ROUNDING * s[0]
        basis, deviations = Q @ Vt[keep].T, s[keep] / np.sqrt(len(known))
        unseen = ((A[held] - mean) / unit).reshape(-1, n * n)
        rest = unseen - (unseen @ basis) @ basis.T
        outside = float(np.sqrt(np.mean(np.square(rest)) * n * n / max(n * n - len(deviations), 1)))
        return cls(mean, unit, np.ascontiguousarray(basis), deviations, outside)

    @property
    def rank(self) -> int:
        """Components."""
        return len(self.deviations)

    def coordinates(self, A: np.ndarray) -> np.ndarray:
        """(B, k)."""
        return self.whitened(A) @ self.basis

    def whitened(self, A: np.ndarray) -> np.ndarray:
        """(B, n^2) deviations from the mean in the noise's units."""
        return ((A - self.mean) / self.unit).reshape(len(A), -1)

    def matrices(self, whitened: np.ndarray) -> np.ndarray:
        """The inverse of `whitened`."""
        return whitened.reshape(-1, *self.mean.shape) * self.unit + self.mean

    def first(self, rank: int) -> Self:
        """The space of the first components."""
        return replace(self, basis=self.basis[:, :rank], deviations=self.deviations[:rank])

    def level(self, A: np.ndarray, noisy: Noisy) -> np.ndarray:
        """Of the noise in each matrix, (B, 1), in this space's units: normwise noise is relative to the matrix."""
        level = max(noisy.level_of_matrix, SMALLEST)
        if noisy.law not in NORMWISE:
            return np.full((len(A), 1), level)
        # the noise adds its own share to what is measured
        square = np.mean(np.square(A), axis=(1, 2)) / (1 + level**2)
        return level * np.sqrt(square / np.mean(np.square(self.unit)))[:, None]

    def posterior(self, A: np.ndarray, noisy: Noisy) -> tuple[np.ndarray, np.ndarray]:
        """Means of the coordinates (B, k) and of what lies outside (B, n^2) given noisy matrices: the LMMSE."""
        noise = self.level(A, noisy) ** 2
        Z = self.whitened(A)
        c = Z @ self.basis
        rest = Z - c @ self.basis.T
        return c * self.deviations**2 / (self.deviations**2 + noise), rest * (
            self.outside**2 / (self.outside**2 + noise)
        )


def family_spaces(A: np.ndarray, *, rank: int = LARGEST_RANK) -> tuple[FamilySpace, FamilySpace]:
    """Without weights and with them: made once for all levels of noise."""
    return FamilySpace.fit(A, weighted=False, rank=rank), FamilySpace.fit(A, weighted=True, rank=rank)


def space_of(noisy: Noisy, A: np.ndarray, spaces: tuple[FamilySpace, FamilySpace] | None) -> FamilySpace:
    """The space in the metric of the noise's law."""
    weighted = noisy.law not in NORMWISE
    return spaces[weighted] if spaces is not None else FamilySpace.fit(A, weighted=weighted)


def choosers(count: int) -> slice:
    """Which of the training systems choose."""
    return slice(None, None, max(5, count // CHOOSERS))


@dataclass(frozen=True, eq=False)
class Safeguard:
    """An answer larger than any of the training set is replaced by the mean operator's.

    A cleaned matrix may be nearly singular, and one such answer would be all that a mean error shows.

    Attributes
    ----------
    inverse : (n, n) of the mean matrix
    limit : largest ||x|| / ||inverse b|| of the training set
    """

    inverse: np.ndarray
    limit: float

    @classmethod
    def fit(cls, A: np.ndarray, b: np.ndarray, x: np.ndarray) -> Self:
        """From systems without noise."""
        inverse = np.linalg.inv(A.mean(axis=0))
        return cls(inverse, float(np.max(np.linalg.norm(x, axis=1) / np.linalg.norm(b @ inverse.T, axis=1))))

    def __call__(self, x: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        plain = b @ self.inverse.T
        with np.errstate(over="ignore", invalid="ignore"):
            inside = np.linalg.norm(x, axis=1) <= self.limit * np.linalg.norm(plain, axis=1)
        return np.where(inside[:, None], x, plain)


@dataclass(frozen=True, eq=False)
class ProjectedLU:
    """A is projected on the family's first principal components (Frobenius norm), then solved by LU.

    Attributes
    ----------
    space : `FamilySpace` of as many components as did best on some of the training set
    guard : `Safeguard`
    """

    space: FamilySpace
    guard: Safeguard
    weighted: ClassVar[bool] = False

    @classmethod
    def fit(
        cls,
        A: np.ndarray,
        b: np.ndarray,
        x: np.ndarray,
        noisy: Noisy | None = None,
        spaces: tuple[FamilySpace, FamilySpace] | None = None,
    ) -> Self:
        """Parameters as in `nnla.evaluation.dense_estimators`; ``spaces`` from `family_spaces`, if made before."""
        noisy = check_training(A, b, x, noisy)
        space = spaces[cls.weighted] if spaces is not None else FamilySpace.fit(A, weighted=cls.weighted)
        guard = Safeguard.fit(A, b, x)
        ranks = sorted({min(rank, space.rank) for rank in RANKS})
        candidates = [cls(space.first(rank), guard) for rank in ranks]
        return candidates[_best(candidates, x, noisy)]

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return self.guard(solve_each(self.space.matrices(self.space.coordinates(A) @ self.space.basis.T), b), b)


@dataclass(frozen=True, eq=False)
class WeightedProjectedLU(ProjectedLU):
    """The same in the metric of noise that is relative to the entries: generalised least squares."""

    weighted: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class PosteriorLU:
    """The best affine estimate of A from the noisy A (LMMSE: the family's covariance, the noise's level), then LU.

    Attributes
    ----------
    space : `FamilySpace` in the metric of the noise's law; its rank, and whether what lies outside of it is kept,
        did best on some of the training set
    noisy : law and level that are known
    guard : `Safeguard`
    """

    space: FamilySpace
    noisy: Noisy
    guard: Safeguard

    @classmethod
    def fit(
        cls,
        A: np.ndarray,
        b: np.ndarray,
        x: np.ndarray,
        noisy: Noisy | None = None,
        spaces: tuple[FamilySpace, FamilySpace] | None = None,
    ) -> Self:
        """Parameters as `ProjectedLU.fit`."""
        noisy = check_training(A, b, x, noisy)
        space, guard = space_of(noisy, A, spaces), Safeguard.fit(A, b, x)
        ranks = sorted({min(rank, space.rank) for rank in (66, 200, LARGEST_RANK)})
        choices = [replace(space.first(rank), outside=0.0) for rank in ranks] + [space]
        candidates = [cls(choice, known(noisy), guard) for choice in choices]
        return candidates[_best(candidates, x, noisy)]

    def matrices(self, A: np.ndarray) -> np.ndarray:
        """(B, n, n) without noise, as far as can be."""
        c, rest = self.space.posterior(A, self.noisy)
        return self.space.matrices(c @ self.space.basis.T + rest)

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return self.guard(solve_each(self.matrices(A), b), b)


@dataclass(frozen=True, eq=False)
class BayesLU(PosteriorLU):
    """The same with the noise's deviation taken from the estimate of *this* matrix, twice, instead of the family's.

    Notes
    -----
    Generalised least squares with the family's Gaussian prior: (P' W P + S^-2) c = P' W (A - mean), W the inverse
    variances, by conjugate gradients with the diagonal for mean weights. For normwise noise there is nothing to
    reweight: it is `PosteriorLU`. What lies outside of the space is left as `PosteriorLU` has it.

    Cost: two products with the basis a step, at most eight steps, twice.
    """

    rounds: ClassVar[int] = 2

    def matrices(self, A: np.ndarray) -> np.ndarray:
        """(B, n, n) without noise, as far as can be."""
        if self.noisy.law in NORMWISE:
            return super().matrices(A)
        space, level = self.space, max(self.noisy.level_of_matrix, SMALLEST)
        c, rest = space.posterior(A, self.noisy)
        Z = space.whitened(A)
        for _ in range(self.rounds):
            estimate = np.abs(space.matrices(c @ space.basis.T + rest) / space.unit).reshape(len(A), -1)
            weight = 1 / np.maximum(estimate, FLOOR) ** 2
            # in coordinates of unit prior variance, times the level squared
            c = _weighted(space.basis * space.deviations, weight, Z - rest, level**2, c / space.deviations)
            c = c * space.deviations
        return space.matrices(c @ space.basis.T + rest)


def known(noisy: Noisy) -> Noisy:
    """Law and level without the systems, which need not be kept."""
    return replace(noisy, A=noisy.A[:0], b=noisy.b[:0])


def _best(candidates: Sequence[ProjectedLU | PosteriorLU], x: np.ndarray, noisy: Noisy) -> int:
    """Which has the least mean relative error on those of the training set that choose."""
    some = choosers(len(x))
    errors = []
    for candidate in candidates:
        errors.append(np.mean(relative_errors(candidate.solve(noisy.A[some], noisy.b[some]), x[some])))
    return int(np.argmin(errors))


def _weighted(B: np.ndarray, weight: np.ndarray, Z: np.ndarray, noise: float, c: np.ndarray) -> np.ndarray:
    """c of (B' W B + noise I) c = B' W Z for each row of W and Z, from a guess, by conjugate gradients.

    In units where the prior's variance is 1. The columns of B for small deviations are small: the diagonal for the
    weights' mean, noise plus what the columns' norms say, is the preconditioner.
    """
    scale = 1 / (np.square(B).sum(axis=0) + noise)

    def apply(c: np.ndarray) -> np.ndarray:
        return (weight * (c @ B.T)) @ B + noise * c

    r = (weight * Z) @ B - apply(c)
    z = scale * r
    p, rz = z, np.sum(r * z, axis=1, keepdims=True)
    goal = REDUCTION**2 * rz
    for _ in range(STEPS):
        q = apply(p)
        step = rz / np.maximum(np.sum(p * q, axis=1, keepdims=True), np.finfo(float).tiny)
        c, r = c + step * p, r - step * q
        z = scale * r
        new = np.sum(r * z, axis=1, keepdims=True)
        if np.all(new <= goal):
            break
        p, rz = z + new / np.maximum(rz, np.finfo(float).tiny) * p, new
    return c
