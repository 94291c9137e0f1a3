"""A model of small positive definite systems on data that no training has drawn, beside CG at equal iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors
from nnla.problems.dense_spd import spd_systems
from nnla.tasks import IteratedSolutions
from nnla.types import Progress

__all__ = ["SIGMAS", "evaluate_iterations"]

SIGMAS: tuple[float | None, ...] = (1.0, 1.2, 1.4, None)
_HELD_OUT = 20_261_130  # training draws from [seed, ...]; these come from [_HELD_OUT, seed, ...]


def evaluate_iterations(
    model: IteratedSolutions, *, count: int = 512, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Errors of a model after every iteration, and those of CG and of CG preconditioned by the diagonal.

    Parameters
    ----------
    model : what `nnla.load` returns for models of positive definite systems
    count : systems of each sigma
    seed : of the systems

    Returns
    -------
    dict
        JSON-able. ``sigmas``: for each of `SIGMAS`, "none" for the family without a diagonal, lists of mean
        ||x_t - x||^2 / ||x||^2 for t = 0, ..., ``loops`` by ``model``, ``cg`` and ``pcg``. ``shown``: some of these t.
        ``loop_multiplications``: of an iteration of the model; one of CG takes n^2.

    Notes
    -----
    Cost: the network once on ``count`` systems of each sigma.

    References
    ----------
    NLAFormer, section 4.2.1: 512 systems each.
    """
    n, loops = model.sizes[-1], model.loops
    found: dict[str, dict[str, list[float]]] = {}
    for i, sigma in enumerate(SIGMAS):
        name = "none" if sigma is None else f"{sigma:g}"
        if progress is not None:
            progress(f"sigma {name}", i, len(SIGMAS))
        systems = spd_systems(count, n, sigma=sigma, seed=[_HELD_OUT, seed, i])
        paths = {"model": np.stack(model.path(systems.A, systems.b), 1)}
        for teacher in ("cg", "pcg"):
            paths[teacher] = conjugate_gradients(systems.A, systems.b, loops, teacher=teacher).x
        errors = {key: relative_errors(path.astype(np.float64), systems.x) for key, path in paths.items()}
        found[name] = {key: value.mean(0).tolist() for key, value in errors.items()}
    shown = sorted({0, 1, 2, 5, loops // 2, loops} & set(range(loops + 1)))
    return {
        "count": count,
        "seed": seed,
        "n": n,
        "loops": loops,
        "loop_multiplications": model.loop_multiplications,
        "shown": shown,
        "sigmas": found,
    }
