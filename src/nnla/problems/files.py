"""Matrices and vectors from files: Matrix Market, Harwell-Boeing, MATLAB .mat, SciPy .npz and NumPy .npy.

Files are untrusted. The format is recognised by content, sizes that a header claims are checked against the
bytes that are there before anything of that size is allocated, decompression is bounded, and nothing is ever
unpickled. Whatever is wrong ends in one line: the path, what is wrong, what to do.
"""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.io import mmwrite
from scipy.sparse import csr_array

from nnla._files import atomic_file, one_line
from nnla.errors import FileFormatError, NNLAError, OptionError
from nnla.problems.archives import choose, is_tar, open_zip, tar_members, zip_member
from nnla.problems.conversions import as_matrix, as_vector
from nnla.problems.harwell_boeing import is_harwell_boeing, read_harwell_boeing
from nnla.problems.limits import unpacked_limit
from nnla.problems.matlab_files import is_mat4, is_mat5, mat4_variables, mat5_variables
from nnla.problems.matlab_hdf5 import hdf5_variables, is_hdf5
from nnla.problems.matrix_market import is_market, read_market
from nnla.problems.numpy_files import is_npz, read_npy, read_npz
from nnla.problems.sparse_parts import as_real
from nnla.problems.streams import Bounded, compression, unpacked
from nnla.problems.variables import pick_matrix, pick_vector

__all__ = ["guarded", "read_matrix", "read_vector", "write_vector_atomic"]

_T = TypeVar("_T")
_START = 4096  # bytes that tell a format
_FORMATS = "use Matrix Market (.mtx, also compressed), Harwell-Boeing, SciPy .npz, MATLAB .mat or NumPy .npy"


def read_matrix(path: str | os.PathLike[str]) -> csr_array:
    """Read a square real matrix.

    Parameters
    ----------
    path : path
        Matrix Market (coordinate or array; general or symmetric; a pattern has ones) or Harwell-Boeing, plain, gzip,
        bzip2, xz, or alone in a zip or tar archive; ``scipy.sparse.save_npz``; MATLAB .mat of level 4, 5, and with h5py
        7.3 (SuiteSparse's ``Problem.A`` or the only square matrix); or dense .npy.

    Returns
    -------
    csr_array (n, n)
        float64, sorted indices, duplicates summed, stored zeros kept; int32 indices below 2^31 entries.

    Raises
    ------
    FileFormatError
        Missing, unreadable, empty, truncated, malformed or too large a file, or an unsupported variant.
    DTypeError
        Complex or non-numeric entries.
    ShapeError
        Not square, or 0 x 0.

    Notes
    -----
    Cost: the file read once, tar archives twice, and the checks of its sizes beforehand. Memory: at most 4 times that
    of the matrix, 64 times the file's bytes, and 160 MB; a file that asks for more is refused.

    Values are not judged here: NaN, asymmetry and indefiniteness are for `nnla.operators.operator` to report. A number
    cut off at the very end of a plain text file cannot be told from a shorter one; gzip files carry a CRC.

    References
    ----------
    R. F. Boisvert, R. Pozo, K. A. Remington, The Matrix Market exchange formats, NISTIR 5935, 1996. The MathWorks,
    MAT-File Format, 2019, chapter 1.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> text = "%%MatrixMarket matrix coordinate real symmetric\\n2 2 3\\n1 1 2\\n2 1 -1\\n2 2 2\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.mtx")
    ...     _ = path.write_text(text)
    ...     read_matrix(path).toarray()
    array([[ 2., -1.],
           [-1.,  2.]])
    """

    def read(stream: IO[bytes]) -> csr_array:
        size = os.fstat(stream.fileno()).st_size
        return as_matrix(_load(stream, size, matrix=True), size)

    return guarded(path, read)


def read_vector(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a real vector or a block of vectors.

    Parameters
    ----------
    path : path
        NumPy .npy, Matrix Market, or MATLAB .mat (SuiteSparse's ``Problem.b`` or the only numeric array).

    Returns
    -------
    float64 array (n,) or (n, k)
        A single column (or row) comes as (n,).

    Raises
    ------
    FileFormatError, DTypeError, ShapeError
        As `read_matrix`; ShapeError for more than two axes or no entries.

    Notes
    -----
    Cost: the file read once.

    References
    ----------
    As `read_matrix`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vector_atomic(Path(folder, "b.npy"), [1.0, 2.0])
    ...     read_vector(Path(folder, "b.npy"))
    array([1., 2.])
    """

    def read(stream: IO[bytes]) -> np.ndarray:
        size = os.fstat(stream.fileno()).st_size
        return as_vector(_load(stream, size, matrix=False), size)

    return guarded(path, read)


def write_vector_atomic(path: str | os.PathLike[str], x: ArrayLike) -> None:
    """Write a vector so that the file is there whole or not at all.

    Parameters
    ----------
    path : path
        ``.npy`` or ``.mtx``; an existing regular file is replaced, a link keeps pointing at its target.
    x : array (n,) or (n, k)
        Real numbers.

    Raises
    ------
    OptionError
        Another suffix, or a place that cannot be written.
    DTypeError
        Complex or non-numeric entries.

    Notes
    -----
    Cost: one copy of x on disk, under another name until it is whole.

    Examples
    --------
    >>> write_vector_atomic("x.pkl", [1.0])
    Traceback (most recent call last):
    ...
    nnla.errors.OptionError: x.pkl: cannot write this format; use a name that ends in .npy or .mtx
    """
    path = Path(path)
    x = as_real(np.asarray(x))
    if path.suffix not in (".npy", ".mtx"):
        raise OptionError(f"{path}: cannot write this format; use a name that ends in .npy or .mtx")
    if path.exists() and not path.is_file():
        raise OptionError(f"{path}: is not a regular file; choose another name")
    try:
        with atomic_file(path) as stream:
            if path.suffix == ".npy":
                np.save(stream, x, allow_pickle=False)
            else:
                mmwrite(stream, x.reshape(x.shape[0], -1) if x.ndim else x.reshape(1, 1), precision=17)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({_reason(error)}); choose another place") from None


def _load(stream: IO[bytes], size: int, *, matrix: bool) -> Any:
    """Recognise the format by its first bytes and read it."""
    start = stream.read(_START)
    stream.seek(0)
    pick = pick_matrix if matrix else pick_vector
    if not start:
        raise FileFormatError("is empty; get the file again")
    if start.startswith(b"\x93NUMPY"):
        return read_npy(stream, size)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _load_zip(stream, size, matrix=matrix)
    if is_hdf5(start):
        return pick(hdf5_variables(stream, size))
    if is_mat5(start):
        return pick(mat5_variables(stream.read()))
    if is_mat4(start[:64]):
        return pick(mat4_variables(stream.read()))
    name = compression(start)
    if not name:
        return _load_text(stream, size, size, matrix=matrix)
    # Deflate shrinks by 1032 at most: a header that claims more than that is not backed by the file.
    most = min(unpacked_limit(size), 1032 * size) if name == "gzip" else unpacked_limit(size)
    plain = unpacked(stream, size, name)
    if not is_tar(plain.peek(_START)):
        return _load_text(plain, most, size, matrix=matrix, inside=name)
    # once for the names, once for the content
    chosen = choose((member for member, _, _ in tar_members(plain)), "" if matrix else "_b")
    stream.seek(0)
    return _load_tar(unpacked(stream, size, name), chosen, size, matrix=matrix)


def _load_text(stream: IO[bytes], available: int, size: int, *, matrix: bool, inside: str = "") -> Any:
    """Text at the start of a stream that can peek, of at most ``available`` bytes."""
    start = stream.peek(_START)[:_START]  # type: ignore[attr-defined]
    if is_market(start):
        return read_market(stream, available, size, dense=not matrix)
    if is_harwell_boeing(start):
        return read_harwell_boeing(stream, available, size)
    if not inside and is_tar(start):
        chosen = choose((member for member, _, _ in tar_members(stream)), "" if matrix else "_b")
        stream.seek(0)
        return _load_tar(stream, chosen, size, matrix=matrix)
    if inside:
        twice = " of another compressed file" if compression(start) or start.startswith(b"PK\x03\x04") else ""
        raise FileFormatError(
            f"is {inside}{twice or ', but not of a Matrix Market or Harwell-Boeing file'}; unpack it and give what "
            "is inside"
        )
    raise FileFormatError(f"is of no known format; {_FORMATS}")


def _load_tar(stream: IO[bytes], chosen: str, size: int, *, matrix: bool) -> Any:
    found = None
    for name, length, content in tar_members(stream):
        if name == chosen and found is None:
            found = _load_text(content, length, size, matrix=matrix, inside="a tar archive")
    while stream.read(_START):  # to the end of the stream, as that is where gzip keeps its checksum
        pass
    return found


def _load_zip(stream: IO[bytes], size: int, *, matrix: bool) -> Any:
    archive, members = open_zip(stream, size)
    if is_npz(members):
        return read_npz(archive, members, size)
    chosen = choose((member.filename for member in members), "" if matrix else "_b")
    member = archive.getinfo(chosen)
    with zip_member(archive, member) as content:
        plain = io.BufferedReader(Bounded(content, member.file_size), _START)
        return _load_text(plain, member.file_size, size, matrix=matrix, inside="a zip archive")


# --- the boundary: one place where everything that can go wrong becomes one line


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return one_line(text, 350)


def guarded(path: str | os.PathLike[str], read: Callable[[IO[bytes]], _T]) -> _T:
    """Open `path`, hand the stream to `read`, and turn whatever goes wrong into one named line."""
    path = Path(path)
    remedy = "check that the file is complete and of a supported format, or get it again"
    try:
        if path.is_dir():
            raise FileFormatError(f"is a directory; give a file: {_FORMATS}")
        if path.exists() and not path.is_file():
            raise FileFormatError("is not a regular file; give a file on disk")
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by old libraries
            return read(stream)
    except NNLAError as error:
        raise type(error)(f"{path}: {_reason(error)}") from None
    except FileNotFoundError:
        raise FileFormatError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise FileFormatError(f"{path}: permission denied; make the file readable") from None
    except MemoryError:
        raise FileFormatError(f"{path}: too large for this machine's memory; use a larger machine") from None
    except OSError as error:
        hint = "check the path" if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR) else remedy
        raise FileFormatError(f"{path}: cannot be read ({_reason(error)}); {hint}") from None
    except Exception as error:  # a parser met what it does not know: the file is at fault, whatever the type
        raise FileFormatError(f"{path}: malformed ({_reason(error)}); {remedy}") from None
