"""Readers: every supported layout comes back exactly; everything else ends in one named line."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnla.errors import DTypeError, FileFormatError, NNLAError, OptionError, ShapeError
from nnla.problems import limits
from nnla.problems.files import read_matrix, read_vector, write_vector_atomic

A = sp.csr_array(np.array([[4.0, -1.25, 0.0], [-1.25, 3.0, 1e-13], [0.0, 1e-13, 5e10]]))
B = sp.csr_array(np.array([[4.0, 2.0, 0.0], [0.0, 3.0, 0.0], [7.0, 0.0, 5.0]]))


def market(matrix, **options) -> bytes:
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, matrix, precision=17, **options)
    return stream.getvalue()


def npz(matrix, **options) -> bytes:
    stream = io.BytesIO()
    sp.save_npz(stream, matrix, **options)
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def mat(variables, **options) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, **options)
    return stream.getvalue()


VALID = {
    "symmetric.mtx": (market(A, symmetry="symmetric"), A),
    "general.mtx": (market(B), B),
    "symmetric.mtx.gz": (gzip.compress(market(A, symmetry="symmetric")), A),
    "array.mtx": (market(B.toarray()), B),
    "array_symmetric.mtx": (market(A.toarray(), symmetry="symmetric"), A),
    "csr.npz": (npz(B), B),
    "csc.npz": (npz(B.tocsc(), compressed=False), B),
    "coo.npz": (npz(B.tocoo()), B),
    "dia.npz": (npz(A.todia()), A),
    "bsr.npz": (npz(B.tobsr((3, 3))), B),
    "dense.npy": (npy(B.toarray()), B),
    "fortran.npy": (npy(np.asfortranarray(B.toarray())), B),
    "suitesparse.mat": (mat({"Problem": {"name": "x", "A": A.tocsc(), "id": 1}}, do_compression=True), A),
    "plain.mat": (mat({"K": B.tocsc(), "b": np.ones((3, 1)), "title": "t"}), B),
    "dense.mat": (mat({"K": B.toarray(), "s": 3.0}, do_compression=True), B),
}


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def one_line_text(text: str) -> str:
    assert "\n" not in text
    assert len(text) < 600
    return text


def one_line(error) -> str:
    return one_line_text(str(error.value))


@pytest.mark.parametrize("name", VALID)
def test_round_trip_is_exact(tmp_path, name):
    content, expected = VALID[name]
    got = read_matrix(put(tmp_path, name, content))
    assert isinstance(got, sp.csr_array)
    assert got.dtype == np.float64
    assert got.indices.dtype == np.int32
    assert got.has_sorted_indices
    assert np.array_equal(got.toarray(), expected.toarray())


def test_format_is_recognised_by_content(tmp_path):
    for name, (content, expected) in VALID.items():
        got = read_matrix(put(tmp_path, name.replace(".", "_"), content))
        assert np.array_equal(got.toarray(), expected.toarray())


def test_integers_upper_triangle_comments_and_duplicates(tmp_path):
    text = b"%%MatrixMarket MATRIX Coordinate integer Symmetric\n% a comment\n\n2 2 3\n1 1 2\n1 2 -1\n2 2 2\n"
    assert read_matrix(put(tmp_path, "u.mtx", text)).toarray().tolist() == [[2, -1], [-1, 2]]
    text = b"%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 2.5"
    assert read_matrix(put(tmp_path, "d.mtx", text)).toarray().tolist() == [[2.5]]


MALFORMED = {
    "empty": (b"", "empty"),
    "garbage": (bytes(range(256)) * 4, "format"),
    "text": (b"hello\n", "format"),
    "banner": (b"%%MatrixMarket matrix\n1 1 1\n1 1 1\n", "banner"),
    "pattern array": (b"%%MatrixMarket matrix array pattern general\n1 1\n1\n", "pattern"),
    "skew": (b"%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 1\n", "skew"),
    "field": (b"%%MatrixMarket matrix coordinate quaternion general\n1 1 1\n1 1 1\n", "field"),
    "no size": (b"%%MatrixMarket matrix coordinate real general\n% only\n", "size line"),
    "bad size": (b"%%MatrixMarket matrix coordinate real general\n2 x 1\n1 1 1\n", "size line"),
    "negative": (b"%%MatrixMarket matrix coordinate real general\n-2 2 1\n1 1 1\n", "size line"),
    "short": (b"%%MatrixMarket matrix coordinate real general\n2 2 3\n1 1 1\n2 2 2\n", ""),
    "long": (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1\n2 2 2\n", ""),
    "index": (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1.5\n", ""),
    "zero index": (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n0 1 1.5\n", ""),
    "number": (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 abc\n", ""),
    "both triangles": (
        b"%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n1 2 1\n2 1 1\n",
        "both triangles",
    ),
    "gzip of nothing known": (gzip.compress(b"hello"), "Matrix Market"),
    "gzip cut": (VALID["symmetric.mtx.gz"][0][:-9], ""),
    "gzip crc": (VALID["symmetric.mtx.gz"][0][:-8] + b"\0" * 8, ""),
    "hdf5": (b"MATLAB 7.3 MAT-file, Platform" + b" " * 100, "-v7"),
    "hdf5 raw": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "-v7"),
    "two": (mat({"K": A.tocsc(), "M": B.tocsc()}), "K, M"),
    "no matrix": (mat({"b": np.ones((3, 1)), "t": "text"}), "no square"),
    "cells": (mat({"c": np.array([[1, "a"]], dtype=object)}), "no square"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(tmp_path, name):
    content, expected = MALFORMED[name]
    path = put(tmp_path, "m.mtx", content)
    with pytest.raises(FileFormatError) as error:
        read_matrix(path)
    text = one_line(error)
    assert text.startswith(str(path))
    assert expected in text


def test_tar_is_named(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("x/x.mtx")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"abcd"))
    with pytest.raises(FileFormatError, match="unpack"):
        read_matrix(put(tmp_path, "x.tar.gz", stream.getvalue()))


COMPLEX = {
    "c.mtx": b"%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 2\n",
    "c.npy": npy(np.eye(2) * 1j),
    "c.npz": npz(sp.csr_array(np.eye(2) * 1j)),
    "c.mat": mat({"A": np.eye(2) * 1j}),
    "cs.mat": mat({"A": sp.csc_array(np.eye(2) * 1j)}, do_compression=True),
    "problem.mat": mat({"Problem": {"A": sp.csc_array(np.eye(2) * 1j)}}),
    "text.npy": npy(np.array([["a", "b"], ["c", "d"]])),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_and_text(tmp_path, name):
    with pytest.raises(DTypeError) as error:
        read_matrix(put(tmp_path, name, COMPLEX[name]))
    one_line(error)


def test_a_complex_variable_beside_the_matrix_does_no_harm(tmp_path):
    content = mat({"A": np.eye(3), "z": np.eye(2) * 1j})
    assert read_matrix(put(tmp_path, "a.mat", content)).shape == (3, 3)


class _Explodes:
    def __reduce__(self):
        return (os.mkdir, ("/nonexistent/unpickled",))


def test_pickles_are_never_loaded(tmp_path, monkeypatch):
    def trap(*args):
        raise AssertionError("unpickled")

    content, pickled = npy(np.array([[_Explodes()]], dtype=object)), pickle.dumps(_Explodes())
    monkeypatch.setattr(os, "mkdir", trap)
    for read in (read_matrix, read_vector):
        with pytest.raises(DTypeError, match="unpickles"):
            read(put(tmp_path, "o.npy", content))
        with pytest.raises(FileFormatError):
            read(put(tmp_path, "o.pkl", pickled))


def test_not_square_or_empty(tmp_path):
    for name, content in {
        "r.mtx": market(sp.csr_array(np.ones((2, 3)))),
        "r.npy": npy(np.ones((2, 3))),
        "r.npz": npz(sp.csr_array(np.ones((2, 3)))),
        "v.npy": npy(np.ones(3)),
        "e.npy": npy(np.ones((0, 0))),
        "s.mtx": b"%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n",
    }.items():
        with pytest.raises(ShapeError) as error:
            read_matrix(put(tmp_path, name, content))
        one_line(error)


def test_places_that_cannot_be_read(tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        read_matrix(tmp_path / "missing.mtx")
    with pytest.raises(FileFormatError, match="directory"):
        read_vector(tmp_path)
    with pytest.raises(FileFormatError):
        read_matrix(tmp_path / ("x" * 5000))
    with pytest.raises(FileFormatError):
        read_matrix("null\0byte.mtx")
    with pytest.raises(FileFormatError, match="regular"):
        read_matrix("/dev/null")
    path = put(tmp_path, "secret.mtx", VALID["general.mtx"][0])
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root reads everything
        with pytest.raises(FileFormatError, match="permission"):
            read_matrix(path)


def _npy_claim(shape) -> bytes:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (117 - len(head)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def _npz_claim() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("format.npy", npy(np.array(b"csr")))
        archive.writestr("shape.npy", npy(np.array([10**9, 10**9])))
        for name in ("data", "indices", "indptr"):
            archive.writestr(f"{name}.npy", npy(np.arange(2)))
    return stream.getvalue()


CLAIMS = {
    "entries": b"%%MatrixMarket matrix coordinate real general\n10000000 10000000 1000000000000\n1 1 1\n",
    "entries.gz": gzip.compress(
        b"%%MatrixMarket matrix coordinate real general\n10000000 10000000 1000000000000\n1 1 1\n"
    ),
    "rows": b"%%MatrixMarket matrix coordinate real general\n2000000000 2000000000 1\n1 1 1\n",
    "huge rows": b"%%MatrixMarket matrix coordinate real general\n200000000000000 200000000000000 1\n1 1 1\n",
    "array": b"%%MatrixMarket matrix array real general\n1000000000 1000000000\n1.0\n",
    "array symmetric": b"%%MatrixMarket matrix array real symmetric\n1000000000 1000000000\n1.0\n",
    "npy": _npy_claim((10**6, 10**6)) + b"\0" * 64,
    "npy overflow": _npy_claim((2**40, 2**40)),
    "npz": _npz_claim(),
    "line": b"%%MatrixMarket matrix coordinate real general\n" + b"%" * 3_000_000,
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_without_bytes_allocate_nothing(tmp_path, name):
    path = put(tmp_path, "claim", CLAIMS[name])
    tracemalloc.start()
    with pytest.raises(FileFormatError) as error:
        read_matrix(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_line(error)
    assert peak < 30e6


def test_bombs_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 2**20)
    header = b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(np.zeros((2000, 2000))))
    for name, content in {
        "tail.mtx.gz": gzip.compress(header + b"\n" * (64 * 2**20)),
        "comment.mtx.gz": gzip.compress(header[:46] + b"%\n" * (32 * 2**20)),
        "z.npz": stream.getvalue(),
        "z.mat": mat({"A": np.zeros((2000, 2000))}, do_compression=True),
    }.items():
        path = put(tmp_path, name, content)
        tracemalloc.start()
        with pytest.raises(FileFormatError):
            read_matrix(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24 * 2**20, name


# --- fuzz: a valid matrix or a named error, and nothing else


def attempt(path: Path):
    for read in (read_matrix, read_vector):
        try:
            got = read(path)
        except (FileFormatError, DTypeError, ShapeError) as error:
            one_line_text(str(error))
        else:
            assert got.dtype == np.float64
            if read is read_matrix:
                assert got.shape[0] == got.shape[1] > 0
                got.check_format(full_check=True)


@pytest.mark.parametrize("name", VALID)
def test_truncated_at_every_length(tmp_path, name):
    content = VALID[name][0]
    path = tmp_path / name
    step = max(1, len(content) // 150)
    for length in [*range(0, len(content), step), *range(max(0, len(content) - 20), len(content))]:
        path.write_bytes(content[:length])
        attempt(path)


@pytest.mark.parametrize("name", VALID)
def test_flipped_bytes(tmp_path, name):
    content = VALID[name][0]
    path = tmp_path / name
    rng = np.random.default_rng(len(content))
    for _ in range(120):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        attempt(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.sampled_from(
        [
            b"",
            b"%%MatrixMarket matrix coordinate real general\n",
            b"%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n",
            b"%%MatrixMarket matrix array real general\n2 2\n",
            b"\x93NUMPY\x01\x00",
            b"PK\x03\x04",
            b"\x1f\x8b\x08\x00",
            VALID["plain.mat"][0][:128],
        ]
    ),
    body=st.one_of(st.binary(max_size=200), st.text("0123456789 .-+eE\n%", max_size=200).map(str.encode)),
)
def test_random_bytes(tmp_path, prefix, body):
    path = tmp_path / "fuzz.mat"
    path.write_bytes(prefix + body)
    attempt(path)


# --- vectors


@pytest.mark.parametrize("suffix", [".npy", ".mtx"])
@pytest.mark.parametrize("shape", [(4,), (4, 2), (1,)])
def test_vector_round_trip(tmp_path, suffix, shape):
    x = np.random.default_rng(0).standard_normal(shape) * 1e-7
    path = tmp_path / f"x{suffix}"
    write_vector_atomic(path, x)
    write_vector_atomic(path, 2 * x)  # replaces
    assert np.array_equal(read_vector(path), 2 * x)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_vectors_from_matlab(tmp_path):
    b = np.arange(3.0).reshape(3, 1)
    assert read_vector(put(tmp_path, "p.mat", mat({"Problem": {"A": A.tocsc(), "b": b}}))).tolist() == [
        0,
        1,
        2,
    ]
    assert read_vector(put(tmp_path, "q.mat", mat({"A": np.eye(3), "b": b}))).tolist() == [0, 1, 2]
    with pytest.raises(FileFormatError, match="b, c"):
        read_vector(put(tmp_path, "r.mat", mat({"c": b, "b": b})))
    sparse = b"%%MatrixMarket matrix coordinate real general\n3 1 1\n2 1 5\n"
    assert read_vector(put(tmp_path, "s.mtx", sparse)).tolist() == [0, 5, 0]
    with pytest.raises(ShapeError):
        read_vector(put(tmp_path, "t.npy", npy(np.ones((2, 2, 2)))))


def test_write_refusals_leave_nothing(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="npy or"):
        write_vector_atomic(tmp_path / "x.txt", [1.0])
    with pytest.raises(OptionError, match="cannot be written"):
        write_vector_atomic(tmp_path / "no" / "x.npy", [1.0])
    with pytest.raises(DTypeError):
        write_vector_atomic(tmp_path / "x.npy", [1j])
    (tmp_path / "d.npy").mkdir()
    with pytest.raises(OptionError, match="regular"):
        write_vector_atomic(tmp_path / "d.npy", [1.0])

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    write_vector_atomic(tmp_path / "x.npy", [1.0])
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OptionError, match="No space"):
        write_vector_atomic(tmp_path / "x.npy", [2.0])
    assert read_vector(tmp_path / "x.npy").tolist() == [1.0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.npy", "x.npy"]


def test_errors_are_nnla_errors():
    assert issubclass(FileFormatError, NNLAError)
    assert issubclass(FileFormatError, ValueError)
