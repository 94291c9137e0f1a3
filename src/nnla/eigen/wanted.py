"""Which eigenvalues are wanted: `which`, `sigma` and `mode` of SciPy's `eigsh`, and where to look for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnla.errors import OptionError

__all__ = ["MODES", "WHICH", "Ends", "Near", "Wanted"]

WHICH = ("SA", "LA", "LM", "SM", "BE")
MODES = ("normal", "buckling", "cayley")


@dataclass(frozen=True)
class Ends:
    """The ``low`` smallest and the ``high`` largest eigenvalues, among which the wanted ones are."""

    low: int
    high: int


@dataclass(frozen=True)
class Near:
    """Eigenvalues x next to a shift, among which the wanted ones are.

    Attributes
    ----------
    shift : a number
    select : "nearest", "above" (the largest ``1 / (x - shift)``), "below" (the smallest), "ends" (some of either)
    below, above : how many of the smallest and of the largest ``1 / (x - shift)``; for "nearest" their sum counts
    """

    shift: float
    select: str
    below: int
    above: int

    @property
    def count(self) -> int:
        return self.below + self.above


@dataclass(frozen=True)
class Wanted:
    """k eigenvalues by their names in SciPy.

    ``which`` refers to the eigenvalues x or, with a shift, to what ARPACK iterates with: ``1 / (x - sigma)`` in the
    mode "normal", ``(x + sigma) / (x - sigma)`` in "cayley", ``x / (x - sigma)`` in "buckling".

    In the mode "buckling" everything here is said of the exchanged pencil, M v = x A v, whose eigenvalues are 1 / x: A
    is the definite one of the two. With its shift 1 / sigma, ``1 / (x - shift)`` is that mode's number by ``-sigma``.

    Parameters
    ----------
    which : one of `WHICH`
    k : how many
    sigma : the shift, None for none
    mode : one of `MODES`

    Raises
    ------
    OptionError
        A mode that sigma = 0 leaves without a meaning.

    References
    ----------
    Lehoucq, Sorensen, Yang, ARPACK Users' Guide (1998), section 3.3; Grimes, Lewis, Simon, A shifted block Lanczos
    algorithm, SIAM J. Matrix Anal. Appl. 15 (1994) 228-272, section 2 (buckling).

    Examples
    --------
    >>> Wanted("LA", 2, 0.5, "normal").choose(np.array([0.0, 0.4, 0.6, 1.0, 2.0])).tolist()
    [2, 3]
    >>> Wanted("BE", 3).look()
    Ends(low=1, high=2)
    """

    which: str
    k: int
    sigma: float | None = None
    mode: str = "normal"

    def __post_init__(self) -> None:
        if self.sigma == 0 and self.mode != "normal":
            raise OptionError(f"mode={self.mode!r} tells nothing apart at sigma = 0; use mode='normal'")

    @property
    def far(self) -> bool:
        """Whether the k are those furthest from a shift, and no inverse serves."""
        return self.which == "SM" and self.sigma is not None and self.mode != "cayley"

    @property
    def exchanged(self) -> bool:
        """Whether x are eigenvalues of M v = x A v."""
        return self.mode == "buckling"

    @property
    def shift(self) -> float | None:
        """The place of sigma among the x."""
        return 1.0 / self.sigma if self.exchanged and self.sigma else self.sigma

    def look(self) -> Ends | Near:
        """Where the k are, and perhaps some more that `choose` leaves out."""
        k, which, shift = self.k, self.which, self.shift
        if shift is None:
            if which == "SM":
                return Near(0.0, "nearest", 0, k)
            return {"SA": Ends(k, 0), "LA": Ends(0, k), "BE": Ends(k // 2, k - k // 2), "LM": Ends(k, k)}[which]
        if self.far:
            return Ends(k, k)
        if self.mode == "cayley" and which in ("LM", "SM"):
            # |1 + 2 sigma / (x - sigma)| grows towards sigma on either side, at different rates; its inverse is the
            # same of -sigma
            return Near(shift if which == "LM" else -shift, "ends", k, k)
        if which == "LM":
            return Near(shift, "nearest", 0, k)
        # the numbers of the mode grow with 1 / (x - shift), or fall
        falling = (self.mode == "cayley" and shift < 0) or (self.mode == "buckling" and shift > 0)
        below, above = {"SA": (k, 0), "LA": (0, k), "BE": (k // 2, k - k // 2)}[which]
        below, above = (above, below) if falling else (below, above)
        return Near(shift, "ends" if below and above else "below" if below else "above", below, above)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """What `which` refers to."""
        s = self.sigma
        if s is None:
            return x
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if self.mode == "cayley":
                return np.where(x == s, math.copysign(math.inf, s), (x + s) / (x - s))
            return 1.0 / (1.0 - s * x) if self.exchanged else 1.0 / (x - s)

    def choose(self, x: np.ndarray) -> np.ndarray:
        """Places of the k wanted among some numbers x, in the order of x; of all, where these are no more than k."""
        ranked = self.transformed(x)
        if self.which in ("LM", "SM"):
            ranked = np.abs(ranked)
        order = np.argsort(ranked, kind="stable")
        if self.which in ("LM", "LA"):
            chosen = order[max(order.size - self.k, 0) :]
        elif self.which in ("SM", "SA"):
            chosen = order[: self.k]
        else:
            low = self.k // 2
            chosen = order if order.size <= self.k else np.concatenate([order[:low], order[low - self.k :]])
        return chosen[np.argsort(x[chosen], kind="stable")]
