"""Other people's eigensolvers, asked for the same pairs: SciPy's here, others' in `nnla.eigen.peer_packages`.

All get the same matrix, count products in the same operator, end when they take too long, and give way to Ctrl-C.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import LinearOperator, lobpcg, splu
from scipy.sparse.linalg import eigsh as arpack

from nnla.eigen.iteration import multiply
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.operators.operator import Operator

__all__ = [
    "Answer",
    "OutOfPatienceError",
    "Question",
    "Watch",
    "in_thread",
    "installed",
    "multigrid",
    "refuse_dear",
    "relative",
    "scipy_peers",
]

_SMALL = 20_000  # unknowns up to which a factorisation of unknown cost is tried
_SPEED = 1e9  # operations a second of a sparse factorisation without dense blocks
_COLUMNS = 5.0  # times as much may a column ordering, which is made for unsymmetric matrices, cost
_ENTRY = 12.0  # bytes of a stored entry and its index


class OutOfPatienceError(Exception):
    """A solver took too long; the message says what was not waited for."""


@dataclass(frozen=True)
class Question:
    """What all are asked for.

    Attributes
    ----------
    op : A, which counts its products
    M : sparse mass matrix, or None
    k, which, sigma, mode : as of `nnla.eigsh`
    tol : asked of those whose tolerance is ours: residuals of ``tol norm``
    norm, mass_norm : of A and of M (1 without)
    size : of the largest wanted eigenvalue in magnitude, about
    ncv : vectors of the subspace, or None
    seed : of random start vectors
    shift : where to shift and invert: ``sigma``, or just below the wanted end; None where that is not to be had
    definite : A - shift M is positive definite, and the wanted eigenvalues are those next to the shift
    products, seconds : that each may take
    """

    op: Operator
    M: Any
    k: int
    which: str
    sigma: float | None
    mode: str
    tol: float
    norm: float
    mass_norm: float
    size: float
    ncv: int | None
    seed: int
    shift: float | None
    definite: bool
    products: float
    seconds: float

    def shifted(self) -> csc_array:
        """A - shift M, whose columns are also its rows."""
        from scipy.sparse import eye_array

        assert self.op.csr is not None
        A, s = csc_array(self.op.csr), self.shift
        if not s:
            return A
        return csc_array(A - s * (eye_array(self.op.n, format="csc") if self.M is None else csc_array(self.M)))


@dataclass(frozen=True)
class Answer:
    """Eigenvalues (m,), vectors (n, m), the tolerance asked for, in words what it means, and solves with a factor."""

    w: np.ndarray
    V: np.ndarray
    asked: float
    note: str
    solves: int | None = None


class Watch:
    """Stands between a solver and its operator: counts, and ends the solver when it has had enough.

    Libraries may swallow what their callbacks raise; `ended` keeps it.
    """

    def __init__(self, q: Question) -> None:
        self._q, self._begun, self._until = q, q.op.products, time.monotonic() + q.seconds
        self.ended: BaseException | None = None
        self.solves = 0

    def check(self) -> None:
        """Raise if products or seconds are used up."""
        if self._q.op.products - self._begun > self._q.products or time.monotonic() > self._until:
            self.ended = OutOfPatienceError("stopped")
            raise self.ended

    def product(self, v: np.ndarray) -> np.ndarray:
        """A v."""
        try:
            self.check()
            return multiply(self._q.op, np.ascontiguousarray(v).reshape(self._q.op.n, -1).squeeze(-1))
        except BaseException as error:
            self.ended = error
            raise

    def products(self, V: np.ndarray) -> np.ndarray:
        """A V, a column at a time, as single products are what is counted."""
        return np.stack([self.product(v) for v in V.T], axis=1)

    def operator(self) -> LinearOperator:
        """A for SciPy and its kind."""
        return _operator(self._q.op.n, self.product, self.products)

    def solver(self, solve: Callable[[np.ndarray], np.ndarray]) -> LinearOperator:
        """Solves or a preconditioner for SciPy and its kind."""

        def one(b: np.ndarray) -> np.ndarray:
            try:
                self.check()
                self.solves += 1
                return solve(np.ascontiguousarray(b).reshape(self._q.op.n, -1).squeeze(-1))
            except BaseException as error:
                self.ended = error
                raise

        return _operator(self._q.op.n, one, lambda B: np.stack([one(b) for b in B.T], axis=1))


def _operator(n: int, matvec: Callable[[Any], Any], matmat: Callable[[Any], Any]) -> LinearOperator:
    make: Any = LinearOperator  # whose constructor picks a subclass, which type checkers do not see
    return make((n, n), matvec=matvec, matmat=matmat, dtype=np.dtype(np.float64))


def in_thread(work: Callable[[], Any]) -> Any:
    """The result of a long call into a library that does not look for Ctrl-C, which is heard meanwhile.

    An interrupt leaves the call behind, to end by itself or with the process.

    Examples
    --------
    >>> in_thread(lambda: 1 + 1)
    2
    """
    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.05)
    if failure:
        raise failure[0]
    return result[0]


def installed(module: str) -> bool:
    """Whether a module can be imported, which is done here, and so is no part of what is measured later.

    Examples
    --------
    >>> installed("numpy"), installed("no_such_module")
    (True, False)
    """
    try:
        import_module(module)
    except Exception:  # one that is there, but broken, is of as little use
        return False
    return True


def relative(q: Question) -> str:
    """What a tolerance relative to ||A|| means where vectors are scaled with M."""
    return "of ||A||" + ("" if q.M is None else ", vectors of M-norm 1")


def multigrid(q: Question) -> Callable[[np.ndarray], np.ndarray]:
    """A V-cycle of PyAMG's smoothed aggregation for A - shift M, with its defaults."""
    from pyamg import smoothed_aggregation_solver

    matrix = q.shifted().tocsr()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    levels: Any = smoothed_aggregation_solver(matrix)
    return levels.aspreconditioner().matvec


def scipy_peers(q: Question) -> dict[str, Callable[[Watch], Answer]]:
    """SciPy's ways to these pairs by name, the best first."""
    found: dict[str, Callable[[Watch], Answer]] = {}
    if q.shift is not None and q.op.csr is not None:
        found["scipy sigma, symmetric ordering"] = lambda watch: _shift_invert(q, watch, symmetric=True)
        found["scipy sigma"] = lambda watch: _shift_invert(q, watch, symmetric=False)
    if q.sigma is None:
        found["arpack"] = lambda watch: _arpack(q, watch, q.tol)
        same = min(q.tol * q.norm / max(q.size, 1e-300), 1e-2)
        found["arpack, same residual"] = lambda watch: _arpack(q, watch, same)
    if q.definite or (q.sigma is None and q.which in ("SA", "LA")):
        if q.definite and installed("pyamg"):
            found["lobpcg, amg"] = lambda watch: _lobpcg(q, watch, amg=True)
        found["lobpcg"] = lambda watch: _lobpcg(q, watch, amg=False)
    return found


def _start(q: Question, columns: int = 1) -> np.ndarray:
    return np.random.default_rng(q.seed).standard_normal((q.op.n, columns))


def _arpack(q: Question, watch: Watch, own: float) -> Answer:
    solve: Any = arpack  # its annotations want integers for tol
    mass = None if q.M is None else csc_array(q.M)  # SciPy factors it
    start, most = _start(q)[:, 0], 10 * q.op.n
    w, V = solve(watch.operator(), k=q.k, M=mass, which=q.which, tol=own, ncv=q.ncv, v0=start, maxiter=most)
    return Answer(w, V, own, "of the eigenvalue")


def _shift_invert(q: Question, watch: Watch, *, symmetric: bool) -> Answer:
    """SciPy's `eigsh(sigma=)`, with the factor it makes by itself, or SuperLU's for symmetric matrices."""
    S = q.shifted()
    refuse_dear(S, q.seconds, 1.0 if symmetric else _COLUMNS)
    if symmetric:
        options: dict[str, Any] = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0}
        options["options"] = {"SymmetricMode": True}
    else:
        options = {}
    factor: Any = in_thread(lambda: splu(S, **options))
    which = "LM" if q.sigma is None else q.which
    solve: Any = arpack
    w, V = solve(
        csc_array(q.op.csr), k=q.k, M=None if q.M is None else csc_array(q.M), sigma=q.shift, which=which, mode=q.mode,
        tol=q.tol, ncv=q.ncv, v0=_start(q)[:, 0], OPinv=watch.solver(factor.solve),
    )  # fmt: skip
    return Answer(w, V, q.tol, f"of the transformed eigenvalue; sigma = {q.shift:.6g}", watch.solves)


def refuse_dear(S: csc_array, seconds: float, times: float = 1.0) -> None:
    """Say, instead of factoring, that it would take too long or too much memory.

    Parameters
    ----------
    S : sparse (n, n), symmetric
    seconds : that it may take
    times : as much work as an ordering made for symmetric matrices leaves

    Raises
    ------
    OutOfPatienceError

    Notes
    -----
    Cost: a symbolic factorisation.
    """
    n = S.indptr.size - 1
    if not Cholesky.available():
        if n > _SMALL:
            raise OutOfPatienceError(f"left out: n = {n}, and without the native kernels nobody knows what it takes")
        return
    analysed = Cholesky(S.tocsr())
    needed, memory = times * analysed.flops / _SPEED, 2 * math.sqrt(times) * _ENTRY * analysed.nnz
    if needed > seconds:
        raise OutOfPatienceError(f"left out: factoring would take {needed:.2g} s or so")
    if memory > 0.5 * memory_limit():
        raise OutOfPatienceError(f"left out: the factor would take {memory / 1e9:.2g} GB or so")


def _lobpcg(q: Question, watch: Watch, *, amg: bool) -> Answer:
    precondition = watch.solver(multigrid(q)) if amg else None
    mass = None if q.M is None else csc_array(q.M)
    w, V = lobpcg(
        watch.operator(), _start(q, q.k), B=mass, M=precondition, largest=q.sigma is None and q.which == "LA",
        tol=q.tol * q.norm, maxiter=int(min(max(q.products // q.k, 1), 1e6)),
    )  # fmt: skip
    return Answer(np.asarray(w), np.asarray(V), q.tol, relative(q), watch.solves if amg else None)
