"""The existence theorem for exp(A) with its constants: monomials of the entries, each by a tree of products.

On |a_ij| <= M, and with nM =: t, ||A||_F <= t.

1. Terms: the smallest K with t^(K+1) / (K+1)! e^t <= eps / 2, so that the rest of the series is as small.
2. Entry (i, j) of A^k is the sum of n^(k-1) paths, each a product of k entries. In units of M, a tree of
   L = ceil(log2 k) levels multiplies numbers in [-1, 1]; with e_0 = 0 and d = 4^-(m+1), each level takes the error to
   e_(l+1) = 2 e_l + e_l^2 + d (1 + e_l)^2.
3. Together: ||.||_F <= sum_k t^k / k! e_L(k) <= e^t e_L(K), and m is the smallest with that at most eps / 2; as e_L is
   about 2^L d, m + 1 is about (t / log 2 + log2(1 / eps) + log2 K + 2) / 2.

So depth is ceil(log2 K) (m + 1), about linear in nM, and width n^(K+1) times 3 K and more, exponential in nM, as
K > e t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnla.constructions.relu_products import LARGEST_STEPS, product_network

__all__ = ["TheoremSize", "theorem_size"]


@dataclass(frozen=True)
class TheoremSize:
    """The theorem's network.

    Attributes
    ----------
    terms, steps : K, and m of each product
    depth : hidden layers
    log10_width, log10_parameters : of the units of the widest layer, and of the weights that are not zero
    """

    terms: int
    steps: int
    depth: int
    log10_width: float
    log10_parameters: float


def _log_sum(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(v - top) for v in logs))


def _level_error(log_defect: float, levels: int) -> float:
    """log e_L; a d that underflows stays a logarithm."""
    if log_defect < -600:
        return log_defect + levels * math.log(2) + 1e-9
    d, e = math.exp(log_defect), 0.0
    for _ in range(levels):
        e = 2 * e + e * e + d * (1 + e) ** 2
        if e > 1e6:
            return math.inf
    return math.log(e) if e > 0 else -math.inf


def theorem_size(n: int, bound: float, eps: float) -> TheoremSize:
    """Size of the theorem's network for exp(A), \\|a_ij\\| <= bound, error eps in the Frobenius norm.

    Parameters
    ----------
    n : size of the matrices
    bound : M
    eps : half of it goes to the series, half to the products; rounding is not counted

    References
    ----------
    Padmanabhan and Brugiapaglia, arXiv 2602.07800 (2026), whose constants are not public: these are ours. Yarotsky,
    Neural Networks 94 (2017), Proposition 3, for the products.

    Examples
    --------
    >>> size = theorem_size(3, 1.0, 1e-2)
    >>> size.terms, size.depth, round(size.log10_width, 1)
    (13, 32, 8.4)
    """
    t = n * bound
    K = 1
    while (K + 1) * math.log(t) - math.lgamma(K + 2) + t > math.log(eps / 2):
        K += 1
    levels = max(1, math.ceil(math.log2(K)))
    m = 1
    while t + _level_error(-2 * (m + 1) * math.log(2), levels) > math.log(eps / 2):
        m += 1
    chain = product_network(min(m, LARGEST_STEPS)).nonzeros + max(0, m - LARGEST_STEPS) * 12
    paths = [(k + 1) * math.log(n) for k in range(1, K + 1)]
    width = [p + math.log(6 * (k // 2) + 2 * (k % 2)) for k, p in enumerate(paths, 1)]
    weights = [p + math.log((k - 1) * chain + 2) for k, p in enumerate(paths, 1)]
    ten = math.log(10)
    return TheoremSize(K, m, levels * (m + 1), _log_sum(width) / ten, _log_sum(weights) / ten)
