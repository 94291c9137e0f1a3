"""Recipes: a TOML file in, a plain nested dict out, with overrides by dotted keys."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any

from nnla._files import one_line
from nnla.errors import FileFormatError, OptionError

__all__ = ["Table", "check_recipe", "load_recipe", "option", "recipes"]

_LARGEST = 2**53  # of integers: more than any count, and exact as a float

# What the loop itself reads: type, smallest and largest value. A task asks for its own keys (see `Table`).
_TOP: dict[str, tuple[type, float, float]] = {
    "name": (str, 0, 0),
    "task": (str, 0, 0),
    "seed": (int, 0, _LARGEST),
    "threads": (int, 1, 1024),
}
_OPTIM: dict[str, tuple[type, float, float]] = {
    "steps": (int, 1, _LARGEST),
    "lr": (float, 0, _LARGEST),
    "warmup": (float, 0, _LARGEST),
    "weight_decay": (float, 0, _LARGEST),
    "clip": (float, 0, 1e300),
    "log_every": (int, 1, _LARGEST),
    "checkpoint_every": (int, 1, _LARGEST),
}
# What may be named at the top of a recipe besides: the value where it is not, and the smallest and the largest one or
# all that there are; see `option`.
_OPTIONAL: dict[str, tuple[int | str, range | tuple[str, ...]]] = {
    "accumulate": (1, range(1, 2**20 + 1)),
    "prefetch": (0, range(2**10 + 1)),
    "device": ("cpu", ("cpu", "cuda", "auto")),
    "dtype": ("", ("float32", "float64", "bfloat16")),
    "keep": ("last", ("last", "best")),
    "figure": ("", ()),
}

# A recipe is a small text: what a parser takes from it grows with the square of the parts of a key.
_LONGEST_TEXT = 2**18
_LONG_KEY = re.compile(
    r"""(?<![\w\-"'.])(?:(?:[\w\-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){16}""",
    re.ASCII,
)
_OWN_TASK = re.compile(r"nnla\.training\.[a-z][a-z0-9_]*:[A-Z][A-Za-z0-9]*", re.ASCII)


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


def load_recipe(
    name: str, overrides: tuple[str, ...] | list[str] = (), *, tasks: Collection[str] = ()
) -> dict[str, Any]:
    """A recipe by name or path, with ``key=value`` overrides.

    Parameters
    ----------
    name : a shipped recipe, or the path of a TOML file
    overrides : strings like ``"optim.steps=200"``; the key must exist and the value must have its type
    tasks : "module:Class" that the file may name beside nnla's own

    Raises
    ------
    OptionError
        No such recipe, a key that it lacks or does not have, a value out of range, or a task that is neither nnla's
        own nor among ``tasks`` nor named by an override.
    FileFormatError
        Not TOML, or nested or long beyond measure.

    Notes
    -----
    A task is imported and called, so a file that names one is a program. What a file may name is therefore what is in
    `nnla.training`; another one is named by whoever runs it: ``--set task=module:Class``, or ``tasks``.

    Examples
    --------
    >>> load_recipe("autospec-cg", ["optim.steps=5"])["optim"]["steps"]
    5
    """
    if name in recipes():
        text = (resources.files("nnla.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    elif _is_file(name):
        with open(name, "rb") as stream:
            data = stream.read(_LONGEST_TEXT + 1)
        if len(data) > _LONGEST_TEXT:
            raise FileFormatError(f"{name}: has more than {_LONGEST_TEXT} bytes, and is no recipe; check the path")
        text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    else:
        shipped = ", ".join(recipes())
        raise OptionError(f"no recipe {name[:200]!r}: the shipped ones are {shipped}; or give a TOML file")
    recipe = _parsed(text, name)
    for override in overrides:
        _apply(recipe, override)
    check_recipe(recipe)
    named = any(override.partition("=")[0].strip() == "task" for override in overrides)
    if not (named or recipe["task"] in tasks or _OWN_TASK.fullmatch(recipe["task"])):
        raise OptionError(
            f"{name}: names the task {_short(recipe['task'])}, code from outside of nnla.training that would be run; "
            "if you trust it, name it yourself: --set task=MODULE:CLASS"
        )
    return recipe


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name that is too long, or none
        return False


def _parsed(text: str, name: str) -> dict[str, Any]:
    if _LONG_KEY.search(text):
        raise FileFormatError(f"{name}: has a key of more than 16 parts, and is no recipe; check the file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{name}: not a TOML recipe ({one_line(error)}); correct it") from error
    except (RecursionError, ValueError, OverflowError) as error:  # nested without end; integers without end; dates
        raise FileFormatError(f"{name}: not a recipe ({one_line(error)}); correct it") from None


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
    for name, (table, key, (kind, least, most)) in wanted.items():
        value = table[key]
        number = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not number or isinstance(value, bool) or (kind is not str and not least <= value <= most):
            what = {str: "a text", int: f"an integer >= {least:g}", float: f"a number >= {least:g}"}[kind]
            limit = f" and <= {most:g}" if kind is not str else ""
            raise OptionError(f"the recipe's {name} must be {what}{limit}, got {_short(value)}")
    _check_numbers(recipe)
    for name in _OPTIONAL.keys() & recipe.keys():
        _check_option(name, recipe[name])
    if not recipe["name"] or recipe["name"].startswith(".") or set(recipe["name"]) & set("/\\\0:"):
        # it becomes the name of a file in the folder of the run, and of no other
        raise OptionError(
            f"the recipe's name {_short(recipe['name'])} must be a plain file name, without path separators"
        )


def _check_numbers(value: Any, name: str = "") -> None:
    """Raise `OptionError` at a number that no count and no size reaches, wherever it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item, name)
    elif not isinstance(value, (str, int, float)):
        raise OptionError(f"the recipe's {one_line(name, 80)} must be a text or a number, got a {type(value).__name__}")
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise OptionError(f"the recipe's {one_line(name, 80)} must be at most 2^53 in size, got {_short(value)}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"the recipe's {one_line(name, 80)} must be finite, got {value}")


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"an integer of {value.bit_length()} bits"  # whose digits Python may refuse to write
    return one_line(repr(value), 80)


def _check_option(name: str, value: Any) -> None:
    default, allowed = _OPTIONAL[name]
    if isinstance(allowed, range):
        fits = isinstance(value, int) and not isinstance(value, bool) and value in allowed
        what = f"an integer >= {allowed[0]} and <= {allowed[-1]}"
    else:
        fits = isinstance(value, str) and (value in allowed if allowed else bool(value))
        what = f"one of {', '.join(allowed)}" if allowed else "a text"
    if not fits:
        raise OptionError(f"the recipe's {name} must be {what}, got {_short(value)}; leave it out for {default!r}")


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
        new = _parsed(f"x = {text.strip()}", "--set")["x"]
    except FileFormatError:
        new = text.strip()
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool) and abs(new) <= _LARGEST:
        new = float(new)
    if type(new) is not type(old):
        raise OptionError(f"{key.strip()} is {type(old).__name__} ({_short(old)}), got {_short(text.strip())}")
    table[last] = new


def _keys(table: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in table.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found
