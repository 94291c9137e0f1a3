"""A learned loop on systems of the NLAFormer paper's family: products to an error beside CG; checks; card."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.evaluation.conformance import say
from nnla.evaluation.spd_rivals import cg_errors, products_to
from nnla.problems.dense_spd import spd_systems
from nnla.types import Progress

__all__ = ["check_spd_solutions", "evaluate_on_spd", "guarded_errors", "measure_spd", "spd_lines"]

SIZES = (10, 20, 40, 100, 200)
SIGMAS = (1.0, 1.2, 1.4)
_TARGETS = (1e-2, 1e-4, 1e-6, 1e-8)
_HELD_OUT = 20_261_128  # training draws from [seed, ...]; these come from [_HELD_OUT, seed, ...]
_UNIT = 2.0**30


def guarded_errors(model: Any, A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int, guard: bool = True) -> Any:
    """||answer - x||^2 / ||x||^2 of a learned loop, (products + 1, B).

    Between loops of several products the error is that of the last one.

    Cost: that of the loops.
    """
    loop = model.loop(A, b, guard=guard)
    K, size = model.config.channels, (x * x).sum(-1)
    errors: list[np.ndarray] = []
    with np.errstate(all="ignore"):
        while len(errors) <= products:
            errors += [((loop.answer() - x) ** 2).sum(-1) / size] * K
            if len(errors) <= products:
                loop.advance()
    return np.array(errors[: products + 1])


def evaluate_on_spd(model: Any, *, count: int = 256, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Products until the error falls below targets, beside CG and CG with Jacobi's scaling.

    Parameters
    ----------
    model : what `nnla.load` returns for learned loops
    count : systems of each size and sigma; a quarter of them from n = 100
    seed : of the systems

    Returns
    -------
    dict
        JSON-able. ``products``: "n, sigma" -> method ("learned", "jacobi", "cg") -> mean products of a system to each
        of ``targets`` of ||x_t - x||^2 / ||x||^2; ``inside``: the share that the guard lets pass; ``solved``: what
        `solve` took to rtol 1e-8 on 64 of them: mean products, all converged, by Cholesky.

    Notes
    -----
    Cost: seconds.
    """
    rows: dict[str, Any] = {}
    inside: dict[str, float] = {}
    solved: dict[str, Any] = {}
    cases = [(n, sigma) for n in SIZES for sigma in SIGMAS]
    for number, (n, sigma) in enumerate(cases):
        name = f"{n}, {sigma:g}"
        if progress is not None:
            progress(name, number, len(cases))
        some = count if n < 100 else max(8, count // 4)
        systems = spd_systems(some, n, sigma=sigma, seed=[_HELD_OUT, seed, n])
        A, b, x = systems.A, systems.b, systems.x
        most = min(n + 12, 60)
        curves = {
            "learned": guarded_errors(model, A, b, x, most),
            "jacobi": cg_errors(A, b, x, most, jacobi=True),
            "cg": cg_errors(A, b, x, most),
        }
        rows[name] = {
            key: [float(np.minimum(products_to(errors, t), most).mean()) for t in _TARGETS]
            for key, errors in curves.items()
        }
        outside = model.loop(A, b).outside
        inside[name] = float(1 - outside.mean())
        report = model.solve(A[:64], b[:64])[1]
        solved[name] = {
            "products": report.products / min(some, 64),
            "converged": report.converged,
            "fallbacks": report.fallbacks,
        }
    return {
        "count": count,
        "seed": seed,
        "targets": list(_TARGETS),
        "products": rows,
        "inside": inside,
        "solved": solved,
    }


def check_spd_solutions(model: Any, trials: int, seed: int) -> list[str]:
    """Of a learned loop: its systems, the same in other units, in another order, and in a batch."""
    messages: list[str] = []
    for trial in range(min(trials, 5)):
        n = (8, 20, 33)[trial % 3]
        systems = spd_systems(3, n, seed=[_HELD_OUT, seed, trial])
        A, b, rng = systems.A, systems.b, np.random.default_rng(trial)
        kept, order = (A.copy(), b.copy()), rng.permutation(n)
        x, again = model.guess(A, b), model.guess(A, b)
        size = float(np.linalg.norm(x))
        say(messages, not (np.array_equal(A, kept[0]) and np.array_equal(b, kept[1])), "the model changes A or b")
        say(messages, not np.all(np.isfinite(x)), "an answer is not finite")
        say(messages, not np.array_equal(x, again), "two calls differ")
        scaled = model.guess(_UNIT * A, b / _UNIT) * _UNIT * _UNIT
        say(messages, not np.array_equal(scaled, x), "the answer depends on the scale of A or b")
        moved = model.guess(A[:, order][:, :, order], b[:, order])
        say(messages, not np.linalg.norm(moved - x[:, order]) <= 1e-6 * size, "the answer depends on the order of rows")
        alone = model.guess(A[1], b[1])
        say(messages, not np.linalg.norm(alone - x[1]) <= 1e-6 * size, "the answer depends on the batch")
        solved, report = model.solve(A, b, rtol=1e-9)
        residual = np.linalg.norm(b - np.einsum("bij,bj->bi", A, solved), axis=1) / np.linalg.norm(b, axis=1)
        wrong = report.converged != bool(np.all(residual <= 1.001e-9))
        say(messages, wrong, "the report calls verified what is not, or the other way round")
    return messages


def measure_spd(model: Any, count: int | None, quick: bool) -> dict[str, Any]:
    """For the card."""
    return evaluate_on_spd(model, count=count or (32 if quick else 256))


def spd_lines(card: dict[str, Any]) -> list[str]:
    """The card's figures, in Markdown."""
    m = card["measured"]
    lines = ["Mean products of a system until ||x_t - x||^2 / ||x||^2 is below the target, held-out systems of the"]
    lines += ["family; *jacobi* and *cg* are conjugate gradients with and without Jacobi's scaling.", ""]
    targets = [f"{name} {t:.0e}" for t in m["targets"][1:3] for name in ("learned", "jacobi", "cg")]
    lines += [f"| n, sigma | {' | '.join(targets)} | inside | to a residual of 1e-8, all | by Cholesky |"]
    lines += ["|---" * (len(targets) + 4) + "|"]
    for name, row in m["products"].items():
        cells = [f"{row[key][i]:.1f}" for i in (1, 2) for key in ("learned", "jacobi", "cg")]
        solved = m["solved"][name]
        lines += [
            f"| {name} | {' | '.join(cells)} | {m['inside'][name]:.1%} | {solved['products']:.1f} | "
            f"{solved['fallbacks']} |"
        ]
    lines += ["", "**Guaranteed**: `converged` means verified; every loop lowers the A-norm of the error, whatever the"]
    lines += ["weights. **Not** guaranteed: how fast. Beside other methods, in operations, and on other families:"]
    return [*lines, "`docs/nlaformer_products.md`."]
