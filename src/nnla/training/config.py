"""Recipes: a TOML file in, a plain nested dict out, with overrides by dotted keys."""

from __future__ import annotations

import copy
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from nnla.errors import FileFormatError, OptionError

__all__ = ["load_recipe", "recipes"]


def recipes() -> list[str]:
    """Names of the recipes that ship with nnla."""
    folder = resources.files("nnla.training") / "recipes"
    return sorted(item.name[: -len(".toml")] for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(name: str, overrides: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
    """A recipe by name or path, with ``key=value`` overrides.

    Parameters
    ----------
    name : a shipped recipe, or the path of a TOML file
    overrides : strings like ``"optim.steps=200"``; the key must exist and the value must have its type

    Raises
    ------
    OptionError, FileFormatError

    Examples
    --------
    >>> load_recipe("autospec-cg", ["optim.steps=5"])["optim"]["steps"]
    5
    """
    if name in recipes():
        text = (resources.files("nnla.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8", errors="replace")
    else:
        raise OptionError(f"no recipe {name!r}: the shipped ones are {', '.join(recipes())}; or give a TOML file")
    try:
        recipe = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{name}: not a TOML recipe ({error})") from error
    recipe = copy.deepcopy(recipe)
    for override in overrides:
        _apply(recipe, override)
    return recipe


def _apply(recipe: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise OptionError(f"--set needs key=value, got {override!r}")
    *path, last = key.strip().split(".")
    table: Any = recipe
    for part in path:
        table = table.get(part) if isinstance(table, dict) else None
    if not isinstance(table, dict) or last not in table:
        raise OptionError(f"the recipe has no key {key.strip()!r}; its keys: {', '.join(_keys(recipe))}")
    old = table[last]
    try:
        new = tomllib.loads(f"x = {text.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        new = text.strip()
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        new = float(new)
    if type(new) is not type(old):
        raise OptionError(f"{key.strip()} is {type(old).__name__} ({old!r}), got {text.strip()!r}")
    table[last] = new


def _keys(table: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in table.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found
