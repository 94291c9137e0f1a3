"""Small dense positive definite systems as looped transformers are trained on: scikit-learn's, and a diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError

__all__ = ["SPDSystems", "spd_systems"]

LARGEST = 2048  # unknowns


@dataclass(frozen=True, eq=False)
class SPDSystems:
    """A batch of systems A x = b.

    Attributes
    ----------
    A : (B, n, n) float64, symmetric positive definite
    b : (B, n) A x, rounded
    x : (B, n) solutions, as drawn
    """

    A: np.ndarray
    b: np.ndarray
    x: np.ndarray

    def __len__(self) -> int:
        """Systems."""
        return len(self.A)

    @property
    def n(self) -> int:
        """Unknowns."""
        return self.A.shape[-1]


def spd_systems(count: int, n: int = 20, *, sigma: float | None = 1.2, seed: Any = 0) -> SPDSystems:
    """Random systems of the NLAFormer paper.

    Parameters
    ----------
    count : systems
    n : unknowns
    sigma : of the lognormal diagonal, whose logarithms are N(0, sigma^2); None for none
    seed : of NumPy's generator

    Returns
    -------
    SPDSystems

    Raises
    ------
    OptionError : counts below one, n above 2,048, sigma that is negative or not finite

    Notes
    -----
    A = U (1 1' + diag(u)) V' + diag(d) with u uniform in (0, 1), d lognormal, and U, V the singular vectors of X' X for
    an n x n matrix X of uniform numbers, for which U = V but for rounding: ``sklearn.datasets.make_spd_matrix(n)`` plus
    diag(d). x ~ N(0, I). Without the diagonal, one eigenvalue is about n and the others lie in (0, 1).

    Cost: an SVD of n x n, and n^3 multiplications, a system.

    References
    ----------
    NLAFormer, section 4.1; sigma = 1.2 in training and 1, 1.2, 1.4 in its tests.

    Examples
    --------
    >>> systems = spd_systems(3, 20, seed=1)
    >>> systems.A.shape, bool((np.linalg.eigvalsh(systems.A) > 0).all())
    ((3, 20, 20), True)
    """
    if count < 1 or not 1 <= n <= LARGEST:
        raise OptionError(f"count={count} and n={n} make no systems; give count >= 1 and n from 1 to {LARGEST}")
    if sigma is not None and not (np.isfinite(sigma) and sigma >= 0):
        raise OptionError(f"sigma={sigma} is no deviation; give a number >= 0, or None for no diagonal")
    rng = np.random.default_rng(seed)
    X = rng.random((count, n, n))
    U, _, V = np.linalg.svd(X.swapaxes(-1, -2) @ X)
    middle = 1.0 + rng.random((count, n))[:, :, None] * np.eye(n)
    A = U @ middle @ V
    A = (A + A.swapaxes(-1, -2)) / 2
    if sigma is not None:
        A[:, np.arange(n), np.arange(n)] += rng.lognormal(0.0, sigma, (count, n))
    x = rng.standard_normal((count, n))
    return SPDSystems(A, (A @ x[..., None])[..., 0], x)
