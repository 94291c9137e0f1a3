"""CG and Jacobi-PCG on many small dense systems at once, every iterate kept: teachers and opponents of learned ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.errors import OptionError

__all__ = ["TEACHERS", "Iterates", "conjugate_gradients", "relative_errors"]

TEACHERS = ("cg", "pcg")


@dataclass(frozen=True, eq=False)
class Iterates:
    """Iterations 0 to T of many systems.

    Attributes
    ----------
    x, r, d : (B, T + 1, n) iterates, residuals b - A x, directions
    """

    x: np.ndarray
    r: np.ndarray
    d: np.ndarray


def conjugate_gradients(A: np.ndarray, b: np.ndarray, steps: int, *, teacher: str = "cg") -> Iterates:
    """Conjugate gradients from zero, on a batch.

    Parameters
    ----------
    A, b : (B, n, n) symmetric positive definite, and (B, n)
    steps : iterations T
    teacher : "cg", or "pcg", preconditioned by the diagonal

    Raises
    ------
    OptionError : another teacher

    Notes
    -----
    A system that is solved exactly stays where it is. Cost: T products a system.

    References
    ----------
    NLAFormer, equation (25); Hestenes, Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409-436.

    Examples
    --------
    >>> found = conjugate_gradients(np.diag([1.0, 4.0])[None], np.ones((1, 2)), 2)
    >>> found.x[0].round(12).tolist()
    [[0.0, 0.0], [0.4, 0.4], [1.0, 0.25]]
    """
    if teacher not in TEACHERS:
        raise OptionError(f"teacher={teacher!r} is not known; choose {' or '.join(TEACHERS)}")
    inverse = 1 / A.diagonal(0, 1, 2) if teacher == "pcg" else np.ones_like(b)
    x, r = np.zeros_like(b), b.copy()
    d = inverse * r
    rz = (r * d).sum(1)
    path = [(x, r, d)]
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(steps):
            Ad = (A @ d[..., None])[..., 0]
            alpha = np.nan_to_num(rz / (d * Ad).sum(1), posinf=0.0)[:, None]
            x, r = x + alpha * d, r - alpha * Ad
            z = inverse * r
            before, rz = rz, (r * z).sum(1)
            d = z + np.nan_to_num(rz / before, posinf=0.0)[:, None] * d
            path.append((x, r, d))
    return Iterates(*(np.stack(rows, 1) for rows in zip(*path, strict=True)))


def relative_errors(path: np.ndarray, x: np.ndarray) -> np.ndarray:
    """||x_t - x||^2 / ||x||^2, (B, T + 1), of iterates (B, T + 1, n) to solutions (B, n): the measure of the paper.

    References
    ----------
    NLAFormer, section 4.1.1.
    """
    return ((path - x[:, None]) ** 2).sum(-1) / (x * x).sum(-1)[:, None]
