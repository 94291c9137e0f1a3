"""A model of dense systems on boundary value problems that no training has drawn: alone, refined, and under noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.problems.bvp import EQUATIONS, BVPSystems, bvp_systems
from nnla.problems.perturbations import perturbed
from nnla.tasks import DenseSolutions
from nnla.types import Progress

__all__ = ["LEVELS", "evaluate_on_bvp", "squared_errors"]

LEVELS = (1e-4, 1e-3, 1e-2, 1e-1)  # of entrywise noise in A

_SIZES = 9  # that a model is judged at, at most
_REFINED = 64  # systems at most: the iterations of a large network take their time
_HELD_OUT = 20_261_127  # training draws from [seed, ...]; these come from [_HELD_OUT, seed, ...]


def squared_errors(x: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """What tables say of answers x (B, n): ``mse``, ``relative_mse`` (sums of squares by each other), ``median``.

    Infinite where an answer is not finite.

    Cost: a pass over x.

    References
    ----------
    Algebraformer, equation (2) (mse).

    Examples
    --------
    >>> squared_errors(np.array([[1.0, 1.0]]), np.array([[1.0, 3.0]]))
    {'mse': 2.0, 'relative_mse': 0.4, 'median': 0.4}
    """
    x = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error, size = np.sum((x - exact) ** 2, axis=1), np.sum(exact**2, axis=1)
    error = np.where(np.isfinite(error), error, np.inf)
    return {
        "mse": float(error.mean() / x.shape[1]),
        "relative_mse": float(error.sum() / size.sum()),
        "median": float(np.median(error / size)),
    }


def evaluate_on_bvp(
    model: DenseSolutions,
    *,
    count: int = 256,
    rtol: float = 1e-10,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Errors of a model's answers, what refining them takes, and noise in A, beside LU.

    Parameters
    ----------
    model : what `nnla.load` returns for models of dense systems
    count : systems of each equation and size
    rtol : of refinement
    seed : of the systems

    Returns
    -------
    dict
        JSON-able. ``equations``: for each of `nnla.problems.bvp.EQUATIONS` at the model's largest size, those that it
        was not trained on too: figures of `squared_errors`, ``residual`` (median), ``outside`` (systems),
        ``lu_float32`` (relative MSE of LU in float32), and ``refined``, of 64 systems at most: ``count``, ``verified``,
        ``fallbacks`` (systems solved by LU), mean and largest ``iterations``. ``sizes``: relative MSE of the first
        equation at each size, or at some of many. ``noise``: for each level of entrywise noise in A, relative MSE of
        the model and of LU against the solutions without, first equation. The first is the first that the card names.

    Notes
    -----
    Cost: the network on about 10 ``count`` systems, and on 64 of each equation up to 30 times more; LU.
    """
    seen = _equations(model)
    n = model.sizes[-1]
    order = [*seen, *(name for name in EQUATIONS if name not in seen)]
    some = _some(model.sizes)
    steps = len(order) + len(some) + len(LEVELS)
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(what, done, steps)
        done += 1

    def draw(equation: str, size: int) -> BVPSystems:
        return bvp_systems(count, equation=equation, n=size, seed=[_HELD_OUT, seed, EQUATIONS.index(equation), size])

    equations: dict[str, Any] = {}
    for name in order:
        tell(name)
        equations[name] = _measured(model, draw(name, n), rtol)
    sizes: dict[str, float] = {}
    for size in some:
        tell(f"n = {size}")
        systems = draw(order[0], size)
        sizes[str(size)] = squared_errors(_answers(model, systems.A, systems.b), systems.x)["relative_mse"]
    noise: dict[str, dict[str, float]] = {}
    systems = draw(order[0], n)
    for level in LEVELS:
        tell(f"noise {level:g}")
        A = perturbed(systems.A, law="entrywise", level=level, seed=[_HELD_OUT, seed, 1])
        found = {"model": _answers(model, A, systems.b), "lu": _by_lu(A, systems.b)}
        noise[f"{level:g}"] = {key: squared_errors(x, systems.x)["relative_mse"] for key, x in found.items()}
    return {
        "count": count,
        "seed": seed,
        "rtol": rtol,
        "n": n,
        "trained_on": seen,
        "equations": equations,
        "sizes": sizes,
        "noise": noise,
        "unsolved": sum(f["refined"]["count"] - f["refined"]["verified"] for f in equations.values()),
    }


def _some(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """At most `_SIZES`, the ends among them."""
    places = np.linspace(0, len(sizes) - 1, min(len(sizes), _SIZES))
    return tuple(sizes[round(float(place))] for place in places)


def _equations(model: DenseSolutions) -> list[str]:
    """Those that the card names, as its training did."""
    named = model.card.get("envelope", {}).get("equations", "")
    words = [word.strip() for word in named.split(",")] if isinstance(named, str) else []
    return [name for name in words if name in EQUATIONS] or ["diffusion"]


def _measured(model: DenseSolutions, systems: BVPSystems, rtol: float) -> dict[str, Any]:
    x, report = model.solve(systems.A, systems.b[:, :, None], rtol=rtol)
    single = _by_lu(systems.A.astype(np.float32), systems.b.astype(np.float32))
    some = systems[: min(len(systems), _REFINED)]
    refined = model.solve(some.A, some.b[:, :, None], refine=True, rtol=rtol).report
    return {
        **squared_errors(x[..., 0], systems.x),
        "residual": float(np.median(report.residuals)),
        "outside": report.outside,
        "lu_float32": squared_errors(single, systems.x)["relative_mse"],
        "refined": {
            "count": len(some),
            "preconditioner": refined.preconditioner,
            "verified": sum(refined.verified),
            "fallbacks": refined.fallbacks,
            "iterations": float(np.mean(refined.iteration_counts)),
            "largest": refined.iterations,
        },
    }


def _answers(model: DenseSolutions, A: np.ndarray, b: np.ndarray) -> np.ndarray:
    return model.guess(A, b[:, :, None])[..., 0]


def _by_lu(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.solve(A, b[:, :, None])[..., 0]
