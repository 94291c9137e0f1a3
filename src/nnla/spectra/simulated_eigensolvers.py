"""Ritz values of eigensolvers on diagonal operators: what a probe of given quality would know.

An eigensolver sees an operator only through its eigenvalues and the components of its start, so that diagonal
ones stand for all (section 4.3 of the AutoSpec paper). Training and analysis of the engines use both functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["subspace_probe", "thick_restart_probe"]

_SPREAD = 1e4  # growth between two columns before they are orthogonalised again


def subspace_probe(
    x: np.ndarray, size: int, iterations: int | Sequence[int], rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ritz values of subspace iteration from a random start.

    Parameters
    ----------
    x : (n,) eigenvalues, not negative
    size : dimension l of the subspace, at most n
    iterations : iterations after which Ritz values are wanted, increasing; one number or several
    rng : draws the start

    Returns
    -------
    list of (values, residuals), each (l,), values descending; one pair for each of ``iterations``

    Notes
    -----
    Cost: a QR factorisation (n, l) every few iterations, as many as lie between two orthogonalisations.

    References
    ----------
    Saad, Numerical Methods for Large Eigenvalue Problems, 2nd ed. (2011), chapter 5. AutoSpec (arXiv:2602.09530),
    appendix D.2.
    """
    marks = [int(iterations)] if isinstance(iterations, (int, np.integer)) else [int(i) for i in iterations]
    top = float(np.max(x))
    spread = top / max(float(np.sort(x)[-size]), 1e-6 * top, 1e-300)
    stride = max(1, int(np.log(_SPREAD) / np.log(max(spread, 1 + 1e-12))) if spread > 1 else max(marks))
    V, done = np.linalg.qr(rng.standard_normal((x.size, size)))[0], 0
    out: list[tuple[np.ndarray, np.ndarray]] = []
    for mark in marks:
        while done < mark:
            step = min(stride, mark - done)
            V = np.linalg.qr((x / top)[:, None] ** step * V)[0]
            done += step
        out.append(_ritz(x, V))
    return out


def thick_restart_probe(
    x: np.ndarray,
    start: np.ndarray,
    size: int,
    keep: int,
    restarts: int | Sequence[int],
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ritz values of thick-restart Lanczos for the largest eigenvalues.

    Parameters
    ----------
    x : (n,) eigenvalues; equal ones may be grouped into one node, with the root of their number in ``start``
    start : (n,) start vector
    size : dimension l of the search space, below n
    keep : Ritz vectors kept at a restart, below ``size``
    restarts : cycles after which Ritz values are wanted, increasing, from 1 (no restart)
    rng : draws a new direction where the Krylov space ends

    Returns
    -------
    list of (values, residuals), each (l,), values descending; one pair for each of ``restarts``

    Notes
    -----
    Cost: (l - keep) products with x and twice that many orthogonalisations per cycle.

    References
    ----------
    Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22
    (2000) 602-616. AutoSpec (arXiv:2602.09530), appendix E.
    """
    marks = [int(restarts)] if isinstance(restarts, (int, np.integer)) else [int(i) for i in restarts]
    V = np.zeros((size, x.size))
    V[0] = start / np.linalg.norm(start)
    filled, following, out = 1, None, []
    for cycle in range(1, marks[-1] + 1):
        if following is not None:
            V[filled] = following
            filled += 1
        while filled < size:
            V[filled] = _orthogonal(x * V[filled - 1], V[:filled], rng)
            filled += 1
        following = _orthogonal(x * V[-1], V, rng)
        theta, S = np.linalg.eigh((V * x) @ V.T)
        order = np.argsort(theta)[::-1]
        if cycle in marks:
            ritz = S[:, order].T @ V
            out.append((theta[order], np.linalg.norm(x * ritz - theta[order, None] * ritz, axis=1)))
        V[:keep] = S[:, order[:keep]].T @ V
        filled = keep
    return out


def _orthogonal(w: np.ndarray, V: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """w orthogonalised twice against the rows of V; a random direction where nothing is left of it."""
    before = float(np.linalg.norm(w))
    for _ in range(2):
        w = w - (V @ w) @ V
    norm = float(np.linalg.norm(w))
    if norm <= 1e-12 * before or norm == 0:
        return _orthogonal(rng.standard_normal(w.size), V, rng)
    return w / norm


def _ritz(x: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values and residuals for an orthonormal basis in the columns of V."""
    theta, S = np.linalg.eigh((V.T * x) @ V)
    theta, ritz = theta[::-1], V @ S[:, ::-1]
    return theta, np.linalg.norm(x[:, None] * ritz - ritz * theta, axis=0)
