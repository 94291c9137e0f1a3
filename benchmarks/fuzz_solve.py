"""`nnla.solve` on random matrices of every kind: a true residual, a stated failure, or a named error.

    python benchmarks/fuzz_solve.py [--count 1000] [--seed 0] [--limit 10] [--largest 400] [--only INDEX]

Prints a table of outcomes by kind of matrix and a JSON summary; exit code 1 if any solve was silently
wrong, crashed, or hung. Every case is a function of (seed, index), and ``--only`` runs one of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.errors import DTypeError, NNLAError, NonFiniteError, NotSymmetricError
from nnla.problems.random_matrices import KINDS, random_matrix

METHODS = ("auto", "autospec", "chebyshev", "cg", "jacobi", "ic")
OTHER_KINDS = ("zero_rows", "scaled_indefinite", "complex", "nan_in_b", "wrong_length")
FORMS = ("csr", "csc", "coo_duplicates", "dense", "fortran", "float32", "int64_indices", "linear_operator")
SIDES = ("one", "several", "column", "tiny", "huge", "zero", "in_range", "float32")
STATUSES = ("maxiter", "stagnation", "breakdown", "indefinite", "singular")
RTOL = 1e-8
# What must be refused, whatever the form (a black box is only sampled, which finds these too)
_REFUSED = {
    "complex": DTypeError,
    "nan": NonFiniteError,
    "nan_in_b": NonFiniteError,
    "wrong_length": NNLAError,
}


class TimeLimitError(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


@dataclass
class Case:
    """One call of `nnla.solve`, and what is needed to judge it."""

    index: int
    kind: str
    form: str
    side: str
    method: str
    A: Any
    exact: Any  # the same matrix in float64, to recompute with
    b: Any
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = "".join(f", {key}={value!r}" for key, value in self.options.items() if key != "x0")
        n = self.exact.shape[0]
        return f"#{self.index} {self.kind}/{self.form} n={n} b={self.side} method={self.method}{more}"


def make_case(seed: int, index: int, largest: int = 400) -> Case:
    """The case of an index: kind, form and method in turn, so that a few dozen cases see them all."""
    rng = np.random.default_rng([seed, index])
    kinds = (*KINDS, *OTHER_KINDS)
    kind = kinds[index % len(kinds)]
    method = METHODS[int(rng.integers(len(METHODS)))]
    form, side = str(rng.choice(FORMS)), str(rng.choice(SIDES))
    n = int(np.exp(rng.uniform(0.0, np.log(largest))))
    exact = _matrix(kind, n, rng)
    n = exact.shape[0]
    A = _formed(exact, form, rng)
    if form == "float32":  # the user's matrix is the rounded one
        exact = sp.csr_array(A).astype(np.float64)
    b = _side(side, exact, rng)
    if kind == "nan_in_b":
        b = np.array(b, dtype=float)
        b[int(rng.integers(n))] = np.nan
    if kind == "wrong_length":
        b = np.concatenate([b, b[:1]])
    options: dict[str, Any] = {"rtol": RTOL}
    if rng.random() < 0.15:
        options["maxiter"] = int(rng.integers(0, 30))
    if rng.random() < 0.15 and kind != "wrong_length":
        options["x0"] = rng.standard_normal(b.shape) * 10.0 ** rng.uniform(-5, 5)
    if method in ("autospec", "chebyshev") and rng.random() < 0.5:
        options["degree"] = int(rng.integers(1, 40))
        options["scaling"] = str(rng.choice(["auto", "none", "jacobi", "ic"]))
    return Case(index, kind, form, side, method, A, exact, b, options)


def _matrix(kind: str, n: int, rng: np.random.Generator) -> Any:
    if kind == "zero_rows":  # isolated unknowns: singular, and its diagonal shows it
        A = sp.lil_array(random_matrix("spd_sparse", n, rng))
        k = int(rng.integers(n))
        A[[k], :] = 0.0
        A[:, [k]] = 0.0
        return A.tocsr()
    if kind == "scaled_indefinite":  # positive diagonal, so that only the iteration can find out
        lam = np.where(rng.random(n) < 0.2, -1.0, 1.0) * rng.lognormal(0, 1, n)
        A = sp.csr_array(_orthogonal(n, rng) @ np.diag(lam) @ _orthogonal(n, rng).T)
        A = (A + A.T).tocsr()
        shift = max(0.0, -float(A.diagonal().min()))
        return (A + (shift + 1e-3) * sp.eye_array(n)).tocsr() * 10.0 ** rng.uniform(-12, 12)
    if kind in ("complex", "nan_in_b", "wrong_length"):
        return sp.csr_array(random_matrix("spd_sparse", n, rng))
    return sp.csr_array(random_matrix(kind, n, rng))


def _orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def _formed(A: Any, form: str, rng: np.random.Generator) -> Any:
    if form in ("csc", "csr"):
        return A.asformat(form)
    if form == "coo_duplicates":
        C = A.tocoo()
        halves = np.concatenate([C.data / 2, C.data / 2])  # exact: their sum is the entry
        i, j = (np.concatenate([c, c]) for c in C.coords)
        order = rng.permutation(halves.size)
        return sp.coo_array((halves[order], (i[order], j[order])), shape=A.shape)
    if form == "dense":
        return A.toarray()
    if form == "fortran":
        return np.asfortranarray(A.toarray())
    if form == "float32":
        with np.errstate(all="ignore"):
            return A.astype(np.float32)
    if form == "int64_indices":
        C = A.copy()
        return sp.csr_array((C.data, C.indices.astype(np.int64), C.indptr.astype(np.int64)), shape=A.shape)
    return aslinearoperator(A)


def _side(side: str, A: Any, rng: np.random.Generator) -> np.ndarray:
    n = A.shape[0]
    b = rng.standard_normal(n)
    if side == "several":
        k = int(rng.integers(2, 5))
        return rng.standard_normal((n, k)) * (10.0 ** rng.uniform(-12, 12, k) * (rng.random(k) > 0.1))
    if side == "in_range":
        with np.errstate(all="ignore"):
            return np.nan_to_num(A @ b, posinf=1.0, neginf=1.0)
    factor = {"tiny": 1e-200, "huge": 1e200, "zero": 0.0}.get(side, 1.0)
    b = factor * b
    return b[:, None] if side == "column" else b.astype(np.float32) if side == "float32" else b


def judge(case: Case, limit: float) -> tuple[str, str]:
    """Run a case: ("solved" | "stated" | "error", "") or ("wrong" | "crash" | "hang", why)."""
    A = case.A * 1j if case.kind == "complex" and case.form != "linear_operator" else case.A
    if case.kind == "complex" and case.form == "linear_operator":
        A = aslinearoperator(case.exact * 1j)
    kept = [np.array(v, copy=True) for v in _numbers(A, case.b)]
    try:
        with time_limit(limit), warnings.catch_warnings():
            warnings.simplefilter("error")
            x, report = nnla.solve(A, case.b, method=case.method, **case.options)
    except TimeLimitError:
        return "hang", f"no answer within {limit:g} s"
    except NNLAError as error:
        if not str(error) or "\n" in str(error):
            return "wrong", f"{type(error).__name__} without a one-line message: {error!r}"
        wanted = _expected(case)
        if wanted is not None and not isinstance(error, wanted):
            return "wrong", f"expected {wanted.__name__}, got {type(error).__name__}: {error}"
        return "error", type(error).__name__
    except Exception:
        return "crash", traceback.format_exc(limit=-3)
    if _expected(case) is not None:
        return "wrong", f"accepted, status {report.status}"
    if any(not np.array_equal(old, new, equal_nan=True) for old, new in zip(kept, _numbers(A, case.b), strict=True)):
        return "wrong", "A or b was changed"
    return _check_answer(case, x, report)


def _expected(case: Case) -> type[NNLAError] | None:
    if case.kind == "asymmetric" and case.exact.nnz > case.exact.shape[0]:
        return NotSymmetricError
    return _REFUSED.get(case.kind)


def _numbers(A: Any, b: Any) -> list[np.ndarray]:
    if sp.issparse(A):
        parts = [A.data, *([A.indices, A.indptr] if hasattr(A, "indptr") else A.coords)]
        return [*parts, np.asarray(b)]
    return [A, np.asarray(b)] if isinstance(A, np.ndarray) else [np.asarray(b)]


def _check_answer(case: Case, x: Any, report: Any) -> tuple[str, str]:
    b = np.asarray(case.b, dtype=np.float64)
    if np.shape(x) != b.shape or not np.all(np.isfinite(x)):
        return "wrong", f"x has shape {np.shape(x)}, or is not finite"
    relative, rounding = true_residuals(case.exact, x, b)
    if report.converged != (report.status == "converged"):
        return "wrong", f"converged={report.converged} but status={report.status}"
    if report.products < report.products_probe or report.products < 0:
        return "wrong", f"{report.products} products, {report.products_probe} in the probe"
    if case.form in ("csr", "csc", "int64_indices", "float32"):
        rounding = 0.0 * rounding  # the very same sums: nothing to forgive
    if report.converged:
        bad = relative > RTOL * (1 + 1e-6) + rounding
        return ("wrong", f"claims convergence at {relative.max():.2e}") if bad.any() else ("solved", "")
    if report.status not in STATUSES:
        return "wrong", f"status {report.status!r}"
    if np.any(relative > 1 + 1e-8 + rounding) and "x0" not in case.options:
        return "wrong", f"worse than x = 0: {relative.max():.2e}"
    close = abs(report.relative_residual - relative.max()) <= 1e-3 * relative.max() + rounding.max() + 1e-300
    return ("stated", report.status) if close else (
        "wrong", f"reports {report.relative_residual:.3e}, is {relative.max():.3e}"
    )  # fmt: skip


def true_residuals(A: Any, x: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """||b - A x|| / ||b|| per column in float64, and what summing in another order may change in it."""
    X, B = (np.reshape(v, (A.shape[0], -1)) for v in (x, b))
    size = np.abs(B).max(axis=0)
    unit = np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1]), 1.0)  # exact, and within range
    X, B = X / unit, B / unit
    norm = np.linalg.norm(B, axis=0)
    norm = np.where(norm > 0, norm, 1.0)
    longest = int(np.diff(A.indptr).max()) + 1
    rounding = longest * np.finfo(float).eps * np.linalg.norm(abs(A) @ np.abs(X), axis=0)
    return np.linalg.norm(B - A @ X, axis=0) / norm, rounding / norm


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitError` after so many seconds (where the system has alarms; else afterwards)."""
    if not hasattr(signal, "setitimer"):
        started = time.perf_counter()
        yield
        if time.perf_counter() - started > seconds:
            raise TimeLimitError
        return

    def ring(signum: int, frame: Any) -> None:
        raise TimeLimitError

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, old)


def run(count: int, seed: int = 0, limit: float = 10.0, largest: int = 400, indices: Any = None) -> dict[str, Any]:
    """Judge ``count`` cases: totals, outcomes by kind and by method, errors by name, failures in full."""
    totals: Counter[str] = Counter()
    by_kind: dict[str, Counter[str]] = {}
    by_method: dict[str, Counter[str]] = {}
    details: Counter[str] = Counter()
    failures, slowest = [], (0.0, "")
    for index in range(count) if indices is None else indices:
        case = make_case(seed, index, largest)
        started = time.perf_counter()
        outcome, why = judge(case, limit)
        slowest = max(slowest, (time.perf_counter() - started, str(case)))
        totals[outcome] += 1
        by_kind.setdefault(case.kind, Counter())[outcome] += 1
        by_method.setdefault(case.method, Counter())[outcome] += 1
        if outcome in ("error", "stated"):
            details[why] += 1
        if outcome in ("wrong", "crash", "hang"):
            failures.append({"case": str(case), "outcome": outcome, "why": why})
    return {
        "count": sum(totals.values()),
        "seed": seed,
        "totals": dict(totals),
        "by_kind": {key: dict(value) for key, value in sorted(by_kind.items())},
        "by_method": {key: dict(value) for key, value in sorted(by_method.items())},
        "details": dict(details.most_common()),
        "slowest": {"seconds": round(slowest[0], 2), "case": slowest[1]},
        "failures": failures,
    }


def table(summary: dict[str, Any]) -> str:
    """Outcomes by kind and by method as text."""
    names = ("solved", "stated", "error", "wrong", "crash", "hang")
    lines = [f"{'':26s}" + "".join(f"{name:>8s}" for name in names)]
    for part in ("by_kind", "by_method"):
        lines += [
            f"{key:26s}" + "".join(f"{row.get(name, 0):8d}" for name in names) for key, row in summary[part].items()
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for one solve")
    parser.add_argument("--largest", type=int, default=400, help="unknowns at most")
    parser.add_argument("--only", type=int, help="run the case of this index alone")
    args = parser.parse_args()
    indices = None if args.only is None else [args.only]
    summary = run(args.count, args.seed, args.limit, args.largest, indices)
    print(table(summary))
    print(json.dumps(summary))
    return 1 if summary["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
