"""Conjugate gradients in NumPy, torch and native code, and the probe that its steps are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CGResult": "nnla.krylov.cg",
        "conjugate_gradients": "nnla.krylov.cg",
        "ended_by": "nnla.krylov.cg",
        "lanczos_from_cg": "nnla.krylov.cg",
    },
)
__all__ = ["CGResult", "conjugate_gradients", "ended_by", "lanczos_from_cg"]

if TYPE_CHECKING:
    from nnla.krylov.cg import CGResult, conjugate_gradients, ended_by, lanczos_from_cg
