"""The best combination of given vectors: Galerkin's method after some steps of conjugate gradients.

CG has minimised the energy over its Krylov space. Vectors V made A-orthogonal to its directions can only
lower it further, by a k x k system; that system is solved in float64, scaled to a unit diagonal, with a small
ridge, and its answer is taken only where the energy really falls.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from nnla.models.nsls_features import ConjugateGradients

__all__ = ["RIDGE", "energies", "improve", "orthogonalise", "subspace_traces"]

RIDGE = 1e-10  # of the scaled Gram matrix: float32 outputs of a network are alike to seven digits


def orthogonalise(V: Any, AV: Any, P: Any, AP: Any, curvature: Any) -> tuple[Any, Any]:
    """V without its A-components along the directions P, and A times that; NumPy or torch.

    Parameters
    ----------
    V, AV : (n, k) and A V
    P, AP : (n, m) A-orthogonal directions, and A P
    curvature : (m,) p' A p, 0 for directions that do not count
    """
    weight = 1.0 / (curvature + (curvature == 0))
    C = (AP.T @ V) * weight[:, None] * (curvature != 0)[:, None]
    return V - P @ C, AV - AP @ C


def improve(A: Any, b: np.ndarray, V: np.ndarray, cg: ConjugateGradients | None) -> np.ndarray:
    """The A-norm best approximation to A^-1 b from the span of V and of CG's Krylov space.

    Parameters
    ----------
    A : (n, n) symmetric positive definite
    b : (n,)
    V : (n, k), any vectors
    cg : steps of CG from zero on A x = b, or None for the span of V alone

    Returns
    -------
    (n,) with an A-norm error no larger than CG's own (or zero's), up to rounding, for any V.

    Notes
    -----
    Cost: k products with A and the k x k system, and 4 n k (k + m) operations.

    Examples
    --------
    >>> A, b = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])
    >>> improve(A, b, np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), None)
    array([1., 1., 1.])
    """
    V = np.asarray(V, dtype=np.float64)
    V = V[:, np.all(np.isfinite(V), axis=0)]
    V = V / np.maximum(np.max(np.abs(V), axis=0, initial=0.0), 1e-300)
    x, r = np.zeros(b.size), b
    if cg is not None and cg.iterates.shape[1]:
        x = cg.iterates[:, -1]
        r = b - A @ x
    if not V.shape[1]:
        return x
    W, AW = V, A @ V
    if cg is not None:
        P, AP, curvature = cg.directions, cg.products, cg.curvatures[0]
        for _ in range(2):  # twice is enough: what rounding left of the components goes
            W, AW = orthogonalise(W, AW, P, AP, curvature)
    G = (W.T @ AW + AW.T @ W) / 2
    diagonal = G.diagonal()
    live = diagonal > 1e-14 * max(float(diagonal.max()), 0.0)
    if not np.any(live):
        return x
    W, G = W[:, live], G[np.ix_(live, live)]
    scale = 1.0 / np.sqrt(G.diagonal())
    G = G * scale * scale[:, None] + RIDGE * np.eye(scale.size)
    right = scale * (W.T @ r)
    try:
        c = np.linalg.solve(G, right)
    except np.linalg.LinAlgError:
        return x
    step = W @ (scale * c)
    # gain = E(x) - E(x + step) with E(x) = x'Ax / 2 - b'x; the best length of the step comes for free
    along, curvature = float(step @ r), float(step @ (A @ step))
    if not (np.isfinite(along) and curvature > 0 and along > 0):
        return x
    return x + along / curvature * step


def _grams(W: Any, AW: Any, starts: list[int]) -> Any:
    import torch

    G = torch.stack([W[i:j].T @ AW[i:j] for i, j in itertools.pairwise(starts)])
    G = (G + G.mT) / 2
    diagonal = G.diagonal(dim1=1, dim2=2)
    # the floor keeps a channel that has died, or fallen into the Krylov space, from dividing by nothing
    scale = (diagonal + 1e-12 * diagonal.amax(dim=1, keepdim=True) + 1e-30).rsqrt()
    return G * scale[:, :, None] * scale[:, None, :], scale


def energies(W: Any, AW: Any, r: Any, starts: list[int], ridge: float) -> Any:
    """What a Galerkin step with W takes off the energy, r' W (W' A W)^-1 W' r, of each system: (G,), in torch.

    Parameters
    ----------
    W, AW : (n, k) float64
    r : (n,) residuals
    starts : first row of each system, and n
    ridge : of the scaled Gram matrices

    Returns
    -------
    (G,) and the coefficients (G, k); the energy counts the ridge's loss.
    """
    import torch

    G, scale = _grams(W, AW, starts)
    right = torch.stack([W[i:j].T @ r[i:j] for i, j in itertools.pairwise(starts)]) * scale
    eye = torch.eye(G.shape[1], dtype=G.dtype, device=G.device)
    c = torch.linalg.solve(G + ridge * eye, right)
    gain = 2 * (c * right).sum(dim=1) - (c * (G @ c[:, :, None])[:, :, 0]).sum(dim=1)
    return gain, c * scale


def subspace_traces(V: Any, AV: Any, starts: list[int], ridge: float) -> Any:
    """trace((V' A V)^-1 V' V) of each system, (G,), in torch: large where the space holds the small eigenvalues."""
    import torch

    G, scale = _grams(V, AV, starts)
    M = torch.stack([V[i:j].T @ V[i:j] for i, j in itertools.pairwise(starts)])
    M = M * scale[:, :, None] * scale[:, None, :]
    eye = torch.eye(G.shape[1], dtype=G.dtype, device=G.device)
    return torch.linalg.solve(G + ridge * eye, M).diagonal(dim1=1, dim2=2).sum(dim=1)
