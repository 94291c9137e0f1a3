"""Frames for training: structures split into training, validation and test, load cases drawn step by step.

Structures are made from their seeds and never stored on disk: two thousand take a quarter of a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from nnla.models._graphs import block_diagonal
from nnla.problems.frame_sets import Structure

__all__ = ["Batch", "draw_batch"]


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
    >>> from nnla.problems.frame_sets import make_structures
    >>> some = make_structures("train", 2, seed=0, sizes={"mini": 1}, styles={"stand": 1}, loads=2)
    >>> batch = draw_batch(some, np.random.default_rng(0), 3, mixed=0.5)
    >>> bool(np.allclose(batch.A @ batch.x, batch.b, atol=1e-6 * abs(batch.b).max()))
    True
    """
    chosen = [int(k) for k in rng.integers(len(structures), size=size)]
    b: list[np.ndarray] = []
    x: list[np.ndarray] = []
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
