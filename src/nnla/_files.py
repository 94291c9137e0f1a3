"""Files written whole or not at all; tables of JSON read with what may be in them, and nothing else."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nnla.errors import FileFormatError

__all__ = ["as_count", "as_number", "as_numbers", "atomic_file", "read_table", "write_atomic"]


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file open for writing that takes its place when the block ends well; until then the old one stays.

    Parameters
    ----------
    path : an existing file is replaced; a link keeps pointing at its target

    Yields
    ------
    binary stream
        Its ``name`` is the path of the partial file, hidden beside the target. A failure removes it.

    Raises
    ------
    OSError

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder, "x")) as stream:
    ...         _ = stream.write(b"1")
    ...     [file.name for file in Path(folder).iterdir()]
    ['x']
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}.partial")
    try:
        with open(partial, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # else the name may reach the disk before the content does
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a killed process leaves the old one or the new one, and a failure no trace."""
    with atomic_file(path) as stream:
        stream.write(data)


def read_table(text: str | bytes, what: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises
    ------
    FileFormatError
        No JSON, nested without end, NaN or Infinity (which JSON does not have), or no object.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"this is not {what} in JSON ({error}); write one with to_json()") from error
    if not isinstance(data, dict):
        raise FileFormatError(f"this is not {what} in JSON: a table is needed, got a {type(data).__name__}")
    return data


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def as_number(value: Any, name: str) -> float:
    """A finite number from JSON.

    >>> as_number(1, "x")
    1.0
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # integers of JSON may have any number of digits
    if not number or not (abs(value) < 2**1023 if isinstance(value, int) else math.isfinite(value)):
        raise FileFormatError(f"{name} must be a finite number, got {str(value)[:40]!r}")
    return float(value)


def as_count(value: Any, name: str) -> int:
    """A non-negative integer below 2^63 from JSON.

    >>> as_count(3, "n")
    3
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise FileFormatError(f"{name} must be an integer from 0 to 2^63, got {str(value)[:40]!r}")
    return value


def as_numbers(value: Any, name: str) -> list[float]:
    """A list of finite numbers from JSON.

    >>> as_numbers([1, 2.5], "x")
    [1.0, 2.5]
    """
    if not isinstance(value, list):
        raise FileFormatError(f"{name} must be a list of numbers, got a {type(value).__name__}")
    return [as_number(item, name) for item in value]
