"""The best combination of given vectors: Galerkin's method after some steps of conjugate gradients.

CG has minimised the energy over its Krylov space. Vectors W made A-orthogonal to its directions can only lower
it further, by a small system; that system is solved in float64, scaled to a unit diagonal, with a small ridge,
and its answer is taken only where the energy really falls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from nnla.preconditioners.krylov_basis import ConjugateGradients

__all__ = [
    "RIDGE",
    "dense_if_full",
    "galerkin_gain",
    "improve",
    "inverse_trace",
    "largest_entries",
    "scaled_columns",
    "split_columns",
    "without_directions",
]

RIDGE = 1e-10  # of the scaled Gram matrix: float32 outputs of a network are alike to seven digits
_FULL = 0.1  # share of entries from where a sparse matrix is quicker as a dense one
_DEPENDENT = 1e-13  # share of its energy that a vector keeps beside the Krylov space, below which it is left out


def split_columns(V: np.ndarray, part: np.ndarray) -> csr_array:
    """The columns of V cut into parts: (n, parts * k), each row with the k entries of its part.

    Parameters
    ----------
    V : (n, k)
    part : (n,) numbers from 0

    Notes
    -----
    Cost: one copy of V with its indices, n k entries.

    Examples
    --------
    >>> split_columns(np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 1])).toarray()
    array([[1., 0.],
           [2., 0.],
           [0., 3.]])
    """
    n, k = V.shape
    columns = part[:, None].astype(np.int32) * np.int32(k) + np.arange(k, dtype=np.int32)
    starts = np.arange(0, n * k + 1, k, dtype=np.int32) if k else np.zeros(n + 1, dtype=np.int32)
    return csr_array((V.ravel(), columns.ravel(), starts), shape=(n, (int(part.max()) + 1) * k))


def without_directions(E: Any, C: Any, curvature: Any) -> Any:
    """Energy products of vectors without their A-components along A-orthogonal directions; NumPy or torch.

    Parameters
    ----------
    E : (k, k) W' A W
    C : (k, m) W' A P
    curvature : (m,) p' A p, 0 for directions that do not count

    Returns
    -------
    (k, k) E - C D^-1 C'

    Notes
    -----
    Cost: 2 k^2 m operations.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 5.2.
    """
    return E - (C * _inverse_curvature(curvature)) @ C.T


def _inverse_curvature(curvature: Any) -> Any:
    """1 / p'Ap, and 0 for directions that do not count; NumPy or torch."""
    return (curvature != 0) / (curvature + (curvature == 0))


def improve(A: Any, b: np.ndarray, W: Any, cg: ConjugateGradients | None, AW: Any = None) -> np.ndarray:
    """The A-norm best approximation to A^-1 b from the span of W and of CG's Krylov space.

    Parameters
    ----------
    A : (n, n) symmetric positive definite
    b : (n,)
    W : (n, k), any vectors, dense or sparse
    cg : steps of CG from zero on A x = b, or None for the span of W alone
    AW : A W, where it is known

    Returns
    -------
    (n,) with an A-norm error no larger than CG's own (or zero's), up to rounding, for any W.

    Notes
    -----
    Cost: A W, two products more, and a k x k system.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., Proposition 5.2: the Galerkin answer has the least
    A-norm error.

    Examples
    --------
    >>> A, b = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])
    >>> improve(A, b, np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), None)
    array([1., 1., 1.])
    """
    W = dense_if_full(W)
    largest = largest_entries(W)
    x, r = np.zeros(b.size), b
    if cg is not None and cg.iterates.shape[1]:
        x = cg.iterates[:, -1]
        r = b - A @ x
    usable = np.nonzero(np.isfinite(largest) & (largest > 0))[0]
    if not usable.size:
        return x
    AW = dense_if_full(A @ W if AW is None else AW)
    W, AW = (scaled_columns(v, usable, 1.0 / largest[usable]) for v in (W, AW))
    E = W.T @ AW
    E = E.toarray() if issparse(E) else E
    G, C, weight = E, np.zeros((0, 0)), np.zeros(0)
    if cg is not None:
        curvature = cg.curvatures[0]
        C = AW.T @ cg.directions
        weight = _inverse_curvature(curvature)
        G = without_directions(E, C, curvature)
    G = (G + G.T) / 2
    live = G.diagonal() > _DEPENDENT * np.abs(E.diagonal())
    if not np.any(live):
        return x
    scale = 1.0 / np.sqrt(G.diagonal()[live])
    G = G[np.ix_(live, live)] * scale * scale[:, None] + RIDGE * np.eye(scale.size)
    try:
        c = np.linalg.solve(G, scale * (W.T @ r)[live])
    except np.linalg.LinAlgError:
        return x
    full = np.zeros(W.shape[1])
    full[live] = scale * c
    step = W @ full
    if cg is not None:
        step = step - cg.directions @ (weight * (C.T @ full))
    # gain = E(x) - E(x + step) with E(x) = x'Ax / 2 - b'x; the best length of the step comes for free
    along, curvature = float(step @ r), float(step @ (A @ step))
    if not (np.isfinite(along) and curvature > 0 and along > 0):
        return x
    return x + along / curvature * step


def dense_if_full(W: Any) -> Any:
    """W in float64: a csr_array, or where a tenth of the entries or more are stored, an array."""
    if not issparse(W):
        return np.asarray(W, dtype=np.float64)
    W = csr_array(W, dtype=np.float64)
    return W.toarray() if W.nnz > _FULL * W.shape[0] * W.shape[1] else W


def largest_entries(W: Any) -> np.ndarray:
    """The largest magnitude of each column."""
    if 0 in W.shape:
        return np.zeros(W.shape[1])
    largest = abs(W).max(axis=0)
    return np.ravel(largest.toarray() if issparse(largest) else largest)


def scaled_columns(W: Any, used: np.ndarray, factors: np.ndarray) -> Any:
    """The columns ``used`` of W, each times its factor; sparse stays sparse."""
    if not issparse(W):
        return W[:, used] * factors
    W = W[:, used].tocsr()
    W.data = W.data * factors[W.indices]
    return W


def _scaled(G: Any) -> tuple[Any, Any]:
    """G with a unit diagonal, in torch, and the factors."""
    G = (G + G.mT) / 2
    diagonal = G.diagonal().clamp_min(0.0)
    # the floor keeps a channel that has died, or fallen into the Krylov space, from dividing by nothing
    scale = (diagonal + 1e-12 * diagonal.amax() + 1e-30).rsqrt()
    return G * scale[:, None] * scale, scale


def galerkin_gain(G: Any, right: Any, ridge: float) -> Any:
    """What a Galerkin step takes off the energy, right' G^-1 right, in torch; the ridge's loss is counted.

    Parameters
    ----------
    G : (k, k) float64 energy products of the vectors
    right : (k,) their products with the residual
    ridge : added to G scaled to a unit diagonal

    Notes
    -----
    Cost: a k x k system, 2 k^3 / 3 operations.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., Proposition 5.2.
    """
    import torch

    G, scale = _scaled(G)
    right = right * scale
    c = torch.linalg.solve(G + ridge * torch.eye(right.shape[0], dtype=G.dtype, device=G.device), right)
    return 2 * (c @ right) - c @ (G @ c)


def inverse_trace(E: Any, M: Any, ridge: float) -> Any:
    """trace(E^-1 M) for E = W' A W and M = W' W, in torch: large where the space holds the small eigenvalues.

    Cost: a k x k system with k right-hand sides, some 3 k^3 operations.
    """
    import torch

    E, scale = _scaled(E)
    eye = torch.eye(E.shape[0], dtype=E.dtype, device=E.device)
    return torch.linalg.solve(E + ridge * eye, M * scale[:, None] * scale).diagonal().sum()
