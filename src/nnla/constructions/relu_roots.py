"""ReLU networks for sign(A), A^1/2, A^-1/2 and A^-1 of symmetric matrices with a gap, with a proof.

The iterations, and why their errors stay small, are in `relu_newton_schulz`; here the cheapest is found.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np

from nnla.constructions.relu_certificates import MANY_STEPS, Candidate, cheapest_program
from nnla.constructions.relu_networks import (
    LARGEST_N,
    SLACK,
    CertifiedNetwork,
    MatrixSet,
    one_of,
    positive,
    refuse_small,
    whole,
)
from nnla.constructions.relu_newton_schulz import (
    end,
    follow_inverse,
    follow_roots,
    follow_sign,
    inverse_terms,
    schedule,
)
from nnla.errors import OptionError

__all__ = ["relu_inv_sqrtm", "relu_invm", "relu_signm", "relu_sqrtm"]

SMALLEST_GAP = 1e-4  # of the bound
LARGEST_BOUND = 1e6  # and 1 / LARGEST_BOUND the smallest: eps is absolute
FINEST = 4e-15  # of truncations, relative: rounding is more
SPEEDS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of mu, from Newton's step to the fastest

FUNCTIONS = {"sign": "gap", "sqrt": "definite", "inv_sqrt": "definite", "inv": "definite"}


def _candidates(domain: MatrixSet, eps: float, function: str) -> list[Candidate]:
    """For each speed, the fewest steps that leave some of eps to the products, and one more."""
    top = domain.bound * (1 + SLACK)
    low = (domain.gap - domain.bound * SLACK) / top
    n, found = domain.n, []
    scale = {"sign": 1.0, "sqrt": top**0.5, "inv_sqrt": top**-0.5, "inv": 1 / top}[function]
    if function == "inv":
        rho = (1 - low) / (1 + low)
        until = max(0.9 * eps / (scale * n**0.5), FINEST)
        fewest = next(k for k in range(2, 64) if rho ** inverse_terms(k) / low < until)
        for count in (fewest, fewest + 1):
            products = [0, 1, *[2] * (count - 3), 1][:count]
            follow = partial(follow_inverse, domain, count, low, scale)
            found.append(Candidate({"rounds": count}, 1 / top, products, follow))
        return found
    start = low if function == "sign" else low**0.5
    until = max(0.9 * eps / (scale * n**0.5) * (low**0.5 if function == "inv_sqrt" else 1.0), FINEST)
    for speed in SPEEDS:
        plan = schedule(start, speed, until) or schedule(start, speed, 0.9 * (1 - start))
        for steps in (plan, [*plan, *schedule(end(plan), speed, 0.5 * (1 - end(plan)))[:1]]):
            parameters = {"steps": len(steps), "speed_percent": round(100 * speed)}
            if function == "sign":
                products = [1, 1] * len(steps)
                follow = partial(follow_sign, domain, steps, scale)
            else:
                wanted = "Y" if function == "sqrt" else "Z"
                products = [1, *[1, 2] * (len(steps) - 1)]
                products[-1] = 1
                follow = partial(follow_roots, domain, steps, low, wanted, scale)
            found.append(Candidate(parameters, 1 / top, products, follow))
    return found


@lru_cache(maxsize=256)
def _smallest(domain: MatrixSet, function: str) -> float:
    """The least bound that is reached, a few percent added."""
    found, eps = math.inf, 1e3
    while eps > 1e-20:  # the finer, the more steps: until it no longer helps
        with np.errstate(over="ignore", invalid="ignore"):
            totals = [
                float(c.follow([MANY_STEPS] * len(c.products))[1].sum()) for c in _candidates(domain, eps, function)
            ]
        found = min([found, *(t for t in totals if math.isfinite(t))])
        if found > 100 * eps:
            break
        eps /= 30
    return 1.05 * found


@lru_cache(maxsize=256)
def _cheapest(domain: MatrixSet, eps: float, function: str, minimise: str) -> CertifiedNetwork:
    found = cheapest_program(domain.n, _candidates(domain, eps, function), eps, minimise)
    if found is None:
        raise refuse_small(eps, _smallest(domain, function), f"{function}(A), n={domain.n}, {domain}")
    program, certificate, parameters = found
    return CertifiedNetwork(function, domain, eps, "newton-schulz", parameters, program, certificate)


def _network(function: str, n: int, gap: float, eps: float, bound: float, minimise: str) -> CertifiedNetwork:
    n, eps = whole(n, "n", 1, LARGEST_N), positive(eps, "eps", 1e300)
    bound = positive(bound, "bound", LARGEST_BOUND)
    gap = positive(gap, "gap", bound)
    if bound < 1 / LARGEST_BOUND:
        raise OptionError(f"bound={bound!r}: give a number of at least {1 / LARGEST_BOUND:g}, or scale A")
    if gap < SMALLEST_GAP * bound:
        raise OptionError(f"gap={gap!r}: give a gap of at least {SMALLEST_GAP:g} of the bound {bound:g}")
    one_of(minimise, "minimise", ("parameters", "depth"))
    return _cheapest(MatrixSet(FUNCTIONS[function], n, bound, gap), eps, function, minimise)


def relu_signm(n: int, gap: float, eps: float, *, bound: float = 1.0, minimise: str = "parameters") -> CertifiedNetwork:
    """A ReLU network for sign(A) of symmetric A with a gap, \\|\\|network(A) - sign(A)\\|\\|_F <= eps, proved.

    Parameters
    ----------
    n : size of the matrices, 1 to 32
    gap, bound : gap <= \\|eigenvalues\\| <= bound; the gap at least 1e-4 of the bound
    eps : absolute bound on the error in the Frobenius norm; rounding included
    minimise : "parameters" or "depth"

    Returns
    -------
    CertifiedNetwork : call it on (..., n, n)

    Raises
    ------
    OptionError
        Arguments outside of these, or an eps that float64 cannot reach: the message names the smallest possible one.

    Cost: the search over steps takes some tenths of a second, once for each set and eps.

    References
    ----------
    Higham, Functions of Matrices (2008), Sections 5.3 and 6.7. Chen and Chow, A stable scaling of Newton-Schulz for
    improving the sign function computation of a Hermitian matrix (2014), for the scaled step.

    Examples
    --------
    >>> network = relu_signm(2, 0.1, 1e-6)
    >>> network([[0.0, 0.5], [0.5, 0.0]]).round(5).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return _network("sign", n, gap, eps, bound, minimise)


def relu_sqrtm(n: int, gap: float, eps: float, *, bound: float = 1.0, minimise: str = "parameters") -> CertifiedNetwork:
    """A ReLU network for the principal square root of symmetric A with gap <= eigenvalues <= bound; see `relu_signm`.

    Cost: as `relu_signm`.

    References
    ----------
    Higham, Functions of Matrices (2008), Section 6.7 (coupled Newton-Schulz iteration).

    Examples
    --------
    >>> relu_sqrtm(2, 0.1, 1e-6)([[0.25, 0.0], [0.0, 1.0]]).round(5).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    return _network("sqrt", n, gap, eps, bound, minimise)


def relu_inv_sqrtm(
    n: int, gap: float, eps: float, *, bound: float = 1.0, minimise: str = "parameters"
) -> CertifiedNetwork:
    """A ReLU network for A^-1/2 of symmetric A with gap <= eigenvalues <= bound; see `relu_signm`.

    Cost: as `relu_signm`.

    References
    ----------
    Higham, Functions of Matrices (2008), Section 6.7 (coupled Newton-Schulz iteration).

    Examples
    --------
    >>> relu_inv_sqrtm(2, 0.1, 1e-6)([[0.25, 0.0], [0.0, 1.0]]).round(5).tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    return _network("inv_sqrt", n, gap, eps, bound, minimise)


def relu_invm(n: int, gap: float, eps: float, *, bound: float = 1.0, minimise: str = "parameters") -> CertifiedNetwork:
    """A ReLU network for A^-1 of symmetric A with gap <= eigenvalues <= bound; see `relu_signm`.

    Cost: as `relu_signm`.

    References
    ----------
    Schulz, Iterative Berechnung der reziproken Matrix (1933); here Z' = Z + R Z and R' = R^2 run side by side.

    Examples
    --------
    >>> relu_invm(2, 0.1, 1e-6)([[0.25, 0.0], [0.0, 1.0]]).round(5).tolist()
    [[4.0, 0.0], [0.0, 1.0]]
    """
    return _network("inv", n, gap, eps, bound, minimise)
