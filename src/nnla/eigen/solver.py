"""`nnla.eigsh`: a few eigenpairs of a symmetric matrix or pencil, each one verified."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from nnla.eigen.answer import good, make_report, warning_of
from nnla.eigen.options import check_options
from nnla.eigen.pencil import make_pencil, mass_operator
from nnla.eigen.routes import wanted_pairs
from nnla.errors import NotConvergedError, NotConvergedWarning, ShapeError
from nnla.operators.arrays import to_numpy
from nnla.operators.gradients import vectors_without_derivative
from nnla.operators.operator import Operator, as_operator

__all__ = ["eigsh"]


@vectors_without_derivative
def eigsh(
    A: Any,
    k: int = 6,
    *,
    M: Any = None,
    sigma: float | None = None,
    which: str | None = None,
    tol: float = 1e-10,
    ncv: int | None = None,
    v0: Any = None,
    maxiter: int | None = None,
    return_eigenvectors: bool = True,
    Minv: Any = None,
    OPinv: Any = None,
    mode: str = "normal",
    method: str = "auto",
    degree: int | None = None,
    cut: float | None = None,
    probe_restarts: int | None = None,
    engine: Any = None,
    seed: int = 0,
    verify: bool = True,
    return_report: bool = False,
    on_failure: str = "warn",
) -> Any:
    """k eigenpairs of a symmetric A, definite or not, or of ``A v = lambda M v``: at an end, or next to a number.

    The options are those of ``scipy.sparse.linalg.eigsh``, by their names, and some more. What differs: ``which`` is
    "SA" where there is no sigma, ``tol`` is relative to ||A||, eigenvalues always come increasing, every k up to n is
    taken, and nothing that has not converged, or may lack copies, is returned in silence.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric
    k : pairs wanted, 1 to n
    M : (n, n) mass matrix of ``A v = lambda M v``, anything that A may be; positive definite. A singular one, without
        negative eigenvalues, is taken with ``sigma``; an indefinite one in ``mode="buckling"``, where A is definite
    sigma : a number near which eigenvalues are wanted: found by shift and invert
    which : without sigma "SA" for the smallest eigenvalues (the default), "LA" for the largest, "LM" for the largest
        in magnitude, "SM" for those nearest to zero, "BE" for k // 2 from the low end and the others from the high
        end. With sigma, as in SciPy, it refers to ``1 / (lambda - sigma)``: "LM" (the default) for those nearest to
        sigma, "LA" for the next above it, "SA" for the next below, "BE" for both sides, "SM" for the furthest
    tol : a pair is converged at ``||A v - lambda v||_2 <= tol ||A||_2``, if that tells the wanted eigenvalues from
        zero, too: the residual is also at most 1e-5 of the largest of them, or what rounding leaves (4e-15 ``||A||``;
        more for products in float32, where the status is "rounding"). With M:
        ``||A v - lambda M v||_2 <= tol (||A||_2 + |lambda| ||M||_2) ||v||_2``. 0 asks for what rounding leaves
    ncv : vectors of the subspace, k + 1 to n; default max(4 k, 20), for k > 30 2 k + 60, for
        n <= 256 all n
    v0 : (n,) start vector, or (n, j) several, as the vectors of a matrix like A; random ones from ``seed`` by default
    maxiter : fillings of the subspace at most, those of the verification included, default 1000; of each end
    return_eigenvectors : False returns the eigenvalues alone
    Minv : M^-1 as a matrix or operator, used without sigma where M cannot be factored
    OPinv : (A - sigma M)^-1 as a matrix or operator, in all modes; residuals are those of A and M themselves
    mode : what ``which`` refers to with sigma: "normal"; "cayley", ``(lambda + sigma) / (lambda - sigma)``; "buckling",
        ``lambda / (lambda - sigma)``, for a definite A and an M of any kind
    method : "auto" (the cheapest of the others, by predicted cost),
        "autospec" (a filter that the learned engine chooses from a probe),
        "autospec-paper" (the paper's network), "chebyshev" (damps from the (1.5 k + 1)-th Ritz value on),
        "power" (X^degree), "plain" (thick-restart Lanczos without a filter),
        "direct" (shift and invert by factorisation), "dense" (LAPACK). With M, with sigma and for "SM" one of "auto",
        "direct" and "dense"
    degree : of the filter, default 21
    cut : for "chebyshev", another place of the cut, in units of k
    probe_restarts : fillings of the subspace by the probe, default 3
    engine : a trained engine (`nnla.load`) instead of the shipped one
    seed : of everything random
    verify : make sure that no eigenvalue is missing, copies of multiple ones included
    return_report : also return the `EigenReport`
    on_failure : "warn", or "raise" for a `NotConvergedError` with the pairs found

    Returns
    -------
    w : (k,) float64, increasing
    V : (n, k) float64 columns, orthonormal (a tensor for a torch operator); with M ``V.T @ M @ V`` is the identity, in
        the mode "buckling" ``V.T @ A @ V``
    report : EigenReport, if asked for

    Raises
    ------
    The errors of `nnla.as_operator` but for definiteness; OptionError, ShapeError; NonFiniteError for an eigenvalue
    beyond float64; NotPositiveDefiniteError for an M, or an A in the mode "buckling", that is indefinite.
    NotConvergedError, if asked for, where a pair has not converged or copies may be missing.

    Warns
    -----
    NotConvergedWarning
        A pair has not converged, or copies may be missing, and no report is returned that would say so.

    Notes
    -----
    Values are Rayleigh quotients of A itself; every residual is recomputed with the operator given. What has not
    converged is returned as it is, and the report or a warning says so, unless an exception is asked for. "autospec"
    and "auto" have a way back: where they do not converge (a stiff spectrum), a factorisation is tried, and LAPACK up
    to n = 4000.

    A Krylov space holds one copy of a multiple eigenvalue, and nothing that its start is orthogonal to. With `verify`
    the eigenvalues before the last one are counted, by the inertia of a factorisation, where that costs less than the
    search did, and missing ones are found; else the search goes on from random vectors, until a better pair would have
    shown. ``report.verified`` tells whether that was so.

    Cost: each filling of the subspace takes at most ``ncv - k`` applications of the filter, ``degree`` products
    with A each, and some 4 n ncv^2 operations for orthogonality; storage ``(ncv + 1) n``. A filter saves fillings
    and with them orthogonality; it does not save products. `method="auto"` weighs the two. With sigma, a factorisation
    and some 2 k solves.

    Guaranteed: residuals, and the count where ``report.count_below`` is one. Very likely: that random vectors showed
    all there was. Learned: where the filter begins to damp; a filter that turns out to mislead (a
    pair on the wrong side of its cut) is replaced, in the end by none.

    References
    ----------
    AutoSpec (arXiv:2602.09530), sections 5.2 and appendix E; Wu, Simon (2000), thick-restart Lanczos.
    Parlett, The Symmetric Eigenvalue Problem (1998), section 3.3 (counting by inertia).
    Ericsson, Ruhe, Math. Comp. 35 (1980) 1251-1268 (shift and invert); Grimes, Lewis, Simon, SIAM J. Matrix Anal.
    Appl. 15 (1994) 228-272 (buckling).

    Examples
    --------
    >>> import nnla
    >>> A = nnla.problems.poisson2d(40)
    >>> w, V, report = nnla.eigsh(A, 3, return_report=True)
    >>> report.converged, report.verified, bool(abs(A @ V - V * w).max() < 1e-8)
    (True, True, True)

    The vibrations of a chain with two kinds of masses that are nearest to 1:

    >>> import scipy.sparse as sp
    >>> K = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(40, 40))
    >>> w, V = nnla.eigsh(K, 2, M=sp.diags_array(np.tile([1.0, 2.0], 20)), sigma=1.0)
    >>> np.round(w, 3).tolist()
    [0.974, 0.997]
    """
    started = time.perf_counter()
    given = as_operator(A, definite=False)
    options = check_options(
        given.n, k, M, sigma, which, tol, ncv, maxiter, return_eigenvectors, Minv, OPinv, mode, method, degree, cut,
        probe_restarts, engine, seed, verify, return_report, on_failure,
    )  # fmt: skip
    before = given.products
    mass = None if M is None else mass_operator(M, given.n)
    start = None if v0 is None else _start(given, v0)
    pencil = make_pencil(given, mass, options.wanted, OPinv, Minv)
    job, pairs = wanted_pairs(pencil, options, start, started)
    w, V, residuals = pencil.as_given(*pairs)
    order = np.argsort(1.0 / pairs[0], kind="stable") if pencil.exchanged else slice(None)
    done = good(job, pairs)[order]
    vectors = V if given.xp == "numpy" else given.as_vector(V)
    report = make_report(pencil, job, done, residuals, options.wanted.sigma, given.nnz, given.products - before)
    if not report.converged:
        if options.raises:
            raise NotConvergedError(warning_of(report), w[done], V[:, done], report)
        if not options.return_report:
            warnings.warn(warning_of(report), NotConvergedWarning, stacklevel=2)
    answer = (w, vectors) if options.return_eigenvectors else (w,)
    answer = (*answer, report) if options.return_report else answer
    return answer if len(answer) > 1 else w


def _start(A: Operator, v0: Any) -> np.ndarray:
    """Start vectors (n,) or (n, j), the largest entry of each about 1."""
    start = to_numpy(A.as_vector(v0, "v0"))
    sizes = np.abs(start).max(axis=0)
    if not np.all(sizes):
        raise ShapeError("v0 must be a vector (n,) that is not zero, or several (n, j)")
    return start / sizes
