"""Nucleotide sequences from untrusted FASTA files, streamed: a byte a base, and a bound on what unpacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from nnla.errors import FileFormatError
from nnla.problems.files import guarded
from nnla.problems.limits import unpacked_limit
from nnla.problems.streams import compression, unpacked

__all__ = ["UNKNOWN", "read_fasta"]

UNKNOWN = 4  # the code of a letter that breaks a k-mer
_LETTERS = b"ACGTUNRYSWKMBDHV-"  # IUPAC; what is not A, C, G, T (or U) breaks a k-mer
_BAD = 255
_BLANK = b"\n\r\t "
_BLOCK = 2**18
_LONGEST_HEADER = 2**20
_RECORD = 512  # bytes of memory that a record takes beside its bases, about
_PER_RECORD = 8  # bytes of a file that a record takes at least, compressed


def _codes() -> bytes:
    table = bytearray([_BAD]) * 256
    for letter in _LETTERS + _LETTERS.lower():
        table[letter] = UNKNOWN
    for code, letters in enumerate((b"Aa", b"Cc", b"Gg", b"TtUu")):
        for letter in letters:
            table[letter] = code
    return bytes(table)


_CODES = _codes()


def read_fasta(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Sequences of a FASTA file (.fna, .fa, .fasta, also compressed) as codes 0-3 for A, C, G, T, else 4.

    Parameters
    ----------
    path : file

    Returns
    -------
    dict : first word of the header -> (length,) uint8, in the file's order

    Raises
    ------
    FileFormatError
        Not FASTA: no header first, a character that is no nucleotide code, an empty record, a name that occurs twice,
        a damaged compressed file, one that unpacks to more than its size warrants, or that cannot be read.

    Notes
    -----
    Cost: one pass over the file; a byte a base, while a record is read twice that.

    References
    ----------
    Pearson, Lipman, Improved tools for biological sequence comparison, Proc. Natl. Acad. Sci. USA 85 (1988) 2444-2448.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "x.fna"
    >>> _ = file.write_text(">one two\\nACGT\\nNN\\n")
    >>> read_fasta(file)["one"].tolist()
    [0, 1, 2, 3, 4, 4]
    """

    def read(stream: IO[bytes]) -> dict[str, np.ndarray]:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(8)
        stream.seek(0)
        name = compression(head)
        most = max(unpacked_limit(0) // _RECORD, size // _PER_RECORD)
        return _records(unpacked(stream, size, name) if name else stream, most)

    return guarded(Path(path), read)


def _records(stream: IO[bytes], most: int) -> dict[str, np.ndarray]:
    records: dict[str, np.ndarray] = {}
    name, codes = None, bytearray()
    for is_header, text in _pieces(stream):
        if not is_header:
            if name is None:
                raise FileFormatError("is not a FASTA file (the first line must start with '>'); get another one")
            codes += _coded(text, name, len(codes))
            continue
        _keep(records, name, codes)
        words = text[1:].decode("latin-1").split()
        name, codes = words[0] if words else f"record{len(records) + 1}", bytearray()
        if len(records) > most:
            raise FileFormatError(f"has more than {len(records)} records for its size; split it")
    if name is None:
        raise FileFormatError("is not a FASTA file (the first line must start with '>'); get another one")
    _keep(records, name, codes)
    return records


def _pieces(stream: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Headers, and what lies between them in pieces, in order; a sequence may be one line of any length."""
    header: bytes | None = None  # the start of one that goes on
    fresh = True  # at the start of a line
    while block := stream.read(_BLOCK):
        block, at = block.replace(b"\r", b"\n"), 0
        while at < len(block):
            if header is None and fresh and block[at : at + 1] == b">":
                header = b""
            if header is not None:
                end = block.find(b"\n", at) + 1
                header += block[at : end or len(block)]
                if len(header) > _LONGEST_HEADER:
                    raise FileFormatError(f"has a header of more than {_LONGEST_HEADER} letters; get the file again")
                if end:
                    yield True, header
                    header, fresh = None, True
            else:
                end = block.find(b"\n>", at) + 1
                text = block[at : end or len(block)]
                fresh = text.endswith(b"\n")
                if not text.isspace():
                    yield False, text
            at = end or len(block)
    if header is not None:
        yield True, header


def _coded(text: bytes, name: str, before: int) -> bytes:
    codes = text.translate(_CODES, delete=_BLANK)
    bad = codes.find(bytes([_BAD]))
    if bad >= 0:
        letter = text.translate(None, delete=_BLANK)[bad]
        raise FileFormatError(
            f"the record {name[:80]!r} has the character {chr(letter)!r} at base {before + bad} (from 0), "
            "which is no nucleotide code; this may be a protein file"
        )
    return codes


def _keep(records: dict[str, np.ndarray], name: str | None, codes: bytearray) -> None:
    if name is None:
        return
    if not codes:
        raise FileFormatError(f"the record {name[:80]!r} has no sequence; remove it")
    if name in records:
        raise FileFormatError(f"there are two records named {name[:80]!r}; rename one")
    records[name] = np.frombuffer(codes, dtype=np.uint8)
