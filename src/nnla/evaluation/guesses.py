"""A network's guesses on frames that no training has drawn: errors, and CG iterations that they save."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.guesses.fingerprints import outside
from nnla.krylov.cg import conjugate_gradients
from nnla.operators.operator import Operator, as_operator
from nnla.preconditioners.deflation import DeflatedPreconditioner, DeflationSpace
from nnla.preconditioners.scalings import bind_scaling
from nnla.types import Progress

__all__ = ["TARGETS", "error_iterations", "evaluate_guesses", "evaluate_on_frames"]

TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)  # relative errors of the paper's Table 4

_STAND = 0.7  # share of frames as in StAnD; the others are irregular, braced and loaded unevenly


class _AllReachedError(Exception):
    pass


def error_iterations(
    A: Any,
    b: np.ndarray,
    exact: np.ndarray,
    *,
    x0: np.ndarray | None = None,
    space: DeflationSpace | None = None,
    scaling: Any = "jacobi",
    targets: Sequence[float] = TARGETS,
    maxiter: int = 20_000,
) -> list[float]:
    """Iterations of CG until the error ||x - exact|| / ||exact|| falls below each target.

    Parameters
    ----------
    A : (n, n), SPD
    b, exact : (n,)
    x0 : where it starts, zero by default
    space : to deflate by, or None
    scaling : what `nnla.preconditioners.scalings.bind_scaling` takes, or a bound one
    targets : falling
    maxiter : after which the rest count as infinite

    Notes
    -----
    Cost: a product, an application of M and an error norm an iteration.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 5.4.

    Examples
    --------
    >>> A = np.diag([1.0, 2.0, 4.0])
    >>> error_iterations(A, np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.5, 0.25]), scaling="none", targets=(1e-6,))
    [3]
    """
    op = A if isinstance(A, Operator) else as_operator(A)
    base = bind_scaling(op, scaling) if isinstance(scaling, str) else scaling
    M: Any = None if base.name == "none" else base
    x = np.zeros_like(b) if x0 is None else np.array(x0, dtype=np.float64)
    residual = b - op.matvec(x)
    if space is not None:
        M = DeflatedPreconditioner(base, space)
        x, residual = x + space.solve(residual), residual - space.image(residual)
    size, steps = float(np.linalg.norm(exact)), 0
    counts: list[float] = []

    def check(x: np.ndarray) -> None:
        error = float(np.linalg.norm(x - exact))
        while len(counts) < len(targets) and error <= targets[len(counts)] * size:
            counts.append(steps)
        if len(counts) == len(targets):
            raise _AllReachedError

    def after(x: np.ndarray) -> None:
        nonlocal steps
        steps += 1
        check(x)

    try:
        check(x)
        tiny = 1e-15 * float(np.linalg.norm(b))
        conjugate_gradients(
            op.matvec, b, x=x, residual=residual, M=M, targets=tiny, maxiter=maxiter, callback=after
        )  # fmt: skip
    except _AllReachedError:
        pass
    return counts + [np.inf] * (len(targets) - len(counts))


def evaluate_guesses(
    model: Any, *, size: str = "mini", count: int = 48, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Errors of a model's guesses on the test frames, and what they save Jacobi-preconditioned CG.

    Parameters
    ----------
    model : what `nnla.load` returns for models of initial guesses, or a name or path for it
    size : "mini", "small", "medium" or "large" frames
    count : structures, one load case each
    seed : of the structures

    Returns
    -------
    dict
        JSON-able. ``delta``, ``energy``, ``residual``: mean, median and 90th percentile of the relative errors of x,
        in the 2-norm and the A-norm, and of the residual; ``styles`` has the first for each style of frames.
        ``iterations``: for the zero start ("zero"), the guess ("warm") and, with a subspace, CG deflated by it
        ("deflated"), means to each of `TARGETS`; the products that the guess took with A before are in ``products``
        and not in them. ``declined``: structures that `nnla.solve` would have started from zero, as they lie outside
        the training data; they count like the others.

    Notes
    -----
    Cost: about 0.1 s for each structure of 500 unknowns. The structures are the same for every model.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), equation (10) and section 5.4.
    """
    from nnla.guesses.guess import initial_guess
    from nnla.problems.frame_sets import Structure, make_structures, relative_errors, summary
    from nnla.registry import load

    model = load(model) if isinstance(model, (str, os.PathLike)) else model
    stand = round(_STAND * count)
    shares = {"stand": stand, "irregular": count - stand}
    structures: list[Structure] = []
    styles: list[str] = []
    for style, some in shares.items():
        structures += make_structures("test", some, seed=seed, sizes={size: 1.0}, styles={style: 1.0}, loads=10)
        styles += [style] * some
    errors: list[dict[str, float]] = []
    counts: dict[str, list[list[float]]] = {"zero": [], "warm": [], "deflated": []}
    products, declined = 0, 0
    for k, one in enumerate(structures):
        case = k % one.b.shape[1]
        b, x = one.b[:, case], one.x[:, case]
        geometry = one.geometry if model.takes_geometry else None
        guess = initial_guess(one.A, b, model=model, geometry=geometry, guard=False)
        declined += bool(outside(one.A, model.card.get("matrices", {})))
        products = max(products, guess.report.products)
        errors.append(relative_errors(one.A, x, guess.x))
        counts["zero"].append(error_iterations(one.A, b, x))
        counts["warm"].append(error_iterations(one.A, b, x, x0=guess.x))
        if guess.space is not None:
            counts["deflated"].append(error_iterations(one.A, b, x, x0=guess.x, space=guess.space))
        if progress is not None:
            progress(size, k + 1, count)
    n = [one.b.shape[0] for one in structures]
    return {
        "size": size,
        "count": count,
        "seed": seed,
        "n": [min(n), float(np.mean(n)), max(n)],
        "declined": declined,
        "styles": {
            style: summary([e["delta"] for e, own in zip(errors, styles, strict=True) if own == style])
            for style in dict.fromkeys(styles)
        },
        "products": products,
        "targets": list(TARGETS),
        "iterations": {key: np.mean(rows, axis=0).tolist() for key, rows in counts.items() if rows},
        **{key: summary([e[key] for e in errors]) for key in ("delta", "energy", "residual")},
    }


def evaluate_on_frames(
    model: Any, *, size: str = "small", count: int = 24, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """`evaluate_guesses` for ``nnla eval``: frames of some hundred unknowns ("small"), or of some thousand ("full")."""
    frames = {"small": "mini", "full": "small"}
    if size not in frames:
        raise OptionError(f"size must be 'small' or 'full', got {size!r}")
    return evaluate_guesses(model, size=frames[size], count=count, seed=seed, progress=progress)
