"""Training data in chunks that are made once and kept in the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nnla._files import atomic_file
from nnla.types import TrainingProgress

__all__ = ["cached_chunks"]


def cached_chunks(
    folder: Path,
    part: str,
    count: int,
    size: int,
    make: Callable[[int, int], dict[str, np.ndarray]],
    progress: TrainingProgress,
) -> dict[str, np.ndarray]:
    """``count`` examples in chunks of ``size``, from ``folder`` where they are there already.

    Parameters
    ----------
    make : called as ``make(index, count)`` for a chunk; a function of its arguments alone, so that a run that was
        stopped goes on to the same data
    part : "train" or "held"; in the names of the files, which are written atomically

    Returns
    -------
    dict of arrays, concatenated along the first axis
    """
    cache = folder / "data"
    cache.mkdir(parents=True, exist_ok=True)
    total = -(-count // size)
    chunks: list[dict[str, np.ndarray]] = []
    for index in range(total):
        path = cache / f"{part}-{index:04d}.npz"
        if not path.exists():
            chunk = make(index, min(size, count - index * size))
            with atomic_file(path) as stream:
                np.savez(stream, allow_pickle=False, **chunk)
        with np.load(path, allow_pickle=False) as stored:
            chunks.append({key: stored[key] for key in stored.files})
        progress(f"data ({part})", index + 1, total, "")
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
