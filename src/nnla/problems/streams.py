"""Compressed files as streams that end in a named error once more comes out of them than their size warrants.

Nothing here holds more than a block: what unpacks without end is met while it is streamed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from typing import IO, Any

from nnla.errors import FileFormatError
from nnla.problems.limits import unpacked_limit

__all__ = ["Bounded", "compression", "unpacked"]

_BLOCK = 2**18
_FEED = 2**13  # a decompressor copies what it leaves over, and a file may be a chain of a great many streams
_XZ_MEMORY = 2**27  # bytes that liblzma may take for its dictionary: -9 takes 65 MiB, a header may ask for 4 GiB
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}


def compression(head: bytes) -> str:
    """Name of the compression that a file of these first bytes has, "" for none that is known.

    Examples
    --------
    >>> compression(gzip.compress(b"")), compression(b"%%MatrixMarket")
    ('gzip', '')
    """
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


class Bounded(io.RawIOBase):
    """A readable stream that fails once more than `limit` bytes have come out of it."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._left = stream, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        at, view = 0, memoryview(buffer)
        while at < len(view) and (data := self._stream.read(len(view) - at)):  # full, so that one can peek
            self._left -= len(data)
            if self._left < 0:
                raise FileFormatError("unpacks to far more than its header or size warrants; unpack it if you trust it")
            view[at : at + len(data)] = data
            at += len(data)
        return at


class _Inflated:
    """``read(size)`` on a chain of bzip2 or xz streams, by a decompressor that is told how much may come out."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        self._inflater = self._new()

    def _new(self) -> Any:
        return bz2.BZ2Decompressor() if self._name == "bzip2" else lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        while True:
            block = b""
            if self._inflater.eof:
                # pbzip2 and friends write several streams one behind the other; xz pads them with zeros
                rest = self._inflater.unused_data
                while not (block := rest.lstrip(b"\0")):
                    rest = self._stream.read(_FEED)
                    if not rest:
                        return b""
                self._inflater = self._new()
            elif self._inflater.needs_input:
                block = self._stream.read(_FEED)
                if not block:
                    raise FileFormatError(f"the {self._name} data is cut off; get the file again")
            try:
                data = self._inflater.decompress(block, size)
            except (OSError, lzma.LZMAError, EOFError) as error:
                raise FileFormatError(f"the {self._name} data is damaged ({error}); get the file again") from None
            if data:
                return data


def unpacked(stream: IO[bytes], size: int, name: str) -> io.BufferedReader:
    """The content of a compressed stream, up to the limit for a file of ``size`` bytes.

    Parameters
    ----------
    stream : binary stream, at its start
    size : of the file, bytes
    name : what `compression` says

    Raises
    ------
    FileFormatError
        While it is read: damaged, cut off, or more than the limit.

    Notes
    -----
    Cost: blocks of some 256 KiB, and for xz a dictionary of 128 MiB at most.

    Examples
    --------
    >>> data = bz2.compress(b"hello")
    >>> unpacked(io.BytesIO(data), len(data), "bzip2").read()
    b'hello'
    """
    inflated = gzip.GzipFile(fileobj=stream) if name == "gzip" else _Inflated(stream, name)
    return io.BufferedReader(Bounded(inflated, unpacked_limit(size)), _BLOCK)
