"""The singular value decomposition of one dense system or a batch, and what rules and methods need of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError
from nnla.linear.parameter_choice import Rule, Spectrum
from nnla.linear.rectangular_systems import DenseSystems, checked_solution, dense_systems, stacked_svd

__all__ = ["SingularSystem", "scaled_rule", "scaled_truth", "singular_system"]


@dataclass(frozen=True, eq=False)
class SingularSystem:
    """A matrix, or a batch, with its singular value decomposition, to be used with many rules and right-hand sides.

    Attributes
    ----------
    systems : the scaled matrices
    U, s, Vt : (B, m, r), (B, r), (B, r, n) of these
    live : (B, r) singular values that are more than rounding: above max(m, n) eps times the largest
    """

    systems: DenseSystems
    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray
    live: np.ndarray

    def spectrum(self, b: np.ndarray) -> Spectrum:
        """What the rules need of A and b (B, m) in scaled units."""
        m, r = self.U.shape[1:]
        beta = np.matmul(b[:, None, :], self.U)[:, 0]
        live = np.broadcast_to(self.live, beta.shape)
        rest = np.where(live, 0.0, beta**2).sum(axis=1)
        if m > r:
            rest = rest + ((b - np.matmul(self.U, beta[:, :, None])[:, :, 0]) ** 2).sum(axis=1)
        s = np.broadcast_to(np.where(self.live, self.s, 1.0), beta.shape)
        return Spectrum(s, live, np.where(live, beta, 0.0), rest, m)

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """x (B, n) in the right singular vectors, (B, r)."""
        return np.matmul(self.Vt, x[:, :, None])[:, :, 0]

    def combine(self, coefficients: np.ndarray) -> np.ndarray:
        """x (B, n) from its coefficients in the right singular vectors."""
        return np.matmul(coefficients[:, None, :], self.Vt)[:, 0]


def singular_system(A: Any) -> SingularSystem:
    """The singular value decomposition of a matrix or a batch, made once for many rules and right-hand sides.

    Parameters
    ----------
    A : (m, n) or (B, m, n), real; a `SingularSystem` is returned as it is

    Returns
    -------
    SingularSystem

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError, NotConvergedError

    Notes
    -----
    Cost: one decomposition for each matrix, about 20 m n min(m, n) operations; three copies of A are kept.

    Examples
    --------
    >>> from nnla.linear.regularisation import tikhonov
    >>> S = singular_system(np.diag([2.0, 1.0]))
    >>> tikhonov(S, [2.0, 1.0], 0.0).x, tikhonov(S, [2.0, 1.0], 1.0).x
    (array([1., 1.]), array([0.8, 0.5]))
    """
    if isinstance(A, SingularSystem):
        return A
    systems = dense_systems(A)
    U, s, Vt = stacked_svd(systems.A)
    live = s > max(systems.A.shape[1:]) * np.finfo(float).eps * s[:, :1]
    return SingularSystem(systems, U, s, Vt, live)


def scaled_rule(rule: Rule, systems: DenseSystems, b_exponents: np.ndarray) -> Rule:
    """A rule's noise levels and true solution in the units of the systems.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    if rule.name == "hindsight":
        return replace(rule, x_true=scaled_truth(rule.x_true, systems, b_exponents))
    if rule.name != "discrepancy":
        return rule
    with np.errstate(over="ignore", under="ignore"):
        noise, inside = np.ldexp(rule.noise, -b_exponents), np.ldexp(rule.operator_noise, -systems.exponents)
    # x is below 1e17 here: what is beyond 1e150 is as good as infinite, and infinity times zero is not
    return replace(rule, noise=np.minimum(noise, 1e150), operator_noise=np.minimum(inside, 1e150))


def scaled_truth(x_true: Any, systems: DenseSystems, b_exponents: np.ndarray) -> np.ndarray:
    """True solutions (B, n) in the units of the systems.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    truth = checked_solution(x_true, len(b_exponents), systems.A.shape[2], systems.single)
    with np.errstate(over="ignore", under="ignore"):
        truth = np.ldexp(truth, (systems.exponents - b_exponents)[:, None])
    if not np.all(np.abs(truth) < 1e150):
        raise NonFiniteError("x_true is beyond all that A and b of this size can have as a solution; check its units")
    return truth
