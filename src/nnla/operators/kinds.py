"""Which library an array is of, asked without ever importing torch."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["is_torch", "namespace", "quiet_csr", "to_numpy"]


def is_torch(x: Any) -> bool:
    """Whether `x` is a torch tensor (of any subclass); torch is looked up, never imported.

    >>> is_torch(np.ones(2))
    False
    """
    # A tensor can only exist once torch is loaded, so `sys.modules` answers without the import.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


@cache
def quiet_csr() -> None:
    """Let PyTorch say once, to nobody, that its CSR layout is in beta and its arrays unchecked; call before the first
    such tensor is made.

    It says so once in a process. Filters for warnings belong to all threads, and are not to be changed in each call.
    """
    torch = sys.modules["torch"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eye = torch.eye(1).to_sparse_csr()
        torch.sparse_csr_tensor(eye.crow_indices(), eye.col_indices(), eye.values(), (1, 1))


def namespace(x: Any) -> ModuleType:
    """The module whose functions take `x`: ``torch`` for tensors and ``numpy`` for everything else.

    >>> namespace(np.ones(2)).__name__
    'numpy'
    """
    return sys.modules["torch"] if is_torch(x) else np


def to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array on the host (shared memory where the kind of array allows it).

    >>> to_numpy([1.0, 2.0])
    array([1., 2.])
    """
    if is_torch(x):
        x = x.detach().cpu()
        x = x if x.layout == sys.modules["torch"].strided else x.to_dense()
        return (x.float() if x.dtype == sys.modules["torch"].bfloat16 else x).numpy()  # which NumPy does not have
    return np.asarray(x)
