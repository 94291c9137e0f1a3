"""CG on an operator: in the native kernels where the matrix and M have a form there, flexible where M's kind asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.krylov.cg import ConjugateGradients
from nnla.krylov.deflated_cg import Harvest
from nnla.krylov.fcg import FlexibleConjugateGradients
from nnla.krylov.native_cg import NativeConjugateGradients
from nnla.operators.operator import Operator

__all__ = ["start_cg"]


def start_cg(
    op: Operator,
    b: Any,
    *,
    x: Any,
    residual: Any,
    targets: np.ndarray,
    sizes: np.ndarray,
    M: Any,
    flexible: bool = False,
    one_reduction: bool = False,
    stall: int | None = None,
    callback: Callable[[Any], None] | None = None,
    judge: Callable[[Any, np.ndarray | None], Any] | None = None,
    best: Any = None,
    harvest: Harvest | None = None,
) -> ConjugateGradients | NativeConjugateGradients:
    """CG from an iterate, ready to `advance`.

    Parameters
    ----------
    op : Operator, A
    M : what `nnla.preconditioners.scalings.bind_scaling` returns, or a polynomial preconditioner: with ``name``,
        ``native``, ``inverse`` and ``count``
    flexible : flexible CG, for M of any kind
    harvest : given the Lanczos vectors of a native run
    The others are those of `nnla.krylov.cg.ConjugateGradients`.

    Notes
    -----
    Cost: no products; those of an iteration are `ConjugateGradients`' own.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 9.1; flexible: Notay, SIAM J. Sci. Comput. 22
    (2000), algorithm FCG(m).
    """
    if not flexible:
        system = op.native if b.shape in ((op.n,), (op.n, 1)) else None
        own, inverse = M.native, M.inverse
        if system is not None and (own is not None or inverse is not None or M.name == "none"):

            def count(products: int, applies: int) -> None:
                op.count(products)
                M.count(applies)

            flat = b.reshape(-1)
            return NativeConjugateGradients(
                system,
                lambda v: flat - op.matvec(v),
                x=x.reshape(-1),
                residual=residual.reshape(-1),
                target=float(targets[0]),
                size=float(sizes[0]) or 1.0,
                M=own,
                inverse=inverse,
                count=count,
                one_reduction=one_reduction,
                stall=stall,
                callback=None if callback is None else lambda v: callback(v.reshape(b.shape)),
                judge=None if judge is None else lambda v: float(np.max(judge(v.reshape(b.shape), None))),
                best=None if best is None else best.reshape(-1),
                harvest=harvest,
            )
    options: dict[str, Any] = {
        "x": x,
        "residual": residual,
        "M": None if M.name == "none" else M,
        "targets": targets,
        "sizes": np.where(sizes > 0, sizes, 1.0),
        "stall": stall,
        "callback": callback,
        "space": op.space,
        "judge": judge,
        "best": best,
    }
    if flexible:
        return FlexibleConjugateGradients(op.matvec, b, **options)
    return ConjugateGradients(op.matvec, b, one_reduction=one_reduction, **options)
