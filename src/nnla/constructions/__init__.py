"""Constructions: transformers and ReLU networks with explicit weights, and the compiler that makes them from symbols.

Nothing here is trained. Names are resolved on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

if TYPE_CHECKING:
    from nnla.constructions.algorithms import (
        chebyshev,
        conjugate_gradients,
        jacobi,
        power_iteration,
        richardson,
        scaled_conjugate_gradients,
    )
    from nnla.constructions.compiler import Algorithm
    from nnla.constructions.difference_heads import (
        SCHEMES,
        HeadScheme,
        bilinear_heads,
        default_sink,
        default_step,
        head_scheme,
    )
    from nnla.constructions.expression_functions import diag, norm, outer, permute_columns, row_sums, sqrt, within
    from nnla.constructions.expressions import dot, keep
    from nnla.constructions.operations import OPERATIONS, operation
    from nnla.constructions.pointwise import PointwiseMap
    from nnla.constructions.program import Program, ProgramSize
    from nnla.constructions.prompt import Block, PromptLayout
    from nnla.constructions.prompt_plots import prompt_figure
    from nnla.constructions.relu_attacks import adversarial_matrices, attack, exact_function
    from nnla.constructions.relu_certificates import Certificate
    from nnla.constructions.relu_circuits import ReLUDomain, relu_network
    from nnla.constructions.relu_exponential import relu_expm
    from nnla.constructions.relu_functions import RELU_FUNCTIONS, CertifiedAnswer, relu_function
    from nnla.constructions.relu_matrix_programs import MatrixProgram
    from nnla.constructions.relu_multiplication import CertifiedProduct, relu_matmul
    from nnla.constructions.relu_networks import CertifiedNetwork, MatrixSet, load_layers
    from nnla.constructions.relu_polynomials import relu_cosm, relu_polynomial, relu_power, relu_sinm
    from nnla.constructions.relu_products import (
        ReLUNetwork,
        one_layer_product,
        power_interpolant,
        product_network,
        square_network,
    )
    from nnla.constructions.relu_roots import relu_inv_sqrtm, relu_invm, relu_signm, relu_sqrtm
    from nnla.constructions.relu_theorem import theorem_size
    from nnla.constructions.softmax_layer import Head, SoftmaxLayer, softmax

_HOME = {
    "Algorithm": "compiler",
    "Block": "prompt",
    "Certificate": "relu_certificates",
    "CertifiedAnswer": "relu_functions",
    "CertifiedNetwork": "relu_networks",
    "CertifiedProduct": "relu_multiplication",
    "Head": "softmax_layer",
    "HeadScheme": "difference_heads",
    "MatrixProgram": "relu_matrix_programs",
    "MatrixSet": "relu_networks",
    "OPERATIONS": "operations",
    "PointwiseMap": "pointwise",
    "Program": "program",
    "ProgramSize": "program",
    "PromptLayout": "prompt",
    "RELU_FUNCTIONS": "relu_functions",
    "ReLUDomain": "relu_circuits",
    "ReLUNetwork": "relu_products",
    "SCHEMES": "difference_heads",
    "SoftmaxLayer": "softmax_layer",
    "adversarial_matrices": "relu_attacks",
    "attack": "relu_attacks",
    "bilinear_heads": "difference_heads",
    "chebyshev": "algorithms",
    "conjugate_gradients": "algorithms",
    "default_sink": "difference_heads",
    "default_step": "difference_heads",
    "diag": "expression_functions",
    "dot": "expressions",
    "exact_function": "relu_attacks",
    "head_scheme": "difference_heads",
    "jacobi": "algorithms",
    "keep": "expressions",
    "load_layers": "relu_networks",
    "norm": "expression_functions",
    "one_layer_product": "relu_products",
    "operation": "operations",
    "outer": "expression_functions",
    "permute_columns": "expression_functions",
    "power_interpolant": "relu_products",
    "power_iteration": "algorithms",
    "product_network": "relu_products",
    "prompt_figure": "prompt_plots",
    "relu_cosm": "relu_polynomials",
    "relu_expm": "relu_exponential",
    "relu_function": "relu_functions",
    "relu_inv_sqrtm": "relu_roots",
    "relu_invm": "relu_roots",
    "relu_matmul": "relu_multiplication",
    "relu_network": "relu_circuits",
    "relu_polynomial": "relu_polynomials",
    "relu_power": "relu_polynomials",
    "relu_signm": "relu_roots",
    "relu_sinm": "relu_polynomials",
    "relu_sqrtm": "relu_roots",
    "richardson": "algorithms",
    "row_sums": "expression_functions",
    "scaled_conjugate_gradients": "algorithms",
    "softmax": "softmax_layer",
    "sqrt": "expression_functions",
    "square_network": "relu_products",
    "theorem_size": "relu_theorem",
    "within": "expression_functions",
}

__all__ = [
    "OPERATIONS",
    "RELU_FUNCTIONS",
    "SCHEMES",
    "Algorithm",
    "Block",
    "Certificate",
    "CertifiedAnswer",
    "CertifiedNetwork",
    "CertifiedProduct",
    "Head",
    "HeadScheme",
    "MatrixProgram",
    "MatrixSet",
    "PointwiseMap",
    "Program",
    "ProgramSize",
    "PromptLayout",
    "ReLUDomain",
    "ReLUNetwork",
    "SoftmaxLayer",
    "adversarial_matrices",
    "attack",
    "bilinear_heads",
    "chebyshev",
    "conjugate_gradients",
    "default_sink",
    "default_step",
    "diag",
    "dot",
    "exact_function",
    "head_scheme",
    "jacobi",
    "keep",
    "load_layers",
    "norm",
    "one_layer_product",
    "operation",
    "outer",
    "permute_columns",
    "power_interpolant",
    "power_iteration",
    "product_network",
    "prompt_figure",
    "relu_cosm",
    "relu_expm",
    "relu_function",
    "relu_inv_sqrtm",
    "relu_invm",
    "relu_matmul",
    "relu_network",
    "relu_polynomial",
    "relu_power",
    "relu_signm",
    "relu_sinm",
    "relu_sqrtm",
    "richardson",
    "row_sums",
    "scaled_conjugate_gradients",
    "softmax",
    "sqrt",
    "square_network",
    "theorem_size",
    "within",
]


__getattr__, __dir__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOME.items()})
