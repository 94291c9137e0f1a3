"""What an answer to `nnla.eigsh` says of itself: converged, verified, the report, the warning or the exception."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from nnla.eigen.iteration import RESOLVED
from nnla.eigen.pencil import Pencil
from nnla.eigen.report import EigenReport
from nnla.eigen.state import Job
from nnla.eigen.units import unscaled
from nnla.types import Status, library_versions

__all__ = ["Pairs", "converged", "good", "make_report", "meets", "warning_of"]

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # values, vectors, residual norms


def good(job: Job, pairs: Pairs) -> np.ndarray:
    """Which pairs have converged: within the tolerance, telling the values from zero, or what rounding leaves."""
    w, V, residuals = pairs
    resolving = RESOLVED * float(np.abs(w).max(initial=0.0))
    if job.mass is None:
        return residuals <= max(min(job.target, resolving), job.floor)
    # an eigenvalue is off by the residual over v'Mv / v'v, and v'Mv = 1
    floors, weights = replace(job, tol=0.0).targets(w), 1.0 / np.sum(V * V, axis=0)
    return residuals <= np.maximum(np.minimum(job.targets(w), resolving * weights), floors)


def converged(job: Job, pairs: Pairs) -> bool:
    """Whether k pairs are there and each has converged."""
    return pairs[0].size == job.k and bool(np.all(good(job, pairs)))


def meets(job: Job, pairs: Pairs) -> bool:
    """Whether the pairs have converged, and are verified if that was asked for."""
    return converged(job, pairs) and (job.verified or not job.verify)


def warning_of(report: EigenReport) -> str:
    """The text of a `NotConvergedWarning` or a `NotConvergedError`."""
    remedy = "ask for return_report=True, and try method='auto', a larger ncv or maxiter"
    if report.status is not Status.UNVERIFIED:
        return f"eigsh: {report.converged_pairs} of {report.k} pairs have converged ({report.status}); {remedy}"
    return f"eigsh: the {report.k} pairs have converged, but copies or others before them may be missing; {remedy}"


def make_report(
    pencil: Pencil, job: Job, done: np.ndarray, residuals: np.ndarray, sigma: float | None, nnz: int | None,
    products: int,
) -> EigenReport:  # fmt: skip
    """The report of a job, its figures in the user's units.

    Parameters
    ----------
    pencil, job : what was computed, in units of their own
    done : which of the k pairs have converged
    residuals : of the pairs, those of A v = lambda M v in units of the pencil
    sigma : in the user's units
    nnz, products : of the user's A
    """
    e, f = pencil.units
    unit = e - f  # of eigenvalues
    met = bool(np.all(done)) and done.size == job.k
    limited = job.noise > 0 and job.floor > job.tol * job.norm
    sure = job.verified or not job.verify
    failed = Status.UNVERIFIED if met else Status.STAGNATION if job.stagnated else Status.MAXITER
    choice = job.filter
    far = 0.0 if choice is None else unscaled(choice.recurrence.domain[1], unit)
    norms = (job.mass_norm, job.norm) if pencil.exchanged else (job.norm, job.mass_norm)

    def figure(value: float | None) -> float | None:
        """An eigenvalue of the pencil, or a shift, as one of the user's."""
        if value is None:
            return None
        if pencil.exchanged:
            value = 1.0 / value if value else float("inf")
        return unscaled(value, unit)

    return EigenReport(
        status=failed if not (met and sure) else Status.ROUNDING if limited else Status.CONVERGED,
        converged=met and sure,
        verified=job.verified and met,
        method=job.method,
        which=pencil.wanted.which,
        n=pencil.op.n,
        nnz=nnz,
        k=job.k,
        ncv=job.ncv,
        tol=max(job.tol, job.floor / job.norm) if limited else job.tol,
        norm=unscaled(norms[0], e),
        residuals=[unscaled(float(r), e) for r in residuals],
        converged_pairs=int(np.count_nonzero(done)),
        sigma=sigma,
        mode=pencil.wanted.mode,
        mass_norm=None if job.mass is None else unscaled(norms[1], f),
        restarts=job.total("restarts", "iterate", "setup"),
        probe_restarts=job.total("restarts", "probe"),
        verify_restarts=job.total("restarts", "verify"),
        steps=job.total("steps"),
        degree=None if choice is None else choice.recurrence.degree,
        cut=None if choice is None else figure(choice.cut),
        interval=None if choice is None else (unscaled(choice.recurrence.domain[0], unit), far),
        products=products,
        products_probe=job.products_probe,
        solves=job.solves,
        shift=figure(job.shift),
        shifts=[unscaled(shift, unit) if not pencil.exchanged else figure(shift) or 0.0 for shift in job.shifts],
        count_below=job.count_below,
        count_at=figure(job.count_at),
        orthogonalisation_flops=float(job.total("flops")),
        seconds=job.seconds | {"total": time.perf_counter() - job.started},
        fallback=job.fallback,
        chosen_because=job.reason or "asked for",
        predicted_seconds=job.predicted,
        weights=None if choice is None else choice.weights,
        seed=job.seed,
        history=[unscaled(float(r), e) for r in job.total("history", "iterate") or ()],
        versions=library_versions(),
    )
