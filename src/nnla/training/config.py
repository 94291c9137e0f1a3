"""Recipes: a TOML file in, a plain nested dict out, with overrides by dotted keys."""

from __future__ import annotations

import copy
import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from nnla.errors import FileFormatError, OptionError

__all__ = ["Table", "check_recipe", "load_recipe", "option", "recipes"]

# What the loop itself reads: type and smallest value. A task asks for its own keys (see `Table`).
_TOP: dict[str, tuple[type, float]] = {
    "name": (str, 0),
    "task": (str, 0),
    "seed": (int, 0),
    "threads": (int, 1),
}
_OPTIM: dict[str, tuple[type, float]] = {
    "steps": (int, 1),
    "lr": (float, 0),
    "warmup": (float, 0),
    "weight_decay": (float, 0),
    "clip": (float, 0),
    "log_every": (int, 1),
    "checkpoint_every": (int, 1),
}
# What may be named at the top of a recipe besides: the value where it is not, and the smallest one or all that there
# are; see `option`.
_OPTIONAL: dict[str, tuple[int | str, int | tuple[str, ...]]] = {
    "accumulate": (1, 1),
    "prefetch": (0, 0),
    "device": ("cpu", ("cpu", "cuda", "auto")),
    "dtype": ("", ("float32", "float64", "bfloat16")),
    "keep": ("last", ("last", "best")),
    "figure": ("", ()),
}


class Table(dict[str, Any]):
    """A recipe's table (nested ones alike) that names what it lacks: `OptionError`, not `KeyError`.

    Examples
    --------
    >>> Table({"optim": {"steps": 5}})["optim"]["batch"]
    Traceback (most recent call last):
    nnla.errors.OptionError: the recipe lacks the key 'optim.batch'; add it
    """

    def __init__(self, table: dict[str, Any], prefix: str = "") -> None:
        nested = {k: Table(v, f"{prefix}{k}.") if isinstance(v, dict) else v for k, v in table.items()}
        super().__init__(nested)
        self._prefix = prefix

    def __missing__(self, key: str) -> Any:
        raise OptionError(f"the recipe lacks the key {self._prefix + str(key)!r}; add it")


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
    OptionError
        No such recipe, a key that it lacks or does not have, or a value out of range.
    FileFormatError
        Not TOML.

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
        shipped = ", ".join(recipes())
        raise OptionError(f"no recipe {name!r}: the shipped ones are {shipped}; or give a TOML file")
    try:
        recipe = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{name}: not a TOML recipe ({error})") from error
    recipe = copy.deepcopy(recipe)
    for override in overrides:
        _apply(recipe, override)
    check_recipe(recipe)
    return recipe


def option(recipe: dict[str, Any], name: str) -> Any:
    """An optional key of a recipe, or what stands for it where it is not named.

    * ``accumulate`` (1): batches per step, whose mean loss is minimised
    * ``prefetch`` (0): batches made ahead in a thread of their own; 0 makes each when it is needed
    * ``device`` ("cpu"): or "cuda", or "auto" for CUDA where there is one
    * ``dtype`` (as the task has them): "float32" or "float64" of parameters and data; "bfloat16" has both in float32,
      and products in bfloat16
    * ``keep`` ("last"): or "best", the weights with the smallest value of the figure
    * ``figure`` (the task's own): name of the validation figure to go by

    Examples
    --------
    >>> option({"accumulate": 4}, "accumulate"), option({}, "device")
    (4, 'cpu')
    """
    return recipe.get(name, _OPTIONAL[name][0])


def check_recipe(recipe: dict[str, Any]) -> None:
    """Raise `OptionError`, which names the key, unless the loop's own keys are there and make sense."""
    optim = recipe.get("optim", {})
    if not isinstance(optim, dict):
        raise OptionError("the recipe's optim must be a table, [optim]")
    wanted = {key: (recipe, key, rule) for key, rule in _TOP.items()}
    wanted |= {f"optim.{key}": (optim, key, rule) for key, rule in _OPTIM.items()}
    missing = [name for name, (table, key, _) in wanted.items() if key not in table]
    if missing:
        raise OptionError(f"the recipe lacks {', '.join(missing)}; add what is missing")
    for name, (table, key, (kind, least)) in wanted.items():
        value = table[key]
        number = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not number or isinstance(value, bool) or (kind is not str and not least <= value < math.inf):
            what = {str: "a text", int: f"an integer >= {least:g}", float: f"a number >= {least:g}"}[kind]
            raise OptionError(f"the recipe's {name} must be {what}, got {value!r}")
    for name in _OPTIONAL.keys() & recipe.keys():
        _check_option(name, recipe[name])
    if not recipe["name"] or recipe["name"].startswith(".") or set(recipe["name"]) & set("/\\\0:"):
        # it becomes the name of a file in the folder of the run, and of no other
        raise OptionError(f"the recipe's name {recipe['name']!r} must be a plain file name, without path separators")


def _check_option(name: str, value: Any) -> None:
    default, allowed = _OPTIONAL[name]
    if isinstance(allowed, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= allowed
        what = f"an integer >= {allowed}"
    else:
        fits = isinstance(value, str) and (value in allowed if allowed else bool(value))
        what = f"one of {', '.join(allowed)}" if allowed else "a text"
    if not fits:
        raise OptionError(f"the recipe's {name} must be {what}, got {value!r}; leave it out for {default!r}")


def _apply(recipe: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise OptionError(f"--set needs key=value, got {override!r}")
    *path, last = key.strip().split(".")
    table: Any = recipe
    for part in path:
        table = table.get(part) if isinstance(table, dict) else None
    optional = {name: default for name, (default, _) in _OPTIONAL.items()} if table is recipe else {}
    if not isinstance(table, dict) or last not in optional | table:
        known = [*_keys(recipe), *sorted(_OPTIONAL.keys() - recipe.keys())]
        raise OptionError(f"the recipe has no key {key.strip()!r}; its keys: {', '.join(known)}")
    old = (optional | table)[last]
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
    found: list[str] = []
    for key, value in table.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found
