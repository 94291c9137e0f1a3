"""Numbers in text files: blocks of whole lines, whatever their line ends and encoding, parsed as a whole.

NumPy parses, as it is fast; it also reads on past what it does not know (``0.4+001`` comes as two numbers), so the
words of every line are counted beside.
"""

from __future__ import annotations

import codecs
import re
import warnings
from typing import IO

import numpy as np

from nnla.errors import FileFormatError

__all__ = ["Lines", "parse_numbers"]

_BLOCK = 2**20
_LONGEST_LINE = 2**20
_LONGEST_NUMBER = 1000  # digits, which a parser may take quadratic time for
_COMMENT = re.compile(rb"%[^\n]*")
_EXPONENTS = bytes.maketrans(b"DdQq", b"eeee")
# Fortran drops the letter of an exponent of three digits: 4.0+000
_BARE_EXPONENT = re.compile(rb"(?<=[0-9.])(?=[+-]\d+\s)")
_BARE_LAST = re.compile(rb"(?<=[0-9.])(?=[+-]\d+[ \t\f\v]*\n)")
_LONG_WORD = re.compile(rb"\S{%d}" % _LONGEST_NUMBER)
_MARKS = {
    codecs.BOM_UTF8: ("", 3),
    codecs.BOM_UTF16_LE: ("utf-16-le", 2),
    codecs.BOM_UTF16_BE: ("utf-16-be", 2),
}


class Lines:
    """Lines of a binary stream: byte-order marks taken off, UTF-16 narrowed to ASCII, every line end a newline.

    Examples
    --------
    >>> import io
    >>> lines = Lines(io.BytesIO("\\ufeffa\\r\\nb".encode("utf-16-le")))
    >>> lines.line(), lines.block()
    (b'a\\n', b'b\\n')
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._ended = stream, False
        start = stream.read(4)
        encoding = ""
        for mark, (name, length) in _MARKS.items():
            if start.startswith(mark):
                encoding, start = name, start[length:]
                break
        else:
            if len(start) == 4 and (start[1::2] == b"\0\0" or start[::2] == b"\0\0"):
                encoding = "utf-16-le" if start[1::2] == b"\0\0" else "utf-16-be"
        self._decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
        self._held = b""
        self._text, self._at = self._plain(start), 0

    def _plain(self, data: bytes, final: bool = False) -> bytes:
        if self._decoder is not None:
            data = self._decoder.decode(data, final).encode("ascii", "replace")
        data, self._held = self._held + data, b""
        if data.endswith(b"\r") and not final:  # the other half of \r\n may follow
            data, self._held = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data

    def _more(self) -> bool:
        data = self._stream.read(_BLOCK)
        self._ended = not data
        self._text, self._at = self._text[self._at :] + self._plain(data, self._ended), 0
        return not self._ended

    def _upto(self, end: int) -> bytes:
        found, self._at = self._text[self._at : end], end
        return found

    def line(self) -> bytes:
        """The next line with its newline; b"" at the end."""
        while (end := self._text.find(b"\n", self._at) + 1) == 0:
            self._check(len(self._text) - self._at)
            if not self._more():
                return self._last()
        self._check(end - self._at)
        return self._upto(end)

    def block(self) -> bytes:
        """Some whole lines, a megabyte or so; b"" at the end."""
        while self._more():
            end = self._text.rfind(b"\n") + 1
            self._check(len(self._text) - end)
            if end:
                return self._upto(end)
        return self._last()

    def _last(self) -> bytes:
        found = self._upto(len(self._text))
        return found if found.endswith(b"\n") or not found else found + b"\n"

    @staticmethod
    def _check(length: int) -> None:
        if length > _LONGEST_LINE:
            raise FileFormatError(f"has a line of more than {_LONGEST_LINE} letters; get the file again")


def parse_numbers(text: bytes, width: int) -> np.ndarray:
    """The numbers of some whole lines; comments (%) and empty lines are stepped over.

    Parameters
    ----------
    text : ends with a newline
    width : numbers a line; 0 for as many as one likes

    Returns
    -------
    float64 array (m,)

    Raises
    ------
    FileFormatError
        A line of another number of words, or a word that is no number.

    Notes
    -----
    Cost: some 40 bytes of memory a byte of the text. Fortran's exponents (4.0D+00, 4.0d0, 4.0+000) are understood;
    without a letter in the last word of a line only, as before it stand indices.

    Examples
    --------
    >>> parse_numbers(b"1 2 0.4D+01 % a comment\\n\\n3 4 .4+001\\n", 3).tolist()
    [1.0, 2.0, 4.0, 3.0, 4.0, 4.0]
    """
    if b"%" in text:
        text = _COMMENT.sub(b"", text)
    words = _count_words(text, width)
    if words == 0:
        return np.empty(0)
    values = _parsed(text)
    if values is None or values.size != words:
        text = text.translate(_EXPONENTS)
        values = _parsed(text)
    if values is None or values.size != words:
        values = _parsed((_BARE_LAST if width else _BARE_EXPONENT).sub(b"e", text))
    if values is None or values.size != words:
        if re.search(rb"\d,\d", text):
            raise FileFormatError("has numbers with a comma; write the decimal point and put blanks between numbers")
        raise FileFormatError("has an entry that is no number; get the file again")
    return values


def _parsed(text: bytes) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it met no number
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None


def _count_words(text: bytes, width: int) -> int:
    raw = np.frombuffer(b"\n" + text, dtype=np.uint8)
    blank = raw <= 32
    starts = np.flatnonzero(blank[:-1] & ~blank[1:])
    if starts.size and int(np.diff(starts, append=raw.size).max()) >= _LONGEST_NUMBER and _LONG_WORD.search(text):
        raise FileFormatError(f"has a number of {_LONGEST_NUMBER} digits or more; get the file again")
    if width:
        found = np.diff(np.searchsorted(starts, np.flatnonzero(raw == 10)))
        wrong = found[(found != 0) & (found != width)]
        if wrong.size:
            raise FileFormatError(f"has a line of {wrong[0]} numbers where {width} are expected; get the file again")
    return int(starts.size)
