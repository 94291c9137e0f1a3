"""What an answer to `nnla.eigsh` says of itself: converged, verified, the report, the warning."""

from __future__ import annotations

import time

import numpy as np

from nnla.eigen.iteration import RESOLVED
from nnla.eigen.report import EigenReport
from nnla.eigen.state import Job
from nnla.eigen.units import unscaled
from nnla.operators.operator import Operator
from nnla.types import Status, library_versions

__all__ = ["Pairs", "converged", "make_report", "meets", "warning_of"]

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # values, vectors, residual norms


def _bound(job: Job, w: np.ndarray) -> float:
    """Residual of a converged pair: within the tolerance, telling the values from zero, or what rounding leaves."""
    return max(min(job.target, RESOLVED * float(np.abs(w).max(initial=0.0))), job.floor)


def converged(job: Job, pairs: Pairs) -> bool:
    """Whether k pairs are there and each has converged."""
    w, _, residuals = pairs
    return w.size == job.k and bool(np.all(residuals <= _bound(job, w)))


def meets(job: Job, pairs: Pairs) -> bool:
    """Whether the pairs have converged, and are verified if that was asked for."""
    return converged(job, pairs) and (job.verified or not job.verify)


def warning_of(report: EigenReport) -> str:
    """The text of a `NotConvergedWarning`."""
    remedy = "ask for return_report=True, and try method='auto', a larger ncv or maxiter"
    if report.status is not Status.UNVERIFIED:
        return f"eigsh: {report.converged_pairs} of {report.k} pairs have converged ({report.status}); {remedy}"
    return f"eigsh: the {report.k} pairs have converged, but copies or others before them may be missing; {remedy}"


def make_report(
    op: Operator, job: Job, w: np.ndarray, residuals: np.ndarray, unit: int, nnz: int | None
) -> EigenReport:
    """The report of a job, its figures in the user's unit: 2^unit times those of the job; nnz is of the user's A."""
    good = residuals <= _bound(job, w)
    met = bool(np.all(good)) and w.size == job.k
    limited = job.noise > 0 and job.floor > job.tol * job.norm
    sure = job.verified or not job.verify
    failed = Status.UNVERIFIED if met else Status.STAGNATION if job.stagnated else Status.MAXITER
    choice = job.filter

    far = 0.0 if choice is None else unscaled(choice.recurrence.domain[1], unit)

    def figure(value: float | None) -> float | None:
        return None if value is None else unscaled(value, unit)

    return EigenReport(
        status=failed if not (met and sure) else Status.ROUNDING if limited else Status.CONVERGED,
        converged=met and sure,
        verified=job.verified and met,
        method=job.method,
        which=job.which,
        n=op.n,
        nnz=nnz,
        k=job.k,
        ncv=job.ncv,
        tol=max(job.tol, job.floor / job.norm) if limited else job.tol,
        norm=unscaled(job.norm, unit),
        residuals=[unscaled(float(r), unit) for r in residuals],
        converged_pairs=int(np.count_nonzero(good)),
        restarts=job.total("restarts", "iterate", "setup"),
        probe_restarts=job.total("restarts", "probe"),
        verify_restarts=job.total("restarts", "verify"),
        steps=job.total("steps"),
        degree=None if choice is None else choice.recurrence.degree,
        cut=None if choice is None else figure(choice.cut),
        interval=None if choice is None else (unscaled(choice.recurrence.domain[0], unit), far),
        products=op.products - job.before,
        products_probe=job.products_probe,
        solves=job.solves,
        shift=figure(job.shift),
        shifts=[unscaled(shift, unit) for shift in job.shifts],
        count_below=job.count_below,
        count_at=figure(job.count_at),
        orthogonalisation_flops=float(job.total("flops")),
        seconds=job.seconds | {"total": time.perf_counter() - job.started},
        fallback=job.fallback,
        chosen_because=job.reason or "asked for",
        predicted_seconds=job.predicted,
        weights=None if choice is None else choice.weights,
        seed=job.seed,
        history=[unscaled(float(r), unit) for r in job.total("history", "iterate") or ()],
        versions=library_versions(),
    )
