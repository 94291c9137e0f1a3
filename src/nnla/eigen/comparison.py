"""The same eigenpairs by every method, other people's included: what each costs, and what its answer is worth."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.linalg import eigsh as arpack

from nnla.eigen.iteration import multiply
from nnla.eigen.missing import best_known, count_lacking
from nnla.eigen.peer_packages import package_peers
from nnla.eigen.peers import Answer, Question, Watch, refuse_dear, scipy_peers
from nnla.eigen.pencil import mass_operator
from nnla.eigen.solver import eigsh
from nnla.eigen.wanted import Wanted
from nnla.errors import NNLAError, OptionError
from nnla.kernels.cholesky import Cholesky
from nnla.operators.operator import Operator, as_operator

__all__ = ["PEERS", "EigenRow", "compare_eigensolvers"]

_OWN: dict[str, dict[str, Any]] = {
    "auto": {"method": "auto"},
    "direct": {"method": "direct"},
    "autospec": {"method": "autospec"},
    "chebyshev, cut 1.5 k + 1": {"method": "chebyshev"},
    "chebyshev, cut 3.5 k": {"method": "chebyshev", "cut": 3.5},
    "power": {"method": "power"},
    "plain": {"method": "plain"},
}
_ANY_PROBLEM = ("auto", "direct")  # of them, those for shifts, masses and more than one end
PEERS = (
    "scipy sigma, symmetric ordering", "scipy sigma", "arpack", "arpack, same residual", "lobpcg, amg", "lobpcg",
    "primme", "primme, amg", "slepc", "slepc sigma",
)  # fmt: skip
_FIRST = PEERS[:2]  # in the table: what people call
_AT_MOST = 400  # fillings of the subspace
_LARGEST_DIRECT = 2_000_000  # unknowns
_SECONDS = 30.0  # that another solver may always take
_SAME = 1e-5  # of what the wanted eigenvalues differ by: two that are nearer are the same
_TOLD = 1e-5  # of the largest wanted eigenvalue: residuals that tell it from zero
_ROUNDING = 1e-13  # of the norm
_ORTHOGONAL = 1e-6


@dataclass(frozen=True)
class EigenRow:
    """One method's figures; all are judged alike.

    Attributes
    ----------
    method : its name
    converged : there are k pairs, every residual is within 1.5 times the tolerance (of ours: what its report says), and
        the vectors are orthonormal; right is what has converged and misses nothing
    residual : largest ``||A v - lambda M v|| / (||A|| ||v||)``, NaN without an answer
    restarts : fillings of the subspace, of ours
    products : with A
    orthogonalisation_flops : of ours
    seconds, cpu : those of the clock, and those of all processors
    note : what the tolerance is relative to, why there is no answer, ...
    asked : the tolerance asked for
    missing : eigenvalues of the best answer of all rows that this one lacks, copies counted; None where that cannot
        be told, as the values are not accurate enough
    solves : with a factor, or applications of a preconditioner
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
    asked: float = math.nan
    missing: int | None = None
    solves: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


def compare_eigensolvers(
    A: Any,
    k: int = 6,
    *,
    M: Any = None,
    sigma: float | None = None,
    which: str | None = None,
    mode: str = "normal",
    tol: float = 1e-10,
    ncv: int | None = None,
    methods: Sequence[str] | None = None,
    seed: int = 0,
    patience: float = 20.0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> list[EigenRow]:
    """The same k eigenpairs by each method, one after the other.

    Parameters
    ----------
    A, k, M, sigma, which, mode, tol, ncv, seed : as of `nnla.eigsh`
    methods : names of rows, all by default; those of `PEERS` are other people's
    patience : others are stopped at so many times the products of the slowest of ours, or so many times its seconds
        (30 at least)
    progress : called as ``progress(name, done, total)``
    options : further options of `nnla.eigsh`

    Returns
    -------
    list of EigenRow
        SciPy's with a shift first, then ours, then others. "scipy sigma" is SciPy's ``eigsh(sigma=)``: the shift asked
        for, or for the smallest eigenvalues of a definite matrix 0, of a singular one a little less. Rows that need a
        package that is not installed (PyAMG, PRIMME, slepc4py), entries, or a definite matrix are left out.

    Raises
    ------
    What `nnla.eigsh` raises; OptionError for a row that does not exist.

    Notes
    -----
    Tolerances do not mean the same everywhere: SciPy's is relative to the eigenvalue, after the transformation if
    there is one, ours, LOBPCG's, PRIMME's and SLEPc's to ``||A||``. "arpack, same residual" is asked for what makes its
    residuals about as large as ours.

    ``missing`` is as good as the best row. One of ours whose note says that eigenvalues were counted is proved to have
    them all.

    Cost: every method runs once, within ``patience``. A factorisation by others is left out where it would take longer
    than that, and cannot be stopped once begun, but Ctrl-C is heard.

    References
    ----------
    Lehoucq, Sorensen, Yang, ARPACK Users' Guide (1998). Knyazev, Toward the optimal preconditioned eigensolver, SIAM J.
    Sci. Comput. 23 (2001) 517-541 (LOBPCG). Stathopoulos, McCombs, PRIMME, ACM Trans. Math. Softw. 37 (2010) 21.
    Hernandez, Roman, Vidal, SLEPc, ACM Trans. Math. Softw. 31 (2005) 351-362.

    Examples
    --------
    >>> import nnla
    >>> rows = compare_eigensolvers(nnla.problems.poisson2d(20), 3, methods=["direct", "scipy sigma"])
    >>> [(row.method, row.converged, row.missing) for row in rows]
    [('scipy sigma', True, 0), ('direct', True, 0)]
    """
    op = as_operator(A, definite=False)
    mass = None if M is None else mass_operator(M, op.n)
    M = None if mass is None else mass.csr
    wanted = Wanted(which or ("SA" if sigma is None else "LM"), k, sigma, mode)
    own, others, total = _names(op, mass, wanted, methods)
    extra = {"M": mass if M is None else M, "sigma": sigma, "which": which, "mode": mode}
    extra |= {"tol": tol, "ncv": ncv, "seed": seed, "maxiter": _AT_MOST} | options
    runs: list[_Run] = []
    for done, name in enumerate(own):
        if progress is not None:
            progress(name, done, total)
        runs.append(_ours(op, M, k, name, extra | _OWN[name]))
    unlisted = [_ours(op, M, k, "auto", extra | _OWN["auto"])] if others and _reference(runs) is None else []
    if others:
        q = _question(op, M, wanted, tol, ncv, seed, patience, runs + unlisted)
        peers = scipy_peers(q) | package_peers(q)
        for done, name in enumerate(others):
            if progress is not None:
                progress(name, len(own) + done, total)
            if name in peers:
                runs.append(_theirs(q, name, peers[name]))
    good = [run for run in runs + unlisted if run.trusted]
    within = max((run.within for run in good), default=0.0)
    reference = best_known([run.w for run in good], wanted, within) if good else np.empty(0)
    rows = [_judged(run, reference, within) if reference.size == k else run.row for run in runs]
    return sorted(rows, key=lambda row: _FIRST.index(row.method) if row.method in _FIRST else len(_FIRST))


@dataclass(frozen=True)
class _Run:
    row: EigenRow
    w: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    norm: float = math.nan
    mass_norm: float = 1.0
    verified: bool = False

    @property
    def trusted(self) -> bool:
        """Whether the values are eigenvalues, told from zero, and not only within a tolerance that is larger."""
        scale = float(np.abs(self.w).max(initial=0.0)) * self.mass_norm
        return self.row.converged and self.row.residual * self.norm <= max(_TOLD * scale, _ROUNDING * self.norm)

    @property
    def within(self) -> float:
        """Distance of two values that are the same: small beside what the wanted ones differ by, and not rounding."""
        spread, largest = float(np.ptp(self.w)), float(np.abs(self.w).max())
        return max(_SAME * spread, _SAME**2 * largest, _ROUNDING * self.norm / self.mass_norm)


def _names(
    op: Operator, mass: Operator | None, wanted: Wanted, methods: Sequence[str] | None
) -> tuple[list[str], list[str], int]:
    """Rows of ours and of others, and how many in all."""
    simple = mass is None and wanted.sigma is None and wanted.which in ("SA", "LA")
    names = [*(_OWN if simple else _ANY_PROBLEM), *PEERS] if methods is None else list(methods)
    unknown = [name for name in names if name not in _OWN and name not in PEERS]
    if unknown:
        raise OptionError(f"methods: there is no row {unknown[0]!r}; use some of {', '.join([*_OWN, *PEERS])}")
    entries = op.csr is not None and op.n <= _LARGEST_DIRECT
    own = [name for name in names if name in _OWN and (name != "direct" or entries)]
    others = [name for name in names if name in PEERS and (mass is None or mass.csr is not None)]
    return own, others, len(names)


def _reference(runs: list[_Run]) -> _Run | None:
    """One of ours to take norm and eigenvalues from."""
    return next((run for run in runs if run.verified), next((run for run in runs if run.w.size), None))


def _ours(op: Operator, M: Any, k: int, name: str, options: dict[str, Any]) -> _Run:
    used, clock = time.process_time(), time.perf_counter()
    try:
        w, V, report = eigsh(op, k, return_report=True, **options)
    except NNLAError as error:
        if name == "auto":  # which takes everything that makes sense
            raise
        return _Run(EigenRow(name, False, math.nan, None, 0, None, time.perf_counter() - clock, str(error)))
    cpu = time.process_time() - used
    note = report.fallback or ("" if report.verified else "not verified")
    if report.count_at is not None and report.verified:
        note = "; ".join(text for text in (note, "counted by inertia") if text)
    mass_norm = report.mass_norm or 1.0
    residual, orthogonal = _judge(op, M, w, V, report.norm, mass_norm, report.mode)
    row = EigenRow(
        name, report.converged and orthogonal, residual, report.restarts, report.products,
        report.orthogonalisation_flops, report.seconds["total"], note, cpu, report.tol, None, report.solves or None,
    )  # fmt: skip
    return _Run(row, w, report.norm, mass_norm, report.verified)


def _theirs(q: Question, name: str, solve: Callable[[Watch], Answer]) -> _Run:
    before, clock, used = q.op.products, time.perf_counter(), time.process_time()
    watch = Watch(q)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the residuals tell what they warn of
            answer = solve(watch)
    except Exception as error:  # of many libraries, each with errors of its own
        if watch.ended is not None and not isinstance(watch.ended, Exception):
            raise watch.ended from None  # Ctrl-C, which a library took for a failure of its callback
        error = watch.ended if isinstance(watch.ended, Exception) else error
        seconds, cpu = time.perf_counter() - clock, time.process_time() - used
        why = " ".join(str(error).split())[:160] or type(error).__name__
        row = EigenRow(name, False, math.nan, None, q.op.products - before, None, seconds, why, cpu, q.tol)
        return _Run(row)
    seconds, cpu, products = time.perf_counter() - clock, time.process_time() - used, q.op.products - before
    order = np.argsort(answer.w)
    w, V = answer.w[order], answer.V[:, order]
    residual, orthogonal = _judge(q.op, q.M, w, V, q.norm, q.mass_norm, q.mode)
    good = residual <= 1.5 * q.tol and orthogonal and w.size == q.k
    note = f"tol {answer.note}" + ("" if orthogonal else "; the vectors are not orthogonal")
    note += "" if w.size == q.k else f"; {w.size} pairs only"
    row = EigenRow(name, good, residual, None, products, None, seconds, note, cpu, answer.asked, None, answer.solves)
    return _Run(row, w, q.norm, q.mass_norm)


def _judge(op: Operator, M: Any, w: np.ndarray, V: Any, norm: float, mass_norm: float, mode: str) -> tuple[float, bool]:
    """The largest residual by (||A|| + |lambda| ||M||) ||v||, and whether the vectors are orthonormal as they should.

    Without M its part of the scale is left out, as `nnla.eigsh` does.
    """
    V = np.asarray(V, dtype=np.float64)
    if V.shape[1] == 0 or not np.isfinite(V).all():
        return math.nan, False
    AV = np.stack([multiply(op, np.ascontiguousarray(v)) for v in V.T], axis=1)
    MV = V if M is None else M @ V
    lengths = np.array([_length(v) for v in V.T])
    residuals = np.array([_length(r) for r in (AV - w * MV).T]) / lengths
    scale = norm + (0.0 if M is None else np.abs(w) * mass_norm)
    # with unit vectors, as M may be in any unit
    inner = (V / lengths).T @ ((AV if mode == "buckling" else MV) / lengths)
    sizes = np.sqrt(np.abs(np.diag(inner))) + np.finfo(np.float64).tiny
    orthogonal = bool(np.abs(inner / np.outer(sizes, sizes) - np.eye(len(w))).max() <= _ORTHOGONAL)
    return float((residuals / scale if norm else residuals).max()), orthogonal


def _length(v: np.ndarray) -> float:
    """||v||, in any unit."""
    largest = float(np.abs(v).max())
    return largest * float(np.linalg.norm(v / largest)) if largest > 0 else 0.0


def _question(
    op: Operator, M: Any, wanted: Wanted, tol: float, ncv: int | None, seed: int, patience: float, runs: list[_Run]
) -> Question:
    known = _reference(runs)
    w = known.w if known is not None else np.empty(0)
    norm = known.norm if known is not None else math.nan
    if not norm > 0:
        norm = float(np.abs(arpack(_plain(op), k=1, which="LM", return_eigenvectors=False)[0])) or 1.0
    shift, definite = _shift(op, M, wanted, w, norm)
    return Question(
        op=op,
        M=M,
        k=wanted.k,
        which=wanted.which,
        sigma=wanted.sigma,
        mode=wanted.mode,
        tol=tol,
        norm=norm,
        mass_norm=known.mass_norm if known is not None else 1.0,
        size=float(np.abs(w).max(initial=0.0)),
        ncv=ncv,
        seed=seed,
        shift=shift,
        definite=definite,
        products=patience * max([1000, *(run.row.products for run in runs)]),
        seconds=max([_SECONDS, *(patience * run.row.seconds for run in runs)]),
    )


def _plain(op: Operator) -> Any:
    from scipy.sparse.linalg import LinearOperator

    make: Any = LinearOperator
    return make(op.shape, matvec=lambda v: multiply(op, np.ascontiguousarray(v).ravel()), dtype=np.dtype(np.float64))


def _shift(op: Operator, M: Any, wanted: Wanted, w: np.ndarray, norm: float) -> tuple[float | None, bool]:
    """Where others may shift and invert, and whether the matrix is definite there and the wanted end next to it."""
    if op.csr is None:
        return None, False
    if wanted.sigma is not None:
        next_to = wanted.mode == "normal" and wanted.which in ("LM", "LA")
        return wanted.sigma, next_to and _definite(op, M, wanted.sigma)
    if wanted.which not in ("SA", "SM") or not w.size:
        return None, False
    if np.abs(w).min() > 1e-12 * norm:
        definite = w[0] > 0 and _definite(op, M, 0.0)
        # that of an indefinite matrix lies inside; nobody knows one below it beforehand
        return (0.0, definite) if definite or wanted.which == "SM" else (None, False)
    if w[0] < -1e-10 * norm:
        return None, False
    below = min(-0.05 * float(np.ptp(w)), -1e-8 * norm)
    return (below, True) if _definite(op, M, below) else (None, False)


def _definite(op: Operator, M: Any, shift: float) -> bool:
    """Whether A - shift M is positive definite, by a factorisation."""
    if not Cholesky.available():
        return False
    B = eye_array(op.n, format="csr") if M is None else M
    S = csr_array(op.csr - shift * B) if shift else op.csr
    try:
        refuse_dear(csc_array(S), _SECONDS)
        Cholesky(S).factor()
    except Exception:  # whatever the reason, it is not known to be definite
        return False
    return True


def _judged(run: _Run, reference: np.ndarray, within: float) -> EigenRow:
    """The row with what it lacks of the best answer."""
    if not run.w.size:
        return run.row
    missing = count_lacking(run.w, reference, within)
    # what has not converged may lack nothing but digits
    return dataclasses.replace(run.row, missing=missing) if missing == 0 or run.row.converged else run.row
