"""f(A) by eigenvectors of symmetric matrices and by Schur forms of the others: the reference, and the last resort."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg

from nnla.kernels.blas import one_blas_thread
from nnla.matfun.options import Batch, transposed

__all__ = ["exact", "scalar_values"]

_EPS = float(np.finfo(float).eps)
_LN4 = float(np.log(4.0))
_SERIAL = 256
_NEEDS = {
    "log": "log needs positive eigenvalues (none on the negative real axis); shift A, or take the complex logarithm "
    "of scipy.linalg.logm",
    "sqrt": "the real square root needs eigenvalues that are not negative; shift A, or take the complex root of "
    "scipy.linalg.sqrtm",
    "inv_sqrt": "the real inverse square root needs positive eigenvalues; add a ridge, A + lambda I",
    "sign": "sign is not defined at an eigenvalue 0, or on the imaginary axis; shift A",
    "exp": "e^A leaves the range of its dtype; subtract lambda I, as e^A = e^lambda e^(A - lambda I)",
    "sin": "",
    "cos": "",
}


def scalar_values(f: str, w: np.ndarray, k: np.ndarray) -> np.ndarray:
    """f of eigenvalues (B, n) that lie inside its domain; those of a matrix are 4^-k times the ones asked for."""
    with np.errstate(all="ignore"):
        if f == "log":
            return np.log(w) + k[:, None] * _LN4
        if f == "sqrt":
            return np.ldexp(np.sqrt(np.maximum(w, 0.0)), k[:, None])
        if f == "inv_sqrt":
            return np.ldexp(1.0 / np.sqrt(w), -k[:, None])
        return {"exp": np.exp, "sign": np.sign, "sin": np.sin, "cos": np.cos}[f](w)


def exact(batch: Batch, f: str, where: np.ndarray | None = None) -> tuple[np.ndarray, dict[int, str]]:
    """f(A) (B, n, n), NaN where there is no real one, and why, by position.

    Parameters
    ----------
    where : positions of the matrices that are wanted; all by default

    Returns
    -------
    X : (len(where), n, n), in the units of what was given
    why : position in the batch -> one line

    Notes
    -----
    Cost: symmetric matrices one batched eigendecomposition (9 n^3 each) and a product; others SciPy's function (some
    25 n^3), one by one.

    References
    ----------
    Higham, Functions of Matrices (2008): 4.5 (eigenvectors), 5.2 (sign by an ordered Schur form), 6.2, 10.3, 11.5.
    """
    where = np.arange(len(batch.A)) if where is None else where
    X = np.empty((len(where), batch.n, batch.n))
    why: dict[int, str] = {}
    symmetric = batch.symmetric[where]
    with one_blas_thread(batch.n <= _SERIAL):
        at = np.flatnonzero(symmetric)
        if at.size:
            X[at], bad = _by_eigenvectors(batch.A[where[at]], batch.k[where[at]], f, batch.eps)
            why |= {int(where[at[i]]): text for i, text in bad.items()}
        for i in np.flatnonzero(~symmetric):
            index = int(where[i])
            X[i], text = _by_schur(batch.A[index], int(batch.k[index]), f)
            if text:
                why[index] = text
    return X, why


def _by_eigenvectors(A: np.ndarray, k: np.ndarray, f: str, eps: float) -> tuple[np.ndarray, dict[int, str]]:
    w, Q = np.linalg.eigh(A)
    n, largest = A.shape[-1], np.abs(w).max(-1)
    floor = max(n, 64) * _EPS * largest
    bad = np.zeros(len(A), dtype=bool)
    if f in ("log", "inv_sqrt"):
        bad = w[:, 0] <= floor
    elif f == "sqrt":  # forming a semidefinite matrix moves its eigenvalues by the rounding of its entries
        bad = w[:, 0] < -np.maximum(floor, n * eps * largest)
    elif f == "sign":
        bad = np.abs(w).min(-1) <= floor
    worst = w[np.arange(len(w)), np.abs(w).argmin(-1)] if f == "sign" else w[:, 0]
    value = scalar_values(f, w, k)
    with np.errstate(invalid="ignore", over="ignore"):
        X = (Q * value[:, None, :]) @ transposed(Q)
    X = (X + transposed(X)) / 2
    why = {int(i): f"has the eigenvalue {np.ldexp(worst[i], 2 * k[i]):.3g}: {_NEEDS[f]}" for i in np.flatnonzero(bad)}
    for i in np.flatnonzero(~bad & ~np.isfinite(X).all(axis=(1, 2))):
        why[int(i)] = f"has the eigenvalue {w[i, -1]:.4g}: {_NEEDS['exp']}"
    X[list(why)] = np.nan
    return X, why


def _by_schur(A: np.ndarray, k: int, f: str) -> tuple[np.ndarray, str]:
    """f of one general matrix, or NaN and why."""
    nothing = np.full_like(A, np.nan)
    if f in ("log", "sqrt", "inv_sqrt", "sign"):
        w = np.linalg.eigvals(A)
        floor = max(len(A), 64) * _EPS * float(np.abs(w).max(initial=0.0))
        if f == "sign":
            wrong = np.abs(w.real) <= floor
        elif f == "sqrt":
            wrong = (w.imag == 0) & (w.real < -floor)
        else:
            wrong = (w.imag == 0) & (w.real <= floor)
        if wrong.any():
            value = w[wrong][0]
            text = f"{np.ldexp(value.real, 2 * k):.3g}" + (f"{value.imag:+.3g}i" if value.imag else "")
            return nothing, f"has the eigenvalue {text}: {_NEEDS[f]}"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # SciPy warns of singular and inaccurate roots; the check afterwards judges
        try:
            X = np.asarray(_of_one(A, f))
        except (np.linalg.LinAlgError, ValueError) as error:
            return nothing, f"has no {f} that SciPy finds ({error}): {_NEEDS[f]}"
        if X.dtype.kind == "c":
            size = float(np.abs(X).max(initial=0.0))
            if not float(np.abs(X.imag).max(initial=0.0)) <= 1e-6 * size:
                return nothing, f"has no real {f}: {_NEEDS[f]}"
            X = X.real
        if f == "log":
            X = X + k * _LN4 * np.eye(len(A))
        elif f in ("sqrt", "inv_sqrt"):
            X = np.ldexp(X, k if f == "sqrt" else -k)
    if not np.isfinite(X).all():
        text = _NEEDS["exp"] if f not in ("log", "sqrt", "inv_sqrt", "sign") else _NEEDS[f]
        return nothing, f"has a {f} that is not finite: {text}"
    return X, ""


def _of_one(A: np.ndarray, f: str) -> np.ndarray:
    if f == "exp":
        return scipy.linalg.expm(A)
    if f == "log":
        return scipy.linalg.logm(A)
    if f == "sqrt":
        return scipy.linalg.sqrtm(A)
    if f == "inv_sqrt":
        return np.linalg.inv(scipy.linalg.sqrtm(A))
    if f == "sign":
        return _sign(A)
    turned = scipy.linalg.expm(1j * A)
    return turned.imag if f == "sin" else turned.real


def _sign(A: np.ndarray) -> np.ndarray:
    """By a Schur form with the negative eigenvalues first, and one Sylvester equation."""
    T, U, negative = scipy.linalg.schur(A, output="real", sort="lhp")
    S = np.eye(len(A))
    S[:negative, :negative] *= -1.0
    if 0 < negative < len(A):
        upper = T[:negative, negative:]
        S[:negative, negative:] = scipy.linalg.solve_sylvester(
            T[:negative, :negative], -T[negative:, negative:], -2 * upper
        )
    return U @ S @ U.T
