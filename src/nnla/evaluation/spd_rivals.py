"""Classical methods on batches of small dense systems, their errors product by product: what a learned loop is held to.

Every function takes A (B, n, n), b and x (B, n) and returns ||x_t - x||^2 / ||x||^2 as (products + 1, B).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors

__all__ = ["block_cg_errors", "cg_errors", "chebyshev_errors", "products_to", "rival_flops"]

_ESTIMATE = 6  # products of the estimate of an interval


def products_to(errors: np.ndarray, target: float) -> np.ndarray:
    """(B,) products after which the errors (T + 1, B) of each system have first met a target; Inf for never.

    >>> products_to(np.array([[1.0, 1.0], [0.1, 0.5]]), 0.2).tolist()
    [1.0, inf]
    """
    met = errors <= target
    return np.where(met.any(0), met.argmax(0), np.inf)


def rival_flops(method: str, n: int, products: float) -> float:
    """Operations of so many products by a method, for one system: 2 n^2 and the vectors'.

    >>> rival_flops("cg", 20, 10)
    10000.0
    """
    vectors = {"cg": 10, "jacobi": 11, "chebyshev": 8, "chebyshev estimated": 8, "block cg": 40}[method]
    return products * (2.0 * n * n + vectors * n)


def _error(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return ((y - x) ** 2).sum(-1) / (x * x).sum(-1)


def cg_errors(A: Any, b: np.ndarray, x: np.ndarray, products: int, *, jacobi: bool = False) -> np.ndarray:
    """Conjugate gradients, with Jacobi's scaling if asked for.

    Notes
    -----
    Cost: a product an iteration.

    References
    ----------
    As `nnla.krylov.dense_iterates.conjugate_gradients`.
    """
    path = conjugate_gradients(A, b, products, teacher="pcg" if jacobi else "cg").x
    return relative_errors(path, x).T


def chebyshev_errors(A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int, *, exact: bool = True) -> np.ndarray:
    """Chebyshev's semi-iteration, scaled by Jacobi, on the interval of the spectrum: known exactly, or estimated.

    Notes
    -----
    The estimate: Lanczos from b, six products, which are counted; half the smallest Ritz value to 1.05 times the
    largest.

    Cost: a product an iteration; exact ends take all eigenvalues, which are not counted.

    References
    ----------
    Golub, Varga, Numer. Math. 3 (1961); Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 12.1.
    """
    root = 1 / np.sqrt(np.einsum("bii->bi", A))
    scaled = root[:, :, None] * A * root[:, None, :]
    errors = [_error(np.zeros_like(x), x)]
    if exact:
        values = np.linalg.eigvalsh(scaled)
        low, high = values[:, :1], values[:, -1:]
    else:
        low, high = _ritz(scaled, root * b, _ESTIMATE)
        errors += [errors[0]] * _ESTIMATE
    middle, half = (high + low) / 2, np.maximum((high - low) / 2, 1e-12 * high)
    y, r = np.zeros_like(b), root * b
    sigma = middle / half
    rho, d = 1 / sigma, r / middle
    with np.errstate(over="ignore", invalid="ignore"):
        while len(errors) <= products:
            y = y + d
            r = r - (scaled @ d[..., None])[..., 0]
            new = 1 / (2 * sigma - rho)
            d = new * rho * d + 2 * new / half * r
            rho = new
            errors.append(_error(root * y, x))
    return np.array(errors)


def _ritz(A: np.ndarray, v: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    basis = [v / np.linalg.norm(v, axis=-1, keepdims=True)]
    for _ in range(min(steps, v.shape[-1]) - 1):
        w = (A @ basis[-1][..., None])[..., 0]
        Q = np.stack(basis, -1)
        for _ in range(2):
            w = w - (Q @ (Q.swapaxes(-1, -2) @ w[..., None]))[..., 0]
        basis.append(w / np.maximum(np.linalg.norm(w, axis=-1, keepdims=True), 1e-300))
    Q = np.stack(basis, -1)
    values = np.linalg.eigvalsh(Q.swapaxes(-1, -2) @ A @ Q)
    return values[:, :1] / 2, values[:, -1:] * 1.05


def block_cg_errors(
    A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int, *, width: int = 4, seed: int = 0
) -> np.ndarray:
    """Block conjugate gradients, scaled by Jacobi, on b and random right-hand sides; every column's product counts.

    Notes
    -----
    By Galerkin's method in the block Krylov space, whose basis is kept orthonormal: what block CG is in exact
    arithmetic. Errors are those after the last full block.

    Cost: ``width`` products an iteration.

    References
    ----------
    O'Leary, The block conjugate gradient algorithm and related methods, Linear Algebra Appl. 29 (1980).
    """
    B, n = b.shape
    root = 1 / np.sqrt(np.einsum("bii->bi", A))
    scaled = root[:, :, None] * A * root[:, None, :]
    extra = np.random.default_rng(seed).standard_normal((B, n, width - 1))
    W = np.linalg.qr(np.concatenate([(root * b)[..., None], extra], -1))[0]
    V = W
    errors = [_error(np.zeros_like(x), x)]
    while len(errors) <= products:
        image = scaled @ V
        y = V @ np.linalg.solve(V.swapaxes(-1, -2) @ image, V.swapaxes(-1, -2) @ (root * b)[..., None])
        errors += [errors[-1]] * (width - 1) + [_error(root * y[..., 0], x)]
        room = min(width, n - V.shape[-1])
        if room <= 0:
            errors += [errors[-1]] * (products + 1 - len(errors))
            break
        W = image[..., -W.shape[-1] :]
        for _ in range(2):
            W = W - V @ (V.swapaxes(-1, -2) @ W)
            W = np.linalg.qr(W)[0]
        W = W[..., :room]
        V = np.concatenate([V, W], -1)
    return np.array(errors[: products + 1])
