"""One call of `nnla.matfun.expm` and its sisters: the method, the check of every answer, and the report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NonFiniteError, NotPositiveDefiniteError, OptionError, WeightsError
from nnla.functions.report import with_report
from nnla.matfun.checks import IDENTITIES, residuals
from nnla.matfun.exact import exact
from nnla.matfun.gradients import with_gradient
from nnla.matfun.options import LEARNED, Batch, check_options, parts, read_batch
from nnla.matfun.polynomial import by_polynomials
from nnla.matfun.rates import rate_matrices, row_sum_error, transition_matrices
from nnla.matfun.relu import by_relu
from nnla.matfun.report import MatfunReport
from nnla.operators.arrays import is_torch, to_numpy
from nnla.operators.gradients import wants_gradient
from nnla.report import Status, library_versions
from nnla.tasks import MATRIX_FUNCTION_WEIGHTS, task_of

__all__ = ["evaluate"]


def evaluate(A: Any, f: str, method: str, rtol: Any, fallback: bool, undefined: str, engine: Any) -> Any:
    """f(A), with a report: see `nnla.matfun.entries`."""
    started = time.perf_counter()
    tolerance = check_options(method, rtol, fallback, undefined, engine)
    batch = read_batch(A, f)
    model = _model(engine, method, f) if method in LEARNED else None
    run = _Run(batch, f, method, tolerance, bool(fallback), model)
    with np.errstate(all="ignore"):  # what leaves the range is found out, and said
        X, why = run.answer()
        Y, lost = _as_given(A, batch, X)
    if why and undefined == "raise":
        raise _error(batch, f, why)
    if lost and undefined == "raise":
        raise NonFiniteError(f"f(A) is beyond the range of {batch.dtype}; pass A in float64, or rescale it")
    report = run.report(why | dict.fromkeys(lost, ""), started)
    if wants_gradient(A):
        Y = with_gradient(A, Y, f)
    return with_report(Y, report)


class _Run:
    def __init__(self, batch: Batch, f: str, method: str, rtol: float, fallback: bool, model: Any) -> None:
        self.batch, self.f, self.method, self.rtol, self.may_fall_back = batch, f, method, rtol, fallback
        self.model = model
        self.reason = "asked for"
        self.weights: str | None = None
        self.fallbacks: int | None = None
        self.gave_up: str | None = None
        self.rates = np.zeros(len(batch.A), dtype=bool)
        self.row_sums: float | None = None
        self.seconds = {"answer": 0.0, "check": 0.0}
        self.found = np.zeros(len(batch.A))
        if method == "auto":
            self.method = "schur"
            self.reason = "eigenvectors of symmetric matrices, Schur forms of the others: exact to rounding"

    def answer(self) -> tuple[np.ndarray, dict[int, str]]:
        """f(A), and why some matrices have none."""
        batch, f = self.batch, self.f
        why: dict[int, str] = {}
        if self.method == "schur":
            X = np.empty_like(batch.A)
            if f == "exp":
                self.rates = rate_matrices(batch)
                X[self.rates] = self._timed("answer", lambda: transition_matrices(batch.A[self.rates]))
            rest = np.flatnonzero(~self.rates)
            X[rest], why = self._timed("answer", lambda: exact(batch, f, rest))
            self._check(X)
            if self.rates.any():
                why |= self._transitions(X)
            return X, why
        X = self._timed("answer", self._by_method)
        self._check(X)
        missed = np.flatnonzero(~(self.found <= self.rtol))
        self.fallbacks = 0
        if missed.size and self.may_fall_back:
            own = float(np.min(self.found[missed]))
            X[missed], why = self._timed("answer", lambda: exact(batch, f, missed))
            self._check(X, missed)
            self.fallbacks = int(missed.size)
            self.gave_up = (
                f"{self.method}: {missed.size} of {len(batch.A)} answers miss the tolerance "
                f"(the best of them has the residual {own:.2g}); computed by schur"
            )
        return X, why

    def _transitions(self, X: np.ndarray) -> dict[int, str]:
        """The row sums of e^Q join its check; where the series misses the tolerance the reference may be better."""
        batch = self.batch
        own = np.abs(batch.A.sum(-1)).max(-1)  # rows of Q that do not quite sum to zero move those of e^Q by as much

        def drift(P: np.ndarray, where: np.ndarray) -> np.ndarray:
            return np.maximum(row_sum_error(P) - 2 * own[where], 0.0)

        where = np.flatnonzero(self.rates)
        self.found[where] = np.maximum(self.found[where], drift(X[where], where))
        self.found[where[~np.isfinite(X[where]).all(axis=(1, 2))]] = np.inf
        why: dict[int, str] = {}
        missed = where[~(self.found[where] <= self.rtol)]
        if missed.size:
            other, none = exact(batch, "exp", missed)
            found = np.maximum(residuals(batch, "exp", other, missed), drift(other, missed))
            better = (found < self.found[missed]) | ~np.isfinite(X[missed]).all(axis=(1, 2))
            X[missed[better]], self.found[missed[better]] = other[better], found[better]
            why = {i: text for i, text in none.items() if not np.isfinite(X[i]).all()}
        sums = row_sum_error(X[where])
        self.row_sums = float(np.max(sums[np.isfinite(sums)], initial=0.0))
        return why

    def _by_method(self) -> np.ndarray:
        if self.method == "polynomial":
            X, kind, self.weights = by_polynomials(self.batch, self.f, self.rtol)
            self.reason = f"asked for: {kind}"
            return X
        if self.method == "relu":
            X, kind = by_relu(self.batch, self.f, self.rtol)
            self.reason = f"asked for: {kind}"
            return X
        self.weights = str(self.model.card.get("name", self.model.name))
        return _by_model(self.model, self.batch, self.f)

    def _check(self, X: np.ndarray, where: np.ndarray | None = None) -> None:
        where = np.arange(len(X)) if where is None else where
        if where.size:
            self.found[where] = self._timed("check", lambda: residuals(self.batch, self.f, X[where], where))

    def _timed(self, what: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        value = work()
        self.seconds[what] += time.perf_counter() - start
        return value

    def report(self, why: dict[int, str], started: float) -> MatfunReport:
        found = self.found.copy()
        undefined = sorted(why)
        found[undefined] = np.nan
        fine = found <= self.rtol
        known = np.delete(found, undefined)
        status = Status.CONVERGED if fine.all() else Status.BREAKDOWN if undefined else Status.ROUNDING
        if status is Status.ROUNDING and self.method != "schur" and not self.may_fall_back:
            status = Status.GUESSED
        return MatfunReport(
            status=status,
            converged=bool(fine.all()),
            method=self.method,
            f=self.f,
            n=self.batch.n,
            count=len(found),
            rtol=self.rtol,
            check=IDENTITIES[self.f],
            residual=float(known.max(initial=0.0)),
            residuals=found.tolist(),
            converged_each=fine.tolist(),
            undefined=undefined,
            symmetric=int(np.count_nonzero(self.batch.symmetric)),
            rates=int(np.count_nonzero(self.rates)),
            row_sum_error=self.row_sums,
            fallbacks=self.fallbacks,
            fallback=self.gave_up,
            chosen_because=self.reason,
            weights=self.weights,
            dtype=self.batch.dtype,
            seconds=self.seconds | {"total": time.perf_counter() - started},
            versions=library_versions(),
        )


def _model(engine: Any, method: str, f: str) -> Any:
    """The model that is asked: the one given, by itself, name or path, else the one that is shipped.

    Raises
    ------
    OptionError
        It is for something else, or does not know f.
    WeightsError
    """
    from nnla.registry import load

    if engine is None:
        name = MATRIX_FUNCTION_WEIGHTS.get(f"{method} {f}", MATRIX_FUNCTION_WEIGHTS.get(method))
        if name is None:
            raise WeightsError(
                f"no weights are shipped for method={method!r} and f={f!r}; train them (`nnla train`) and pass engine="
            )
        engine = load(name)
    elif isinstance(engine, (str, os.PathLike)):
        engine = load(engine)
    if task_of(engine) is not task_of(_Asked()):
        raise OptionError(f"engine={engine!r} is for {task_of(engine).field}, not for dense matrix functions")
    if method == "equivariant" and not engine.equivariant:
        raise OptionError(f"{engine!r} does not turn with its matrix; use method='transformer'")
    if f not in engine.functions:
        raise OptionError(f"{engine!r} knows {', '.join(engine.functions)}, not {f!r}; use method='schur'")
    return engine


class _Asked:
    task = "matrix functions"


def _by_model(model: Any, batch: Batch, f: str) -> np.ndarray:
    """The network's answers, in the units of what was given; NaN for matrices that are not symmetric where it needs
    that, and where it declines."""
    X = np.full_like(batch.A, np.nan)
    taken = np.flatnonzero(batch.symmetric) if model.symmetric else np.arange(len(batch.A))
    for part in parts(taken, batch.n):
        X[part] = np.asarray(model.function(batch.A[part], f), dtype=np.float64)
    return batch.restored(X, f)


def _error(batch: Batch, f: str, why: dict[int, str]) -> NNLAError:
    first = min(why)
    more = f" ({len(why)} of {len(batch.A)} matrices have none)" if len(why) > 1 else ""
    text = f"{batch.place(first)} {why[first]}{more}; undefined='nan' gives NaN for such matrices"
    kind = NonFiniteError if f in ("exp", "sin", "cos") else NotPositiveDefiniteError
    return kind(text) if f != "sign" else OptionError(text)


def _as_given(A: Any, batch: Batch, X: np.ndarray) -> tuple[Any, list[int]]:
    """The answer as the kind of array that was given, in its dtype and on its device; which matrices leave its range,
    and are NaN."""
    if is_torch(A):
        import torch

        Y = torch.from_numpy(np.ascontiguousarray(X)).to(device=A.device, dtype=getattr(torch, batch.dtype))
        there = np.isfinite(to_numpy(Y)).all(axis=(1, 2))
    else:
        Y = X.astype(batch.dtype)
        there = np.isfinite(Y).all(axis=(1, 2))
    lost = np.flatnonzero(np.isfinite(X).all(axis=(1, 2)) & ~there).tolist()
    if lost:
        Y[lost] = np.nan
    return Y.reshape(batch.shape), lost
