"""Matrices of any kind as one `Operator`: converted, validated, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Operator": "nnla.operators.operator",
        "as_operator": "nnla.operators.operator",
    },
)
__all__ = ["Operator", "as_operator"]

if TYPE_CHECKING:
    from nnla.operators.operator import Operator, as_operator
