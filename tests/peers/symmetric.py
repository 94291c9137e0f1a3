"""Stand-ins for what the suites draw their matrices from: each square random matrix is its symmetric part."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

__all__ = ["numpy_drawing_symmetric", "scipy_drawing_symmetric"]


def _part(A: Any) -> Any:
    return 0.5 * (A + A.T) if getattr(A, "ndim", 0) == 2 and A.shape[0] == A.shape[1] else A


class _Generator:
    """A generator of random numbers whose square matrices are symmetric."""

    def __init__(self, rng: Any) -> None:
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        drawn = getattr(self._rng, name)
        if name not in ("standard_normal", "uniform", "random", "randn", "rand", "random_sample", "normal"):
            return drawn
        return lambda *args, **options: _part(drawn(*args, **options))


class _Over:
    """A module with some names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _unwrapped(options: dict[str, Any]) -> dict[str, Any]:
    return {key: getattr(value, "_rng", value) for key, value in options.items()}


def numpy_drawing_symmetric() -> Any:
    """``np`` with generators of symmetric matrices."""
    random = _Over(
        np.random,
        default_rng=lambda *args: _Generator(np.random.default_rng(*args)),
        RandomState=lambda *args: _Generator(np.random.RandomState(*args)),
    )
    return _Over(np, random=random)


def scipy_drawing_symmetric() -> Any:
    """``scipy`` with a symmetric inverse and symmetric random sparse matrices."""
    linalg = _Over(scipy.linalg, inv=lambda A: _part(scipy.linalg.inv(A)))
    sparse = _Over(
        scipy.sparse,
        random_array=lambda *args, **options: _part(scipy.sparse.random_array(*args, **_unwrapped(options)).tocsr()),
    )
    return _Over(scipy, linalg=linalg, sparse=sparse)
