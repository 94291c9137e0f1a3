"""Is it f(A)? Residuals of identities that hold for f(A) alone, in float64, whatever computed the answer."""

from __future__ import annotations

import numpy as np

from nnla.matfun.options import Batch, parts, transposed
from nnla.matfun.taylor import taylor_exponential, with_rounding

__all__ = ["IDENTITIES", "residuals"]

_EPS = float(np.finfo(float).eps)
IDENTITIES = {
    "exp": "||X - E|| / ||E||, E a scaled and squared Taylor series",
    "log": "||D|| / ||A|| and ||A^-1 D|| / ||X||, D = e^X - A by a scaled and squared Taylor series",
    "sqrt": "||D|| / ||A|| and ||X^-1 D|| / (2 ||X||), D = X^2 - A, and X without negative eigenvalues",
    "inv_sqrt": "||X A X - I|| / ||I||, and X positive definite",
    "sign": "||X^2 - I|| / ||I|| and ||X A - A X|| / (||A|| ||X|| / ||I||), and X A positive definite",
    "sin": "||X - Im E|| / ||Im E||, E = e^(iA) a scaled and squared Taylor series",
    "cos": "||X - Re E|| / ||Re E||, E = e^(iA) a scaled and squared Taylor series",
}


def residuals(batch: Batch, f: str, X: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Relative residuals (B,) in the Frobenius norm of ``IDENTITIES[f]``; Inf for another branch, or no finite answer.

    For exp, sin and cos the residual is the difference from another method, or what rounding makes unknown of that
    where it is larger (unsymmetric matrices); that of sign likewise: e^A e^-A = I and sin^2 + cos^2 = I also hold for
    wrong answers, or lose all digits from ||A|| = 18 on. For roots and the logarithm D = 0 alone says little of small
    eigenvalues: Newton's correction, X^-1 D / 2 or A^-1 D, is the relative error to first order. That of an inverse
    root bounds the relative error.

    Parameters
    ----------
    X : (len(where), n, n) float64, in the units of what was given
    where : positions of its matrices in the batch; all by default

    Notes
    -----
    Cost: products of matrices: exp, log 7 and log2 ||A||; sin, cos as many complex ones; sqrt 1, inverse root 2 and
    sign 3, and a Cholesky factorisation each; a system with n right-hand sides for sqrt and log; eigenvalues where
    matrices are not symmetric.

    References
    ----------
    Higham, Functions of Matrices (2008): theorem 5.1 (sign), sections 6.1 and 7.2 (principal roots), 11.1 (logarithm).
    """
    where = np.arange(len(batch.A)) if where is None else where
    runs = parts(np.arange(len(where)), batch.n)
    if len(runs) > 1:
        return np.concatenate([residuals(batch, f, X[run], where[run]) for run in runs])
    A, k, symmetric = batch.A[where], batch.k[where, None, None], batch.symmetric[where]
    eye, n = np.eye(batch.n), batch.n
    out = np.full(len(where), np.inf)
    fine = np.isfinite(X).all(axis=(1, 2))
    if not fine.any():
        return out
    if not fine.all():
        out[fine] = residuals(batch, f, X[fine], where[fine])
        return out
    right = np.ones(len(where), dtype=bool)
    with np.errstate(all="ignore"):
        if f == "exp":
            E, rounding = _exponential(A, symmetric)
            found = np.maximum(_relative(X - E, E), rounding)
        elif f in ("sin", "cos"):
            E, rounding = _exponential(1j * A, symmetric)
            part = np.imag(E) if f == "sin" else np.real(E)
            unit = np.maximum(_norm(part), 16 * _EPS * _norm(A))  # a zero is known to that
            found = np.maximum(_norm(X - part), rounding * _norm(np.abs(E))) / np.where(unit > 0, unit, 1.0)
        elif f == "log":
            X = X - 2 * k * np.log(2.0) * eye
            D = taylor_exponential(X) - A
            found = np.maximum(_relative(D, A), _relative(_solved(A, np.zeros(len(A)), D), X))
            right[~symmetric] = np.abs(np.linalg.eigvals(X[~symmetric]).imag).max(-1, initial=0.0) < np.pi
        elif f == "sqrt":
            X = np.ldexp(X, -k)
            D, ridge = X @ X - A, np.sqrt(n * _EPS) * _norm(X)
            found = np.maximum(_relative(D, A), _relative(_solved(X, ridge, D) / 2, X))
            right = _definite(X, ridge, symmetric)
        elif f == "inv_sqrt":
            X = np.ldexp(X, k)
            found = _norm((X @ A) @ X - eye) / np.sqrt(n)
            right = _definite(X, np.zeros(len(X)), symmetric)
        else:
            XA, size = X @ A, _norm(A)
            found = np.maximum(
                _norm(X @ X - eye) * np.sqrt(n) / np.maximum(_norm(X) ** 2, n),
                _norm(XA - A @ X) * np.sqrt(n) / (size * np.maximum(_norm(X), np.sqrt(n))),
            )
            right = _definite(XA, 4 * n * _EPS * size, symmetric)
            found = np.maximum(found, _unknown(A, X, symmetric))
    found = np.where(np.isnan(found), np.inf, found)
    return np.where(right, found, np.inf)


def _exponential(A: np.ndarray, symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The series, and what rounding makes unknown of it where matrices are not symmetric."""
    E, rounding = np.empty_like(A), np.zeros(len(A))
    E[symmetric] = taylor_exponential(A[symmetric])
    E[~symmetric], rounding[~symmetric] = with_rounding(A[~symmetric])
    return E, rounding


def _unknown(A: np.ndarray, X: np.ndarray, symmetric: np.ndarray) -> np.ndarray:
    """How far the sign is determined by entries that are rounded: eps ||A|| ||X||^2 / min |Re lambda|, to first order.

    X^2 = I and X A = A X hold to rounding for other matrices too, where eigenvalues of both signs are close.
    """
    out = np.full(len(A), np.inf)
    at = np.flatnonzero(symmetric)
    if at.size:
        try:
            out[at] = _EPS * _norm(A[at]) * _norm(np.linalg.inv(A[at]))
        except np.linalg.LinAlgError:  # one is singular
            out[at] = _EPS * _norm(A[at]) / np.abs(np.linalg.eigvalsh(A[at])).min(-1)
    at = np.flatnonzero(~symmetric)
    if at.size:
        least = np.abs(np.linalg.eigvals(A[at]).real).min(-1)
        out[at] = _EPS * _norm(A[at]) * np.maximum(_norm(X[at]) ** 2 / A.shape[-1], 1.0) / least
    return out


def _norm(M: np.ndarray) -> np.ndarray:
    """Frobenius norms (B,) without overflow of the squares."""
    largest = np.abs(M).max(axis=(1, 2), initial=0.0)
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    M = M / unit[:, None, None]
    return unit * np.sqrt((M * M).sum(axis=(1, 2)))


def _relative(difference: np.ndarray, of: np.ndarray) -> np.ndarray:
    error, size = _norm(difference), _norm(of)
    return np.where(error == 0, 0.0, error / np.where(size > 0, size, np.finfo(float).tiny))


def _solved(M: np.ndarray, ridge: np.ndarray, D: np.ndarray) -> np.ndarray:
    """(M + ridge I)^-1 D; Inf where that is singular."""
    shifted = M + ridge[:, None, None] * np.eye(M.shape[-1])
    try:
        return np.linalg.solve(shifted, D)
    except np.linalg.LinAlgError:
        out = np.full(D.shape, np.inf)
        for i, (one, right) in enumerate(zip(shifted, D, strict=True)):
            if not right.any():
                out[i] = 0.0
            elif np.linalg.cond(one) < 1 / _EPS:
                out[i] = np.linalg.solve(one, right)
        return out


def _definite(M: np.ndarray, tolerance: np.ndarray, symmetric: np.ndarray) -> np.ndarray:
    """Whether all eigenvalues have a real part above -tolerance."""
    out = np.ones(len(M), dtype=bool)
    at = np.flatnonzero(symmetric)
    if at.size:
        shifted = (M[at] + transposed(M[at])) / 2 + tolerance[at, None, None] * np.eye(M.shape[-1])
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            out[at] = np.linalg.eigvalsh(shifted)[:, 0] >= -4 * _EPS * np.abs(shifted).max(axis=(1, 2))
    at = np.flatnonzero(~symmetric)
    if at.size:
        out[at] = np.linalg.eigvals(M[at]).real.min(-1) >= -np.maximum(tolerance[at], 0.0) - _EPS * _norm(M[at])
    return out
