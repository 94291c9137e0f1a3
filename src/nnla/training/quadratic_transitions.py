"""Learning the transition of degree 17: five products of matrices, with coefficients that no formula gives.

With G = X'X the program B2 = G^2, B4 = (B2 + a1 G)(B2 + a2 G), B8 = (B4 + b1 B2 + b2 G)(B4 + b3 B2 + b4 G),
X (c0 + c1 G + c2 B2 + c3 B4 + c4 B8) takes five products and has degree 17 in X. Its eleven parameters do not reach
all polynomials of that degree, and the best ones solve a non-convex minimax problem: least squares from random starts,
then minimax by a sequence of linear programs, then continuation from ratio to ratio.

    python -m nnla.training.quadratic_transitions OUT.safetensors --seconds 45
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares, linprog

from nnla.extensions.minimax import odd_minimax
from nnla.registry import write_safetensors

__all__ = ["learn_table", "program", "refine"]

RATIOS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
STARTS = (0.25, 0.4, 0.55, 0.7, 0.85)
_LARGEST = 300.0  # coefficients beyond this would cost digits


def program(theta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c(y) of the program at y = sigma^2, shape (N,), and its Jacobian (N, 11).

    Cost: some 30 operations a point.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix A.1, equation (10): a transition of this kind.
    """
    a1, a2, b1, b2, b3, b4, c0, c1, c2, c3, c4 = theta
    B2 = y * y
    P, Q = B2 + a1 * y, B2 + a2 * y
    B4 = P * Q
    R, S = B4 + b1 * B2 + b2 * y, B4 + b3 * B2 + b4 * y
    outer = c3 + c4 * (R + S)
    columns = [outer * Q * y, outer * P * y, c4 * S * B2, c4 * S * y, c4 * R * B2, c4 * R * y]
    columns += [np.ones_like(y), y, B2, B4, R * S]
    return c0 + c1 * y + c2 * B2 + c3 * B4 + c4 * R * S, np.stack(columns, 1)


def _points(ratio: float, count: int = 300) -> np.ndarray:
    return (1 + ratio) / 2 - (1 - ratio) / 2 * np.cos(np.pi * np.linspace(0, 1, count))


def error(theta: np.ndarray, ratio: float) -> float:
    """max |x c(x^2) - 1| on [ratio, 1]."""
    x = _points(ratio, 2000)
    return float(np.abs(x * program(theta, x * x)[0] - 1).max())


def refine(theta: np.ndarray, ratio: float, iterations: int = 80) -> tuple[float, np.ndarray]:
    """Minimax by linear programs in a trust region, from `theta`; never worse than the start.

    Cost: ``iterations`` linear programs of 12 unknowns.
    """
    x = _points(ratio)
    best, radius = error(theta, ratio), 0.1
    for _ in range(iterations):
        values, J = program(theta, x * x)
        residual, size = (x * values - 1) / best, np.maximum(np.abs(theta), 1e-3)
        J = J * (x[:, None] * size) / best
        minus = -np.ones((x.size, 1))
        solution = linprog(
            np.r_[np.zeros(theta.size), 1.0],
            A_ub=np.vstack([np.hstack([J, minus]), np.hstack([-J, minus])]),
            b_ub=np.r_[-residual, residual],
            bounds=[(-radius, radius)] * theta.size + [(0, None)],
            method="highs",
        )
        if solution.x is None:
            radius *= 0.3
            continue
        trial = theta + size * solution.x[:-1]
        now = error(trial, ratio)
        if now < best and np.abs(trial).max() < _LARGEST:
            gain, promised = 1 - now / best, 1 - solution.x[-1]
            theta, best = trial, now
            radius = min(2 * radius, 1.0) if gain > 0.7 * promised else radius
            if gain < 1e-6:
                break
        else:
            radius *= 0.35
        if radius < 1e-8:
            break
    return best, theta


def _from_random(ratio: float, seconds: float, rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    x = _points(ratio, 150)
    end = time.perf_counter() + seconds
    found: list[tuple[float, np.ndarray]] = []
    while time.perf_counter() < end:
        start = rng.standard_normal(11) * rng.choice([0.5, 1.0, 3.0])
        try:
            fit = least_squares(
                lambda t: x * program(t, x * x)[0] - 1,
                start,
                jac=lambda t: program(t, x * x)[1] * x[:, None],  # type: ignore[arg-type]
                x_scale="jac", method="lm", max_nfev=500, ftol=1e-14, xtol=1e-14, gtol=1e-14,
            )  # fmt: skip
        except (ValueError, np.linalg.LinAlgError):  # a start that overflows
            continue
        if np.abs(fit.x).max() < _LARGEST:
            found.append((error(fit.x, ratio), fit.x))
    return sorted(found, key=lambda item: item[0])[:6]


def learn_table(seconds: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters (R, 11) of the program for each of the ratios, and their errors (R,).

    Takes about `seconds` for each of five random searches, as long again for refinement and continuation.
    """
    rng = np.random.default_rng(seed)
    best: dict[float, tuple[float, np.ndarray]] = {}

    def offer(ratio: float, theta: np.ndarray) -> None:
        now = refine(theta, ratio)
        if ratio not in best or now[0] < best[ratio][0]:
            best[ratio] = now

    for start in STARTS:
        for _, theta in _from_random(start, seconds, rng):
            offer(start, theta)
    for _ in range(2):  # outwards from every start, and back
        for order in (RATIOS, RATIOS[::-1]):
            known = None
            for ratio in order:
                if known is not None:
                    offer(ratio, known)
                if ratio in best:
                    known = best[ratio][1]
    ratios = sorted(best)
    return {
        "ratio": np.array(ratios),
        "theta": np.stack([best[r][1] for r in ratios]),
        "error": np.array([best[r][0] for r in ratios]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=45.0, help="of each of five random searches")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.process_time()
    table = learn_table(given.seconds, given.seed)
    for ratio, value in zip(table["ratio"], table["error"], strict=True):
        print(f"{ratio:.2f}  {value:.3e}  degree 9, four products: {odd_minimax(9, float(ratio)).error:.3e}")
    metadata = {
        "kind": "quadratic-transitions",
        "command": f"python -m nnla.training.quadratic_transitions --seconds {given.seconds:g} --seed {given.seed}",
        "cpu_seconds": f"{time.process_time() - started:.0f}",
        "date": "2026-11-21",
        "hardware": f"{platform.machine()}, 1 thread",
    }
    write_safetensors(given.out, table, metadata)


if __name__ == "__main__":
    main()
