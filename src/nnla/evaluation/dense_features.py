"""Yardsticks that regress the solution on principal components of A and b: linear ones, and a small network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from nnla.errors import OptionError
from nnla.evaluation.dense_estimators import Noisy, Ridge, check_training
from nnla.evaluation.dense_projections import FamilySpace, known, space_of

__all__ = ["BilinearMap", "FeatureMap", "principal_components", "with_one"]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The best affine map of the principal components of A and b together.

    Attributes
    ----------
    space : `FamilySpace` of A; the features are its coordinates, shrunk as the known noise asks for
    noisy : law and level that are known
    source : mean (n,) and components (n, r) of b
    regression : `Ridge`
    """

    space: FamilySpace
    noisy: Noisy
    source: tuple[np.ndarray, np.ndarray]
    regression: Ridge
    products: ClassVar[bool] = False
    most: ClassVar[tuple[int, int]] = (200, 30)

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
        source = principal_components(noisy.b, cls.most[1])
        space = space_of(noisy, A, spaces)
        some = cls(
            space.first(cls.most[0]), known(noisy), source, Ridge(np.zeros(0), np.zeros((0, 0)), np.zeros(0), 0.0)
        )
        return replace(some, regression=Ridge.fit(some.features(noisy.A, noisy.b), x))

    def features(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, p)."""
        alpha, beta = self.components(A, b)
        if not self.products:
            return np.concatenate([alpha, beta], axis=1)
        return np.concatenate([(alpha[:, :, None] * with_one(beta)[:, None]).reshape(len(A), -1), beta], axis=1)

    def components(self, A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of A (B, k) and b (B, r), of unit variance or less."""
        alpha = self.space.posterior(A, self.noisy)[0] / self.space.deviations
        return alpha, (b - self.source[0]) @ self.source[1]

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n)."""
        return self.regression.predict(self.features(A, b))


@dataclass(frozen=True, eq=False)
class BilinearMap(FeatureMap):
    """The same with the products of the two: for a given A affine in b, and the other way round."""

    products: ClassVar[bool] = True
    most: ClassVar[tuple[int, int]] = (66, 12)


def with_one(features: np.ndarray) -> np.ndarray:
    """Features (B, r) after a column of ones, (B, 1 + r): what is linear in these is affine in those."""
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


def principal_components(b: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and components (n, r) scaled to coordinates of unit variance; those of rounding left out."""
    mean = b.mean(axis=0)
    _, s, Vt = np.linalg.svd(b - mean, full_matrices=False)
    keep = np.flatnonzero(s > 1e-10 * s[0])[:most]
    if not keep.size:
        raise OptionError("all right-hand sides of the training set are the same; give systems that differ")
    return mean, Vt[keep].T * (np.sqrt(len(b)) / s[keep])
