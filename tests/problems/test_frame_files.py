"""StAnD files: a round trip, and damaged or hostile ones."""

from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pytest

from nnla.errors import DTypeError, FileFormatError, NNLAError, NonFiniteError, OptionError, ShapeError
from nnla.problems.frame_files import read_stand, write_stand
from nnla.problems.frames import frame

GOOD = {
    "A_indices": np.array([[0, 1, 0, 1], [0, 1, 1, 0]]),
    "A_values": np.array([2.0, 2.0, -1.0, -1.0]),
    "x": np.array([1.0, 1.0]),
    "b": np.array([1.0, 1.0]),
}


def save(path, **change):
    np.savez(path, **{key: value for key, value in {**GOOD, **change}.items() if value is not None})
    return path


def test_round_trip(tmp_path):
    one = frame("mini", 1, loads=1)
    x = one.solve()[:, 0]
    write_stand(tmp_path / "a.npz", one.A, one.loads[:, 0], x)
    back = read_stand(tmp_path / "a.npz")
    assert abs(back.A - one.A).max() == 0
    np.testing.assert_array_equal(back.x, x)
    np.testing.assert_array_equal(back.b, one.loads[:, 0])
    with np.load(tmp_path / "a.npz") as stored:  # the keys and shapes of the data set
        assert stored["A_indices"].shape == (2, one.A.nnz)
        assert sorted(stored.files) == ["A_indices", "A_values", "b", "x"]


def test_a_file_as_numpy_writes_it(tmp_path):
    problem = read_stand(save(tmp_path / "a.npz", A_indices=np.array([[0, 0, 1], [0, 0, 1]]), A_values=np.ones(3)))
    np.testing.assert_array_equal(problem.A.toarray(), [[2, 0], [0, 1]])  # duplicates are summed


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": None}, FileFormatError, "lacks x"),
        ({"x": np.ones(3)}, ShapeError, "both must be"),
        ({"b": np.ones((2, 1)), "x": np.ones((2, 1))}, ShapeError, "both must be"),
        ({"b": np.ones(0), "x": np.ones(0)}, ShapeError, "at least 1"),
        ({"A_values": np.ones(3)}, ShapeError, "must be"),
        ({"A_indices": np.ones((4, 2), dtype=int)}, ShapeError, "must be"),
        ({"A_indices": GOOD["A_indices"].astype(float)}, FileFormatError, "not integers"),
        ({"A_indices": GOOD["A_indices"] + 1}, FileFormatError, "outside"),
        ({"A_indices": GOOD["A_indices"] - 1}, FileFormatError, "outside"),
        ({"A_indices": np.full((2, 4), 2**64 - 1, dtype=np.uint64)}, FileFormatError, "outside"),
        ({"A_values": np.array([1.0, np.nan, 1, 1])}, NonFiniteError, "A_values"),
        ({"b": np.array([1.0, np.inf])}, NonFiniteError, "in b"),
        ({"x": np.array([1.0, 1j])}, DTypeError, "complex"),
        ({"x": np.array(["1", "2"])}, DTypeError, "real"),
        ({"x": np.array([1.0, None], dtype=object)}, FileFormatError, "objects"),
    ],
)
def test_wrong_contents(tmp_path, change, error, says):
    with pytest.raises(error, match=says):
        read_stand(save(tmp_path / "a.npz", **change))


def test_every_truncation_is_an_error_of_ours(tmp_path):
    data = save(tmp_path / "a.npz").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(NNLAError):
            read_stand(tmp_path / "cut.npz")


def test_flipped_bytes_never_crash(tmp_path):
    data, rng = bytearray(save(tmp_path / "a.npz").read_bytes()), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "bad.npz").write_bytes(damaged)
        with contextlib.suppress(NNLAError):  # anything else would be a crash
            read_stand(tmp_path / "bad.npz")


def test_a_header_that_claims_terabytes(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(save(tmp_path / "a.npz", x=None), "a") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(FileFormatError, match="truncated"):
        read_stand(tmp_path / "a.npz")


def test_other_files(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    for path in (tmp_path / "text.npz", tmp_path / "absent.npz", tmp_path):
        with pytest.raises(FileFormatError):
            read_stand(path)


def test_what_cannot_be_written(tmp_path):
    A, b = np.eye(2), np.ones(2)
    with pytest.raises(OptionError, match="npz"):
        write_stand(tmp_path / "a.mtx", A, b, b)
    with pytest.raises(ShapeError):
        write_stand(tmp_path / "a.npz", A, b, np.ones(3))
    with pytest.raises(DTypeError):
        write_stand(tmp_path / "a.npz", A, b, 1j * b)
    with pytest.raises(OptionError, match="cannot be written"):
        write_stand(tmp_path / "absent" / "a.npz", A, b, b)
