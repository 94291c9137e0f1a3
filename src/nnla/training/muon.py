"""Muon: momentum whose matrices are made orthogonal; what is no weight matrix goes by Adam.

torch has a Muon for matrices alone, which rounds to bfloat16: on processors without such arithmetic its steps took as
long as the network. Here one optimiser holds both kinds, and matrices of one shape are treated together in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["Muon", "orthogonalised"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # singular values from .01 to 1 end between .7 and 1.2 after five steps
_STEPS = 5


def orthogonalised(G: torch.Tensor) -> torch.Tensor:
    """Matrices (..., m, n) with their singular values brought to about 1.

    Notes
    -----
    Cost: 5 (2 m^2 n + m^3) multiplications, m the smaller side.

    References
    ----------
    Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024): the quintic Newton-Schulz iteration.

    Examples
    --------
    >>> import torch
    >>> Q = orthogonalised(torch.diag(torch.tensor([1.0, 2.0, 5.0])))
    >>> bool((Q.diag() > 0.6).all() and (Q.diag() < 1.3).all())
    True
    """
    a, b, c = _COEFFICIENTS
    flat = G.shape[-2] > G.shape[-1]
    X = G.mT if flat else G
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-20)
    for _ in range(_STEPS):
        S = X @ X.mT
        X = a * X + (b * S + c * S @ S) @ X
    return X.mT if flat else X


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices, AdamW for all else.

    Parameters
    ----------
    matrices : parameters (m, n) of hidden layers
    others : embeddings, first and last layers, norms, biases
    lr : of both: an orthogonal step is scaled to the mean size of one of Adam
    weight_decay : decoupled
    momentum, betas : of the two

    Notes
    -----
    Cost: `orthogonalised` for every matrix, a few passes over the parameters; one and two copies of them are stored.

    References
    ----------
    Jordan et al. (2024). Liu et al., Muon is scalable for LLM training (arXiv:2502.16982): scale .2 sqrt(max(m, n)).
    """

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        others: Iterable[torch.nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        shared = {"lr": lr, "weight_decay": weight_decay}
        groups = [
            {"params": list(matrices), "momentum": momentum, **shared},
            {"params": list(others), "betas": betas, **shared},
        ]
        super().__init__([group for group in groups if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step by the gradients that are there."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for p in parameters:
                p.mul_(1 - group["lr"] * group["weight_decay"])
            if "momentum" in group:
                self._orthogonal(parameters, group["lr"], group["momentum"])
            else:
                self._adam(parameters, group["lr"], *group["betas"])

    def _orthogonal(self, parameters: list[Any], lr: float, momentum: float) -> None:
        alike: dict[Any, list[Any]] = {}
        for p in parameters:
            alike.setdefault(p.shape, []).append(p)
        for shape, some in alike.items():
            steps = []
            for p in some:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - momentum)
                steps.append(torch.lerp(p.grad, buffer, momentum))  # Nesterov's
            scale = 0.2 * max(shape) ** 0.5
            for p, step in zip(some, orthogonalised(torch.stack(steps)), strict=True):
                p.add_(step, alpha=-lr * scale)

    def _adam(self, parameters: list[Any], lr: float, beta1: float, beta2: float) -> None:
        for p in parameters:
            state = self.state[p]
            state["step"] = state.get("step", 0) + 1
            mean = state.setdefault("mean", torch.zeros_like(p)).lerp_(p.grad, 1 - beta1)
            square = state.setdefault("square", torch.zeros_like(p)).lerp_(p.grad * p.grad, 1 - beta2)
            size = (square / (1 - beta2 ** state["step"])).sqrt_().add_(1e-8)
            p.addcdiv_(mean, size, value=-lr / (1 - beta1 ** state["step"]))
