"""Matrices of any kind as one `Operator`: converted, validated, counted; its `Space`; polynomials bound to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BoundPolynomial": "nnla.operators.bound_polynomial",
        "NumpySpace": "nnla.operators.numpy_space",
        "Operator": "nnla.operators.operator",
        "Space": "nnla.operators.spaces",
        "as_operator": "nnla.operators.operator",
    },
)
__all__ = ["BoundPolynomial", "NumpySpace", "Operator", "Space", "as_operator"]

if TYPE_CHECKING:
    from nnla.operators.bound_polynomial import BoundPolynomial
    from nnla.operators.numpy_space import NumpySpace
    from nnla.operators.operator import Operator, as_operator
    from nnla.operators.spaces import Space
