"""What a solve consists of: one frozen record for each stretch with one method."""

from __future__ import annotations

from dataclasses import dataclass

from nnla.types import Status

__all__ = ["Phase"]


@dataclass(frozen=True)
class Phase:
    """One stretch of a solve with one method: what ran, what it cost, how it ended.

    A method that was declined before it could begin is a phase of no iterations.

    Attributes
    ----------
    method : as in `nnla.Report`
    scaling : what the method worked on top of
    precision : dtype inside a polynomial, None without one
    degree : degree of the polynomial, None without one
    probing : these iterations were the probe
    declined : could not begin, or was too dear to
    instead : runs in the place of the phase before, which failed
    iterations : of CG, or refinements of a direct solution
    products : with A, checks included
    applies : applications of the polynomial
    reductions : global synchronisations
    setup, seconds : time of setting up, and of what followed
    status : how it ended
    reason : why it ran
    note : what is worth knowing of it
    failure : why it was given up, None where it was not
    weights, interval, predicted_iterations : of the polynomial, as in `nnla.Report`
    """

    method: str
    scaling: str = "none"
    precision: str | None = None
    degree: int | None = None
    probing: bool = False
    declined: bool = False
    instead: bool = False
    iterations: int = 0
    products: int = 0
    applies: int = 0
    reductions: int = 0
    setup: float = 0.0
    seconds: float = 0.0
    status: Status = Status.CONVERGED
    reason: str = ""
    note: str = ""
    failure: str | None = None
    weights: str | None = None
    interval: tuple[float, float] | None = None
    predicted_iterations: float | None = None
