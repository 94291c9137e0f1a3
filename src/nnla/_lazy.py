"""Names of a package that are loaded on first use, so that importing nnla stays instant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__`` (PEP 562).

    Parameters
    ----------
    package : its ``__name__``
    homes : public name -> module that defines it; a name that is itself a module maps to that module, with a colon at
        the end

    Examples
    --------
    >>> from nnla._lazy import lazy_names
    >>> getter, names = lazy_names("nnla", {"Kind": "nnla.types", "errors": "nnla.errors:"})
    >>> getter("Kind").__name__, getter("errors").__name__, names()
    ('Kind', 'nnla.errors', ['Kind', 'errors'])
    """

    def getter(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(home.removesuffix(":"))
        value = module if home.endswith(":") else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return getter, names
