"""What learned polynomials are: minimax gap, equioscillation, robustness, ablation, degree extension.

Functions return numbers and arrays; `nnla.analysis.plots` draws them. ``reproduce/autospec_analysis.py`` makes the
tables and figures of the AutoSpec paper with them.
"""

from nnla.analysis.equioscillation import ChebyshevFit, Equioscillation, chebyshev_fit, equioscillation
from nnla.analysis.improvement import condition_improvement, gap_improvement, inverse_root_improvement
from nnla.analysis.minimax import MinimaxGap, leading_coefficient, minimax_gap, random_recurrence
from nnla.analysis.robustness import probe_robustness, without_residuals
from nnla.models.paper_extension import extend, prefix

__all__ = [
    "ChebyshevFit",
    "Equioscillation",
    "MinimaxGap",
    "chebyshev_fit",
    "condition_improvement",
    "equioscillation",
    "extend",
    "gap_improvement",
    "inverse_root_improvement",
    "leading_coefficient",
    "minimax_gap",
    "prefix",
    "probe_robustness",
    "random_recurrence",
    "without_residuals",
]
