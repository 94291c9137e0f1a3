"""Plans: which transitions run, with which coefficients, in which precision, and what that costs.

A plan is made on the host in float64, once, and is a frozen value: a call that follows it has no decision left to take
on the device. Nothing here needs torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import DTypeError, OptionError, ShapeError
from nnla.interop.torch.sequences import cheapest_degrees, transitions_of
from nnla.interop.torch.transitions import PRODUCTS, Transition, from_powers
from nnla.types import real_number

__all__ = [
    "InverseRootPlan",
    "PolarPlan",
    "flops",
    "inverse_root_plan",
    "polar_plan",
    "polar_plan_from",
]

ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# ||Z^p A - I|| that is asked for, and the condition that is assumed, where nothing is said
_RTOL = {"float64": 1e-8, "float32": 1e-3, "tf32": 3e-2, "float16": 0.05, "bfloat16": 0.2}
_COND = {"float64": 1e8, "float32": 1e6, "tf32": 1e3, "float16": 1e4, "bfloat16": 1e4}
# What half precision adds to the largest singular values of a step, behind which the next polynomial is steep
_BEYOND_HALF = 1.03
# The bound that scales A is more than its largest eigenvalue by no more than this: `norm_estimate`
SLACK = 1.3
_LOWER = 7e-3  # smallest singular value of a gradient, over the largest, that counts
_SPREAD = 0.12


@dataclass(frozen=True, repr=False)
class InverseRootPlan:
    """How `inverse_root` gets A^(-1/p).

    Attributes
    ----------
    p : 1, 2 or 4
    stages : transitions of the one iteration (p = 1, 2) or of the two (p = 4: first A^(1/2), then its inverse root)
    precision : what the products are assumed to round like: "float64", "float32" or "tf32"
    cond : largest over smallest eigenvalue that it is made for
    ridge : added to A, relative to the bound of its norm
    rtol : ||Z^p A - I||_2 that a certificate calls converged
    wide : the first so many products with A itself are done in float64, where the rounding that the smallest
        eigenvalues suffer from comes in; 0 where the device has none
    """

    p: int
    stages: tuple[tuple[Transition, ...], ...]
    precision: str
    cond: float
    ridge: float
    rtol: float
    wide: int

    def __repr__(self) -> str:
        steps = " | ".join(", ".join(str(t.degree) for t in stage) for stage in self.stages)
        return (
            f"InverseRootPlan(p={self.p}, degrees {steps}, {self.products} products in {self.precision}, "
            f"cond={self.cond:.3g}, rtol={self.rtol:g})"
        )

    @property
    def products(self) -> int:
        """Products of n x n matrices of one call, certificate not included."""
        each = sum(sum(PRODUCTS[t.degree] + 3 for t in stage) - 3 for stage in self.stages)
        # the square of p = 1; a root in one step, which is a product where an inverse root is none
        return each + (self.p == 1) + (self.p == 4 and len(self.stages[0]) == 1)

    @property
    def cost(self) -> int:
        """Products, those in float64 counted twice where the others are not."""
        return self.products + (self.wide if self.precision != "float64" else 0)


@dataclass(frozen=True, repr=False)
class PolarPlan:
    """How `polar` gets the factor U.

    Attributes
    ----------
    phases : transitions that run on one Gram matrix; each phase makes its own from X and ends with a product X Q
    lower : smallest singular value, over the largest, that it is made for
    low, high : where singular values in [lower, 1] end, in exact arithmetic
    precision : of the products: "float64", "float32", "tf32" or "float16"
    rtol : ||U'U - I|| of a U that is in the band asked for, spread (2 + spread), and rounding: what is certified
    """

    phases: tuple[tuple[Transition, ...], ...]
    lower: float
    low: float
    high: float
    precision: str
    rtol: float

    def __repr__(self) -> str:
        steps = " | ".join(", ".join(str(t.degree) for t in phase) for phase in self.phases)
        return (
            f"PolarPlan(degrees {steps}, {self.products} products in {self.precision}, "
            f"[{self.lower:.3g}, 1] to [{self.low:.4g}, {self.high:.4g}])"
        )

    @property
    def products(self) -> int:
        """Products of matrices of a call, of any shape."""
        return sum(2 + _gram_products(phase) for phase in self.phases)


def _gram_products(phase: Sequence[Transition]) -> int:
    # c(T) of each; Q <- Q c but for the first; T <- c T c but for the last
    return sum(PRODUCTS[t.degree] for t in phase) + 3 * (len(phase) - 1)


def flops(plan: PolarPlan | InverseRootPlan, m: int, n: int) -> float:
    """Floating-point operations of one matrix in units of 2 n^3, n the smaller side, symmetric products halved.

    Parameters
    ----------
    plan : of `polar_plan` or `inverse_root_plan`
    m, n : shape of the matrix

    Returns
    -------
    float

    Raises
    ------
    ShapeError, OptionError

    Notes
    -----
    Cost: none. All products of commuting symmetric matrices count one half, as they do where a symmetric kernel runs;
    torch's own products compute both halves. Scaling and sums, O(m n), are left out.

    References
    ----------
    None: it counts what runs.

    Examples
    --------
    >>> plan = polar_plan()
    >>> flops(plan, 256, 256), flops(polar_plan(aspect=4), 1024, 256)
    (6.0, 10.5)
    """
    for side in (m, n):
        if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1:
            raise ShapeError(f"a matrix has positive integer sides, not {side!r}")
    if isinstance(plan, InverseRootPlan):
        if m != n:
            raise ShapeError(f"inverse roots need a square matrix, not {m} x {n}")
        return 0.5 * plan.products
    if not isinstance(plan, PolarPlan):
        raise OptionError(f"flops counts a PolarPlan or an InverseRootPlan, not {type(plan).__name__}")
    aspect = max(m, n) / min(m, n)
    return sum(1.5 * aspect + 0.5 * _gram_products(phase) for phase in plan.phases)


# -------------------------------------------------------------------------------------- inverse roots


def inverse_root_plan(
    p: int = 2,
    precision: Any = "float32",
    *,
    cond: float | None = None,
    ridge: float = 0.0,
    rtol: float | None = None,
    wide: int | None = None,
) -> InverseRootPlan:
    """The transitions for A^(-1/p) in the fewest products.

    Parameters
    ----------
    p : 1, 2 or 4
    precision : of the products, "float64", "float32" or "tf32" (float32 with products rounded to TF32), or the dtype
        of A as a name or torch dtype; matrices kept in half precision are iterated in float32
    cond : largest over smallest eigenvalue; by default 1 / ridge, and 1e8, 1e6, 1e3 or (half precision) 1e4 without
    ridge : multiple of the norm of A that is added to its diagonal; it makes the smallest eigenvalue known
    rtol : wanted ||Z^p A - I||_2, by default 1e-8, 1e-3, 3e-2
    wide : products in float64, by default 1 in single precision: it takes the error of the smallest eigenvalues down
        to about a fourth

    Returns
    -------
    InverseRootPlan

    Raises
    ------
    OptionError, DTypeError

    Notes
    -----
    Cost: some tenths of a second for the first plan of a kind, microseconds for one made before.

    Validity: the plan reaches rtol in exact arithmetic where cond is true. Rounding takes over near cond = 1e4 at
    rtol = 1e-4 in float32; the certificate says what was reached.

    References
    ----------
    Higham, Functions of Matrices (2008), section 6.3 (the coupled iteration). The shortest path over degrees is that
    of `nnla.extensions.minimax.plan`, with degree 17 at every ratio.

    Examples
    --------
    >>> [inverse_root_plan(2, cond=10.0**k, rtol=0.03).products for k in (2, 4, 6, 7)]
    [6, 12, 17, 19]
    """
    name = _precision(precision)
    if isinstance(p, bool) or not isinstance(p, (int, np.integer)) or p not in (1, 2, 4):
        raise OptionError(f"p must be 1, 2 or 4, got {p!r}")
    ridge = real_number(ridge, "ridge")
    if not 0 <= ridge < 1:
        raise OptionError(f"ridge is a share of the norm in [0, 1), not {ridge!r}")
    rtol = _RTOL[name] if rtol is None else real_number(rtol, "rtol")
    if not 0 < rtol < 1:
        raise OptionError(f"rtol is in (0, 1), not {rtol!r}")
    name = "float32" if name in ("float16", "bfloat16") else name
    if wide is None:
        wide = 0 if name == "float64" else 1
    if isinstance(wide, bool) or not isinstance(wide, (int, np.integer)) or wide < 0:
        raise OptionError(f"wide is a number of products, not {wide!r}")
    smallest = ridge / (1 + ridge)
    if cond is not None or not ridge:
        cond = _COND[_precision(precision)] if cond is None else real_number(cond, "cond")
        if not 1 <= cond < math.inf:
            raise OptionError(f"cond is at least 1, not {cond!r}")
        smallest = max(smallest, (1 / (SLACK * cond) + ridge) / (1 + ridge))
    return _planned(int(p), name, smallest, float(ridge), float(rtol), int(wide))


@functools.lru_cache(maxsize=1024)
def _planned(p: int, precision: str, smallest: float, ridge: float, rtol: float, wide: int) -> InverseRootPlan:
    eps = ROUNDING[precision]
    # Z of relative error e leaves Z^p A = (1 + e)^p; for p = 4 half the error of A^(1/2) comes on top
    share = {1: 0.5, 2: 0.5, 4: 1 / 6}[p]
    first = cheapest_degrees(math.sqrt(smallest), max(share * rtol, 4 * eps), eps, 3)
    stages = [transitions_of(first, math.sqrt(smallest), 1.0)]
    if p == 4:
        end = stages[0][-1]
        low, high = math.sqrt(smallest) * end.low, end.high
        second = cheapest_degrees(math.sqrt(low / high), max(share * rtol, 4 * eps), eps, 3)
        stages.append(transitions_of(second, math.sqrt(low), math.sqrt(high)))
    return InverseRootPlan(p, tuple(stages), precision, 1 / smallest, ridge, rtol, wide)


def polar_plan(
    precision: Any = "float32",
    *,
    lower: float = _LOWER,
    spread: float = _SPREAD,
    aspect: float = 1.0,
    restart: bool | None = None,
) -> PolarPlan:
    """The transitions for a polar factor in the fewest floating-point operations.

    Parameters
    ----------
    precision : of the products, "float64", "float32", "tf32" or "float16", or the dtype of X as a name or torch dtype;
        bfloat16 goes by float16, which has three digits to its two
    lower : smallest singular value, over the largest, that is to be brought near 1
    spread : how near: [1 - spread, 1 + spread]
    aspect : longer over shorter side
    restart : a Gram matrix of its own for every transition, which is what half precision needs; by default there, and
        where it costs no more

    Returns
    -------
    PolarPlan

    Raises
    ------
    OptionError, DTypeError

    Notes
    -----
    Cost: some tenths of a second for the first plan of a kind, microseconds for one made before.

    Validity: the band holds in exact arithmetic; smaller singular values end below it, in order.

    References
    ----------
    Polar Express, arXiv:2505.16932. Zhang, Amsel, Chen, Dao, Gram Newton-Schulz (2026): the iteration on the Gram
    matrix, and its restart.

    Examples
    --------
    >>> plan = polar_plan(aspect=4)
    >>> round(plan.low, 2), round(plan.high, 2), [[t.degree for t in phase] for phase in plan.phases]
    (0.9, 1.1, [[17, 17]])
    """
    name = _precision(precision)
    name = "float16" if name == "bfloat16" else name
    lower, spread = real_number(lower, "lower"), real_number(spread, "spread")
    aspect = real_number(aspect, "aspect")
    if not 0 < lower < 1 or not 0 < spread < 1:
        raise OptionError(f"lower and spread are in (0, 1), not {lower!r} and {spread!r}")
    if not 1 <= aspect < math.inf:
        raise OptionError(f"aspect is the longer over the shorter side, at least 1, not {aspect!r}")
    if restart not in (None, True, False):
        raise OptionError(f"restart is True, False or None, not {restart!r}")
    return _planned_polar(name, float(lower), float(spread), float(aspect), restart)


@functools.lru_cache(maxsize=1024)
def _planned_polar(precision: str, lower: float, spread: float, aspect: float, restart: bool | None) -> PolarPlan:
    eps = ROUNDING[precision]
    half = eps > 1e-4
    # a step more costs a Gram matrix and a product with X, or the two updates of T and the one of Q
    apart, together = 3 * aspect, 3.0
    restart = (half or apart <= together) if restart is None else restart
    degrees = cheapest_degrees(lower, max(spread, 4 * eps), eps, round(apart if restart else together))
    steps = transitions_of(degrees, lower, 1.0, _BEYOND_HALF if half else 1.0)
    phases = tuple((step,) for step in steps) if restart else (steps,)
    return PolarPlan(phases, lower, steps[-1].low, steps[-1].high, precision, _certified(spread, precision))


def polar_plan_from(
    coefficients: Sequence[Sequence[float]],
    *,
    lower: float = _LOWER,
    precision: Any = "float32",
    restart_at: Sequence[int] = (),
) -> PolarPlan:
    """A plan of given coefficients, as schedules are published.

    Parameters
    ----------
    coefficients : for every step (c_0, c_1), (c_0, c_1, c_2) or five numbers: x (c_0 + c_1 x^2 + ...)
    lower : smallest singular value that they are judged for
    precision : as in `polar_plan`
    restart_at : steps, from 1, that begin with a Gram matrix of their own; step 0 always does

    Returns
    -------
    PolarPlan

    Raises
    ------
    OptionError, DTypeError

    Notes
    -----
    Cost: microseconds.

    References
    ----------
    None.

    Examples
    --------
    >>> plan = polar_plan_from([(3.4445, -4.775, 2.0315)] * 5, restart_at=[2])
    >>> round(plan.low, 2), round(plan.high, 2), flops(plan, 4, 1)
    (0.68, 1.13, 19.0)
    """
    name = _precision(precision)
    if not len(coefficients):
        raise OptionError("a plan needs at least one step")
    x = np.geomspace(lower, 1.0, 20001)
    low, high = lower, 1.0
    phases: list[list[Transition]] = [[]]
    for k, c in enumerate(coefficients):
        step = from_powers(c, low, high)
        x = step(x)
        low, high = float(x.min()), float(x.max())
        if k in restart_at and phases[-1]:
            phases.append([])
        phases[-1].append(step)
    name = "float16" if name == "bfloat16" else name
    return PolarPlan(tuple(map(tuple, phases)), float(lower), low, high, name, _certified(max(1 - low, high - 1), name))


def _certified(spread: float, precision: str) -> float:
    return spread * (2 + spread) + 32 * ROUNDING[precision]


def _precision(value: Any) -> str:
    name = str(value).rsplit(".", 1)[-1]
    if name not in ROUNDING:
        raise DTypeError(f"no products are planned in {name[:40]}; take one of {', '.join(ROUNDING)}")
    return name
