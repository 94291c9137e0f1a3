"""Sets of structures with loads and reference solutions, for training and judging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems.frames import SIZES, STYLES, frame, synthetic
from nnla.problems.geometry import Geometry
from nnla.types import TrainingProgress

__all__ = ["SPLITS", "Structure", "make_structures", "relative_errors", "summary"]


@dataclass(frozen=True, eq=False)
class Structure:
    """A frame with its solved load cases.

    Attributes
    ----------
    A : csr_array (n, n)
    b, x : (n, k)
    geometry : types and coordinates of the unknowns
    """

    A: csr_array
    b: np.ndarray
    x: np.ndarray
    geometry: Geometry


def make_structures(
    part: str,
    count: int,
    *,
    seed: int,
    sizes: dict[str, float],
    styles: dict[str, float],
    loads: int = 10,
    variant: str = "loads",
    progress: TrainingProgress | None = None,
) -> list[Structure]:
    """Structures of one part of the data.

    Parameters
    ----------
    part : "train", "validation" or "test"
    count : number of structures
    seed : of the recipe
    sizes, styles : shares of the sizes and styles of `nnla.problems.frames`
    loads : load cases of each
    variant : "loads", or "synthetic" for solutions uniform in [-1, 1]
    progress : as in `nnla.training.loop.train`

    Raises
    ------
    OptionError
        Unknown names, shares that are not positive, or a seed or count that would mix training and test.

    Notes
    -----
    Cost: a frame, a factorisation and a solve for each load case, a structure.

    References
    ----------
    Grementieri & Finelli, StAnD (arXiv:2201.05356); "synthetic": Grementieri & Galeone (arXiv:2203.06944), section 5.1.
    """
    if part not in SPLITS:
        raise OptionError(f"no part {part!r} of the data; choose one of {', '.join(SPLITS)}")
    if variant not in ("loads", "synthetic"):
        raise OptionError(f"the variant of the data is 'loads' or 'synthetic', got {variant!r}")
    for name, shares, known in (("sizes", sizes, SIZES), ("styles", styles, STYLES)):
        unknown = set(shares) - set(known)
        if unknown or not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise OptionError(f"the shares of {name} must be numbers >= 0 for some of {', '.join(known)}, got {shares}")
    if not 0 <= seed < SPLITS["validation"] // _RUN or not 0 <= count <= _RUN:
        raise OptionError(
            f"seed {seed} with {count} structures would reach into another part of the data; seeds are 0 to "
            f"{SPLITS['validation'] // _RUN - 1}, structures at most {_RUN}"
        )
    rng = np.random.default_rng([seed, SPLITS[part]])
    out: list[Structure] = []
    for k in range(count):
        size, style = _pick(rng, sizes), _pick(rng, styles)
        number = SPLITS[part] + _RUN * seed + k
        one = frame(size, number, style=style, loads=loads)
        b, x = (one.loads, one.solve()) if variant == "loads" else synthetic(one.A, number, loads)
        out.append(Structure(one.A, b, x, Geometry(one.dof, one.coordinates)))
        if progress and ((k + 1) % 100 == 0 or k + 1 == count):
            progress(f"data ({part})", k + 1, count, "")
    return out


def _pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    weights = np.array(list(shares.values()), dtype=np.float64)
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Mean, median and 90th percentile: means alone hide the tails."""
    e = np.asarray(errors, dtype=np.float64)
    return {"mean": float(e.mean()), "median": float(np.median(e)), "p90": float(np.quantile(e, 0.9))}


def relative_errors(A: Any, x: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """delta and epsilon of (10), the A-norm error and the residual of a guess, the last two relative.

    Cost: three products with A.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), equation (10).
    """
    e = guess - x
    Ax = A @ x
    return {
        "delta": float(np.linalg.norm(e) / np.linalg.norm(x)),  # (10), right
        "epsilon": float(np.abs(e).mean()),  # (10), left
        "energy": float(np.sqrt(max(e @ (A @ e), 0.0) / (x @ Ax))),
        "residual": float(np.linalg.norm(A @ e) / np.linalg.norm(Ax)),
    }


_RUN = 100_000  # structures of one seed


# first number of each part: no structure is in two of them, whatever its load
SPLITS = {"train": 0, "validation": 10_000_000, "test": 20_000_000}
