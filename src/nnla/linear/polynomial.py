"""CG with a polynomial: the probe that its first steps are, the polynomial, and what is tried when one fails."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.krylov.cg import CGResult, lanczos_from_cg
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
from nnla.linear.state import Run, Stretch
from nnla.polynomials.design import EFFICIENCY, Design, design_polynomial, learned_engine
from nnla.polynomials.guards import check_probe
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.scalings import Scaling
from nnla.types import SpectralProbe, Status

__all__ = [
    "PROBE_STEPS",
    "Probing",
    "begin_instead",
    "plain_method",
    "polynomial_for",
    "polynomial_stretches",
    "probe_for",
    "probe_length",
]

PROBE_STEPS = 50
_SECOND_LOOK = 15  # CG steps
_LOST = (Status.BREAKDOWN, Status.STAGNATION, Status.INDEFINITE)
_LONGEST_PROBE = 100  # where many iterations are ahead, a better choice is worth more CG steps
_PROBE_SHARE = 16  # ... one in so many of the plain CG iterations expected
_ILL_CONDITIONED = 1e6  # probed condition; bcsstk16 (5e6): 61 outer iterations with two reductions, 91 with one


def probe_length(ahead: float) -> int:
    """CG steps that a probe is worth where so many plain CG iterations are ahead."""
    return int(min(ahead / _PROBE_SHARE, _LONGEST_PROBE))


class Probing:
    """CG steps of a solve that double as its probe: `advance` them, ask for the probe so far, `end` with it.

    Parameters
    ----------
    run : whose iterate moves
    base : the scaling, which the probe is of
    method : on whose behalf
    """

    def __init__(self, run: Run, base: Scaling, method: str, reason: str = "") -> None:
        self._run, self._base, self._before = run, base, run.products
        self._start = np.atleast_1d(run.space.norm(run.residual))
        self.stretch = run.begin(
            base, method, one_reduction=True, probing=True, scaling=base.name, reason=reason, note=base.note
        )

    @property
    def result(self) -> CGResult:
        """Of CG so far."""
        return self.stretch.result

    @property
    def start(self) -> float:
        """Norm of the residual that the steps began with, of the column that is probed."""
        return float(self._start[self.result.lead])

    def advance_to(self, steps: int) -> bool:
        """So many steps in all, at most n; whether there may be more."""
        self.stretch.advance(min(steps, self._run.op.n) - self.result.iterations)
        return self.stretch.goes_on

    def probe(self) -> SpectralProbe:
        """What the steps so far amount to."""
        result = self.result
        alpha, beta = lanczos_from_cg(result.alpha, result.beta, result.last_beta)
        users = np.array(result.first)[: alpha.size] / self._start[result.lead]
        products = self._run.products - self._before
        return SpectralProbe(alpha, beta, self._run.op.n, self._base.name, None, products, users)

    def end(self) -> SpectralProbe | None:
        """The probe, or None where nothing is left to do, or nothing was seen."""
        self.stretch.couple()
        self.stretch.end()
        return None if self._run.finished or not self.result.alpha else self.probe()


def probe_for(
    run: Run, base: Scaling, method: str, steps: int | None, degree: int, engine: Any
) -> SpectralProbe | None:
    """The probe of a polynomial method: so many steps, or `PROBE_STEPS` and more where the engine expects many
    iterations; None when nothing is left to do.

    Cost: ``steps`` products, which the solve keeps; no more are made for the probe.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.3. Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 6.7.3.
    """
    probing = Probing(run, base, method, "asked for")
    goes_on = probing.advance_to(PROBE_STEPS if steps is None else steps)
    if goes_on and steps is None and method == "autospec":
        probing.advance_to(_longer(run, probing, degree, engine))
    return probing.end()


def _longer(run: Run, probing: Probing, degree: int, engine: Any) -> int:
    """Steps in all that the engine's expectation is worth; 0 where it cannot be asked."""
    if len(probing.result.alpha) < 3:
        return 0
    try:
        trained = learned_engine(engine, "autospec")
    except WeightsError:  # reported where the polynomial is designed
        return 0
    probe = probing.probe()
    if not check_probe(probe).ok:
        return 0
    choice = trained.choose(probe, degree=degree, rtol=run.rtol_left)
    return probe_length(choice.predicted_iterations * (degree + 1) * EFFICIENCY)


def polynomial_for(
    run: Run, base: Scaling, probe: SpectralProbe, method: str, degree: int, engine: Any
) -> PolynomialPreconditioner:
    """Design the polynomial from the probe, for what is left to gain, and bind it.

    Raises
    ------
    NotPositiveDefiniteError
        The probe has negative Ritz values.

    Notes
    -----
    Cost: no products; a few milliseconds, see `nnla.polynomials.design.design_polynomial`.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.3.
    """
    started = time.perf_counter()
    # what is left to gain is relative to the residual that the probe left
    design = design_polynomial(probe, method=method, degree=degree, rtol=run.rtol_left, engine=engine)
    M = PolynomialPreconditioner(run.op, base, design, probe, dtype=run.dtype or quick_dtype(run.op, base))
    run.setup += time.perf_counter() - started
    return M


def polynomial_stretches(run: Run, M: PolynomialPreconditioner) -> Iterator[Stretch]:
    """CG with the polynomial; where that breaks down with the next best, in the end with plain CG.

    Each stretch is to be advanced by the caller, as far as they like, before the next is asked for.
    """
    if M.design.fallback is not None:
        run.decline(run.asked, M.design.fallback)
    status = yield from _one(run, M)
    if status is Status.BREAKDOWN and M.design.outliers and not run.finished:
        M = _interval_instead(run, M)
        status = yield from _one(run, M)
    if status is Status.BREAKDOWN and not run.finished:
        wider = _wider(run, M)
        if wider is not None:
            M = wider
            status = yield from _one(run, M)
    if M.precision != "float64" and run.dtype is None and status in _LOST and not run.finished:
        # What stops in low precision may go on in high: rounding makes the polynomial of an ill-conditioned
        # matrix indefinite, or no longer the same from one application to the next.
        run.give_up(f"CG with the polynomial in {M.precision} ended in {status.value}; float64 instead")
        status = yield from _one(run, M.in_precision("float64"))
    if status in (Status.BREAKDOWN, Status.STAGNATION) and not run.finished:
        plain = plain_method(M.base)
        run.give_up(f"CG with the polynomial ended in {status.value}; {plain} from the current iterate instead")
        yield from _ended(begin_instead(run, M.base))


def begin_instead(run: Run, base: Scaling) -> Stretch:
    """Plain CG over the same scaling, from the current iterate."""
    return run.begin(base, plain_method(base), scaling=base.name, instead=True)


def plain_method(base: Scaling) -> str:
    """The plain CG that a polynomial over this scaling accelerates."""
    return base.name if base.name in ("jacobi", "ic") else "cg"


def _one(run: Run, M: PolynomialPreconditioner) -> Generator[Stretch, None, Status]:
    # Chronopoulos and Gear's form also suffers most from a polynomial rounded to float32: nos6 takes 24 outer
    # iterations instead of 18, bcsstk28 845 instead of 584.
    one_reduction = M.precision == "float64" and not _ill_conditioned(M.probe)
    design = M.design
    return (
        yield from _ended(
            run.begin(
                M,
                design.method,
                products_each=M.recurrence.products + 1,
                one_reduction=one_reduction,
                scaling=M.scaling,
                precision=M.precision,
                degree=M.recurrence.degree,
                note=design.note,
                weights=design.weights,
                interval=design.interval,
                predicted_iterations=design.predicted_iterations,
            )
        )
    )


def _ended(stretch: Stretch) -> Generator[Stretch, None, Status]:
    """The stretch, for the caller to advance, and what it ended in."""
    yield stretch
    exhausted = stretch.exhausted
    status = stretch.end().status
    return Status.STAGNATION if exhausted else status  # by no limit of the caller's


def _interval_instead(run: Run, M: PolynomialPreconditioner) -> PolynomialPreconditioner:
    """The polynomial on the interval: an eigenvalue between outliers, which the probe's start did not contain."""
    a, b = M.design.interval
    run.give_up(f"{M.design.method}: the spectrum has more than the probe's outliers; Chebyshev on [a, b] instead")
    design = replace(M.design, recurrence=chebyshev(a, b, M.recurrence.degree), outliers=(), note="", fallback=None)
    return _redesigned(run, M, design)


def _wider(run: Run, M: PolynomialPreconditioner) -> PolynomialPreconditioner | None:
    """The polynomial on a longer interval, where a few CG steps find eigenvalues above it; else None.

    An eigenvector that the start hardly contained is what a polynomial negative there blows up: it is in plain
    sight then.
    """
    a, b = M.design.interval
    if not 0 < a < b:  # of polynomials that have no lower end
        return None
    probing = Probing(run, M.base, M.design.method)
    probing.advance_to(_SECOND_LOOK)
    top = probing.end()
    if top is None or not check_probe(top).ok or top.upper_bound <= b:
        return None
    run.give_up(f"{M.design.method}: the spectrum goes on above {b:.4g}; Chebyshev up to {top.upper_bound:.4g} instead")
    wide = (a, 1.01 * top.upper_bound)
    design = replace(M.design, recurrence=chebyshev(*wide, M.recurrence.degree), interval=wide, fallback=None)
    return _redesigned(run, M, design)


def _redesigned(run: Run, M: PolynomialPreconditioner, design: Design) -> PolynomialPreconditioner:
    return PolynomialPreconditioner(run.op, M.base, design, M.probe, dtype=M.precision)


def _ill_conditioned(probe: SpectralProbe) -> bool:
    """Whether one reduction an iteration rounds so badly that it costs more than it saves."""
    return probe.lambda_max > _ILL_CONDITIONED * probe.lambda_min
