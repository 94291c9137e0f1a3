"""Families of random regressions in the p-norm: what learned steps are trained and judged on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from nnla.errors import OptionError
from nnla.problems.lp_regression import Design, LpRegression, lp_regression, make_design

__all__ = ["LAWS", "lp_problems"]

LAWS = ("uniform", "normal", "outliers")


def lp_problems(
    count: int,
    *,
    m: int = 1000,
    n: int = 64,
    p: float = 1.5,
    smoothing: float = 1e-3,
    law: str = "uniform",
    fixed: bool = True,
    family: int = 0,
    seed: int = 0,
) -> Iterator[LpRegression]:
    """Random regressions: tall A and b of independent entries, each normalised to unit norm.

    Parameters
    ----------
    count : how many
    m, n, p, smoothing : as in `lp_regression`
    law : of the entries of b: "uniform" in (0, 1) as the paper's, "normal", or "outliers": a model A x0, normal
        noise of a hundredth, and a tenth of the entries wrong by more than that. A's are uniform in (0, 1)
    fixed : one A for all, b alone differs; else A differs too
    family : seed of A where it is fixed
    seed : of everything else; problem number i depends on its number and the seeds alone

    Yields
    ------
    LpRegression

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: m n random numbers for each A; m for each b.

    References
    ----------
    Algebraformer, section 6: m = 1000, n = 64, entries uniform, unit norms. Whether the norm of A
    is Frobenius' is not said there; it changes no iterate.

    Examples
    --------
    >>> one, two = lp_problems(2, m=30, n=4)
    >>> one.shape, one.design is two.design
    ((30, 4), True)
    """
    for name, number in (("count", count), ("m", m), ("n", n), ("family", family), ("seed", seed)):
        least = 0 if name in ("family", "seed", "count") else 1
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < least:
            raise OptionError(f"{name} must be an integer, at least {least}, got {str(number)[:60]}")
    if m < n:
        raise OptionError(f"m must be at least n, got {m} and {n}")
    if not isinstance(law, str) or law not in LAWS:
        raise OptionError(f"law must be one of {', '.join(LAWS)}, not {str(law)[:60]!r}")
    return _problems(count, m, n, law, fixed, family, seed, {"p": p, "smoothing": smoothing})


def _problems(
    count: int, m: int, n: int, law: str, fixed: bool, family: int, seed: int, options: dict[str, float]
) -> Iterator[LpRegression]:
    shared = _random_design(m, n, np.random.default_rng([family, m, n])) if fixed else None
    for index in range(count):
        rng = np.random.default_rng([seed, 1, index])
        design = shared or _random_design(m, n, rng)
        if law == "uniform":
            b = rng.random(m)
        elif law == "normal":
            b = rng.standard_normal(m)
        else:
            b = design.columns @ rng.standard_normal(n)
            size = math.sqrt(float(b @ b) / m)
            b += 0.01 * size * rng.standard_normal(m)
            b += size * rng.standard_cauchy(m) * (rng.random(m) < 0.1)
        yield lp_regression(design, b / math.sqrt(float(b @ b)), **options)


def _random_design(m: int, n: int, rng: np.random.Generator) -> Design:
    A = rng.random((m, n))
    return make_design(A / math.sqrt(float(np.vdot(A, A))))
