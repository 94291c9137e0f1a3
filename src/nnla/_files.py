"""Files written whole or not at all, and JSON from untrusted texts."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["atomic_file", "number_list", "one_line", "parsed_object", "write_atomic"]

_LONGEST_TEXT = 2**26  # characters; parsed, a text takes up to 64 times its length
_LARGEST_INTEGER = 2**63


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


def parsed_object(text: Any) -> dict[str, Any]:
    """The JSON object in a text of at most 64 MB, its integers below 2^63.

    Raises
    ------
    ValueError
        Anything else: no text, no JSON, another value, nested without end, longer numbers.

    Notes
    -----
    Cost: up to 64 times the text in memory, as Python's numbers and lists take.

    Examples
    --------
    >>> parsed_object('{"n": 3}')
    {'n': 3}
    """
    if not isinstance(text, (str, bytes, bytearray)):
        raise ValueError(f"a text is needed, got {type(text).__name__}")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"it has more than {_LONGEST_TEXT} characters")
    try:
        found = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"an object is needed, got {type(found).__name__}")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= _LARGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits is too large")
    return int(digits)


def number_list(value: Any) -> list[float]:
    """A list of numbers from JSON as floats; texts, booleans and all else raise ValueError.

    Examples
    --------
    >>> number_list([1, 2.5])
    [1.0, 2.5]
    """
    if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
        raise ValueError("a list of numbers is needed")
    return [float(item) for item in value]


def one_line(value: Any, limit: int = 200) -> str:
    """What a message repeats of something from a file: one line, no more than ``limit`` characters.

    Examples
    --------
    >>> one_line(ValueError("a\\nb"))
    'a b'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= limit else f"{text[:limit]}..."
