"""Sparse files whose indices point outside: refused by name, and never followed into memory that is not theirs.

Read by a process of their own, as following one would end in a segmentation fault.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse as sp

import nnla

CODE = """
import json, sys
from nnla.errors import FileFormatError
from nnla.problems import read_matrix, read_vector
for path in sys.argv[1:]:
    for read in (read_matrix, read_vector):
        try:
            read(path)
            outcome = "accepted"
        except FileFormatError as error:
            outcome = "refused" if path in str(error) else str(error)
        except Exception as error:
            outcome = repr(error)
        print(json.dumps([path, outcome]), flush=True)
"""

FAR = 1 << 30
N = 40


def _arrays(**changes: np.ndarray) -> bytes:
    """The .npz archive of a tridiagonal matrix, of which these arrays are others."""
    A = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(N, N)).tocsr()
    parts = {"indices": A.indices, "indptr": A.indptr, "data": A.data, "shape": np.array(A.shape)}
    stream = io.BytesIO()
    np.savez(stream, **{"format": np.array(b"csr"), **parts, **changes})
    return stream.getvalue()


def _with(name: str, at: int, value: int, **changes: np.ndarray) -> bytes:
    with np.load(io.BytesIO(_arrays())) as valid:
        part = valid[name].astype(np.int64)
    part[at] = value
    return _arrays(**{name: part}, **changes)


def _mat(rows: np.ndarray) -> bytes:
    """A MATLAB file of a sparse matrix; SciPy writes what it is given."""
    A = sp.csc_array(sp.eye_array(N))
    A.indices[:] = rows
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"A": A})
    return stream.getvalue()


def hostile() -> dict[str, bytes]:
    files = {}
    for layout in ("csr", "csc"):
        kind = np.array(layout.encode())
        files |= {
            f"{layout} beyond.npz": _with("indices", 7, FAR, format=kind),
            f"{layout} just beyond.npz": _with("indices", -1, N, format=kind),
            f"{layout} before.npz": _with("indices", 7, -FAR, format=kind),
            f"{layout} pointer beyond.npz": _with("indptr", 20, FAR, format=kind),
            f"{layout} pointer before.npz": _with("indptr", 20, -FAR, format=kind),
            f"{layout} last pointer.npz": _with("indptr", -1, 10**6, format=kind),
            f"{layout} first pointer.npz": _with("indptr", 0, 1, format=kind),
            f"{layout} pointers go back.npz": _with("indptr", 20, 3, format=kind),
        }
    blocks = {"format": np.array(b"bsr"), "data": np.ones((2, N // 2, N // 2)), "indptr": np.array([0, 1, 2])}
    files["bsr beyond.npz"] = _arrays(**blocks, indices=np.array([0, FAR]))
    files["bsr before.npz"] = _arrays(**blocks, indices=np.array([-FAR, 0]))
    one = {"format": np.array(b"coo"), "data": np.ones(2), "row": np.array([0, 1])}
    files["coo beyond.npz"] = _arrays(**one, col=np.array([0, FAR]))
    files["coo before.npz"] = _arrays(**one, col=np.array([-FAR, 0]))
    rows = np.arange(N, dtype=np.int32)
    files["rows beyond.mat"] = _mat(np.where(rows == 9, FAR, rows))
    files["rows before.mat"] = _mat(np.where(rows == 9, -FAR, rows))
    return files


def test_indices_that_point_outside_are_refused(tmp_path):
    for name, content in hostile().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "sound.npz").write_bytes(_arrays())  # what the others are but for one number
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    environment = os.environ | {"PYTHONPATH": str(Path(nnla.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *paths], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{len(outcomes)} of {2 * len(paths)} reads came back\n{done.stderr}"
    expected = [[path, "accepted" if "sound" in path else "refused"] for path in paths for _ in range(2)]
    assert outcomes == expected
