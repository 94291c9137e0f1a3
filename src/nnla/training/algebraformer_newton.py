"""The training task behind ``algebraformer-newton``: learned steps are taken, and their gain is what is learned from.

Every batch is a fresh random design with fresh right-hand sides, never seen again. The network's own steps are
followed from the least squares solutions, as `nnla.extensions.newton_lp` follows them; of each step the logarithm of
the gradient's reduction counts, so that a step near the end is worth as much as the first. There are no labels: exact
steps are not what is wanted, as others arrive sooner.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.extensions.lp_newton import newton_lp
from nnla.models.algebraformer_newton import NewtonStepConfig, NewtonStepEngine, row_features, row_weights
from nnla.problems.lp_families import LAWS, lp_problems
from nnla.problems.lp_regression import LpRegression
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["NewtonStepTask", "random_family"]

_BEST, _WORST = -9.0, 2.0  # of the logarithm of a reduction, beyond which it counts no more
_ARMIJO, _TRIALS = 1e-4, 3
_EXPONENTS = (1.2, 4.0)
_SIZES, _RATIOS, _ROWS = (12, 80), (5.0, 30.0), 1200


def random_family(rng: np.random.Generator, batch: int) -> list[LpRegression]:
    """Problems of one random design: sizes, exponent, smoothing and laws are random too.

    Parameters
    ----------
    rng : NumPy generator
    batch : problems

    Notes
    -----
    Cost: a few milliseconds.
    """
    n = int(rng.integers(_SIZES[0], _SIZES[1] + 1))
    m = min(int(n * np.exp(rng.uniform(*np.log(_RATIOS)))), _ROWS)
    p = 1.5
    if rng.random() < 0.4:
        p = float(rng.uniform(_EXPONENTS[0], 1.9) if rng.random() < 0.6 else rng.uniform(2.1, _EXPONENTS[1]))
    smoothing = 1e-3 if rng.random() < 0.5 else 10 ** float(rng.uniform(-4, -2))
    law = LAWS[int(rng.integers(len(LAWS)))]
    options: dict[str, Any] = {"m": max(m, 5 * n), "n": n, "p": p, "smoothing": smoothing, "law": law}
    return list(lp_problems(batch, family=int(rng.integers(2**62)), seed=int(rng.integers(2**62)), **options))


class NewtonStepTask:
    """Data, network and loss of ``algebraformer-newton``; see `nnla.training.task.Task`."""

    figure = "steps"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = NewtonStepConfig(**recipe["model"])

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out problems of three laws; those of the training are made as it goes."""
        count, seed = self.recipe["data"]["held_out"], self.recipe["seed"] + 10_000
        self.held = [problem for law in LAWS for problem in lp_problems(count, law=law, family=seed, seed=seed)]
        runs = [newton_lp(problem).report for problem in self.held]
        self.exact = float(np.mean([run.iterations for run in runs]))
        runs = [newton_lp(problem, step="partial").report for problem in self.held]
        self.partial = float(np.mean([run.iterations for run in runs]))

    def network(self) -> Any:
        """Zeros: the start is `PartialHessian`."""
        return module({name: np.zeros(shape) for name, shape in self.config.shapes().items()})

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """A design and right-hand sides."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        problems = random_family(rng, self.recipe["optim"]["batch"])
        some = problems[0]
        return {
            "basis": some.design.basis,
            "target": np.array([problem.target for problem in problems]),
            "eps": np.array([[problem.eps] for problem in problems]),
            "p": np.array([some.p]),
        }

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Mean logarithm of the gradient's reduction by a step, over steps of runs until these have converged."""
        import torch

        run = _Runs(batch, self.config.rows)
        total = torch.zeros((), dtype=run.z.dtype)
        for _ in range(self.recipe["data"]["follow"]):
            alive = run.size > 1e-6
            d = run.direction(named_tensors(network))
            gain = torch.clamp(torch.log(run.after(d) / run.size), _BEST, _WORST)
            total = total + (gain * alive).sum() / alive.sum().clamp(min=1)
            run.go(d.detach())
        return {"loss": total / self.recipe["data"]["follow"]}

    def validate(self, network: Any) -> dict[str, float]:
        """Steps of whole runs on held-out problems, those of the exact method and of the rule beside them."""
        engine = NewtonStepEngine(self.config, arrays(network, np.float64), {})
        runs = [newton_lp(problem, step=engine).report for problem in self.held]
        steps = float(np.mean([run.iterations for run in runs]))
        exact = sum(run.exact_steps for run in runs) / sum(run.iterations for run in runs)
        figures = {"steps": steps, "steps_exact": self.exact, "steps_partial": self.partial, "exact_share": exact}
        return figures | {"converged": float(np.mean([run.converged for run in runs]))}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        envelope = {"p": list(_EXPONENTS), "m / n": list(_RATIOS), "n": list(_SIZES)}
        NewtonStepEngine(self.config, arrays(network, np.float64), card | {"envelope": envelope}).save(path)


class _Runs:
    """Runs side by side on problems that share a design, in torch: what `newton_lp` does, without exact steps."""

    def __init__(self, batch: dict[str, Any], rows: int) -> None:
        self.rows = rows
        self.basis, self.target, self.eps = (batch[key] for key in ("basis", "target", "eps"))
        self.p = float(batch["p"][0])
        self.z = self.target @ self.basis
        self.move: Any = None
        self.change: Any = None
        self.at(self.z @ self.basis.T - self.target)

    def terms(self, r: Any) -> tuple[Any, Any, Any]:
        """As `nnla.problems.lp_regression.lp_terms`, for (B, m)."""
        q = r * r + self.eps**2
        u = self.p * q ** (self.p / 2 - 1)
        return (u * q).sum(-1, keepdim=True) / self.p, u * r, u * (1 + (self.p - 2) * r * r / q)

    def at(self, r: Any) -> None:
        self.r = r
        self.value, self.s, self.w = self.terms(r)
        self.gradient = self.s @ self.basis
        self.size = self.gradient.norm(dim=1, keepdim=True) / self.s.norm(dim=1, keepdim=True)

    def after(self, d: Any) -> Any:
        """Relative norm of the gradient after the full step, (B, 1)."""
        _, s, _ = self.terms(self.r + d @ self.basis.T)
        return (s @ self.basis).norm(dim=1, keepdim=True) / s.norm(dim=1, keepdim=True)

    def direction(self, parameters: dict[str, Any]) -> Any:
        """As `NewtonStepEngine.direction`, for all runs."""
        import torch

        m, n = self.basis.shape
        k = min(self.rows * n, m // 2)
        w, top = torch.topk(self.w, k, dim=1)
        rest = (self.w.sum(1, keepdim=True) - w.sum(1, keepdim=True)) / (m - k)
        mean = self.w.mean(1, keepdim=True)
        own = self.basis[top]
        shift = torch.einsum("bkn,bn->bk", own, -self.gradient / mean)
        r, s = torch.gather(self.r, 1, top), torch.gather(self.s, 1, top)
        later, p = torch.full_like(rest, 0.0 if self.move is None else 1.0), torch.full_like(rest, self.p - 1.5)
        rows = row_features(r, s, w, shift, self.eps, self.p)
        common = torch.cat([3 * torch.log(rest / mean), torch.log(self.size) / 5, later, p, p**2], -1)
        scale, others = row_weights(parameters, rows, common)
        w, rest = w * torch.exp(scale), rest * torch.exp(others)
        H = rest[..., None] * torch.eye(n, dtype=rest.dtype)
        H = H + torch.einsum("bkn,bk,bkl->bnl", own, torch.clamp(w - rest, min=0.0), own)
        q, share, curvature = -self.gradient, 0.0, 1.0
        if self.move is not None:
            curvature = (self.move * self.change).sum(1, keepdim=True).clamp(min=1e-300)
            share = (self.move * q).sum(1, keepdim=True) / curvature
            q = q - share * self.change
        d = torch.linalg.solve(H, q[..., None])[..., 0]
        if self.move is not None:
            d = d + (share - (self.change * d).sum(1, keepdim=True) / curvature) * self.move
        return d

    def go(self, d: Any) -> None:
        """Steps of length 1, 1/2 or 1/4, the first that passes Armijo's rule, else the last."""
        import torch

        along, slope = d @ self.basis.T, (self.gradient * d).sum(1, keepdim=True)
        t = torch.full_like(slope, 0.5 ** (_TRIALS - 1))
        for power in reversed(range(_TRIALS - 1)):
            trial = 0.5**power
            value = self.terms(self.r + trial * along)[0]
            t = torch.where(value <= self.value + _ARMIJO * trial * slope, trial, t)
        before = self.gradient
        self.move, self.z = t * d, self.z + t * d
        self.at(self.r + t * along)
        self.change = self.gradient - before
