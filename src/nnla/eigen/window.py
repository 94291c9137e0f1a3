"""What a short Lanczos run knows of the wanted end of a spectrum: the probe of an eigenproblem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.errors import NonFiniteError, ShapeError

__all__ = ["Window"]


@dataclass(frozen=True, eq=False)
class Window:
    """Ritz values at one end of a spectrum, and where the other end is.

    Parameters
    ----------
    values : (j,) Ritz values, the wanted end first
    residuals : (j,) their residual norms
    far : bound of the other end of the spectrum
    n : size of the operator
    k : eigenvalues wanted
    ncv : vectors of the subspace
    steps : products with A that the run has taken

    Notes
    -----
    The smallest eigenvalues are wanted where ``far`` lies above the values, the largest where it lies below.
    """

    values: np.ndarray
    residuals: np.ndarray
    far: float
    n: int
    k: int
    ncv: int
    steps: int

    def __post_init__(self) -> None:
        for name in ("values", "residuals"):
            value = np.array(getattr(self, name), dtype=np.float64, ndmin=1)
            if not np.all(np.isfinite(value)):
                raise NonFiniteError(f"the window's {name} have NaN or Inf; check A for overflow, rescale it")
            object.__setattr__(self, name, value)
        if self.values.shape != self.residuals.shape or self.values.ndim != 1 or self.values.size == 0:
            raise ShapeError("a window needs values and residuals of one equal length of at least 1")

    @property
    def orientation(self) -> float:
        """-1.0 where the smallest eigenvalues are wanted, 1.0 where the largest."""
        return -1.0 if self.far > self.values[0] else 1.0

    @property
    def edge(self) -> float:
        """The extreme Ritz value."""
        return float(self.values[0])

    @property
    def width(self) -> float:
        """Length of the spectrum."""
        return abs(self.far - self.edge)

    @property
    def depths(self) -> np.ndarray:
        """(j,) distances of the Ritz values from the edge, as shares of the width; increasing from 0."""
        return np.maximum(self.orientation * (self.edge - self.values), 0.0) / self.width

    def at(self, index: float) -> float:
        """The Ritz value of a place counted from 1, between places by interpolation; at most the last."""
        places = np.arange(1, self.values.size + 1)
        return float(np.interp(index, places, self.values))
