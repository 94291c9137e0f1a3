"""Fused, cache-blocked kernels, native where the package was built with a C++ compiler.

`native` is the extension module, or None where it was not built or `NNLA_NATIVE=0` is in the environment;
`why_not` then says why. Everything works without it, slower, by NumPy and SciPy.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__all__ = ["native", "why_not"]

native: Any = None
why_not: str | None = None

if os.environ.get("NNLA_NATIVE", "1") == "0":
    why_not = "switched off by NNLA_NATIVE=0"
else:
    try:
        native = importlib.import_module("nnla.kernels._native")
    except ModuleNotFoundError:
        why_not = "not built; reinstall nnla where there is a C++ compiler"
    except ImportError as error:
        why_not = f"built, but cannot be loaded: {error}"
