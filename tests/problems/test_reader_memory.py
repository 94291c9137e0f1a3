"""Small files that ask for much: what a reader holds stays below a stated multiple of the file or of the matrix.

Read by a process of its own, whose peak the system counts, NumPy's and zlib's buffers included.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import nnla
from nnla.problems import limits
from nnla.problems.limits import check_need, matrix_bytes, unpacked_limit

# docs/solving.md says so: of what is returned, of the file, and what is free of charge, here for a sixteenth of
# FREE_BYTES, with what the interpreter takes
PER_MATRIX, PER_FILE, FREE = 4, 64, 50e6

CODE = """
import json, sys, time
import numpy as np
from nnla.errors import NNLAError
from nnla.problems import limits, read_matrix, read_stand, read_vector
from nnla.problems.gram import read_fasta

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

limits.FREE_BYTES //= 16
readers = {"matrix": read_matrix, "vector": read_vector, "stand": read_stand, "fasta": read_fasta}
warm = sys.argv[1]
read_matrix(warm)
for kind, path in zip(sys.argv[2::2], sys.argv[3::2]):
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")  # the peak starts anew
    before, need, outcome = peak(), 0, "read"
    try:
        found = readers[kind](path)
        if kind == "matrix":
            need = 12 * found.nnz + 4 * len(found.indptr)
        elif kind == "vector":
            need = found.nbytes
        elif kind == "fasta":
            need = sum(codes.nbytes for codes in found.values())
        else:
            need = 12 * found.A.nnz + 4 * len(found.A.indptr) + 16 * found.b.size
    except NNLAError as error:
        outcome = type(error).__name__
    print(json.dumps([path, outcome, peak() - before, need]), flush=True)
    found = None
"""

HEAD = b"%%MatrixMarket matrix coordinate real general\n"
ARRAY = b"%%MatrixMarket matrix array real "


def mat(body: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + body


def packed(plain: bytes) -> bytes:
    content = zlib.compress(plain, 9)
    return struct.pack("<II", 15, len(content)) + content


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def sparse(layout: bytes, n: int, **parts: np.ndarray) -> bytes:
    arrays = {"format": np.array(layout), "shape": np.array([n, n]), **parts}
    return zipped({f"{name}.npy": npy(array) for name, array in arrays.items()})


def bombs() -> dict[str, tuple[str, bytes]]:
    header = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"A")
    empty = header + bytes(8 * 500_000)
    tiny = packed(element(14, header + element(9, bytes(8))))
    ones, zeros = b"1\n" * (1250 * 1251 // 2), b"0\n" * (1250 * 1251 // 2)
    few = np.zeros(0)
    return {
        "empty elements.mat": ("matrix", mat(packed(struct.pack("<II", 14, len(empty)) + empty))),
        "variables.mat": ("matrix", mat(tiny * 20_000)),
        "zeros.mtx.gz": ("matrix", gzip.compress(ARRAY + b"symmetric\n1250 1250\n" + zeros)),
        "zeros.mtx.bz2": ("matrix", bz2.compress(ARRAY + b"symmetric\n1250 1250\n" + zeros)),
        "ones.mtx.gz": ("matrix", gzip.compress(ARRAY + b"symmetric\n1250 1250\n" + ones)),
        "ones.mtx.xz": ("matrix", lzma.compress(ARRAY + b"symmetric\n1250 1250\n" + ones, preset=0)),
        "ones.mtx": ("matrix", ARRAY + b"symmetric\n500 500\n" + b"1\n" * (500 * 501 // 2)),
        "vector.mtx.gz": ("vector", gzip.compress(ARRAY + b"general\n5000 160\n" + b"0\n" * 800_000)),
        "blanks.mtx.gz": ("matrix", gzip.compress(HEAD + b"1 1 1\n" + b" " * 10_000_000)),
        "lines.mtx.gz": ("matrix", gzip.compress(HEAD + b"1 1 1\n" + b"\n" * 10_000_000)),
        "one line.mtx": ("matrix", HEAD + b"1 1 1\n" + b"1" * 2_000_000),
        "digits.mtx": ("matrix", HEAD + b"1 1 1\n1 1 " + b"1" * 900_000 + b"\n"),
        "comment.mtx.bz2": ("matrix", bz2.compress(HEAD + b"%\n" * 3_000_000)),
        "rows.mtx": ("matrix", HEAD + b"16777216 16777216 1\n1 1 1\n"),
        "sparse block.mtx": ("vector", HEAD + b"16777216 16 1\n1 1 1\n"),
        "small integers.npz": ("matrix", zipped({"a.npy": npy(np.zeros((2000, 2000), "i1"))})),
        "ones.npz": ("matrix", zipped({"a.npy": npy(np.ones((2000, 2000), "i1"))})),
        "vector.npz": ("vector", zipped({"a.npy": npy(np.zeros(4_000_000, "i1"))})),
        "pointers.npz": ("matrix", sparse(b"csr", 10**6, indptr=np.zeros(10**6 + 1, "i1"), indices=few, data=few)),
        "diagonal.npz": ("matrix", sparse(b"dia", 4_000_000, offsets=np.zeros(1, int),
                                          data=np.ones((1, 4_000_000), "i1"))),
        "coo.npz": ("matrix", sparse(b"coo", 100, row=np.zeros(10**6, "i1"), col=np.zeros(10**6, "i1"),
                                     data=np.ones(10**6, "i1"))),
        "members.npz": ("matrix", zipped({f"a{i}.npy": b"" for i in range(20_000)})),
        "stand.npz": ("stand", zipped({"A_indices.npy": npy(np.zeros((2, 10**6), "i1")), "b.npy": npy(np.zeros(1)),
                                       "A_values.npy": npy(np.ones(10**6, "i1")), "x.npy": npy(np.zeros(1))})),
        "bases.fna.gz": ("fasta", gzip.compress(b">x\n" + b"A" * 20_000_000)),
        "records.fna.gz": ("fasta", gzip.compress(b"".join(b">%d\nA\n" % k for k in range(10**5)))),
        "headers.fna.gz": ("fasta", gzip.compress(b">" * 10_000_000)),
        "long.fna": ("fasta", b">x\n" + b"ACGT" * 500_000),
    }  # fmt: skip


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to measure peaks")
def test_memory_is_bounded_by_the_file_or_the_matrix(tmp_path):
    warm = tmp_path / "warm.npz"
    sp.save_npz(warm, sp.eye_array(3).tocsr())
    words: list[str] = []
    for name, (kind, content) in bombs().items():
        (tmp_path / name).write_bytes(content)
        words += [kind, str(tmp_path / name)]
    environment = os.environ | {"PYTHONPATH": str(Path(nnla.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(warm), *words], capture_output=True, text=True, check=True, env=environment
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(bombs()), done.stderr
    for path, outcome, peak, need in lines:
        bound = PER_MATRIX * need + PER_FILE * os.path.getsize(path) + FREE
        assert peak < bound, f"{Path(path).name}: {peak / 1e6:.0f} MB for {need / 1e6:.1f} MB ({outcome})"


def test_ordinary_files_take_little(tmp_path):
    """Real text, plain and packed: no more than four times the matrix, and the file itself is never in memory."""
    A = nnla.problems.poisson2d(300)
    for name in ("a.mtx", "a.mtx.gz"):
        stream = io.BytesIO()
        scipy.io.mmwrite(stream, A, symmetry="symmetric")
        data = stream.getvalue()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        tracemalloc.start()
        got = nnla.problems.read_matrix(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (got != A).nnz == 0
        assert peak < 4 * matrix_bytes(A.shape[0], A.nnz) + 50e6


def test_the_limits(monkeypatch):
    check_need(2 * unpacked_limit(10), 10)
    with pytest.raises(nnla.errors.FileFormatError, match="uncompressed"):
        check_need(2 * unpacked_limit(10) + 1, 10)
    monkeypatch.setattr(limits, "FREE_BYTES", 10)
    assert unpacked_limit(100) == 20_000
