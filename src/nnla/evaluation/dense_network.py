"""The yardstick that is a network: principal components of A into a perceptron, bilinear in those of b."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from nnla.errors import MissingDependencyError, OptionError
from nnla.evaluation.dense_estimators import Noisy, check_training
from nnla.evaluation.dense_features import principal_components, with_one
from nnla.evaluation.dense_projections import SMALLEST, FamilySpace, choosers, known, space_of

__all__ = ["PCANetwork"]

COMPONENTS = 100  # of A at most
SOURCES = 12  # of b
ANSWERS = 24  # of x
WIDTH = 256
BATCH = 256
RATE = 2e-3
EVERY = 100  # steps between looks at the systems that choose


@dataclass(frozen=True, eq=False)
class PCANetwork:
    """PCA(A) -> perceptron of two hidden layers -> matrix, which maps PCA(b) to x: what a plain network does.

    Attributes
    ----------
    space : `FamilySpace` of A
    noisy : law and level that are known; the level is an input
    source, answer : means and components of b and x
    layers : pairs of weight and bias
    levels : what it has been trained for
    steps : of training
    """

    space: FamilySpace
    noisy: Noisy
    source: tuple[np.ndarray, np.ndarray]
    answer: tuple[np.ndarray, np.ndarray]
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    levels: tuple[float, float]
    steps: int

    @classmethod
    def fit(
        cls,
        A: np.ndarray,
        b: np.ndarray,
        x: np.ndarray,
        noisy: Noisy | None = None,
        spaces: tuple[FamilySpace, FamilySpace] | None = None,
        *,
        levels: tuple[float, float] | None = None,
        seconds: float = 60.0,
        seed: int = 0,
    ) -> Self:
        """Train on the components of the clean matrices and noise drawn anew in every step.

        Parameters
        ----------
        A, b, x, noisy, spaces : as in `nnla.evaluation.dense_projections`
        levels : of the noise in A, drawn log-uniformly between them; by default that of ``noisy`` alone
        seconds : of processor time at most, on one thread's worth of work
        seed : of weights, batches, noise

        Raises
        ------
        MissingDependencyError
            torch is not installed.
        OptionError, ShapeError, NonFiniteError
            Impossible levels or seconds, unusable systems.
        """
        noisy = check_training(A, b, x, noisy)
        if not (math.isfinite(seconds) and seconds > 0):
            raise OptionError(f"seconds={seconds!r} has to be a positive number")
        level = max(noisy.level_of_matrix, SMALLEST)
        levels = levels if levels is not None else (level, level)
        if not 0 < levels[0] <= levels[1] < math.inf:
            raise OptionError(f"levels={levels!r} have to be two positive numbers, the smaller one first")
        space = space_of(noisy, A, spaces)
        space = space.first(COMPONENTS)
        some = cls(space, known(noisy), principal_components(b, SOURCES), _principal(x), (), levels, 0)
        layers, steps = _trained(some, A, b, x, float(seconds), seed)
        return replace(some, layers=layers, steps=steps)

    def at(self, noisy: Noisy) -> Self:
        """The same network told of another level."""
        return replace(self, noisy=known(noisy))

    def solve(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(B, n); the level that it is told stays within those of the training."""
        level = np.clip(self.space.level(A, self.noisy), *self.levels)
        y = _inputs(np, self.space.coordinates(A), level, self.space.deviations)
        for weight, bias in self.layers[:-1]:
            y = y @ weight.T + bias
            y = y / (1 + np.exp(-np.clip(y, -60, None)))
        weight, bias = self.layers[-1]
        beta = with_one((b - self.source[0]) @ self.source[1])
        matrix = (y @ weight.T + bias).reshape(len(A), -1, beta.shape[1])
        return self.answer[0] + np.einsum("bij,bj->bi", matrix, beta) @ self.answer[1].T


def _principal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and directions (n, q) of x, scaled to its deviations along them."""
    mean = x.mean(axis=0)
    _, s, Vt = np.linalg.svd(x - mean, full_matrices=False)
    return mean, Vt[:ANSWERS].T * (s[:ANSWERS] / np.sqrt(len(x)))


def _inputs(xp: Any, c: Any, level: Any, deviations: Any) -> Any:
    """Coordinates shrunk as the noise asks for, of unit variance, and the level; NumPy arrays or tensors."""
    alpha = c * (deviations / (deviations**2 + level**2))
    return xp.concatenate([alpha, (xp.log10(level) + 3) / 3], 1)


def _trained(
    some: PCANetwork, A: np.ndarray, b: np.ndarray, x: np.ndarray, seconds: float, seed: int
) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], int]:
    """Weights and steps: Adam, cosine decay by the time that is left, the weights that were best on the choosers."""
    try:
        import torch
    except ImportError as error:
        message = "a network needs PyTorch for its training; install it with: pip install 'nnla[torch]'"
        raise MissingDependencyError(message) from error
    from torch import nn

    rng = np.random.default_rng(seed)
    held = np.zeros(len(x), dtype=bool)
    held[choosers(len(x))] = True
    beta = with_one((b - some.source[0]) @ some.source[1])
    coordinates = some.space.coordinates(A)
    deviations = torch.as_tensor(some.space.deviations, dtype=torch.float32)
    arrays = [torch.as_tensor(v, dtype=torch.float32) for v in (coordinates, beta, x)]
    c, beta, solutions = (v[~held] for v in arrays)
    chooser = [v[held] for v in arrays]
    mean, directions = (torch.as_tensor(v, dtype=torch.float32) for v in some.answer)
    q, r = directions.shape[1], beta.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = (c.shape[1] + 1, WIDTH, WIDTH, q * r)
        linear = [nn.Linear(m, n) for m, n in itertools.pairwise(sizes)]
    network = nn.Sequential(linear[0], nn.SiLU(), linear[1], nn.SiLU(), linear[2])
    with torch.no_grad():
        linear[2].weight.mul_(0.1)

    def loss(c: Any, beta: Any, x: Any) -> Any:
        lo, hi = (math.log10(level) for level in some.levels)
        level = torch.as_tensor(10.0 ** rng.uniform(lo, hi, (len(c), 1)), dtype=torch.float32)
        noise = torch.as_tensor(rng.standard_normal(c.shape, dtype=np.float32))
        matrix = network(_inputs(torch, c + level * noise, level, deviations)).reshape(len(c), q, r)
        found = mean + (matrix @ beta[:, :, None])[..., 0] @ directions.T
        return torch.mean(torch.sum((found - x) ** 2, 1) / torch.sum(x**2, 1))

    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    start, steps, best = time.process_time(), 0, (math.inf, [p.detach().clone() for p in network.parameters()])
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2)
        some_of = torch.as_tensor(rng.integers(0, len(c), min(BATCH, len(c))))
        optimiser.zero_grad(set_to_none=True)
        value = loss(c[some_of], beta[some_of], solutions[some_of])
        value.backward()
        optimiser.step()
        steps += 1
        if steps % EVERY == 0:
            with torch.no_grad():
                error = float(np.mean([float(loss(*chooser)) for _ in range(2)]))
            if error < best[0]:
                best = (error, [p.detach().clone() for p in network.parameters()])
    values = [p.double().numpy() for p in (best[1] if math.isfinite(best[0]) else network.state_dict().values())]
    return tuple(zip(values[::2], values[1::2], strict=True)), steps
