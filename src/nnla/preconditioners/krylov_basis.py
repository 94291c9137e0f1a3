"""The Krylov space of a few CG steps, kept: what networks and Galerkin steps start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.operators.arrays import segment_sum

__all__ = ["ConjugateGradients", "conjugate_gradients"]


@dataclass(frozen=True, eq=False)
class ConjugateGradients:
    """What some steps of CG leave behind, for G systems at once.

    Attributes
    ----------
    iterates, directions, products : (n, steps) x_1 .. x_m, p_0 .. p_{m-1} and A p
    curvatures : (G, steps) p' A p; 0 where a system had converged, or p' A p was not positive
    residual : (n,) b - A x_m, by recurrence
    residuals : (n, steps) r_0 .. r_{m-1}
    """

    iterates: np.ndarray
    directions: np.ndarray
    products: np.ndarray
    curvatures: np.ndarray
    residual: np.ndarray
    residuals: np.ndarray


def conjugate_gradients(A: Any, b: np.ndarray, starts: np.ndarray, steps: int) -> ConjugateGradients:
    """Plain CG from zero on every system of the batch.

    Parameters
    ----------
    A : (n, n) block-diagonal, symmetric
    b : (n,)
    starts : (G + 1,)
    steps : m

    Notes
    -----
    A system that has converged, or that meets p' A p <= 0 (it is indefinite), keeps its last iterate.
    Cost: m products.

    References
    ----------
    Hestenes, Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409-436; as features of a network: Grementieri & Galeone
    (arXiv:2203.06944), section 4.1.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> A = csr_array(np.diag([1.0, 2.0]))
    >>> conjugate_gradients(A, np.array([1.0, 1.0]), np.array([0, 2]), 2).iterates[:, -1]
    array([1. , 0.5])
    """
    n, counts, G = b.size, np.diff(starts), starts.size - 1
    x, r, p = np.zeros(n), b.astype(np.float64), b.astype(np.float64)
    rho = segment_sum(r * r, starts)
    first = rho.copy()
    out = [np.zeros((n, steps), order="F") for _ in range(4)]
    iterates, directions, products, residuals = out
    curvatures = np.zeros((G, steps))
    going = rho > 0
    for k in range(steps):
        q = A @ p
        curvature = segment_sum(p * q, starts)  # (A p_j, p_j)
        going &= (curvature > 0) & (rho > 1e-30 * first)
        alpha = np.divide(rho, curvature, out=np.zeros(G), where=going)
        live, step = np.repeat(going, counts), np.repeat(alpha, counts)
        curvatures[:, k] = np.where(going, curvature, 0.0)
        directions[:, k], products[:, k] = np.where(live, p, 0.0), np.where(live, q, 0.0)
        residuals[:, k] = r
        x = x + step * p  # x_{j+1} = x_j + alpha_j p_j
        r = r - step * q  # r_{j+1} = r_j - alpha_j A p_j
        iterates[:, k] = x
        new = segment_sum(r * r, starts)
        beta = np.divide(new, rho, out=np.zeros(G), where=going & (rho > 0))
        p = r + np.repeat(beta, counts) * p  # p_{j+1} = r_{j+1} + beta_j p_j
        rho = new
    return ConjugateGradients(iterates, directions, products, curvatures, r, residuals)
