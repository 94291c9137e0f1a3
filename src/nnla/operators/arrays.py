"""The space's few functions for code that has arrays but no operator: NumPy arrays and torch tensors alike.

Each hands over to the `Space` of its first argument; where there is an operator, ask ``op.space``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.operators.kinds import is_torch, namespace, to_numpy
from nnla.operators.numpy_space import NUMPY
from nnla.operators.spaces import Space
from nnla.operators.torch_space import TorchSpace

__all__ = [
    "alike",
    "as_row",
    "inner",
    "is_torch",
    "namespace",
    "norm",
    "on_device",
    "segment_sum",
    "space_of",
    "to_numpy",
    "zeros_like",
]


def space_of(x: Any) -> Space:
    """The space that an array is of.

    >>> space_of(np.ones(2)).name
    'numpy'
    """
    return NUMPY if type(x) is np.ndarray or not is_torch(x) else TorchSpace(x.device)


def inner(x: Any, y: Any) -> Any:
    """`Space.inner`: a float, or a float64 NumPy array (k,) for blocks.

    Cost: one pass over x and y, one synchronisation.

    >>> inner(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return space_of(x).inner(x, y)


def norm(x: Any) -> Any:
    """`Space.norm`: a float, or a float64 NumPy array (k,) for blocks.

    Cost: one pass over x, three where the squares leave the range of float64.

    >>> norm(np.array([3.0, 4.0]))
    5.0
    """
    return space_of(x).norm(x)


def zeros_like(x: Any) -> Any:
    """`Space.zeros_like`: new zeros, C-contiguous.

    >>> zeros_like(np.ones((2, 1)))
    array([[0.],
           [0.]])
    """
    return space_of(x).zeros_like(x)


def as_row(values: np.ndarray, like: Any) -> Any:
    """`Space.row`: per-column numbers in a form that broadcasts over `like`, (n,) or (n, k)."""
    return space_of(like).row(values, like)


def alike(x: Any, like: Any) -> Any:
    """`x` as the kind of array that `like` is; itself where it is so already.

    >>> alike(np.ones(2), [1, 2])
    array([1., 1.])
    """
    return space_of(like).own(x)


def on_device(values: np.ndarray, like: Any) -> Any:
    """Numbers or a mask, in their own dtype, where `like` is.

    >>> on_device(np.array([True]), np.ones(1))
    array([ True])
    """
    if not is_torch(like):
        return values
    return namespace(like).from_numpy(np.ascontiguousarray(values)).to(like.device)


def segment_sum(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums over the rows of each graph, (n, ...) -> (G, ...); every graph has at least one row.

    Cost: one pass over the values.
    """
    return np.add.reduceat(values, starts[:-1], axis=0)
