"""f(A) for small dense matrices as the reference that others are judged by, and where it is real."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import DTypeError, MissingDependencyError, NonFiniteError, OptionError, ShapeError
from nnla.matfun.schur import ENTIRE, SCALARS, from_spectrum, general_function, inside_domain
from nnla.operators.validation import asarray

__all__ = ["MATRIX_FUNCTIONS", "function_reference", "real_domain"]

#: The functions by name, as of one eigenvalue.
MATRIX_FUNCTIONS = SCALARS
_EPS = float(np.finfo(np.float64).eps)


def _checked(A: Any, f: str) -> np.ndarray:
    if f not in MATRIX_FUNCTIONS:
        raise OptionError(f"unknown function {f!r}; choose from {', '.join(MATRIX_FUNCTIONS)}")
    A = asarray(A, "A")
    if A.dtype.kind not in "biuf":
        raise DTypeError(f"A is of dtype {A.dtype}; pass real numbers")
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or A.shape[-1] == 0:
        raise ShapeError(f"A has shape {A.shape}; pass square matrices (..., n, n)")
    A = A.astype(np.float64)
    if not np.isfinite(A).all():
        raise NonFiniteError("A has NaN or Inf among its entries; f(A) needs finite ones")
    return A


def _is_symmetric(A: np.ndarray) -> np.ndarray:
    return (A.swapaxes(-1, -2) == A).all(axis=(-2, -1))


def _rounding(A: np.ndarray) -> np.ndarray:
    """What float64 can tell of an eigenvalue of A: n eps ||A||, (...)."""
    largest = np.abs(A).max(axis=(-2, -1))
    unit = np.where(largest > 0, largest, 1.0)[..., None, None]
    return A.shape[-1] * _EPS * largest * np.linalg.norm(A / unit, axis=(-2, -1))


def real_domain(A: Any, f: str) -> np.ndarray:
    """Where f(A), the principal one, is defined and real.

    Parameters
    ----------
    A : (..., n, n) real array
    f : one of `MATRIX_FUNCTIONS`

    Returns
    -------
    (...) bool. Always for exp, sin, cos and cube. log and inv_sqrt: no eigenvalue on the closed negative half-axis;
    sqrt: that, but a symmetric A may be singular; inv: not singular; sign: no eigenvalue on the imaginary axis; all but
    for rounding, n eps ||A||.

    Raises
    ------
    OptionError, ShapeError, DTypeError, NonFiniteError

    Notes
    -----
    Cost: eigenvalues of the matrices.

    References
    ----------
    N. J. Higham, Functions of Matrices, 2008, theorems 1.29, 1.31 and chapter 5.

    Examples
    --------
    >>> real_domain([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]], "log")
    array([ True, False])
    """
    A = _checked(A, f)
    inside = np.ones(A.shape[:-2], dtype=bool)
    if f in ENTIRE or A.size == 0:
        return inside
    radius = _rounding(A)[..., None]
    symmetric = _is_symmetric(A)
    for mask, values in ((symmetric, np.linalg.eigvalsh), (~symmetric, np.linalg.eigvals)):
        if not mask.any():
            continue
        z, r = np.asarray(values(A[mask])), radius[mask]
        good = inside_domain(z, f, r, mask is symmetric)
        inside[mask] = good.all(axis=-1)
    return inside


def function_reference(A: Any, f: str, *, digits: int | None = None) -> np.ndarray:
    """f(A) as well as float64 allows, or as digits computed at leisure.

    Parameters
    ----------
    A : (..., n, n) real array
    f : one of `MATRIX_FUNCTIONS`
    digits : decimal digits to compute with, 16 to 1,000, by mpmath; None for float64

    Returns
    -------
    (..., n, n) float64, NaN where `real_domain` says that there is no real f(A)

    Raises
    ------
    OptionError, ShapeError, DTypeError
    NonFiniteError
        A is not finite, or f(A) is beyond the range of float64.
    MissingDependencyError
        ``digits`` without mpmath (it comes with torch, and with ``nnla[digits]``).

    Notes
    -----
    Cost: an eigendecomposition for symmetric matrices, in batches; for others a loop of SciPy's functions (Schur). With
    digits, milliseconds a matrix of n = 3 and seconds at n = 16.

    Validity: symmetric, float64: backward stable, error about n eps ||A|| times the slope of f. Others: as SciPy's,
    which is no bound. With digits: right to float64's last one where ``digits`` exceeds 16 by the digits that the
    condition of f at A costs; whether a function is real is told from float64's eigenvalues.

    References
    ----------
    N. J. Higham, Functions of Matrices, 2008: chapter 5 for sign by the ordered Schur form.

    Examples
    --------
    >>> function_reference([[0.0, 1.0], [1.0, 0.0]], "exp").round(4)
    array([[1.5431, 1.1752],
           [1.1752, 1.5431]])
    >>> function_reference([[4.0, 0.0], [0.0, 9.0]], "sqrt", digits=30)
    array([[2., 0.],
           [0., 3.]])
    """
    A = _checked(A, f)
    if digits is not None and not (isinstance(digits, (int, np.integer)) and 16 <= digits <= 1000):
        raise OptionError(f"digits={digits!r}: give a whole number from 16 to 1000, or None for float64")
    answer = np.full(A.shape, np.nan)
    inside = real_domain(A, f)
    symmetric = _is_symmetric(A)
    if digits is not None:
        _by_digits(A, f, int(digits), inside, symmetric, answer)
    else:
        with np.errstate(all="ignore"):  # what comes of an overflow is found below
            if (mask := inside & symmetric).any():
                answer[mask] = _symmetric_function(A[mask], f)
            for k in map(tuple, np.argwhere(inside & ~symmetric)):
                answer[k] = general_function(A[k], f)
    if not np.isfinite(answer[inside]).all():
        raise NonFiniteError(f"{f}(A) is beyond the range of float64; scale A")
    return answer


def _symmetric_function(A: np.ndarray, f: str) -> np.ndarray:
    values, Q = np.linalg.eigh(A)
    if f == "sqrt":
        values = np.maximum(values, 0.0)  # `real_domain` has found them zero but for rounding
    return from_spectrum(Q, SCALARS[f](values))


def _by_digits(
    A: np.ndarray, f: str, digits: int, inside: np.ndarray, symmetric: np.ndarray, answer: np.ndarray
) -> None:
    try:
        import mpmath
    except ImportError as error:
        raise MissingDependencyError('digits= needs mpmath; pip install "nnla[digits]"') from error
    mp = mpmath.mp.clone()  # digits of our own: nobody else's numbers change
    mp.dps = digits
    for k in map(tuple, np.argwhere(inside)):
        X = mp.matrix(A[k].tolist())
        value = _precise_symmetric(mp, X, f) if symmetric[k] else _precise_general(mp, X, f)
        answer[k] = [[float(mp.re(x)) for x in row] for row in value.tolist()]


def _precise_symmetric(mp: Any, X: Any, f: str) -> Any:
    values, Q = mp.eigsy(X)
    if f == "sqrt":
        values = [mp.sqrt(max(x, 0)) for x in values]
    else:
        scalar = {"exp": mp.exp, "log": mp.log, "sign": mp.sign, "sin": mp.sin, "cos": mp.cos, "cube": lambda x: x**3}
        scalar |= {"inv_sqrt": lambda x: 1 / mp.sqrt(x), "inv": lambda x: 1 / x}
        values = [scalar[f](x) for x in values]
    return Q * mp.diag(values) * Q.T


def _precise_general(mp: Any, X: Any, f: str) -> Any:
    if f == "cube":
        return X * X * X
    if f in ENTIRE:
        return {"exp": mp.expm, "sin": mp.sinm, "cos": mp.cosm}[f](X)
    # mpmath's iterations for roots take so many steps and no more: in units of its size A needs few of them.
    half = mp.frexp(mp.norm(X, mp.inf))[1] // 2
    X = X * mp.mpf(4) ** -half
    if f == "log":
        return mp.logm(X) + mp.eye(X.rows) * (half * mp.log(4))
    if f == "sign":
        return X * mp.sqrtm(X * X) ** -1
    if f == "inv":
        return X**-1 * mp.mpf(4) ** -half
    return mp.sqrtm(X) * mp.mpf(2) ** half if f == "sqrt" else mp.sqrtm(X) ** -1 * mp.mpf(2) ** -half
