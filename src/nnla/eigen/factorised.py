"""Eigenpairs through factorisations: all of them by LAPACK, a few by shift and invert with a Cholesky factor."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from nnla.eigen.iteration import Search, multiply
from nnla.eigen.shifted import Shifted
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.verification import conclude
from nnla.errors import OptionError
from nnla.operators.operator import Operator

__all__ = ["DENSE_LIMIT", "solve_dense", "solve_inverse"]

DENSE_LIMIT = 20_000
_SHIFTS = 8  # tried until one is beyond the spectrum
_MOVES = 4  # of the shift
_TOO_NEAR = 1e4  # times as far from the shift is the last wanted eigenvalue as the first
_TOO_FAR = 30.0  # times the distance between them is the shift from the first
_FLOPS_LIMIT = 1e13  # minutes


def solve_dense(op: Operator, k: int, orientation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k pairs by LAPACK: eigenvalues increasing, vectors (n, k), true residual norms.

    Cost: some 4 n^3 / 3 operations and two n x n arrays; n products where the entries are not known.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 8.3.
    """
    n = op.n
    if n > DENSE_LIMIT:
        raise OptionError(f"method='dense' is for n up to {DENSE_LIMIT}; n = {n} is too large, use method='auto'")
    from scipy.linalg import eigh

    dense = op.dense()
    dense = (dense + dense.T) / 2
    wanted = slice(n - k, n) if orientation > 0 else slice(0, k)
    w, V, sound = np.empty(0), np.empty((n, 0)), False
    if k < n:
        # the driver for a part of the spectrum may lose vectors of a large cluster, or give up
        with contextlib.suppress(np.linalg.LinAlgError):
            w, V = eigh(dense, check_finite=False, subset_by_index=(wanted.start, wanted.stop - 1))
            sound = w.size == k and bool(np.abs(V.T @ V - np.eye(k)).max() < 1e-10)
    if not sound:
        w, V = eigh(dense, check_finite=False, driver="evd")
        w, V = w[wanted], np.ascontiguousarray(V[:, wanted])
    residuals = [np.linalg.norm(multiply(op, np.ascontiguousarray(V[:, j])) - w[j] * V[:, j]) for j in range(k)]
    return w, V, np.array(residuals)


def solve_inverse(
    op: Operator, job: Job, start: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Thick-restart Lanczos on (s - A)^-1 with a shift s just beyond the wanted end; None where nothing factors.

    A shift beyond the spectrum leaves a definite matrix, so that Cholesky serves for indefinite A, too, and tells
    by its pivots whether the shift was far enough. The first filling tells whether it was near enough, and not so near
    (an A that is singular, or nearly, at the shift zero) that one eigenvalue drowns the others: then it is moved.

    Cost: one factorisation or two, as a rule, some 2 k solves, and a factorisation that counts eigenvalues.

    References
    ----------
    Ericsson, Ruhe, The spectral transformation Lanczos method, Math. Comp. 35 (1980) 1251-1268.
    """
    if op.csr is None:
        raise OptionError("method='direct' needs the stored entries of a sparse A; use 'dense', 'autospec' or 'auto'")
    o, meter = job.orientation, Meter(job, "probe")
    probe = ThickRestart(lambda v: o * multiply(op, v), op.n, min(job.ncv, op.n), start, rng)
    probe.extend()
    top, bottom = float(probe.theta[0]), float(probe.theta[-1])
    job.norm, width = max(job.norm, abs(top), abs(bottom)), top - bottom
    meter.end_filling(probe)
    job.products_probe = op.products - job.before
    if width <= 1e-12 * job.norm:
        return None  # a single point: nothing to invert near it
    # as near to the wanted eigenvalues as these are to each other: nearer would cost the last ones their digits
    near = max(float(probe.residuals[0]), 0.1 * (top - float(probe.theta[min(job.k, probe.theta.size) - 1])))
    meter = Meter(job, "setup")
    shifted = Shifted(op.csr, -o, max_flops=_FLOPS_LIMIT, analysed=job.analysed)
    solve, s = _beyond(shifted, o, top, min(near, 0.1 * width), width)
    meter.end()
    begin, locked, search = probe.vectors(min(job.k, job.ncv)).sum(axis=0), None, None
    for move in range(_MOVES + 1):
        if solve is None:
            return None
        job.shift = o * s + 0.0  # no negative zero
        job.shifts.append(job.shift)
        meter = Meter(job, "iterate")
        space = ThickRestart(solve, op.n, job.ncv, begin, rng, locked=locked)
        previous, search = search, Search(op, space, job.k, o, job.target, job.floor, inverse_of=s)
        if previous is not None and locked is not None:
            search.inherit(previous)
        better = None
        while not search.done and better is None and search.restarts < max(job.left, 1):
            search.run(search.restarts + 1)
            better = _better_shift(search, s, job.norm) if move < _MOVES else None
        meter.end(search)
        if better is None:
            break
        job.solves += space.steps
        sound = not search.stagnated
        begin = space.kept_vectors(job.k).sum(axis=0) if sound else None
        locked = space.locked_vectors().copy() if sound and space.locked else None
        meter = Meter(job, "setup")
        solve, s = _beyond(shifted, o, better[0], better[1], width, first=False)
        meter.end()
    assert search is not None
    pairs = conclude(op, job, search, shifted, rng)
    job.solves += search.space.steps
    return pairs


def _better_shift(search: Search, s: float, norm: float) -> tuple[float, float] | None:
    """The end of the spectrum and the distance of a better shift from it, by a filling; None if this one serves.

    Solves leave errors of eps times the largest value of F = (s - o A)^-1 in all others, so that the wanted ones must
    not differ by too much; where they do not differ at all, Lanczos takes long.
    """
    theta = np.concatenate([search.thetas, search.space.theta])
    if not np.all(np.isfinite(theta)) or theta.max() <= 0:
        return s, 1e-3 * norm
    least = 1e-12 * norm
    if theta.min() < -1e-3 * theta.max():  # rounding took an indefinite matrix for a definite one
        beyond = -1.0 / float(theta.min())
        return s + beyond, max(least, beyond)
    theta = np.sort(theta[theta > 0])[::-1]
    nearest, last, next_one = (1.0 / float(theta[min(i, theta.size - 1)]) for i in (0, search.k - 1, search.k))
    if last > _TOO_NEAR * nearest and (search.stagnated or not search.done):
        return s - nearest, max(0.1 * (last - nearest), least)
    spread = next_one - nearest
    if not search.done and nearest > _TOO_FAR * spread and nearest > 10 * least:
        return s - nearest, max(0.3 * spread, least)
    return None


def _beyond(
    shifted: Shifted, o: float, top: float, near: float, width: float, *, first: bool = True
) -> tuple[Any, float]:
    """Solves with the definite matrix s - o A, and s, for the least shift tried that works; None and nan if none does.

    Parameters
    ----------
    top, near : the end of the spectrum of o A, about, and how far beyond it to begin
    width : length of the spectrum
    first : nothing is known of the end but Ritz values, which lie within the spectrum
    """
    least = 1e-6 * width if first else near
    shifts = [top + max(3.0**j * near, 4.0**j * least) for j in range(_SHIFTS if first else 2 * _SHIFTS)]
    if first and o < 0 and -0.2 * width < top < 0:  # positive definite, as far as one can see: no shift is best
        shifts.insert(0, 0.0)
    shifts.append(top + 2.0 * width)
    for s in shifts:
        solve = shifted.solver(-s)
        if solve is not None:
            return solve, s
    return None, math.nan
