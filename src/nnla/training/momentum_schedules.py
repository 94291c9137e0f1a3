"""Training the choice of interval behind `nnla.extensions.minimise`, on generated spectra of Hessians.

A quadratic is a spectrum with weights of the first gradient; what a Chebyshev semi-iteration on any interval makes of
it is a formula, so labels cost milliseconds. The network predicts, from a Lanczos probe on the same spectrum, the
logarithm of the iterations of 32 candidate lower ends above the best of them.

    python -m nnla.training.momentum_schedules src/nnla/weights/momentum-schedules.safetensors
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np

from nnla.extensions.momentum import CANDIDATES, FEATURES, features, forward
from nnla.krylov.probes import probe
from nnla.registry import write_safetensors
from nnla.types import SpectralProbe

__all__ = ["generate_spectrum", "iterations", "make_data"]

_COUNTS = np.unique(np.round(np.geomspace(1, 30000, 140)).astype(int))
_CLIP = 1.5


def generate_spectrum(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues in (0, 1], increasing, and weights of the first gradient that sum to 1, both (n,)."""
    n = int(np.exp(rng.uniform(np.log(30), np.log(400))))
    decades = rng.uniform(1, 6.5)
    kind = rng.integers(6)
    u = np.sort(rng.random(n))
    if kind == 0:
        values = 10 ** (-decades * (1 - u))
    elif kind == 1:  # power-law low end, as of differential operators
        values = 10**-decades + u ** rng.uniform(0.5, 4)
    elif kind == 2:  # power-law decay, as of features of data
        values = (1.0 + np.arange(n)) ** -rng.uniform(0.4, 2.5) + 10**-decades
    elif kind == 3:
        values = np.exp(rng.uniform(0.3, 3) * rng.standard_normal(n))
    elif kind == 4:  # Gram matrices of Gaussian data, ridge added
        aspect = rng.uniform(0.1, 1.5)
        values = np.linalg.eigvalsh(_gram(min(n, 150), aspect, rng)) + 10**-decades
    else:  # clusters
        centres = 10 ** (-decades * rng.random(rng.integers(2, 7)))
        values = centres[rng.integers(centres.size, size=n)] * np.exp(0.05 * rng.standard_normal(n))
    if rng.random() < 0.3:
        count = rng.integers(1, 6)
        values = np.concatenate([values, values.max() * 10 ** rng.uniform(0.2, 1.5, size=count)])
    values = np.sort(np.maximum(values, 1e-9 * values.max()))
    values = np.maximum(values / values[-1], 1e-9)
    weights = values ** rng.uniform(0, 2) * rng.standard_normal(values.size) ** 2
    return values, weights / weights.sum()


def _gram(n: int, aspect: float, rng: np.random.Generator) -> np.ndarray:
    X = rng.standard_normal((max(2, int(n / aspect)), n))
    return X.T @ X / X.shape[0]


def iterations(values: np.ndarray, weights: np.ndarray, lower: np.ndarray, b: float, reduction: float) -> np.ndarray:
    """Iterations of the semi-iteration on each [lower, b] to reduce the gradient's norm so, (C,); capped.

    Cost: C x n values of T_k for each count that is tried.

    References
    ----------
    Golub, Varga, Chebyshev semi-iterative methods, Numer. Math. 3 (1961) 147-168.
    """
    a = lower[:, None]
    x = (b + a - 2 * values) / (b - a)
    start = (b + a) / (b - a)
    inside = np.arccos(np.clip(x, -1, 1))
    outside = np.arccosh(np.maximum(np.abs(x), 1.0))
    growth = np.arccosh(start)
    result = np.full(lower.size, float(_COUNTS[-1]))
    open_ = np.ones(lower.size, bool)
    for k in _COUNTS:
        scale = np.exp(-k * growth) * 2 / (1 + np.exp(-2 * k * growth))
        p = np.where(np.abs(x) <= 1, np.cos(k * inside) * scale, np.exp(np.minimum(k * (outside - growth), 0.0)))
        norm = np.sqrt((p * p) @ weights)
        done = open_ & (norm <= reduction)
        result[done] = k
        open_ &= ~done
        if not open_.any() or k > 8 * result.min():
            break
    return result


def _after_schedule(values: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights of the gradient after some steps of a semi-iteration on a random interval."""
    a = 10 ** rng.uniform(-4.5, -0.7)
    k = max(1, int(rng.uniform(0.3, 3) / np.sqrt(a)))
    x, growth = (1 + a - 2 * values) / (1 - a), np.arccosh((1 + a) / (1 - a))
    low = np.exp(np.minimum(k * (np.arccosh(np.maximum(x, 1.0)) - growth), 0.0))
    p = np.where(x <= 1, 2 * np.cos(k * np.arccos(np.clip(x, -1, 1))) * np.exp(-k * growth), low)
    weights = weights * p**2 + 1e-30
    return weights / weights.sum()


def _probe(values: np.ndarray, weights: np.ndarray, steps: int) -> SpectralProbe:
    import scipy.sparse as sp

    return probe(sp.diags_array(values).tocsr(), steps, start=np.sqrt(weights) + 1e-30)


def make_data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, FEATURES) and labels (N, C): log iterations above the best candidate."""
    rng = np.random.default_rng(seed)
    X: list[np.ndarray] = []
    Y: list[np.ndarray] = []
    while len(X) < count:
        values, start = generate_spectrum(rng)
        for late in (False, True):
            # the second probe of a run meets a gradient that a first schedule has worked on
            weights = _after_schedule(values, start, rng) if late else start
            p = _probe(values, weights, int(rng.integers(6, 19)))
            reduction = 10 ** -rng.uniform(0.5, 6)
            k = iterations(values, weights, CANDIDATES * p.upper_bound, p.upper_bound, reduction)
            if k.min() < 3 or k.min() >= 0.3 * _COUNTS[-1]:
                continue
            X.append(features(p, reduction))
            Y.append(np.minimum(np.log(k / k.min()), _CLIP))
    return np.array(X), np.array(Y)


def train(X: np.ndarray, Y: np.ndarray, seed: int, steps: int, hidden: int = 96) -> dict[str, np.ndarray]:
    """Parameters of the network, by AdamW on a squared error."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    mean, std = X.mean(0), X.std(0) + 1e-3
    shapes = {"W0": (FEATURES, hidden), "W1": (hidden, hidden), "W2": (hidden, CANDIDATES.size)}
    parameters = {k: (torch.randn(s) / s[0] ** 0.5).requires_grad_() for k, s in shapes.items()}
    parameters |= {f"b{i}": torch.zeros(shapes[f"W{i}"][1]).requires_grad_() for i in range(3)}
    fixed = {"mean": torch.tensor(mean, dtype=torch.float32), "std": torch.tensor(std, dtype=torch.float32)}
    inputs, targets = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    optimiser = torch.optim.AdamW(parameters.values(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(0, inputs.shape[0], (256,))
        loss = ((forward(inputs[batch], {**parameters, **fixed}) - targets[batch]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    result = {k: v.detach().numpy() for k, v in parameters.items()}
    return result | {"mean": mean, "std": std, "low": X.min(0), "high": X.max(0)}


def regret(parameters: dict[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """log of the iterations of the chosen candidate above the best one, (N,)."""
    chosen = np.argmin(forward(X, parameters), axis=1)
    return Y[np.arange(len(Y)), chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--spectra", type=int, default=8000, help="probes to train with")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.process_time()
    X, Y = make_data(given.spectra, given.seed)
    print(f"data: {time.process_time() - started:.0f} s")
    held = make_data(500, given.seed + 1000)
    parameters = train(X, Y, given.seed, given.steps)
    ours = regret(parameters, *held)
    figures = {"mean": float(ours.mean()), "p95": float(np.quantile(ours, 0.95))}
    print("held out, iterations over the best candidate:", {k: round(float(np.exp(v)), 4) for k, v in figures.items()})
    metadata = {
        "kind": "momentum-schedules",
        "command": f"python -m nnla.training.momentum_schedules --spectra {given.spectra} --steps {given.steps} "
        f"--seed {given.seed}",
        "cpu_seconds": f"{time.process_time() - started:.0f}",
        "date": "2026-11-21",
        "hardware": f"{platform.machine()}, 1 thread",
        "held_out_regret_mean": f"{figures['mean']:.4f}",
        "held_out_regret_p95": f"{figures['p95']:.4f}",
    }
    write_safetensors(given.out, {k: v.astype(np.float32) for k, v in parameters.items()}, metadata)


if __name__ == "__main__":
    main()
