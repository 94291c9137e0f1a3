"""Which member of a tar or zip archive holds the matrix, and that member as a stream; nothing is unpacked to disk.

The tar reader is our own: a matrix lies in a regular member of a plain header, and a header of another kind (long
names, sparse files, extended attributes) is stepped over in blocks, whatever size it claims.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from nnla.errors import FileFormatError
from nnla.problems.limits import MAX_MEMBERS, unpacked_limit
from nnla.problems.streams import Bounded

__all__ = ["choose", "is_tar", "open_zip", "tar_members", "zip_member"]

_BLOCK = 512
_BUFFER = 2**13
_LONGEST_NAME = 2**12
_TEXTS = (".mtx", ".mm", ".rb", ".rua", ".rsa", ".psa", ".pua", ".hb")
_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def is_tar(start: bytes) -> bool:
    """Whether the first 512 bytes are a tar header.

    Examples
    --------
    >>> is_tar(bytes(512))
    False
    """
    return len(start) >= _BLOCK and start[257:262] == b"ustar"


class _Member:
    """``read`` on one member: at most its size; the walk steps over what is left of it."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self.left = stream, size

    def read(self, size: int = -1) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        data = self._stream.read(size) if size else b""
        if len(data) < size:
            raise FileFormatError("the tar archive is cut off; get the file again")
        self.left -= len(data)
        return data


def tar_members(stream: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each regular member of a tar archive, in order.

    Parameters
    ----------
    stream : at the archive's start; it need not be seekable

    Raises
    ------
    FileFormatError
        A damaged header, an archive that is cut off, or one of a great many members.

    Notes
    -----
    Cost: the stream read once; a block of memory. A content is good until the next one is asked for.

    Examples
    --------
    >>> import tarfile
    >>> stream = io.BytesIO()
    >>> with tarfile.open(fileobj=stream, mode="w") as tar:
    ...     info = tarfile.TarInfo("a/a.mtx"); info.size = 2
    ...     tar.addfile(info, io.BytesIO(b"hi"))
    >>> _ = stream.seek(0)
    >>> [(name, content.read()) for name, _, content in tar_members(stream)]
    [('a/a.mtx', b'hi')]
    """
    longer = ""
    for _ in range(MAX_MEMBERS):
        header = stream.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        if len(header) < _BLOCK:
            raise FileFormatError("the tar archive is cut off; get the file again")
        size, kind = _tar_size(header), header[156:157]
        member = _Member(stream, size)
        if kind in (b"0", b"\0", b"7"):
            name = longer or _tar_name(header)
            yield name, size, io.BufferedReader(Bounded(member, size), _BUFFER)
        # GNU and POSIX put a name of more than 100 letters into a member of its own, before the one it names
        longer = _long_name(kind, member.read(min(size, _LONGEST_NAME))) if kind in (b"L", b"x") else ""
        _step_over(member, stream, size)
    raise FileFormatError(f"the tar archive has more than {MAX_MEMBERS} members; unpack it and give the matrix inside")


def _step_over(member: _Member, stream: IO[bytes], size: int) -> None:
    while member.left:
        member.read(2**16)
    stream.read(-size % _BLOCK)


def _tar_size(header: bytes) -> int:
    """The size in a header whose checksum is right."""
    field, check = header[124:136], header[148:156].strip(b" \0")
    total = sum(header) - sum(header[148:156]) + 8 * 32
    if not re.fullmatch(rb"[0-7]{1,8}", check) or int(check, 8) != total:
        raise FileFormatError("the tar archive has a damaged header; get the file again")
    if field[0] == 0x80:  # 8 GiB and more are written in base 256
        return int.from_bytes(field[4:], "big")
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,12}", digits):
        raise FileFormatError("the tar archive has a damaged header; get the file again")
    return int(digits or b"0", 8)


def _tar_name(header: bytes) -> str:
    name, prefix = (part.split(b"\0")[0].decode("utf-8", "replace") for part in (header[:100], header[345:500]))
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _long_name(kind: bytes, content: bytes) -> str:
    if kind == b"L":
        return content.split(b"\0")[0].decode("utf-8", "replace")
    found = re.search(rb"(?:^|\n)\d+ path=([^\n]*)\n", content)
    return found[1].decode("utf-8", "replace") if found else ""


def choose(names: Iterable[str], suffix: str = "") -> str:
    """The one member that holds a matrix.

    Parameters
    ----------
    names : of all members
    suffix : what the collection appends for what is wanted: "" for A, "_b" for right-hand sides

    Raises
    ------
    FileFormatError
        None, or several and none of them NAME/NAME.mtx.

    Examples
    --------
    >>> choose(["a.mtx", "readme.html"])
    'a.mtx'
    >>> choose(["nos5/nos5.mtx", "nos5/nos5_b.mtx"], "_b")
    'nos5/nos5_b.mtx'
    """
    texts = sorted({name for name in names if name.lower().endswith(_TEXTS) and not _hidden(name)})
    if len(texts) == 1:
        return texts[0]
    if not texts:
        raise FileFormatError("is an archive without a matrix that nnla reads in it (.mtx, .rb); unpack it and look")
    # SuiteSparse's own: NAME/NAME.mtx beside NAME/NAME_b.mtx and others
    own = [name for name in texts if _is_own(name, suffix)]
    if len(own) == 1:
        return own[0]
    listed = ", ".join(texts[:8]) + (f" and {len(texts) - 8} more" if len(texts) > 8 else "")
    raise FileFormatError(f"is an archive of several matrices ({listed}); unpack it and give the one you mean")


def _hidden(name: str) -> bool:
    """Resource forks and editors' files, which some systems put beside everything."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _is_own(name: str, suffix: str) -> bool:
    folder, file = posixpath.split(name.removeprefix("./"))
    return bool(folder) and posixpath.splitext(file)[0] == posixpath.basename(folder) + suffix


def open_zip(stream: IO[bytes], size: int) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """A zip archive (or .npz) whose members together unpack to what a file of ``size`` bytes may, and its members.

    Raises
    ------
    FileFormatError
        A great many members, more bytes than the limit, encryption, or a compression that is not bounded.

    Notes
    -----
    Cost: the list of members, some 16 bytes of memory for each of the file.
    """
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise FileFormatError(f"is an archive of {len(members)} members; unpack it and give the matrix inside")
    if sum(member.file_size for member in members) > unpacked_limit(size):
        raise FileFormatError("unpacks to far more than its size warrants; save it uncompressed if you trust it")
    return archive, members


def zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """One member as a stream."""
    if member.flag_bits & 1:
        raise FileFormatError("is an encrypted zip archive; unpack it and give the file inside")
    if member.compress_type not in _STORED:  # LZMA takes the size of its memory from the file
        raise FileFormatError(
            "is a zip archive of another compression than deflate; unpack it and give the file inside"
        )
    return archive.open(member)
