"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "write_atomic"]


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
