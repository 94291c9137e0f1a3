"""Frames for training: structures split into training, validation and test, load cases drawn step by step.

Structures are made from their seeds and never stored on disk: two thousand take a quarter of a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.models._graphs import block_diagonal
from nnla.models.nsls_plus import Geometry
from nnla.problems.frames import SIZES, STYLES, frame, synthetic
from nnla.training.loop import Progress

__all__ = ["SPLITS", "Batch", "Structure", "draw_batch", "make_structures", "relative_errors", "summary"]

_RUN = 100_000  # structures of one seed
# first number of each part: no structure is in two of them, whatever its load
SPLITS = {"train": 0, "validation": 10_000_000, "test": 20_000_000}


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


@dataclass(frozen=True, eq=False)
class Batch:
    """Some systems, end to end.

    Attributes
    ----------
    chosen : which structures
    A : csr_array (n, n), block-diagonal
    b, x : (n,)
    starts : (G + 1,)
    """

    chosen: list[int]
    A: csr_array
    b: np.ndarray
    x: np.ndarray
    starts: np.ndarray


def make_structures(
    part: str,
    count: int,
    *,
    seed: int,
    sizes: dict[str, float],
    styles: dict[str, float],
    loads: int = 10,
    variant: str = "loads",
    progress: Progress | None = None,
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
    out = []
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


def draw_batch(structures: Sequence[Structure], rng: np.random.Generator, size: int, *, mixed: float) -> Batch:
    """Draw structures and, for each, a load case or a combination of load cases.

    Parameters
    ----------
    structures : to draw from
    rng : numpy Generator
    size : systems in the batch
    mixed : share of random combinations of all load cases of a structure, each at random strength and sign

    Examples
    --------
    >>> some = make_structures("train", 2, seed=0, sizes={"mini": 1}, styles={"stand": 1}, loads=2)
    >>> batch = draw_batch(some, np.random.default_rng(0), 3, mixed=0.5)
    >>> bool(np.allclose(batch.A @ batch.x, batch.b, atol=1e-6 * abs(batch.b).max()))
    True
    """
    chosen = [int(k) for k in rng.integers(len(structures), size=size)]
    b, x = [], []
    for k in chosen:
        one = structures[k]
        if rng.random() < mixed:
            weights = rng.standard_normal(one.b.shape[1]) / np.maximum(np.linalg.norm(one.b, axis=0), 1e-300)
            b.append(one.b @ weights)
            x.append(one.x @ weights)
        else:
            case, sign = rng.integers(one.b.shape[1]), rng.choice([-1.0, 1.0])
            b.append(sign * one.b[:, case])
            x.append(sign * one.x[:, case])
    starts = np.cumsum([0, *(v.size for v in b)])
    return Batch(
        chosen, block_diagonal([structures[k].A for k in chosen]), np.concatenate(b), np.concatenate(x), starts
    )


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Mean, median and 90th percentile: means alone hide the tails."""
    e = np.asarray(errors, dtype=np.float64)
    return {"mean": float(e.mean()), "median": float(np.median(e)), "p90": float(np.quantile(e, 0.9))}


def relative_errors(A: Any, x: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """delta and epsilon of (10), the A-norm error and the residual of a guess, the last two relative."""
    e = guess - x
    Ax = A @ x
    return {
        "delta": float(np.linalg.norm(e) / np.linalg.norm(x)),
        "epsilon": float(np.abs(e).mean()),
        "energy": float(np.sqrt(max(e @ (A @ e), 0.0) / (x @ Ax))),
        "residual": float(np.linalg.norm(A @ e) / np.linalg.norm(Ax)),
    }
