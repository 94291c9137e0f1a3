"""Constructions: transformers with explicit weights, and the compiler that makes them from algorithms in symbols.

Nothing here is trained. Names are resolved on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

if TYPE_CHECKING:
    from nnla.constructions.algorithms import chebyshev, conjugate_gradients, jacobi, power_iteration, richardson
    from nnla.constructions.compiler import Algorithm
    from nnla.constructions.difference_heads import (
        SCHEMES,
        HeadScheme,
        bilinear_heads,
        default_sink,
        default_step,
        head_scheme,
    )
    from nnla.constructions.expressions import diag, dot, keep, norm, outer, permute_columns, sqrt
    from nnla.constructions.operations import OPERATIONS, operation
    from nnla.constructions.pointwise import PointwiseMap
    from nnla.constructions.program import Program, ProgramSize
    from nnla.constructions.prompt import Block, PromptLayout
    from nnla.constructions.softmax_layer import Head, SoftmaxLayer, softmax

_HOME = {
    "Algorithm": "compiler",
    "Block": "prompt",
    "Head": "softmax_layer",
    "HeadScheme": "difference_heads",
    "OPERATIONS": "operations",
    "PointwiseMap": "pointwise",
    "Program": "program",
    "ProgramSize": "program",
    "PromptLayout": "prompt",
    "SCHEMES": "difference_heads",
    "SoftmaxLayer": "softmax_layer",
    "bilinear_heads": "difference_heads",
    "chebyshev": "algorithms",
    "conjugate_gradients": "algorithms",
    "default_sink": "difference_heads",
    "default_step": "difference_heads",
    "diag": "expressions",
    "dot": "expressions",
    "head_scheme": "difference_heads",
    "jacobi": "algorithms",
    "keep": "expressions",
    "norm": "expressions",
    "operation": "operations",
    "outer": "expressions",
    "permute_columns": "expressions",
    "power_iteration": "algorithms",
    "richardson": "algorithms",
    "softmax": "softmax_layer",
    "sqrt": "expressions",
}

__all__ = [
    "OPERATIONS",
    "SCHEMES",
    "Algorithm",
    "Block",
    "Head",
    "HeadScheme",
    "PointwiseMap",
    "Program",
    "ProgramSize",
    "PromptLayout",
    "SoftmaxLayer",
    "bilinear_heads",
    "chebyshev",
    "conjugate_gradients",
    "default_sink",
    "default_step",
    "diag",
    "dot",
    "head_scheme",
    "jacobi",
    "keep",
    "norm",
    "operation",
    "outer",
    "permute_columns",
    "power_iteration",
    "richardson",
    "softmax",
    "sqrt",
]


__getattr__, __dir__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOME.items()})
