"""Training task of the paper's engine for the inverse square root: that for linear systems with another objective.

Data, features and the two stages are those of `nnla.training.autospec_paper`; new are the start (a Chebyshev
interpolant), the objective (23)-(25) of the finished polynomial, and the range of condition numbers, which is
moderate because polynomials of degree 21 cannot do more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.models.autospec_funm_paper import FunmPaperEngine
from nnla.models.autospec_paper import embedding
from nnla.models.paper_backbone import backbone
from nnla.polynomials.recurrence import Recurrence
from nnla.training.autospec_paper import PaperTask
from nnla.training.networks import beside
from nnla.training.paper_layers import guarded_log

__all__ = ["FunmPaperTask", "final_polynomial", "interpolant_layers", "inverse_root_losses", "neumann_error"]

_BEST = 1e-5  # relative errors below this are not told apart: training is in single precision
_RATE_FLOOR = 0.05  # -log r_nn below this counts linearly


def interpolant_layers(a: float, b: float, layers: int) -> np.ndarray:
    """Coefficients, for the start (1, 1, x), of the Chebyshev interpolant of x^(-1/2) on [a, b].

    Returns
    -------
    (layers, 5) rho, gamma, eta, alpha, beta: Clenshaw's recurrence with its map to [-1, 1] written out.

    Notes
    -----
    Cost: an interpolation in ``layers`` + 2 points.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (4) and Proposition 3.2.

    Examples
    --------
    >>> P = Recurrence(*interpolant_layers(0.1, 1.0, 20).T)
    >>> bool(abs(P(0.3) * 0.3**0.5 - 1) < 1e-6)
    True
    """
    known = Recurrence.from_function(lambda x: x**-0.5, a, b, layers + 1)
    shift, h = known.shift, known.scale
    rho, gamma, eta, alpha, beta = (np.array(getattr(known, f)) for f in ("rho", "gamma", "eta", "alpha", "beta"))
    # with C_0 = x in place of X = (x - shift) / h
    gamma[0] += -alpha[0] * shift / h + beta[0] * shift**2 / h**2
    alpha[0], beta[0] = alpha[0] / h - 2 * shift * beta[0] / h**2, beta[0] / h**2
    if layers > 1:
        gamma[1] -= eta[1] * shift / h
        eta[1] /= h
    alpha[1:], beta[1:] = alpha[1:] - beta[1:] * shift / h, beta[1:] / h
    return np.stack([rho, gamma, eta, alpha, beta], axis=1)


def final_polynomial(coefficients: Any, x: Any) -> Any:
    """P(x) of the last layer, unscaled: (D, B, 5), (B, N) -> (B, N) tensor.

    Cost: D passes over (B, N) numbers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (5).
    """
    import torch

    acc, old, new = torch.ones_like(x), torch.ones_like(x), x
    for layer in coefficients.unsqueeze(-1):
        rho, gamma, eta, alpha, beta = layer.unbind(1)  # each (B, 1)
        acc, old, new = acc + rho * new, new, gamma * acc + eta * old + (alpha + beta * x) * new  # (5)
    return new


def neumann_error(smallest: np.ndarray, degree: int) -> np.ndarray:
    """r_Neumann (24) of the Taylor series of x^(-1/2) about 1, whose error is largest at the smallest eigenvalue.

    Notes
    -----
    Cost: ``degree`` passes over the numbers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (24).

    Examples
    --------
    >>> neumann_error(np.array([1.0, 0.01]), 21).round(3)
    array([0.   , 0.508])
    """
    term, total = np.ones_like(smallest), np.ones_like(smallest)
    for j in range(1, degree + 1):
        term = term * (2 * j - 1) / (2 * j) * (1 - smallest)
        total = total + term
    return 1 - total * np.sqrt(smallest)


def inverse_root_losses(coefficients: Any, lam: Any) -> tuple[Any, Any]:
    """The objective (25) of the finished polynomial, in its stabilised form.

    Parameters
    ----------
    coefficients : (D, B, 5)
    lam : (B, N) eigenvalues in units of b, augmented

    Returns
    -------
    losses, error : (B,) each; error is r_nn of (23)

    Notes
    -----
    Cost: D passes over (B, N) numbers, and as many backward.

    L_obj = log r_Neumann / log r_nn enters by its logarithm, continued linearly where r_nn is not below 1.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (23)-(25).
    """
    degree = coefficients.shape[0] + 1
    error = (1 - final_polynomial(coefficients, lam) * lam.sqrt()).abs().amax(dim=1)
    neumann = neumann_error(lam.amin(dim=1).double().cpu().numpy(), degree)
    baseline = np.log(np.maximum(-np.log(np.clip(neumann, _BEST, 1 - 1e-6)), _RATE_FLOOR))
    rate = -guarded_log(error.clamp(min=_BEST), _BEST)
    # where P fails altogether, error and not its logarithm: gradients stay bounded
    objective = lam.new_tensor(baseline) - guarded_log(rate, _RATE_FLOOR)
    return objective.clamp(max=20.0) + error.clamp(max=100.0), error


class FunmPaperTask(PaperTask):
    """Data, network and loss of ``autospec-funm-paper``; see `nnla.training.task.Task`."""

    figure = "error"

    def start(self) -> np.ndarray:
        """(D, 5) coefficients that the backbone starts from."""
        return interpolant_layers(self.initial, 1.02, self.config.layers)

    def batch(self, step: int) -> dict[str, Any]:
        """That for linear systems, with more values for the error to be small at."""
        batch = super().batch(step)
        return batch | {"lam": self._augmented(batch["lam"], step)}

    def objective(self, coefficients: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Mean loss (25); only the finished polynomial counts, because shorter ones read out another function."""
        losses, error = inverse_root_losses(coefficients, batch["lam"])
        return {"loss": losses.mean(), "error": error.log().mean().exp().detach()}

    def _augmented(self, lam: np.ndarray, step: int) -> np.ndarray:
        """Eigenvalues, random values between the smallest and the largest, half of them near the low end."""
        import torch

        rng = np.random.default_rng([self.recipe["seed"], 7, step])
        small, large = lam.min(axis=1, keepdims=True), lam.max(axis=1, keepdims=True)
        # torch's power, not NumPy's: they differ in last digits, and weights are to repeat
        u = torch.from_numpy(rng.random((lam.shape[0], self.recipe["data"]["augmented"])).astype(np.float32))
        u[:, ::2] = u[:, ::2] ** 4  # where P has to bend
        return np.concatenate([lam, small + u.numpy() * (large - small)], axis=1)

    def validate(self, network: Any) -> dict[str, float]:
        """Figures of the finished polynomial on held-out spectra, read through their probes.

        ``error`` is the geometric mean of r_nn, ``neumann`` and ``chebyshev`` those of the Taylor series and of the
        Chebyshev interpolant on the true interval; ``gain`` that of log r_nn / log r_Neumann, ``worse`` the share
        with an error above Neumann's.
        """
        parameters, degree = self.parameters(network), self.config.degree
        errors: list[np.ndarray] = []
        neumann: list[np.ndarray] = []
        known: list[list[float]] = []
        for held in self.held_batches():
            lam, inputs = beside(network, self._augmented(held["lam"], 0)), beside(network, held["inputs"])
            _, error = inverse_root_losses(backbone(parameters, embedding(parameters, inputs)), lam)
            errors.append(error.double().cpu().numpy())
            small, large = held["lam"].min(axis=1).astype(np.float64), held["lam"].max(axis=1)
            neumann.append(neumann_error(small, degree))
            known.append([_interpolation_error(float(a), float(b), degree) for a, b in zip(small, large, strict=True)])
        e, n, c = (np.clip(np.concatenate(v), 1e-12, 1e3) for v in (errors, neumann, known))
        rate, baseline = np.log(np.minimum(e, 0.999)), np.log(np.minimum(n, 0.999))
        return {
            "error": float(np.exp(np.log(e).mean())),
            "neumann": float(np.exp(np.log(n).mean())),
            "chebyshev": float(np.exp(np.log(np.maximum(c, _BEST)).mean())),
            "gain": float(np.exp(np.log(rate / baseline).mean())),
            "worse": float((e >= n).mean()),
        }

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        FunmPaperEngine(self.config, self.finished(network), card | {"envelope": self.envelope()}).save(path)


def _interpolation_error(a: float, b: float, degree: int) -> float:
    """Largest relative error of the Chebyshev interpolant of x^(-1/2) on its own interval."""
    x = (a + b) / 2 - (b - a) / 2 * np.cos(np.linspace(0, np.pi, 8 * degree))
    P = Recurrence.from_function(lambda t: t**-0.5, a, b, degree)
    return float(np.abs(1 - P(x) * np.sqrt(x)).max())
