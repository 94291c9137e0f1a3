"""Coordinates of a mesh's nodes from files: arrays as `read_vector` reads them, or plain columns of text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import numpy as np

from nnla.errors import FileFormatError, NonFiniteError, ShapeError
from nnla.problems.files import guarded, read_vector
from nnla.problems.number_text import Lines, parse_numbers

__all__ = ["read_coordinates"]

_TEXTS = (".txt", ".dat", ".xyz")


def read_coordinates(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the places of nodes in the plane or in space.

    Parameters
    ----------
    path : path
        A name ending in .txt, .dat or .xyz: a node a line, two or three numbers with blanks between, comments after
        ``%``. Any other: an array (n_nodes, 2 or 3) as `nnla.problems.read_vector` reads it.

    Returns
    -------
    float64 array (n_nodes, 2) or (n_nodes, 3)

    Raises
    ------
    FileFormatError, DTypeError
        As `nnla.problems.read_vector`.
    ShapeError
        Another number of columns than two or three.
    NonFiniteError
        NaN or Inf.

    Notes
    -----
    Cost: the file read once.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "nodes.txt")
    ...     _ = path.write_text("0 0\\n1 0\\n0 1\\n")
    ...     read_coordinates(path).shape
    (3, 2)
    """
    points = guarded(path, _columns) if Path(path).suffix.lower() in _TEXTS else read_vector(path)
    if points.ndim == 1 and points.size in (2, 3):
        points = points[None]  # a single node comes as a vector
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ShapeError(f"{path}: holds an array of shape {points.shape}; give a row of 2 or 3 coordinates per node")
    if not np.isfinite(points).all():
        raise NonFiniteError(f"{path}: holds NaN or Inf; give finite coordinates")
    return points


def _columns(stream: IO[bytes]) -> np.ndarray:
    lines = Lines(stream)
    blocks: list[np.ndarray] = []
    width = 0
    while text := lines.block():
        if not width:
            width = _width(text)
        if width:
            blocks.append(parse_numbers(text, width))
    if not width:
        raise FileFormatError("holds no numbers; write a node a line")
    return np.concatenate(blocks).reshape(-1, width)


def _width(text: bytes) -> int:
    """How many numbers the first line with any has; 0 without one."""
    for line in text.splitlines():
        words = line.partition(b"%")[0].split()
        if words:
            return len(words)
    return 0
