"""Cases of the readers: files as people write them, then with some bytes changed; JSON and weights likewise."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp

import nnla
from fuzzing.cases import Case, right, wrong
from fuzzing.matrices import draw_matrix, draw_size
from nnla.problems import read_matrix, read_vector

__all__ = ["json_case", "read_case", "weights_case"]


def _read(read: Callable[[Path], Any], name: str, content: bytes) -> Any:
    """What a reader makes of a file of that content, which is then gone."""
    path = Path(tempfile.gettempdir()) / f"nnla-fuzz-{os.getpid()}-{name}"
    path.unlink(missing_ok=True)  # a new file: who still has the old one mapped keeps it
    try:
        path.write_bytes(content)
        return read(path)
    finally:
        path.unlink(missing_ok=True)


# -- Matrix Market, .npz, .npy, .mat ---------------------------------------------------------------------------


def _market(A: Any, rng: np.random.Generator) -> bytes:
    """A symmetric matrix as text, in one of many hands."""
    C = sp.coo_array(A)
    symmetric = rng.random() < 0.6
    i, j, x = (*C.coords, C.data)
    if symmetric:
        keep = i >= j
        i, j, x = i[keep], j[keep], x[keep]
    exponent = str(rng.choice(["e", "E", "d", "D"]))
    sign = "" if rng.random() < 0.9 else "+"
    separator, end = str(rng.choice([" ", "  ", "\t"])), str(rng.choice(["\n", "\r\n"]))
    lead = str(rng.choice(["", "", " "]))

    def number(v: float) -> str:
        text = f"{v:{sign}.17e}"
        return text.replace("e", exponent)

    banner = "%%MatrixMarket matrix coordinate real " + ("symmetric" if symmetric else "general")
    if rng.random() < 0.2:
        banner = banner.upper() if rng.random() < 0.5 else banner.replace("real", "double")
        banner = banner.replace("%%MATRIXMARKET", "%%MatrixMarket")
    lines = [banner]
    if rng.random() < 0.4:
        lines += ["% a comment", "%"]
    if rng.random() < 0.1:
        lines.append("")
    lines.append(f"{lead}{A.shape[0]}{separator}{A.shape[1]}{separator}{x.size}")
    lines += [f"{lead}{a + 1}{separator}{b + 1}{separator}{number(v)}" for a, b, v in zip(i, j, x, strict=True)]
    return end.join(lines).encode() + (end.encode() if rng.random() < 0.9 else b"")


def _market_array(A: Any) -> bytes:
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, A.toarray(), precision=17)
    return stream.getvalue()


def _npz(A: Any, rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    layout = str(rng.choice(["csr", "csc", "coo", "bsr", "dia"]))
    B = A.tobsr(blocksize=(1, 1)) if layout == "bsr" else A.asformat(layout)
    sp.save_npz(stream, B if rng.random() < 0.5 else sp.csr_matrix(A), compressed=bool(rng.random() < 0.5))
    return stream.getvalue()


def _npy(A: Any, rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    D = A.toarray()
    np.save(stream, np.asfortranarray(D) if rng.random() < 0.3 else D.astype(">f8") if rng.random() < 0.3 else D)
    return stream.getvalue()


def _mat(A: Any, rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    name = str(rng.choice(["A", "K", "Problem"]))
    value: Any = sp.csc_matrix(A) if rng.random() < 0.7 else A.toarray()
    content = {"Problem": {"A": value, "name": "x"}} if name == "Problem" else {name: value, "note": "text"}
    scipy.io.savemat(stream, content, do_compression=bool(rng.random() < 0.5))
    return stream.getvalue()


def _packed(content: bytes, suffix: str, rng: np.random.Generator) -> tuple[bytes, str]:
    u = rng.random()
    if u < 0.25:
        return gzip.compress(content), f"{suffix}.gz"
    if u < 0.32:
        return bz2.compress(content), f"{suffix}.bz2"
    if u < 0.39:
        return lzma.compress(content), f"{suffix}.xz"
    return content, suffix


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut out, doubled, or the end lost."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        what = int(rng.integers(6))
        if what == 0:
            data[at] = int(rng.integers(256))
        elif what == 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif what == 2:
            del data[at : at + int(rng.integers(1, 20))]
        elif what == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 40))]
        elif what == 4:
            del data[at:]
        else:
            data[at : at + 1] = [
                b"99999999999999999999",
                b"-1",
                b"0",
                b"nan",
                b"1e999",
                b"\x00\x00\x00\x80",
                b"\xff" * 8,
            ][int(rng.integers(7))]
    return bytes(data)


def read_case(seed: int) -> Case:
    """A file: whole, then the matrix is the one written; damaged, then a typed error or a matrix."""
    rng = np.random.default_rng([seed, 41])
    M = draw_matrix(rng, n=draw_size(rng, 25))
    A = M.A
    kind = str(rng.choice(["market", "market", "market", "array", "npz", "npy", "mat", "vector"]))
    values: Any = A.toarray()
    if kind == "market":
        content, suffix = _packed(_market(A, rng), ".mtx", rng)
    elif kind == "array":
        content, suffix = _packed(_market_array(A), ".mtx", rng)
    elif kind == "npz":
        content, suffix = _npz(A, rng), ".npz"
    elif kind == "npy":
        content, suffix = _npy(A, rng), ".npy"
    elif kind == "mat":
        content, suffix = _mat(A, rng), ".mat"
    else:
        values = rng.standard_normal(M.n)
        stream = io.BytesIO()
        suffix = str(rng.choice([".npy", ".mtx"]))
        if suffix == ".npy":
            np.save(stream, values)
        else:
            scipy.io.mmwrite(stream, values[:, None], precision=17)
        content = stream.getvalue()
    damaged = rng.random() < 0.7
    if damaged:
        content = _damaged(content, rng)
    read = read_vector if kind == "vector" else read_matrix

    def call() -> Any:
        return _read(read, f"case{suffix}", content)

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        if damaged:
            if sp.issparse(answer):
                answer.check_format(full_check=True)
            return right()
        got = answer.toarray() if sp.issparse(answer) else answer
        if got.shape != values.shape or not np.array_equal(got, values):
            return wrong("the matrix read is not the one written")
        return right()

    refusals = None if damaged else ()
    return Case(f"read {kind}{suffix} n={M.n} {'damaged' if damaged else 'whole'}", call, judge, [], refusals)


# -- JSON and weights ------------------------------------------------------------------------------------------

_WEIRD = (
    None,
    True,
    -1,
    0,
    1,
    1e308,
    10**400,
    -0.0,
    "x",
    "",
    "1",
    [],
    [1],
    [[1]],
    {},
    {"a": 1},
    [None],
    "NaN",
    [1e999],
    2**63,
    1.5,
)


def _texts() -> dict[str, str]:
    A = nnla.problems.poisson2d(6)
    b = np.ones(36)
    return {
        "Recurrence": nnla.Recurrence.chebyshev(0.1, 8.0, 7).to_json(),
        "SpectralProbe": nnla.probe(A, 5).to_json(),
        "Report": nnla.solve(A, b, method="autospec", probe_steps=3).report.to_json(),
        "EigenReport": nnla.eigsh(A, 2, return_report=True)[2].to_json(),
        "MatrixFunctionReport": nnla.funm_multiply(A, b).report.to_json(),
    }


_CACHE: dict[str, str] = {}


def _mutated(value: Any, rng: np.random.Generator) -> Any:
    """Some part of a JSON value replaced, dropped or nested."""
    if isinstance(value, dict) and value:
        keys = list(value)
        key = keys[int(rng.integers(len(keys)))]
        out = dict(value)
        u = rng.random()
        if u < 0.15:
            del out[key]
        elif u < 0.25:
            out[f"{key}x"] = 1
        elif u < 0.6 and isinstance(out[key], (dict, list)) and out[key]:
            out[key] = _mutated(out[key], rng)
        else:
            out[key] = _WEIRD[int(rng.integers(len(_WEIRD)))]
        return out
    if isinstance(value, list) and value:
        out_list = list(value)
        at = int(rng.integers(len(out_list)))
        if rng.random() < 0.2:
            del out_list[at]
        else:
            out_list[at] = (
                _mutated(out_list[at], rng)
                if isinstance(out_list[at], (dict, list))
                else _WEIRD[int(rng.integers(len(_WEIRD)))]
            )
        return out_list
    return _WEIRD[int(rng.integers(len(_WEIRD)))]


def json_case(seed: int) -> Case:
    """Values in JSON: as written they come back; changed, a typed error or a value."""
    rng = np.random.default_rng([seed, 42])
    if not _CACHE:
        _CACHE.update(_texts())
    kind = str(rng.choice(list(_CACHE)))
    text, mode = _CACHE[kind], str(rng.choice(["whole", "parts", "parts", "parts", "bytes", "deep"]))
    if mode == "parts":
        value = json.loads(text)
        for _ in range(int(rng.integers(1, 4))):
            value = _mutated(value, rng)
        text = json.dumps(value)
    elif mode == "bytes":
        text = _damaged(text.encode(), rng).decode("utf-8", "replace")
    elif mode == "deep":
        text = "[" * 100_000 if rng.random() < 0.5 else '{"a":' * 50_000
    reader: Any = getattr(nnla, kind)

    def call() -> Any:
        value = reader.from_json(text)
        return value, value.to_json(), repr(value)

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        if mode == "whole" and json.loads(answer[1]) != json.loads(text):
            return wrong("JSON there and back is another value")
        return right()

    return Case(f"{kind}.from_json {mode} {text[:80]}", call, judge, [], None if mode != "whole" else ())


def weights_case(seed: int) -> Case:
    """A shipped weights file with its card or bytes changed: a typed error or an engine."""
    rng = np.random.default_rng([seed, 43])
    folder = Path(nnla.__file__).parent / "weights"
    names = sorted(path.name for path in folder.glob("*.safetensors") if path.stat().st_size < 400_000)
    name = names[int(rng.integers(len(names)))]
    content = (folder / name).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    mode = str(rng.choice(["whole", "card", "card", "header", "bytes"]))
    if mode == "card":
        metadata = dict(header.get("__metadata__", {}))
        keys = list(metadata)
        key = keys[int(rng.integers(len(keys)))]
        try:
            metadata[key] = json.dumps(_mutated(json.loads(metadata[key]), rng))
        except (ValueError, RecursionError):
            metadata[key] = str(rng.choice(["", "x", "[", "nnla.models.autospec:AutoSpecEngine", "os:system"]))
        if rng.random() < 0.15:
            del metadata[key]
        header["__metadata__"] = metadata
    elif mode == "header":
        header = _mutated(header, rng)
    if mode in ("card", "header"):
        text = json.dumps(header).encode()
        content = len(text).to_bytes(8, "little") + text + body
    elif mode == "bytes":
        content = _damaged(content[: 8 + size], rng) + body

    def call() -> Any:
        return _read(lambda path: repr(nnla.load(path)), name, content)

    return Case(f"load {name} {mode}", call, lambda answer, warned: right(), [], None if mode != "whole" else ())
