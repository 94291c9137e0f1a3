"""The sequence of transitions that takes an interval to near 1 in the fewest products: a shortest path over ratios."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from nnla.errors import OptionError
from nnla.interop.torch.transitions import DEGREES, LARGEST_RATIO_17, PRODUCTS, Transition, transition

__all__ = ["cheapest_degrees", "transitions_of"]

# c(T) is added up from numbers this many times larger than the smallest singular value it may leave behind
_SHARE = 0.03
# Between restarts nothing but one step is exposed to half precision, and the signs of its rounding differ: two steps of
# degree 17 from 7e-3 ended 1 % below what was planned
_SHARE_HALF = 6.0
_STEPS = 24  # ratios per factor of ten that plans are made for, rounded down


def transitions_of(degrees: Sequence[int], low: float, high: float, beyond: float = 1.0) -> tuple[Transition, ...]:
    """One after the other; from the second on for `beyond` times the largest value there may be."""
    out: list[Transition] = []
    for degree in degrees:
        high = beyond * high if out else high
        out.append(_made(degree, low, high))
        low, high = out[-1].low, out[-1].high
    return tuple(out)


def _made(degree: int, low: float, high: float) -> Transition:
    # nearer to 1 degree 17 is made for a little more than there is: its error is 1e-12 by then
    return transition(degree, min(low, LARGEST_RATIO_17 * high) if degree == 17 else low, high)


def cheapest_degrees(ratio: float, tol: float, eps: float, extra: int) -> tuple[int, ...]:
    """Degrees that take [ratio, 1] to within tol of 1 in the fewest products; at least one."""
    cost, degrees = _shortest(_rounded(ratio), tol, eps, extra)
    if not math.isfinite(cost):
        raise OptionError(
            f"no transitions take a ratio of {ratio:.2g} of singular values to {tol:.2g} where products round to "
            f"{eps:.1g}: take a smaller cond, a ridge, a larger rtol or a wider dtype"
        )
    return degrees or (3,)


def _rounded(ratio: float) -> float:
    if ratio < 0.5:
        return 10.0 ** (math.floor(math.log10(ratio) * _STEPS + 1e-9) / _STEPS)
    gap = max(1 - ratio, 1e-16)
    return 1 - min(10.0 ** (math.ceil(math.log10(gap) * _STEPS - 1e-9) / _STEPS), 0.52)


def _usable(degree: int, ratio: float, eps: float) -> Transition | None:
    """The transition, or None where it drowns in rounding."""
    step = _made(degree, ratio, 1.0)
    share = _SHARE if eps < 1e-4 else _SHARE_HALF
    return step if eps * step.amplification <= share * step.low else None


@functools.lru_cache(maxsize=65536)
def _shortest(ratio: float, tol: float, eps: float, extra: int) -> tuple[float, tuple[int, ...]]:
    if 1 - ratio <= (1 + ratio) * tol:
        return 0.0, ()
    best: tuple[float, tuple[int, ...]] = (math.inf, ())
    for degree in DEGREES:
        step = _usable(degree, ratio, eps)
        if step is None:
            continue
        if step.high - 1 <= tol:
            cost, rest = 0.0, ()
        else:
            image = _rounded(step.low / step.high)
            if image <= ratio:
                continue
            cost, rest = _shortest(image, tol, eps, extra)
        total = cost + PRODUCTS[degree] + extra
        if total < best[0]:
            best = (total, (degree, *rest))
    return best
