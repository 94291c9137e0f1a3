"""The same eigenpairs by every method, SciPy's included: what each costs, and what its answer is worth."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, lobpcg
from scipy.sparse.linalg import eigsh as arpack

from nnla.eigen.iteration import multiply
from nnla.eigen.solver import eigsh
from nnla.errors import NNLAError
from nnla.operators.operator import Operator, as_operator

__all__ = ["EigenRow", "compare_eigensolvers"]

_OWN: dict[str, dict[str, Any]] = {
    "autospec": {"method": "autospec"},
    "chebyshev, cut 1.5 k + 1": {"method": "chebyshev"},
    "chebyshev, cut 3.5 k": {"method": "chebyshev", "cut": 3.5},
    "power": {"method": "power"},
    "plain": {"method": "plain"},
    "direct": {"method": "direct"},
    "auto": {"method": "auto"},
}
_AT_MOST = 400  # fillings of the subspace
_LARGEST_DIRECT = 2_000_000  # unknowns


@dataclass(frozen=True)
class EigenRow:
    """One method's figures; ``residual`` is the largest ``||A v - lambda v|| / ||A||``, by the same judge for all.

    ``seconds`` are those of the clock, ``cpu`` those of all processors.
    """

    method: str
    converged: bool
    residual: float
    restarts: int | None
    products: int
    orthogonalisation_flops: float | None
    seconds: float
    note: str = ""
    cpu: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


def compare_eigensolvers(
    A: Any,
    k: int = 6,
    *,
    which: str = "SA",
    tol: float = 1e-10,
    ncv: int | None = None,
    methods: list[str] | None = None,
    seed: int = 0,
    patience: float = 20.0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> list[EigenRow]:
    """The k extremal eigenpairs by each method, one after the other.

    Parameters
    ----------
    A, k, which, tol, ncv, seed : as of `nnla.eigsh`
    methods : names of rows, all by default
    patience : SciPy's solvers are stopped at so many times the products of the slowest of ours
    progress : called as ``progress(name, done, total)``
    options : further options of `nnla.eigsh`

    Returns
    -------
    list of EigenRow. SciPy's tolerance is relative to the eigenvalue, ours to ``||A||``: "arpack" is asked for ``tol``
    as its own, "arpack, same residual" for what makes its residuals about as large as ours.

    Notes
    -----
    Cost: every method runs once; SciPy's end at ``patience`` times the products of the slowest of ours.

    References
    ----------
    Lehoucq, Sorensen, Yang, ARPACK Users' Guide (1998). Knyazev, Toward the optimal preconditioned eigensolver, SIAM J.
    Sci. Comput. 23 (2001) 517-541 (LOBPCG).
    """
    op = as_operator(A, definite=False)
    names = [*_OWN, "arpack", "arpack, same residual", "lobpcg"] if methods is None else methods
    rows: list[EigenRow] = []
    norm, values, most = math.nan, np.empty(0), 1000
    for done, name in enumerate(names):
        if progress is not None:
            progress(name, done, len(names))
        if name in _OWN:
            if name == "direct" and (op.csr is None or op.n > _LARGEST_DIRECT):
                continue
            try:
                used = time.process_time()
                extra: dict[str, Any] = {"maxiter": _AT_MOST} | options | _OWN[name]
                w, _, report = eigsh(op, k, which=which, tol=tol, ncv=ncv, seed=seed, return_report=True, **extra)
            except NNLAError as error:
                rows.append(EigenRow(name, False, math.nan, None, 0, None, 0.0, str(error)))
                continue
            norm, most = report.norm, max(most, report.products)
            values = w if report.converged else values
            rows.append(
                EigenRow(
                    name, report.converged, max(report.residuals) / norm if norm else 0.0, report.restarts,
                    report.products, report.orthogonalisation_flops, report.seconds["total"],
                    report.fallback or ("" if report.verified else "not verified"), time.process_time() - used,
                )
            )  # fmt: skip
        else:
            if not np.isfinite(norm):
                norm = float(np.abs(arpack(_counted(op, math.inf), k=1, which="LM", return_eigenvectors=False)[0]))
            own = tol
            if name.endswith("same residual"):
                if not values.size:
                    continue
                own = min(tol * norm / max(float(np.abs(values).max()), 1e-300), 1e-2)
            rows.append(_scipy(op, name, k, which, own, tol, ncv, norm, seed, patience * most))
    return rows


class _OutOfPatienceError(Exception):
    pass


def _counted(op: Operator, limit: float) -> LinearOperator:
    begun = op.products

    def matvec(v: np.ndarray) -> np.ndarray:
        if op.products - begun > limit:
            raise _OutOfPatienceError
        return multiply(op, np.ascontiguousarray(v).reshape(op.n, -1).squeeze())

    def matmat(V: np.ndarray) -> np.ndarray:
        return np.stack([matvec(v) for v in V.T], axis=1)

    make: Any = LinearOperator  # whose constructor picks a subclass, which type checkers do not see
    return make(op.shape, matvec=matvec, matmat=matmat, dtype=np.dtype(np.float64))


def _scipy(
    op: Operator, name: str, k: int, which: str, own: float, tol: float, ncv: int | None, norm: float, seed: int,
    limit: float,
) -> EigenRow:  # fmt: skip
    before, clock, note = op.products, time.perf_counter(), f"SciPy's tol {own:.1e}"
    used = time.process_time()
    rng = np.random.default_rng(seed)
    solve: Any = arpack  # its annotations want integers for tol
    counted = _counted(op, limit)
    try:
        if name == "lobpcg":
            import warnings

            X = rng.standard_normal((op.n, k))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of what the residuals show
                w, V = lobpcg(counted, X, largest=which == "LA", tol=tol * norm, maxiter=int(limit // k))
            note = f"SciPy's tol {tol * norm:.1e}, absolute"
        else:
            w, V = solve(counted, k=k, which=which, tol=own, ncv=ncv, v0=rng.standard_normal(op.n), maxiter=10 * op.n)
    except (_OutOfPatienceError, ArpackError, ValueError, np.linalg.LinAlgError) as error:
        seconds = time.perf_counter() - clock
        why = "stopped" if isinstance(error, _OutOfPatienceError) else f"failed: {error}"
        used = time.process_time() - used
        return EigenRow(name, False, math.nan, None, op.products - before, None, seconds, f"{note}; {why}", used)
    used = time.process_time() - used
    seconds, products = time.perf_counter() - clock, op.products - before
    residual = max(
        float(np.linalg.norm(multiply(op, np.ascontiguousarray(v)) - x * v)) for x, v in zip(w, V.T, strict=True)
    )
    return EigenRow(name, residual <= 1.5 * tol * norm, residual / norm, None, products, None, seconds, note, used)
