"""One BLAS thread for small factorisations: on a busy machine its threads wait for each other longer than they work."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy

__all__ = ["one_blas_thread"]

_PREFIXES, _SUFFIXES = ("scipy_openblas_", "openblas_"), ("64_", "")
_lock = threading.Lock()
_inside = 0
_before: list[int] = []


@contextmanager
def one_blas_thread(small: bool = True) -> Iterator[None]:
    """Inside, the OpenBLAS that came with NumPy and SciPy run on one thread; no effect on other BLAS libraries.

    Meant for work of milliseconds: the number of threads belongs to the process, so BLAS in other Python threads is
    serial for as long, too. The last to leave restores what the first found.

    Parameters
    ----------
    small : False for work that is worth the threads: nothing happens

    Notes
    -----
    Cost: some microseconds.

    Examples
    --------
    >>> with one_blas_thread():
    ...     x = np.linalg.solve(np.eye(2), np.ones(2))
    """
    global _inside, _before
    if not small:
        yield
        return
    libraries = _libraries()
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = [get() for get, _ in libraries]
            for _, put in libraries:
                put(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for (_, put), threads in zip(libraries, _before, strict=True):
                    put(threads)


@cache
def _libraries() -> list[tuple[Any, Any]]:
    """Functions that get and set the threads of each OpenBLAS beside NumPy and SciPy."""
    found: list[tuple[Any, Any]] = []
    for package in (np, scipy):
        home = Path(str(package.__file__)).parent
        for path in sorted(home.with_name(f"{home.name}.libs").glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for name in (f"{prefix}{{}}_num_threads{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES):
                get, put = (getattr(library, name.format(verb), None) for verb in ("get", "set"))
                if get is not None and put is not None:
                    found.append((get, put))
                    break
    return found
