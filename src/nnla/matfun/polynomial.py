"""f(A) of symmetric matrices by a polynomial in A: AutoSpec's, of `nnla.matrix_function`, formed as a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotSymmetricError
from nnla.functions.multiply import matrix_function
from nnla.functions.scalars import FUNCTIONS, ScalarFunction
from nnla.matfun.options import Batch

__all__ = ["by_polynomials"]

_SHARE = 0.1  # of the tolerance that a polynomial is asked for
_SCALARS: dict[str, ScalarFunction] = FUNCTIONS | {
    "sin": ScalarFunction("sin", np.sin),
    "cos": ScalarFunction("cos", np.cos),
}


def by_polynomials(batch: Batch, f: str, rtol: float) -> tuple[np.ndarray, str, str | None]:
    """P(A) for each matrix, NaN where no polynomial is found; which kind, and whose weights.

    Raises
    ------
    NotSymmetricError

    Notes
    -----
    Cost: per matrix a probe of n products with vectors, and ``degree`` products of matrices.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.4.
    """
    if not batch.symmetric.all():
        place = batch.place(int(np.argmin(batch.symmetric)))
        raise NotSymmetricError(f"{place} is not symmetric: method='polynomial' needs that; use method='schur'")
    X = np.full_like(batch.A, np.nan)
    kinds: set[str] = set()
    weights: str | None = None
    for i, A in enumerate(batch.A):
        try:
            P: Any = matrix_function(A, _SCALARS[f], rtol=max(_SHARE * rtol, 1e-13), probe_steps=max(batch.n, 8))
        except NNLAError:  # outside of the domain: the reference says so
            continue
        value = np.asarray(P.recurrence.apply(lambda V, A=A: A @ V, np.eye(batch.n)))
        X[i] = (value + value.T) / 2
        kinds.add(P.report.method)
        weights = weights or P.report.weights or None
    return batch.restored(X, f), " and ".join(sorted(kinds)) or "no polynomial", weights
