"""Matrices and vectors from files: Matrix Market, SciPy .npz, MATLAB .mat and NumPy .npy.

Files are untrusted. The format is recognised by content, sizes that a header claims are checked against the
bytes that are there before anything of that size is allocated, decompression is bounded, and nothing is ever
unpickled. Whatever is wrong ends in one line: the path, what is wrong, what to do.
"""

from __future__ import annotations

import errno
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.io import mmwrite
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, dia_array, issparse

from nnla._files import atomic_file
from nnla.errors import DTypeError, FileFormatError, NNLAError, OptionError, ShapeError
from nnla.problems.assembly import with_int32_indices
from nnla.problems.matlab_files import read_mat_variables
from nnla.problems.matrix_market import bounded_gzip, check_rows, read_market, unpacked_limit

__all__ = ["read_matrix", "read_vector", "write_vector_atomic"]

_T = TypeVar("_T")
_FORMATS = "use Matrix Market (.mtx, .mtx.gz), SciPy .npz, MATLAB .mat (-v7) or NumPy .npy"


def read_matrix(path: str | os.PathLike[str]) -> csr_array:
    """Read a square real matrix.

    Parameters
    ----------
    path : path
        Matrix Market (plain or gzip; coordinate or array; general or symmetric), ``scipy.sparse.save_npz``,
        MATLAB .mat of level 5 (SuiteSparse's ``Problem.A`` or the only square matrix), or dense .npy.

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
    Cost: the file read once, and the checks of its sizes beforehand.

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
    return guarded(path, lambda stream: as_matrix(_load(path, stream, _pick_matrix)))


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
    return guarded(path, lambda stream: _as_vector(_load(path, stream, _pick_vector)))


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


# --- the boundary: one place where everything that can go wrong becomes one line


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


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


def _load(path: str | os.PathLike[str], stream: IO[bytes], pick: Callable[[dict[str, Any]], Any]) -> Any:
    """Recognise the format by its first bytes and read it."""
    size = os.fstat(stream.fileno()).st_size
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise FileFormatError("is empty; get the file again")
    if head[:2] == b"\x1f\x8b":
        unpacked = io.BufferedReader(bounded_gzip(stream, size), 2**16)
        start = unpacked.peek(512)
        if start[257:262] == b"ustar":
            raise FileFormatError("is a tar archive; unpack it and give the .mtx file inside")
        if not start[:14].lower().startswith(b"%%matrixmarket"):
            raise FileFormatError(f"is gzip, but not of a Matrix Market file; {_FORMATS}")
        # Deflate shrinks by 1032 at most: a header that claims more than that is not backed by the file.
        return read_market(unpacked, min(unpacked_limit(size), 1032 * size))
    if head.lower().startswith(b"%%matrixmarket"):
        return read_market(stream, size)
    if head.startswith(b"\x93NUMPY"):
        return read_npy(stream, size)
    if head.startswith(b"PK\x03\x04"):
        return _read_npz(stream, size)
    if head.startswith(b"\x89HDF") or head.startswith(b"MATLAB 7.3 MAT"):
        raise FileFormatError("is a MATLAB 7.3 (HDF5) file; save it again with save(..., '-v7')")
    if head.startswith(b"MATLAB 5.0 MAT"):
        return pick(read_mat_variables(stream.read(), unpacked_limit(size)))
    if str(path).lower().endswith(".mat"):
        raise FileFormatError("is not a MATLAB 5 file; save it again with save(..., '-v7')")
    raise FileFormatError(f"is of no known format; {_FORMATS}")


# --- NumPy and SciPy


def read_npy(stream: IO[bytes], available: int) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise FileFormatError(f"has the .npy version {version}; save it again with numpy.save")
    if dtype.hasobject:
        raise DTypeError("holds Python objects, which nnla never unpickles; save it as float64")
    if not all(isinstance(m, int) and m >= 0 for m in shape):
        raise FileFormatError("has a malformed shape; save it again with numpy.save")
    size = prod(shape) * dtype.itemsize
    if size > available:
        raise FileFormatError(f"is truncated: shape {shape} claimed, too few bytes; get the file again")
    data = stream.read(size + 1)
    if len(data) != size:
        raise FileFormatError(f"has another length than its shape {shape} asks for; get the file again")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _read_npz(stream: IO[bytes], size: int) -> Any:
    """Arrays of a .npz archive, assembled if they are those of scipy.sparse.save_npz."""
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > unpacked_limit(size):
        raise FileFormatError("unpacks to far more than its size warrants; get the file again")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        with archive.open(member) as content:
            arrays[member.filename.removesuffix(".npy")] = read_npy(content, member.file_size)
    if "format" not in arrays:
        if len(arrays) != 1:
            raise FileFormatError("is not from scipy.sparse.save_npz; save the matrix with that")
        return next(iter(arrays.values()))
    layout = bytes(arrays["format"].item()).decode() if arrays["format"].dtype.kind == "S" else ""
    layout = layout or str(arrays["format"].item())
    shape = tuple(int(m) for m in arrays["shape"])
    data = as_real(arrays["data"])
    if len(shape) != 2 or min(shape) < 0:
        raise ShapeError(f"holds an array of shape {shape}; give a matrix")
    check_rows(*shape, data.size)
    if layout == "coo":
        i, j = arrays["coords"] if "coords" in arrays else (arrays["row"], arrays["col"])
        return coo_array((data, (_integers(i), _integers(j))), shape=shape)
    if layout == "dia":
        return dia_array((data, _integers(arrays["offsets"])), shape=shape)
    classes = {"csr": csr_array, "csc": csc_array, "bsr": bsr_array}
    if layout not in classes:
        raise FileFormatError(f"has the sparse format {layout!r}; save it as csr")
    indices, starts = _integers(arrays["indices"]), _integers(arrays["indptr"])
    A = classes[layout]((data, indices, starts), shape=shape)
    A.check_format(full_check=True)
    return A


def _integers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise FileFormatError("has indices that are not integers; save it again")
    return values.astype(np.int64)


# --- choices and conversions


def _pick_matrix(variables: dict[str, Any]) -> Any:
    problem: Any = variables.get("Problem")
    if isinstance(problem, dict) and problem.get("A") is not None:
        return problem["A"]
    square = {
        name: value
        for name, value in variables.items()
        if getattr(value, "ndim", 0) == 2 and value.shape[0] == value.shape[1] > 1
    }
    return _only(square, variables, "square numeric matrix")


def _pick_vector(variables: dict[str, Any]) -> Any:
    problem: Any = variables.get("Problem")
    if isinstance(problem, dict) and problem.get("b") is not None:
        return problem["b"]
    numeric = {name: v for name, v in variables.items() if getattr(v, "ndim", 0) == 2 and v.size}
    if len(numeric) > 1:
        numeric = {name: v for name, v in numeric.items() if v.shape[0] != v.shape[1]} or numeric
    return _only(numeric, variables, "numeric array")


def _only(candidates: dict[str, Any], variables: dict[str, Any], what: str) -> Any:
    if not candidates:
        for value in variables.values():
            if isinstance(value, DTypeError):
                raise DTypeError(str(value))
        raise FileFormatError(f"holds no {what}; save the matrix as a variable of its own")
    if len(candidates) > 1:
        names = ", ".join(sorted(candidates))
        raise FileFormatError(f"holds more than one {what} ({names}); save the one you mean alone")
    return next(iter(candidates.values()))


def as_real(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "c":
        raise DTypeError("holds complex numbers; nnla computes with real matrices only")
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"holds {values.dtype} entries; save real numbers")
    return values.astype(np.float64)


def as_matrix(value: Any) -> csr_array:
    if isinstance(value, DTypeError):
        raise DTypeError(str(value))
    if value is None or isinstance(value, dict):
        raise FileFormatError("holds no numeric matrix where one was expected; save it as a plain matrix")
    if value.ndim != 2 or value.shape[0] != value.shape[1]:
        raise ShapeError(f"holds an array of shape {value.shape}; give a square matrix")
    if value.shape[0] == 0:
        raise ShapeError("holds an empty 0 x 0 matrix; give one with entries")
    if not issparse(value):
        return csr_array(as_real(value))
    A = csr_array(value, dtype=as_real(value.data[:0]).dtype)
    A.sum_duplicates()
    return with_int32_indices(A) if A.nnz < 2**31 else A


def _as_vector(value: Any) -> np.ndarray:
    if isinstance(value, DTypeError):
        raise DTypeError(str(value))
    if value is None or isinstance(value, dict):
        raise FileFormatError("holds no numeric array where one was expected; save it as a plain array")
    if value.ndim not in (1, 2) or 0 in value.shape:
        raise ShapeError(f"holds an array of shape {value.shape}; give (n,) or (n, k)")
    if issparse(value):
        if value.shape[0] * value.shape[1] > 2**28 and value.shape[0] * value.shape[1] > 64 * value.nnz:
            raise ShapeError(f"holds a sparse {value.shape} array, too large as a dense block; give (n, k)")
        value = value.toarray()
    value = np.ascontiguousarray(as_real(value))
    return value.ravel() if value.ndim == 2 and 1 in value.shape else value
