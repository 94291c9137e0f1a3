"""Is this polynomial positive on the spectrum, and may this probe be trusted? Checked before use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = ["MARGIN", "Verdict", "check_polynomial", "check_probe"]
MARGIN = 1.02  # a polynomial without a proof has to be positive up to 2 % above the upper bound


@dataclass(frozen=True)
class Verdict:
    """``ok``, or why not."""

    ok: bool
    reason: str = ""


def check_polynomial(recurrence: Recurrence, upper: float, *, margin: float = MARGIN) -> Verdict:
    """Whether P > 0 and finite on (0, margin * upper].

    The grid is graded towards zero and refined at the minima that it finds, so that a polynomial of
    the given degree has no room to dip unseen: about forty points per root.

    Parameters
    ----------
    recurrence : Recurrence
    upper : upper bound of the spectrum, > 0
    margin : how far beyond the bound to look

    Notes
    -----
    Cost: some 40 (degree + 1) evaluations of P on scalars, and 17 more at each minimum; no products.
    """
    if not (np.isfinite(upper) and upper > 0):
        return Verdict(False, f"the upper bound {upper} of the spectrum is not positive")
    m = recurrence.degree + 1
    top = margin * upper
    angle = np.linspace(0, np.pi / 2, 40 * m)[1:]
    x = top * np.sin(angle) ** 2  # as dense at both ends as the zeros of Chebyshev polynomials
    low = np.geomspace(1e-14 * top, x[0], 20)[:-1]
    x = np.concatenate([low, x])
    with np.errstate(all="ignore"):
        values = recurrence(x)
        if not np.all(np.isfinite(values)):
            return Verdict(False, "the polynomial overflows on the spectrum")
        dip = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])) + 1
        if dip.size:
            fine = np.linspace(x[dip - 1], x[dip + 1], 17).ravel()
            x, values = np.concatenate([x, fine]), np.concatenate([values, recurrence(fine)])
    worst = int(np.argmin(values))
    if not values[worst] > 0:
        where = x[worst] / upper
        return Verdict(False, f"the polynomial is not positive at {where:.3g} of the upper bound")
    return Verdict(True)


def check_probe(probe: SpectralProbe) -> Verdict:
    """Whether a positive definite operator can have this probe.

    Cost: none beside the probe's own eigenproblem.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), chapter 11: Ritz values lie between the extreme eigenvalues.
    """
    if not probe.lambda_max > 0:
        return Verdict(False, f"the largest Ritz value is {probe.lambda_max:.3g}: A is not positive definite")
    if not probe.definite:
        return Verdict(False, f"a Ritz value is negative ({probe.lambda_min:.3g}): A is not positive definite")
    return Verdict(True)
