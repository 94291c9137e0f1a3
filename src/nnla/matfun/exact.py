"""f(A) by eigenvectors of symmetric matrices and by Schur forms of the others: the reference, and the last resort."""

from __future__ import annotations

import warnings

import numpy as np

from nnla.kernels.blas import one_blas_thread
from nnla.matfun.options import LN4, Batch, parts
from nnla.matfun.schur import ENTIRE, SCALARS, from_spectrum, general_function, inside_domain

__all__ = ["exact"]

_EPS = float(np.finfo(float).eps)
_SERIAL = 256
_NEEDS = {
    "log": "log needs positive eigenvalues (none on the negative real axis); shift A, or take the complex logarithm "
    "of scipy.linalg.logm",
    "sqrt": "the real square root needs eigenvalues that are not negative; shift A, or take the complex root of "
    "scipy.linalg.sqrtm",
    "inv_sqrt": "the real inverse square root needs positive eigenvalues; add a ridge, A + lambda I",
    "sign": "sign is not defined at an eigenvalue 0, or on the imaginary axis; shift A",
    "exp": "e^A leaves the range of its dtype; subtract lambda I, as e^A = e^lambda e^(A - lambda I)",
    "sin": "sin A leaves the range of its dtype; rescale A",
    "cos": "cos A leaves the range of its dtype; rescale A",
}


_ROOT = (
    "the real principal root of an unsymmetric matrix needs eigenvalues off the negative real axis and off 0, where "
    "there may be none; shift A"
)


def _image(f: str, w: np.ndarray, k: np.ndarray) -> np.ndarray:
    """f of eigenvalues (B, n), those of matrices that are 4^-k times the ones asked for."""
    with np.errstate(all="ignore"):
        value = SCALARS[f](np.maximum(w, 0.0) if f == "sqrt" else w)
    if f == "log":
        return value + k[:, None] * LN4
    if f in ("sqrt", "inv_sqrt"):
        return np.ldexp(value, k[:, None] if f == "sqrt" else -k[:, None])
    return value


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
        for at in parts(np.flatnonzero(symmetric), batch.n):
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
    if f == "sqrt":  # forming a semidefinite matrix moves its eigenvalues by the rounding of its entries
        floor = np.maximum(floor, n * eps * largest)
    bad = ~inside_domain(w, f, floor[:, None], True).all(-1)
    worst = w[np.arange(len(w)), np.abs(w).argmin(-1)] if f == "sign" else w[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        X = from_spectrum(Q, _image(f, w, k))
    why = {int(i): f"has the eigenvalue {np.ldexp(worst[i], 2 * k[i]):.3g}: {_NEEDS[f]}" for i in np.flatnonzero(bad)}
    for i in np.flatnonzero(~bad & ~np.isfinite(X).all(axis=(1, 2))):
        why[int(i)] = f"has the eigenvalue {w[i, -1]:.4g}: {_NEEDS[f]}"
    X[list(why)] = np.nan
    return X, why


def _by_schur(A: np.ndarray, k: int, f: str) -> tuple[np.ndarray, str]:
    """f of one general matrix, or NaN and why."""
    nothing = np.full_like(A, np.nan)
    if f not in ENTIRE:
        w = np.linalg.eigvals(A)
        floor = max(len(A), 64) * _EPS * float(np.abs(w).max(initial=0.0))
        wrong = ~inside_domain(w, f, np.array(floor), False)
        if wrong.any():
            value = w[wrong][0]
            text = f"{np.ldexp(value.real, 2 * k):.3g}" + (f"{value.imag:+.3g}i" if value.imag else "")
            needs = _ROOT if f == "sqrt" else _NEEDS[f]
            return nothing, f"has the eigenvalue {text}: {needs}"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # SciPy warns of singular and inaccurate roots; the check afterwards judges
        try:
            X = general_function(A, f)
        except (np.linalg.LinAlgError, ValueError) as error:
            return nothing, f"has no {f} that SciPy finds ({error}): {_NEEDS[f]}"
        if f == "log":
            X = X + k * LN4 * np.eye(len(A))
        elif f in ("sqrt", "inv_sqrt"):
            X = np.ldexp(X, k if f == "sqrt" else -k)
    if not np.isfinite(X).all():
        return nothing, f"has no finite {f}: {_NEEDS[f]}"
    return X, ""
