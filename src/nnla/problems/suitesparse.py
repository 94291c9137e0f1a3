"""Matrices of the SuiteSparse Matrix Collection, downloaded once and verified at every use."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from nnla._files import atomic_file, write_atomic
from nnla.errors import DownloadError, FileFormatError, NNLAError, OptionError
from nnla.problems.archives import tar_members
from nnla.problems.conversions import as_matrix
from nnla.problems.downloads import check_address, download
from nnla.problems.files import guarded, read_matrix
from nnla.problems.matrix_market import read_market
from nnla.problems.streams import unpacked

__all__ = ["COLLECTION", "Entry", "cache_directory", "fetch"]

BASE_URL = "https://sparse.tamu.edu/MM"
#: Where the collection's own addresses lead to.
HOSTS = ("sparse.tamu.edu", "sparse-files.engr.tamu.edu", "suitesparse-collection-website.herokuapp.com")
MAX_DOWNLOAD = 8 * 2**30
_LONGEST_NAME = 100


class Entry(NamedTuple):
    """What is known of a matrix: its group, n, entries (stored zeros in or out), sha256 of NAME.tar.gz."""

    group: str
    n: int | None = None
    nnz: tuple[int, ...] | None = None
    sha256: str | None = None


#: The AutoSpec paper's matrices. No checksum is given where none could be verified: see `fetch`.
COLLECTION: dict[str, Entry] = {
    "nos5": Entry("HB", 468, (5172,)),
    "G2_circuit": Entry("AMD", 150_102, (726_674,)),
    "G3_circuit": Entry("AMD", 1_585_478, (7_660_826,)),
    "thermal1": Entry("Schmid", 82_654, (574_458,)),
    "thermal2": Entry("Schmid", 1_228_045, (8_580_313,)),
    "wathen100": Entry("GHS_psdef", 30_401, (471_601,)),
    "thermomech_TC": Entry("Botonakis", 102_158, (711_558,)),
    "gyro_m": Entry("Oberwolfach"),
    "Dubcova2": Entry("UTEP", 65_025, (1_030_225,)),
    "Flan_1565": Entry("Janna", 1_564_794, (117_406_044, 114_165_372)),
    "SiO2": Entry("PARSEC", 155_331, (11_283_503,)),
    "CO": Entry("PARSEC", 221_119, (7_666_057,)),
}


def cache_directory(cache: str | os.PathLike[str] | None = None) -> Path:
    """Where downloads are kept: `cache`, else $NNLA_CACHE, else $XDG_CACHE_HOME/nnla, else ~/.cache/nnla.

    Examples
    --------
    >>> cache_directory("/tmp/x").name
    'suitesparse'
    """
    chosen = cache or os.environ.get("NNLA_CACHE")
    if not chosen:
        chosen = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "nnla"
    return Path(chosen) / "suitesparse"


def fetch(
    name: str,
    cache: str | os.PathLike[str] | None = None,
    *,
    sha256: str | None = None,
    base_url: str = BASE_URL,
    timeout: float = 15.0,
    deadline: float = 10_800.0,
    max_bytes: int = MAX_DOWNLOAD,
) -> csr_array:
    """Get a matrix of the SuiteSparse Matrix Collection, from the cache or the network.

    Parameters
    ----------
    name : str
        ``"GROUP/NAME"``, or ``"NAME"`` for a matrix of `COLLECTION`.
    cache : path, optional
        Directory instead of `cache_directory()`.
    sha256 : str, optional
        Expected sha256 of ``NAME.tar.gz`` (of ``NAME.mtx`` if you put that there by hand).
    base_url : str
        http(s) address of a mirror of the collection's ``MM`` directory, without user, password or query.
    timeout : float
        Seconds to wait for the connection and for each piece of data; in each such time 1 KiB a second must arrive.
    deadline : float
        Seconds that the whole download may take.
    max_bytes : int
        Largest archive accepted.

    Returns
    -------
    csr_array (n, n)
        See `nnla.problems.files.read_matrix`.

    Raises
    ------
    DownloadError
        No network, a server's error or one that crawls, a redirection to another host or from https to http, a
        truncated archive, or one that fails its checksum.
    FileFormatError
        A cached file that is damaged.
    OptionError
        A name that is none, or whose group is not known.

    Notes
    -----
    Cost: one download, then a file read and its SHA-256 at every call.

    Trust on first use. The collection's checksums are not known to this package, so unless you pass `sha256`
    the first download is judged by its structure (gzip CRC, dimensions and number of entries where they are
    published) over https, and its sha256 is written beside it as ``NAME.tar.gz.sha256``; every later load is
    verified against that. A matrix put in place by hand (``NAME.mtx`` or ``NAME.tar.gz``) is treated alike.
    Only the member ``NAME/NAME.mtx`` of an archive is read, and nothing is unpacked to disk.

    References
    ----------
    T. A. Davis, Y. Hu, The University of Florida sparse matrix collection, ACM TOMS 38, 2011. The
    matrices are CC-BY 4.0.

    Examples
    --------
    >>> fetch("no_such_matrix")
    Traceback (most recent call last):
    ...
    nnla.errors.OptionError: no_such_matrix: its group is not known; give it as GROUP/NAME
    """
    group, name = _split(name)
    base_url = check_address(base_url, "base_url")
    if not (timeout > 0 and deadline > 0 and max_bytes > 0):
        raise OptionError(f"timeout, deadline and max_bytes must be positive, got {timeout}, {deadline}, {max_bytes}")
    known = COLLECTION.get(name)
    entry = known if known is not None and known.group == group else Entry(group)
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise OptionError("sha256 must be 64 hexadecimal digits")
    expected = (sha256 or entry.sha256 or "").lower() or None
    folder = cache_directory(cache) / group
    archive, plain = folder / f"{name}.tar.gz", folder / f"{name}.mtx"
    for path in (archive, plain):
        if path.is_file():
            return _load_cached(path, name, entry, expected)
    url = f"{base_url}/{group}/{name}.tar.gz"
    remedy = f"download it by hand and put it at {archive}, or its .mtx at {plain}"
    limits = {"timeout": timeout, "deadline": deadline, "max_bytes": max_bytes}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(archive) as stream:
            digest = download(url, stream, remedy=remedy, hosts=HOSTS, **limits)
            if expected is not None and digest != expected:
                raise DownloadError(f"{url}: sha256 is {digest}, expected {expected}; not kept")
            try:
                A = _read_archive(Path(stream.name), name)
            except NNLAError as error:
                raise DownloadError(f"{url}: {str(error).removeprefix(f'{stream.name}: ')}; not kept") from None
            _check_structure(A, entry, url, DownloadError)
            _write_digest(archive, digest)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{folder}: cannot keep the download ({error.strerror or error}); choose another cache=, or set NNLA_CACHE"
        ) from None
    return A


def _split(name: str) -> tuple[str, str]:
    group, _, short = name.rpartition("/")
    words = [short] if not group else [group, short]
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", word) and len(word) <= _LONGEST_NAME for word in words):
        raise OptionError(f"{name[:_LONGEST_NAME]!r} is not a name of the collection; give NAME or GROUP/NAME")
    if not group:
        if short not in COLLECTION:
            raise OptionError(f"{name}: its group is not known; give it as GROUP/NAME")
        group = COLLECTION[short].group
    return group, short


def _load_cached(path: Path, name: str, entry: Entry, expected: str | None) -> csr_array:
    remedy = f"delete {path} and its .sha256 to download it again"
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        record = path.with_name(path.name + ".sha256")
        recorded = record.read_text("ascii", "replace").split()[:1] if record.is_file() else []
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
    for wanted in [expected, *recorded]:
        if wanted is not None and digest != wanted:
            raise DownloadError(f"{path}: sha256 is {digest}, expected {wanted}; {remedy}")
    A = _read_archive(path, name) if path.name.endswith(".tar.gz") else read_matrix(path)
    _check_structure(A, entry, str(path), FileFormatError)
    if not recorded:
        with contextlib.suppress(OSError):  # a read-only cache stays unrecorded
            _write_digest(path, digest)
    return A


def _write_digest(path: Path, digest: str) -> None:
    write_atomic(path.with_name(path.name + ".sha256"), f"{digest}  {path.name}\n".encode("ascii"))


def _read_archive(path: Path, name: str) -> csr_array:
    """The matrix in the member NAME/NAME.mtx; the rest is read past, to the gzip checksum."""
    wanted = f"{name}/{name}.mtx"

    def read(stream: IO[bytes]) -> csr_array:
        size = os.fstat(stream.fileno()).st_size
        plain = unpacked(stream, size, "gzip")
        A = None
        for member, length, content in tar_members(plain):
            if member.removeprefix("./") == wanted and A is None:
                A = as_matrix(read_market(content, length, size, dense=False), size)
        while plain.read(2**18):
            pass
        if A is None:
            raise FileFormatError(f"the archive has no member {wanted}; check the name or get it again")
        return A

    return guarded(path, read)


def _check_structure(A: Any, entry: Entry, where: str, error: type[NNLAError]) -> None:
    n = len(A.indptr) - 1
    if entry.n is not None and n != entry.n:
        raise error(f"{where}: n = {n}, but the collection lists {entry.n}; not the right matrix")
    if entry.nnz is not None and not {A.nnz, int(np.count_nonzero(A.data))} & set(entry.nnz):
        raise error(f"{where}: {A.nnz} entries, but the collection lists {entry.nnz[0]}; not the right matrix")
