"""Other libraries' signatures, backed by nnla: what their test suites call in the place of their own functions.

A call with a matrix that nnla is not for (complex, not symmetric, or one whose function is not real) skips the test
with that as its reason; the shims look for themselves, so that a wrong refusal by nnla is a failure.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from scipy.sparse.linalg._eigen.arpack import ArpackNoConvergence

import nnla


def _dense(A: Any) -> np.ndarray:
    if isinstance(A, LinearOperator):
        return np.asarray(A @ np.eye(A.shape[1]))
    return A.toarray() if sp.issparse(A) else np.asarray(A)


def in_scope(A: Any, *others: Any) -> None:
    """Skip the test where A is not real, symmetric and square, or anything else is not real.

    Of an operator only the dtype is looked at: some tests count its products.
    """
    for value in (A, *others):
        if np.iscomplexobj(np.zeros(0, getattr(value, "dtype", None) or np.asarray(value).dtype)):
            pytest.skip("complex: nnla is for real matrices")
    if isinstance(A, LinearOperator):
        return
    D = _dense(A)
    if D.ndim != 2 or D.shape[0] != D.shape[1]:
        pytest.skip("stacked or rectangular: nnla is for one square matrix")
    if D.size == 0:
        pytest.skip("empty: nnla asks for at least one unknown")
    D = D.astype(np.float64)
    eps = np.finfo(np.float32).eps if getattr(A, "dtype", None) == np.float32 else 1e-10
    if not np.abs(D - D.T).max() <= eps * np.abs(D).max():
        pytest.skip("not symmetric: nnla is for symmetric matrices")


# -- scipy.sparse.linalg.cg, pyamg.krylov.cg ----------------------------------------------------------------


def cg(
    A: Any, b: Any, x0: Any = None, *, rtol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None,
    callback: Any = None,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """`scipy.sparse.linalg.cg`."""
    in_scope(A, b)
    if isinstance(x0, str):  # "Mb": start from M b
        x0 = b if M is None else M @ b
    rtol, atol = (min(value, 1e300) if isinstance(value, float) else value for value in (rtol, atol))
    x, report = nnla.solve(A, b, x0=x0, rtol=rtol, atol=atol, maxiter=maxiter, method="cg", M=M, callback=callback)
    return x, 0 if report.converged else report.iterations


def pyamg_cg(
    A: Any, b: Any, x0: Any = None, tol: float = 1e-5, criteria: str = "rr", maxiter: int | None = None, M: Any = None,
    callback: Any = None, residuals: Any = None,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """`pyamg.krylov.cg`; the criteria other than the residual's own norm are not nnla's."""
    in_scope(A, b)

    def seen(x: np.ndarray) -> None:
        if residuals is not None:
            residuals.append(float(np.linalg.norm(np.ravel(b) - A @ x)))
        if callback is not None:
            callback(x)

    flat = np.ravel(b)
    start = None if x0 is None else np.ravel(x0)
    if residuals is not None:
        residuals[:] = [float(np.linalg.norm(flat if start is None else flat - A @ start))]
    x, report = nnla.solve(A, flat, x0=start, rtol=tol, maxiter=maxiter, method="cg", M=M, callback=seen)
    return x.reshape(np.shape(b)), 0 if report.converged else report.iterations


# -- scipy.sparse.linalg.eigsh, lobpcg -----------------------------------------------------------------------


def eigsh(
    A: Any, k: int = 6, M: Any = None, sigma: float | None = None, which: str = "LM", v0: Any = None,
    ncv: int | None = None, maxiter: int | None = None, tol: float = 0, return_eigenvectors: bool = True,
    Minv: Any = None, OPinv: Any = None, mode: str = "normal", rng: Any = None,
) -> Any:  # fmt: skip
    """`scipy.sparse.linalg.eigsh`: the order of its arguments, its default for `which`, and its exception."""
    in_scope(A)
    if isinstance(A, LinearOperator):
        in_scope(_dense(A))
    if M is not None:
        in_scope(M)
    method = "auto" if maxiter is None or M is not None or sigma is not None else "plain"  # of Lanczos is the limit
    try:
        return nnla.eigsh(
            A, k, M=M, sigma=sigma, which=which, v0=v0, ncv=ncv, maxiter=maxiter, tol=tol, Minv=Minv, OPinv=OPinv,
            return_eigenvectors=return_eigenvectors, mode=mode, method=method, on_failure="raise",
        )  # fmt: skip
    except nnla.errors.NotConvergedError as error:
        raise ArpackNoConvergence(str(error), error.eigenvalues, error.eigenvectors) from error


def lobpcg(
    A: Any, X: Any, B: Any = None, M: Any = None, Y: Any = None, tol: float | None = None, maxiter: int | None = None,
    largest: bool = True, verbosityLevel: int = 0, **histories: Any,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`scipy.sparse.linalg.lobpcg` without constraints; X says how many pairs."""
    in_scope(A, X)
    if B is not None:
        in_scope(B)
    if Y is not None:
        raise NotImplementedError("nnla has no constraints")
    w, V, report = nnla.eigsh(A, X.shape[1], M=B, which="LA" if largest else "SA", return_report=True)
    assert report.converged
    return (w[::-1], V[:, ::-1]) if largest else (w, V)


# -- functions of matrices -----------------------------------------------------------------------------------


def _scalar(f: Any) -> Any:
    """The real function of real numbers behind a function of matrices: that of a diagonal matrix."""

    def call(x: np.ndarray) -> np.ndarray:
        return np.diagonal(np.real(f(np.diag(np.ravel(x))))).reshape(np.shape(x))

    return call


def funm_multiply_krylov(
    f: Any, A: Any, b: Any, *, assume_a: str = "general", t: float = 1.0, atol: float = 0.0, rtol: float = 1e-6,
    restart_every_m: int | None = None, max_restarts: int = 20,
) -> np.ndarray:  # fmt: skip
    """`scipy.sparse.linalg.funm_multiply_krylov`."""
    in_scope(A, b)
    return np.asarray(nnla.funm_multiply(A if t == 1.0 else t * A, b, _scalar(f), rtol=min(rtol, 1e-9)))


def expm_multiply(
    A: Any, B: Any, start: float | None = None, stop: float | None = None, num: int | None = None,
    endpoint: bool | None = None, traceA: float | None = None,
) -> np.ndarray:  # fmt: skip
    """`scipy.sparse.linalg.expm_multiply`."""
    in_scope(A, B)
    if traceA is None and isinstance(A, LinearOperator):
        warnings.warn("Trace of LinearOperator not available", UserWarning, stacklevel=2)  # SciPy's own, expected there
    V = B.toarray() if sp.issparse(B) else B
    if start is None and stop is None and num is None:
        return np.asarray(nnla.funm_multiply(A, V, "exp", rtol=1e-12))
    times = np.linspace(start, stop, num=50 if num is None else num, endpoint=endpoint is not False)
    return np.stack([np.asarray(nnla.funm_multiply(A, V, lambda x, t=t: np.exp(t * x), rtol=1e-12)) for t in times])


def expm_multiply_simple(A: Any, B: Any, t: float = 1.0, traceA: float | None = None, balance: bool = False) -> Any:
    """SciPy's inner function for one time."""
    in_scope(A, B)
    if traceA is None and isinstance(A, LinearOperator):
        warnings.warn("Trace of LinearOperator not available", UserWarning, stacklevel=2)
    return np.asarray(nnla.funm_multiply(A, B, lambda x: np.exp(t * x), rtol=1e-12))


def _function(name: Any, *, real: Any = None) -> Any:
    def of_matrix(A: Any) -> np.ndarray:
        A = np.asarray(A)
        in_scope(A)
        if real is not None and not real(np.linalg.eigvalsh(A.astype(float))):
            pytest.skip("the function of this matrix is not real")
        return nnla.matfun(A, name)

    return of_matrix


def _negative(w: np.ndarray) -> bool:
    return bool(w[0] < -1e-13 * abs(w).max())


expm = _function("exp")
sqrtm = _function("sqrt", real=lambda w: not _negative(w))
logm = _function("log", real=lambda w: w[0] > 1e-13 * w[-1])
signm = _function("sign")
cosm, sinm, tanm = _function(np.cos), _function(np.sin), _function(np.tan)
coshm, sinhm, tanhm = _function(np.cosh), _function(np.sinh), _function(np.tanh)


def fractional_matrix_power(A: Any, t: float) -> np.ndarray:
    """`scipy.linalg.fractional_matrix_power`."""
    A = np.asarray(A)
    in_scope(A)
    if _negative(np.linalg.eigvalsh(A.astype(float))):
        pytest.skip("the function of this matrix is not real")
    return nnla.matfun(A, lambda x: np.maximum(x, 0.0) ** t)


def funm(A: Any, f: Any) -> np.ndarray:
    """`scipy.linalg.funm`."""
    A = np.asarray(A)
    in_scope(A)
    return nnla.matfun(A, f)
