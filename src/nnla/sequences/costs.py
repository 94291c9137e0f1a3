"""Seconds that the parts of a solve take: by counts, corrected by what was measured in this run."""

from __future__ import annotations

import math

__all__ = ["Costs", "counted"]

_MOST = math.log(20.0)  # that a measured speed may differ from the counted one
_FIRST, _RATE = 0.7, 0.25  # weights of the first measurement, and of those that follow


def counted(part: str, n: int, nnz: int, *, flops: float = 0.0, entries: float = 0.0, columns: int = 1) -> float:
    """Seconds of a part on the machine of the constants.

    Parameters
    ----------
    part : "product", "order", "factor", "substitution", "verify"; "around", what there is to CG beside its iterations;
        "renew", an old solution brought to a new matrix; "setup" or "step" and a dot and a method
    n, nnz : size of the system
    flops, entries : of its factor
    columns : of the right-hand side

    Examples
    --------
    >>> counted("product", 1000, 5000) < counted("step.ic", 1000, 5000) < counted("setup.ic", 1000, 5000)
    True
    """
    product = 1e-6 + 1.1e-9 * nnz + 4e-9 * n
    if part == "product":
        return product * columns
    if part == "order":
        return 2e-5 + 1e-7 * nnz
    if part == "factor":
        return 1e-5 + 6e-8 * n + 3e-9 * entries + 1.5e-10 * flops
    if part == "substitution":
        return 1e-6 + 3e-9 * entries * (1.0 if columns == 1 else 0.4 * columns)
    if part == "verify":
        return 4e-5 + (2.0 * product + 2e-8 * n) * columns
    if part == "around":
        return 8e-4 + (3.0 * product + 1e-7 * n) * columns
    if part == "renew":
        return 1e-5 + 1.2 * product + 3e-8 * n
    what, method = part.split(".")
    return product * (_SETUP if what == "setup" else _STEP).get(method, 15.0) * (1 if what == "setup" else columns)


# products' worth of a set-up, and of an iteration
_SETUP = {"direct": 0.0, "cg": 0.0, "jacobi": 0.5, "ic": 20.0, "amg": 80.0}
_STEP = {"cg": 1.2, "jacobi": 1.3, "ic": 2.5, "amg": 7.0}


class Costs:
    """What was measured of each part by what counts say; one for a sequence.

    Parameters
    ----------
    learn : False for counts alone, the same in every run
    rate : weight of what was measured last

    Notes
    -----
    A part's speed is an exponential average of logarithms, so that sizes and neighbouring settings share what they
    teach: what one factorisation took says what the next one will, however large.

    Examples
    --------
    >>> costs = Costs()
    >>> costs.learn("product", measured=3e-6, counted=1e-6)
    >>> 2e-6 < costs.seconds("product", 1e-6) < 3e-6
    True
    """

    def __init__(self, learn: bool = True, rate: float = _RATE) -> None:
        self.learns, self._rate = learn, rate
        self._logs: dict[str, float] = {}

    def seconds(self, part: str, counted: float) -> float:
        """Expected seconds of a part."""
        return counted * math.exp(self._logs.get(part, 0.0))

    def known(self, part: str) -> bool:
        """Whether it has been measured."""
        return part in self._logs

    def learn(self, part: str, *, measured: float, counted: float) -> None:
        """Take note of what a part took."""
        if not self.learns or not (0.0 < measured < math.inf and 0.0 < counted < math.inf):
            return
        gap = min(max(math.log(measured / counted), -_MOST), _MOST)
        before = self._logs.get(part)
        self._logs[part] = _FIRST * gap if before is None else before + self._rate * (gap - before)
