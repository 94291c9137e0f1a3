"""What a user's M may be used for: said by its ``kind``, or found out by applying it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, NotPositiveDefiniteError, OptionError
from nnla.linear.options import Options
from nnla.operators.arrays import inner, norm
from nnla.operators.operator import Operator
from nnla.preconditioners.scalings import bind_scaling, declared_kind
from nnla.types import Kind

__all__ = ["kind_of", "with_kind"]

_ROUNDING = 1e-4  # of M in low precision
_REMEDY = "use method='fcg' (flexible CG), which takes any M"


def kind_of(op: Operator, M: Any) -> Kind:
    """The kind that an M has or shows: not additive is NONLINEAR, not symmetric or with z'Mz <= 0 is LINEAR.

    Raises
    ------
    NonFiniteError
        M returns NaN or Inf.

    Notes
    -----
    Cost: none where M says its ``kind`` (one of `Kind`: other libraries have kinds of their own); else three
    applications to random vectors, which find any but a contrived defect.
    """
    declared = declared_kind(M)
    if declared is not None:
        return declared
    base = bind_scaling(op, M)
    u, v = (op.as_vector(z) for z in np.random.default_rng(0).standard_normal((2, op.n)))
    Mu, Mv = base(u), base(v)
    size = max(float(norm(Mu)), float(norm(Mv)))
    if not np.isfinite(size):
        raise NonFiniteError("M r contains NaN or Inf for a random vector r; repair M")
    if not float(norm(base(u + v) - Mu - Mv)) <= _ROUNDING * size:
        return Kind.NONLINEAR
    symmetric = abs(float(inner(u, Mv)) - float(inner(v, Mu))) <= _ROUNDING * size
    positive = min(float(inner(u, Mu)), float(inner(v, Mv))) > 0
    return Kind.LINEAR_SPD if symmetric and positive else Kind.LINEAR


def with_kind(op: Operator, options: Options) -> Options:
    """The options with the kind of their M; an M that CG, or a polynomial, cannot take is refused.

    Raises
    ------
    OptionError
        A non-linear M.
    NotPositiveDefiniteError
        A linear M that is not symmetric, or not positive definite.
    """
    M = options.M
    if M is None or options.method == "fcg":
        return options
    kind = kind_of(op, M)
    if kind is Kind.LINEAR_SPD or options.method == "auto":
        return replace(options, kind=kind)
    if kind is Kind.NONLINEAR:
        raise OptionError(f"M is not linear, and CG needs a linear, symmetric positive definite M; {_REMEDY}")
    raise NotPositiveDefiniteError(f"M is not symmetric positive definite, as CG needs it; {_REMEDY}")
