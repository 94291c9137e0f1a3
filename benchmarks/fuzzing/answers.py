"""The answer of a solve against the true residual."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzzing.cases import right, wrong
from fuzzing.residuals import Residual, columns, norms, product, residual
from fuzzing.systems import System

__all__ = ["judge_solution"]


def judge_solution(
    S: System, x: Any, report: Any, options: dict[str, Any], must: bool, seen: list[np.ndarray]
) -> tuple[str, str]:
    """The answer of a solve against the true residual."""
    b = S.exact_b
    if tuple(np.shape(x)) != b.shape:
        return wrong(f"x has shape {np.shape(x)}, b {b.shape}")
    X = columns(x, S.matrix.n)
    if not np.all(np.isfinite(X)):
        return wrong(f"x is not finite, status {report.status}")
    if report.converged != (report.status == "converged"):
        return wrong(f"converged={report.converged}, status={report.status}")
    R = residual(S.exact, x, b)
    rtol, atol = options.get("rtol", 1e-8), options.get("atol", 0.0)
    if report.converged:
        return _judge_converged(S, X, R, rtol, atol, options, report)
    rounded = report.status == "rounding"  # a backward stable x of a graded system may leave more than b is long
    if not rounded and "x0" not in options and np.any(R.size > R.target * (1 + 1e-6) + 4 * R.rounding):
        return wrong(f"worse than x = 0: {R.relative.max():.2e}, status {report.status}")
    claimed, true = float(report.relative_residual), float(R.relative.max())
    slack = float((R.rounding / np.where(R.target > 0, R.target, 1)).max())
    if S.range and not abs(claimed - true) <= 1e-3 * true + 4 * slack + 1e-300:
        return wrong(f"reports {claimed:.3e}, is {true:.3e}, status {report.status}")
    # what least squares leave beside a null space may be more than a huge iterate did
    better = None if report.status == "singular" else _best_seen(S, R, seen)
    if better is not None:
        return wrong(f"not the best iterate: {true:.3e}, one seen by the callback had {better:.3e}")
    if must and R.backward.max() > 1e-14 and _attainable(S, R, rtol):
        condition = f"scaled condition {S.matrix.condition:.1e}"
        return "missed", f"easy, and {report.status} at {true:.1e} ({condition}); {report.fallback}"
    return "stated", str(report.status)


def _judge_converged(
    S: System, X: np.ndarray, R: Residual, rtol: float, atol: float, options: dict[str, Any], report: Any
) -> tuple[str, str]:
    bound = np.maximum(rtol * R.target, atol)
    if np.any(R.size > bound * (1 + 1e-6) + 4 * R.rounding):
        return wrong(f"converged at a true relative residual of {R.relative.max():.2e}")
    if R.scaled is not None and R.scaled_target is not None and R.scaled_rounding is not None and atol == 0.0:
        # of an operator known by its products the diagonal is an estimate
        clearly = 1000.0 if S.form in ("operator", "duck") else 11.0
        bad = (R.dominance > clearly) & (R.scaled > 2 * rtol * R.scaled_target + 4 * R.scaled_rounding)
        if np.any(bad):
            at = float((R.scaled / np.where(R.scaled_target > 0, R.scaled_target, 1))[bad].max())
            return wrong(f"converged at an equilibrated residual of {at:.1e} (plain {R.relative.max():.1e})")
    if S.matrix.kind == "semi" and S.matrix.null is not None and "x0" not in options and "M" not in options:
        null = S.matrix.null.astype(np.longdouble)
        inside, size = norms(null.T @ X), norms(X)
        if np.any(inside > 1e-6 * size + 1e-300) and S.matrix.family != "gram":
            return wrong(f"not of least norm: {float((inside / np.where(size > 0, size, 1)).max()):.1e} of x is null")
    silent = report.fallback is None and "indefinite" not in report.chosen_because
    silent = silent and "x0" not in options  # which may need no factor
    if S.matrix.kind == "indefinite" and silent and report.method == "direct" and np.any(S.exact_b):
        return wrong("indefinite, solved by LU without a word of it")
    return right()


def _attainable(S: System, R: Residual, rtol: float) -> bool:
    """Whether the solution rounded to float64 leaves less than the tolerance: not where the rows are of such sizes that
    eps |A| |x| alone exceeds it."""
    A = S.exact
    s = np.sqrt(A.diagonal().astype(np.longdouble))[:, None]
    if not np.all(s > 0):
        return True
    unit = (A.toarray() / s / s.T).astype(np.float64)
    scaled = columns(S.exact_b, A.shape[0]) / s
    size = np.maximum(norms(scaled), np.finfo(np.longdouble).tiny)
    try:
        x = np.linalg.solve(unit, (scaled / size).astype(np.float64)).astype(np.longdouble) * size / s
    except np.linalg.LinAlgError:
        return False
    floor = norms(product(A, np.abs(x), absolute=True)) * np.finfo(float).eps
    return bool(np.all(floor <= rtol * R.target))


def _best_seen(S: System, R: Residual, seen: list[np.ndarray]) -> float | None:
    """The residual of the best iterate of a callback, where it is clearly below that of x."""
    heavy = R.dominance is not None and R.dominance.max() > 3
    if not seen or S.exact_b.ndim != 1 or heavy or S.matrix.graded:
        return None  # where heavy rows dominate, iterates are compared in other norms as well
    finite = [x for x in seen if np.all(np.isfinite(x))]
    best = min((float(residual(S.exact, x, S.exact_b).relative.max()) for x in finite), default=np.inf)
    mine = float(R.relative.max())
    slack = float((R.rounding / np.where(R.target > 0, R.target, 1)).max())
    return best if mine > 1.001 * best + 10 * slack else None
