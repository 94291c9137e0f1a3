"""What optimisers use today, as published: the opponents of `matrix_functions_optimisers.py`, written plainly.

* `scaled_cans`: inverse square roots by ten coupled steps with the Chebyshev-optimised coefficients of CANS
  (arXiv:2506.10935), the matrix scaled by 1.01 times its largest row sum: a fixed schedule, in public use for float32;
* `newton_schulz`: the polar iteration on X, with the coefficients of Muon, Polar Express, CANS, or cubic ones;
* `gram_newton_schulz`: the same on the Gram matrix with restarts (Zhang, Amsel, Chen, Dao 2026).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnla.extensions.minimax import odd_minimax, polar_express

# Appendix G of arXiv:2506.10935 (delta = 0.3, degree 3), and Newton-Schulz's own at the end
CANS_ROOTS = (
    (5.182503604966906, -5.178098480082684),
    (2.586120737395915, -0.6479542005271643),
    (2.567364126726186, -0.6454968804392178),
    (2.520560084348265, -0.6393528082067044),
    (2.410759275435182, -0.6248683598710716),
    (2.1883348130094173, -0.5952022073798908),
    (1.8595760874873613, -0.5504490972723968),
    (1.589020160467417, -0.5126569802066718),
    (1.5051653981684994, -0.5007377068751799),
    (1.5, -0.5),
)
# As counted where it is used. Three products a step are 30; without those by the identity in the first and without the
# unused one in the last, which is how it is written here, they are 27.
CANS_PRODUCTS, CANS_LEAST = 29, 27
MUON = ((3.4445, -4.7750, 2.0315),) * 5
# As published, for [1e-3, 1]; CANS as in transformer-engine's table of coefficients
POLAR_EXPRESS = tuple(tuple(step) for step in polar_express(5, 1e-3))
CANS_POLAR = (
    (8.4703, -25.1081, 18.6293),
    (4.1828, -3.1087, 0.5806),
    (3.9619, -2.9541, 0.5630),
    (3.2866, -2.4647, 0.5074),
    (2.2737, -1.6447, 0.4162),
)


def remade(degrees: Sequence[int], lower: float) -> tuple[tuple[float, ...], ...]:
    """The greedy minimax schedule of these degrees for [lower, 1]: the best of its kind for the interval."""
    low, high, out = lower, 1.0, []
    for degree in degrees:
        step = odd_minimax(degree, low / high)
        out.append(tuple(float(c) / high ** (2 * k + 1) for k, c in enumerate(step)))
        low, high = step.low, step.high
    return tuple(out)


def scaled_cans(A: Tensor) -> Tensor:
    """A^(-1/2), batched, in A's dtype."""
    size = 1.01 * A.abs().sum(dim=-1).amax(dim=-1)[:, None, None]
    Y = A / size
    (a, b), *rest = CANS_ROOTS
    Z = b * Y
    Z.diagonal(dim1=-2, dim2=-1).add_(a)
    Y = torch.baddbmm(Y, Y, Y, beta=a, alpha=b)
    for k, (a, b) in enumerate(rest):
        P = Z @ Y
        Z = torch.baddbmm(Z, P, Z, beta=a, alpha=b)
        if k < len(rest) - 1:
            Y = torch.baddbmm(Y, Y, P, beta=a, alpha=b)
    Z = Z * size.rsqrt()
    return 0.5 * (Z + Z.mT)


def normalised(X: Tensor) -> Tensor:
    return X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-30)


def newton_schulz(X: Tensor, coefficients: Sequence[Sequence[float]], *, scale: bool = True) -> Tensor:
    """X (b, m, n), m >= n, iterated as it is."""
    X = normalised(X) if scale else X
    for a, b, *c in coefficients:
        G = X.mT @ X
        B = torch.baddbmm(G, G, G, beta=b, alpha=c[0]) if c else b * G
        X = torch.baddbmm(X, X, B, beta=a)
    return X


def gram_newton_schulz(
    X: Tensor, coefficients: Sequence[Sequence[float]], *, restart: Sequence[int] = (2,), scale: bool = True
) -> Tensor:
    """X (b, m, n), m >= n, by its Gram matrix, made anew at the steps of `restart`."""
    X = normalised(X) if scale else X
    starts = {0, *restart}
    Q = R = X
    for k, (a, b, *c) in enumerate(coefficients):
        if k in starts:
            X = X @ Q if k else X
            R = X.mT @ X
        B = torch.baddbmm(R, R, R, beta=b, alpha=c[0]) if c else b * R
        if k in starts:
            Q = B.clone()
            Q.diagonal(dim1=-2, dim2=-1).add_(a)
        else:
            Q = torch.baddbmm(Q, Q, B, beta=a)
        if k + 1 < len(coefficients) and k + 1 not in starts:
            R = torch.baddbmm(R, R, B, beta=a)
            R = torch.baddbmm(R, B, R, beta=a)
    return X @ Q
