"""The seven functions of `nnla.matfun`: what they take, what they promise."""

from __future__ import annotations

from typing import Any

from nnla.matfun.run import evaluate

__all__ = ["cosm", "expm", "inv_sqrtm", "logm", "signm", "sinm", "sqrtm"]

_RTOL = 1e-6


def expm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """e^A of dense matrices, one or a batch: an array or tensor, with a report on it.

    Parameters
    ----------
    A : (..., n, n) real array, list or torch tensor; symmetric or not
    method : "auto" (which is "schur"), "schur" (eigenvectors of symmetric matrices, SciPy for others; rate matrices by
        a series without cancellation), "polynomial" (AutoSpec's, symmetric only), "equivariant" and "transformer" (a
        network's answer), "relu" (a constructed network with a certificate: exp, sin, cos, and sign and roots of
        symmetric matrices; n <= 32)
    rtol : tolerance on the residual of each matrix, see ``report.check``
    fallback : whether "schur" computes what misses the tolerance
    undefined : "raise" an error for a matrix that has no real f(A), or give "nan" for it
    engine : trained model, name or path of its weights, for "equivariant" and "transformer"; default: the shipped one

    Returns
    -------
    array of A's shape and kind, in A's dtype (integers: float64), with the attribute ``report``, a `MatfunReport`

    Raises
    ------
    NonFiniteError
        Entries that are not finite, or e^A beyond the range of its dtype.
    ShapeError, DTypeError, OptionError, WeightsError, NotSymmetricError
        What is given is no batch of square matrices, complex, ...; "polynomial" for a general matrix.

    Notes
    -----
    Cost: "schur" a batched eigendecomposition where A is symmetric, SciPy one by one where not. The check takes 7 +
    log2 ||A|| products of matrices more.

    Validity: computed in float64 and checked there, against an independent series, before it is rounded to A's dtype:
    ``report.converged`` covers every matrix. For a rate matrix, whose rows sum to zero, no entry is negative and each
    is right to some 1e-15 times t by the largest rate; that its rows sum to one is checked, not forced.
    Tensors that require a gradient get that of e^A itself (Frechet derivative), whatever the method.

    References
    ----------
    Higham, Functions of Matrices (2008), chapters 3 and 10. Xue, Ye, Math. Comp. 82 (2013) (rate matrices).

    Examples
    --------
    >>> P = expm([[-1.0, 1.0], [2.0, -2.0]])
    >>> P.report.rates, P.report.converged, bool(P.report.row_sum_error < 1e-15)
    (1, True, True)
    """
    return evaluate(A, "exp", method, rtol, fallback, undefined, engine)


def logm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """The principal logarithm of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    NotPositiveDefiniteError
        A matrix has an eigenvalue at 0 or on the negative real axis, so no real principal logarithm.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is e^X = A.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 11.

    Examples
    --------
    >>> X = logm([[[1.0, 0.0], [0.0, 1.0]]])
    >>> X.tolist(), X.report.converged
    ([[[0.0, 0.0], [0.0, 0.0]]], True)
    """
    return evaluate(A, "log", method, rtol, fallback, undefined, engine)


def sqrtm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """The principal square root of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    NotPositiveDefiniteError
        A matrix has a negative eigenvalue, or is singular and has no root.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is X^2 = A: one product. A singular semidefinite matrix has a root, which is not
    differentiable.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 6. Bjorck, Hammarling, Linear Algebra Appl. 52/53 (1983).

    Examples
    --------
    >>> sqrtm([[1e-250, 0.0], [0.0, 4e-250]]).report.converged
    True
    """
    return evaluate(A, "sqrt", method, rtol, fallback, undefined, engine)


def inv_sqrtm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """A^-1/2 of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    NotPositiveDefiniteError
        A matrix has an eigenvalue at 0 or on the negative real axis.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is X A X = I: two products. Its rounding grows with the condition of A, as that of
    A^-1/2 does: beyond 1e10 the default ``rtol`` is not met, and the report says so.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 6.

    Examples
    --------
    >>> inv_sqrtm([[4.0, 0.0], [0.0, 16.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return evaluate(A, "inv_sqrt", method, rtol, fallback, undefined, engine)


def signm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """The sign of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    OptionError
        A matrix has an eigenvalue at 0 or on the imaginary axis, to rounding.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is X^2 = I, X A = A X, and X A without negative eigenvalues: three products.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 5.

    Examples
    --------
    >>> signm([[0.0, 2.0], [2.0, 0.0]]).round(12).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return evaluate(A, "sign", method, rtol, fallback, undefined, engine)


def sinm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """The sine of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    NonFiniteError
        The sine of a general matrix is beyond the range of float64.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is a complex series for e^(iA).

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 12.

    Examples
    --------
    >>> sinm([[0.0]]).tolist()
    [[0.0]]
    """
    return evaluate(A, "sin", method, rtol, fallback, undefined, engine)


def cosm(
    A: Any,
    *,
    method: str = "auto",
    rtol: float = _RTOL,
    fallback: bool = True,
    undefined: str = "raise",
    engine: Any = None,
) -> Any:
    """The cosine of dense matrices, one or a batch, with a report; options as of `expm`.

    Raises
    ------
    NonFiniteError
        The cosine of a general matrix is beyond the range of float64.
    The errors of `expm`.

    Notes
    -----
    Cost: as of `expm`; the check is a complex series for e^(iA).

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 12.

    Examples
    --------
    >>> cosm([[0.0]]).tolist()
    [[1.0]]
    """
    return evaluate(A, "cos", method, rtol, fallback, undefined, engine)
