"""The layers of the paper's backbone in training: start values, polynomials of every depth, weights of the layers."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["anchor_weights", "chebyshev_layers", "guarded_log", "layer_polynomials"]


def chebyshev_layers(a: float, b: float, layers: int) -> np.ndarray:
    """Coefficients whose every layer k is the Chebyshev preconditioner of degree k + 1 on [a, b].

    Returns
    -------
    (layers, 5) rho, gamma, eta, alpha, beta. With t = t0 - c x, s_m = T_m(t0) and Q_m = (s_m - T_m(t)) / x,
    the three-term recurrence of T_m gives Q_{m+1} = (2 t0 - 2 c x) Q_m - Q_{m-1} + 2 c s_m, here for
    P_m = Q_m / s_m (Proposition 3.1); layer 1 starts at m = 3 because the state starts at X z.

    Notes
    -----
    Cost: some operations a layer.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (6), Proposition 3.1.

    Examples
    --------
    >>> from nnla import Recurrence
    >>> learned, known = Recurrence(*chebyshev_layers(0.1, 2.0, 10).T), Recurrence.chebyshev(0.1, 2.0, 11)
    >>> bool(abs(learned(0.7) - known(0.7)) < 1e-12)
    True
    """
    t0, c = (b + a) / (b - a), 2 / (b - a)
    s = np.cosh(np.arange(layers + 3) * np.arccosh(t0))
    out = np.zeros((layers, 5))
    for k in range(layers):
        m = k + 2  # Q_{m+1} from Q_m, Q_{m-1}
        gamma, eta, alpha, beta = 2 * c * s[m], -s[m - 1], 2 * t0 * s[m], -2 * c * s[m]
        if k == 0:  # from (1, 1, x), Q_1 = c and Q_2 = 4 t0 c - 2 c^2 x written out
            gamma, eta = gamma - c + 8 * t0**2 * c, 0.0
            alpha, beta = -12 * t0 * c**2, 4 * c**3
        elif k == 1:  # the old state is x where Q_2 should stand
            gamma, eta = gamma - 4 * t0 * c, 2 * c**2
        out[k] = (0.0, gamma, eta, alpha, beta)
        out[k] /= s[m + 1]
    return out


def layer_polynomials(coefficients: Any, x: Any) -> list[Any]:
    """P_k(x) of every layer k, up to a positive factor per layer and row.

    Parameters
    ----------
    coefficients : (D, B, 5) tensor from `nnla.models.autospec_paper.paper_forward`
    x : (B, N) nodes in units of b

    Returns
    -------
    D tensors (B, N). After every layer the state is divided by its largest value (section 4.3): the
    factor is detached, since no objective here depends on the scale.

    Notes
    -----
    Cost: D passes over (B, N) numbers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (5) and section 4.3 (scale-invariant update).
    """
    import torch

    acc, old, new = torch.ones_like(x), torch.ones_like(x), x
    out: list[Any] = []
    for layer in coefficients.unsqueeze(-1):
        rho, gamma, eta, alpha, beta = layer.unbind(1)  # each (B, 1)
        acc, old, new = acc + rho * new, new, gamma * acc + eta * old + (alpha + beta * x) * new
        scale = new.detach().abs().amax(dim=-1, keepdim=True).clamp_min(1e-20)
        acc, old, new = acc / scale, old / scale, new / scale
        out.append(new)
    return out


def guarded_log(q: Any, floor: float) -> Any:
    """log q, continued below ``floor`` by its tangent: finite values and gradients for every q, no branches."""
    clamped = q.clamp(min=floor)
    return clamped.log() + (q - clamped) / floor


def anchor_weights(step: int, steps: int, layers: int) -> np.ndarray:
    """Weights (18)-(19) of the layers: largest at the anchor, which moves from the first to the last.

    (18) is read as s = floor(D t / T), with layers counted from 0.

    Notes
    -----
    Cost: none to speak of: one number a layer.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (18) and (19).

    Examples
    --------
    >>> bool(anchor_weights(75, 100, 4)[3] == anchor_weights(75, 100, 4).max())
    True
    """
    anchor = min(layers * step // max(steps, 1), layers - 1)  # (18)
    distance = np.abs(np.arange(layers) - anchor)
    weight = 1.0 / np.maximum(distance, 1) ** 2  # (19)
    return weight / weight.sum()
