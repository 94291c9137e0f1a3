"""Every reader on damaged and hostile files: a right answer or a named error in one line, and nothing else.

    python benchmarks/fuzz_readers.py [--count 100000] [--seed 0] [--only NUMBER]
    python benchmarks/fuzz_readers.py --engine atheris [--count 1000000]

Seeds are small valid files of every format, and some hostile ones. A case is a function of (seed, number): some seeds
are taken, taken apart where they are compressed, changed as bytes, as text or as numbers, and put together again.
What a reader returns is checked (shape, type, indices in range); what it raises must be an `nnla.errors` error of one
line. A case may take 10 seconds of CPU time, and 1 GiB beyond what the process has. ``--engine atheris`` lets
coverage guide the changes (`pip install atheris`; nothing here needs it). Exit code 1 at the first case that fails.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import lzma
import os
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS, MEMORY = 10, 2**30
KINDS = ("matrix", "vector", "stand", "fasta", "recipe", "recurrence", "probe", "report", "weights")


# --- seeds


def seeds() -> list[tuple[str, bytes]]:
    """Kind of reader and content of small files."""
    return [("matrix", data) for data in matrix_files()] + other_files()


def matrix_files() -> list[bytes]:
    """Valid files of every format that holds a matrix."""
    import scipy.io
    import scipy.sparse as sp

    A = sp.csr_array(np.array([[4.0, -1.25, 0.0], [-1.25, 3.0, 1e-13], [0.0, 1e-13, 5e10]]))
    found: list[bytes] = []

    def written(write: Callable[..., Any], *args: Any, **options: Any) -> bytes:
        stream = io.BytesIO()
        write(stream, *args, **options)
        found.append(stream.getvalue())
        return found[-1]

    text = written(scipy.io.mmwrite, A, symmetry="symmetric")
    written(scipy.io.mmwrite, A)
    written(scipy.io.mmwrite, A.toarray(), symmetry="symmetric")
    found += [
        b"%MatrixMarket matrix coordinate pattern symmetric\r\n% x\r\n3 3 2\r\n1 1\r\n3 1 % y\r\n",
        b"\n  %%MATRIXMARKET MATRIX COORDINATE INTEGER GENERAL\n2 2 2\n1 1 4\n2 2 0.4D+01\n",
        b"%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 4.0+000\n2 2 .4-001",
        "%%MatrixMarket matrix array real general\r2 2\r1\r0\r0\r1".encode("utf-16"),
        b"\xef\xbb\xbf" + text,
    ]
    found += [gzip.compress(text), bz2.compress(text), lzma.compress(text)]
    written(_zipped, {"a.mtx": text, "readme.html": b"x"})
    found.append(gzip.compress(written(_tarred, {"a/a.mtx": text, "a/a_b.mtx": text})))
    hb = io.StringIO()
    scipy.io.hb_write(hb, A.tocsc())
    found += [hb.getvalue().encode(), _RB]
    for M in (A, A.tocsc(), A.tocoo(), A.todia(), A.tobsr((3, 3)), A.astype(np.float32)):
        written(sp.save_npz, M, compressed=M.format != "csr")
    for array in (A.toarray(), np.asfortranarray(A.toarray(), dtype=">f4"), np.eye(3, dtype=np.int8)):
        written(np.save, array)
    for variables in (
        {"K": A.tocsc()},
        {"Problem": {"A": A.tocsc(), "b": np.ones((3, 1))}},
        {"a": A.toarray(), "s": 2},
    ):
        for options in ({}, {"do_compression": True}):
            written(scipy.io.savemat, variables, **options)
    for variables in ({"K": A.tocsc(), "t": "text"}, {"K": A.toarray()}):
        written(scipy.io.savemat, variables, format="4")
    written(scipy.io.savemat, {"B": A.tocsc().astype(bool), "c": np.array([[1, "a"]], dtype=object)})
    return found


_RB = (
    b"title                                                                   key     \n"
    b"             4             1             1             2\n"
    b"rsa                        2             2             3             0\n"
    b"(16I5)          (16I5)          (3D25.17)\n"
    b"    1    3    4\n    1    2    2\n"
    b"  4.00000000000000000D+00 -1.00000000000000000D+00  3.00000000000000000D+00\n"
)


def other_files() -> list[tuple[str, bytes]]:
    """Valid texts, weights and problems."""
    import nnla

    recurrence = nnla.Recurrence.chebyshev(0.1, 2.0, 3).to_json().encode()
    probe = nnla.probe(nnla.problems.poisson1d(8), steps=4).to_json().encode()
    report = nnla.solve(nnla.problems.poisson1d(8), np.ones(8)).report
    recipe = b'name = "x"\ntask = "nnla.training.nsls:NSLSTask"\nseed = 0\nthreads = 1\n[optim]\nsteps = 3\nlr = 1e-3\n'
    recipe += b"warmup = 0.1\nweight_decay = 0\nclip = 1\nlog_every = 1\ncheckpoint_every = 2\n"
    stand = io.BytesIO()
    np.savez(stand, A_indices=np.array([[0, 1], [0, 1]]), A_values=np.ones(2), x=np.ones(2), b=np.ones(2))
    fasta = b">a b\nACGT\nNN\r\n>c\nuu\n"
    found = [("recurrence", recurrence), ("probe", probe), ("report", report.to_json().encode()), ("recipe", recipe)]
    found += [("stand", stand.getvalue()), ("fasta", fasta), ("fasta", gzip.compress(fasta))]
    return found + [("weights", data) for data in _weights()]


def _weights() -> list[bytes]:
    """A small weights file of the shipped kinds: header, config and card are what there is to damage."""
    import nnla

    with tempfile.TemporaryDirectory() as folder:
        found: list[bytes] = []
        for name in ("autospec-eig", "quadratic-transitions", "autospec-cg-paper", "momentum-schedules"):
            path = os.path.join(folder, f"{name}.safetensors")
            nnla.load(name).save(path)
            with open(path, "rb") as stream:
                found.append(stream.read())
        return [data for data in found if len(data) < 400_000]


def _zipped(stream: io.BytesIO, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", kind) as archive:
        warnings.simplefilter("ignore")
        for name, data in members.items():
            archive.writestr(name, data)


def _tarred(stream: io.BytesIO, members: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


# --- changes

NUMBERS = (
    b"0 1 2 3 4 -1 7 64 255 256 65535 65536 2147483647 2147483648 4294967295 9999999999 1e5 1e400 -0.0 nan inf 1D3 "
    b"4.0+001 .5-002 1,5 1e 0x10 1_0 2.0.0 99999999999999999999999"
).split()
WORDS = (
    b"\n \t \r\n % %% real integer pattern complex symmetric general hermitian skew-symmetric array coordinate "
    b'%%MatrixMarket \xef\xbb\xbf \xff\xfe null true {} [] " [[[[ a.b = > N RSA CUA (26I3) (3E25.16) format.npy '
    b"offsets.npy MATLAB Problem \0 \0\0\0\0\0\0\0\0"
).split(b" ")
POWERS = [0, 1, 2, 3, 5, 9, 14, 15, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 1]


def changed(data: bytes, rng: np.random.Generator, other: bytes = b"", depth: int = 0) -> bytes:
    """A file changed in some places; what is compressed is mostly changed inside."""
    if depth < 2 and rng.random() < 0.7:
        inside = _opened(data, rng, other, depth)
        if inside is not None:
            return inside
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 6]))):
        data = _CHANGES[rng.integers(len(_CHANGES))](data, rng, other)
        if len(data) > 2**19:
            data = data[: 2**19]
    return data


def _opened(data: bytes, rng: np.random.Generator, other: bytes, depth: int) -> bytes | None:
    """The same container with changed content; None for what is none."""
    again = {b"\x1f\x8b": (gzip.decompress, gzip.compress), b"BZ": (bz2.decompress, bz2.compress)}
    again[b"\xfd7"] = (lzma.decompress, _xz)
    try:
        if data[:2] in again:
            unpack, pack = again[data[:2]]
            return pack(changed(unpack(data), rng, other, depth + 1))
        if data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            name = sorted(members)[rng.integers(len(members))]
            if rng.random() < 0.1:
                del members[name]
            else:
                members[name] = changed(members[name], rng, other, depth + 1)
            stream = io.BytesIO()
            _zipped(stream, members, int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
            return stream.getvalue()
        if data[124:128] == b"\0\1IM" and struct.unpack_from("<I", data, 128)[0] == 15:
            plain = changed(zlib.decompress(data[136 : 136 + struct.unpack_from("<I", data, 132)[0]]), rng, other, 1)
            packed = zlib.compress(plain)
            return data[:128] + struct.pack("<II", 15, len(packed)) + packed
        if data[8:9] == b"{" and len(data) > 1000:
            end = 8 + int.from_bytes(data[:8], "little")
            header = json.loads(data[8:end])
            meta = header.get("__metadata__", {})
            key = sorted(meta)[rng.integers(len(meta))]
            meta[key] = changed(meta[key].encode(), rng, other[:200], 2).decode("latin-1")
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + data[end:]
    except Exception:
        return None
    return None


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)  # the others take time for their memory


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) + 1))


def _flip(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    if not data:
        return b"\0"
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([rng.integers(256)]) + data[at + 1 :]


def _cut(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 32)) :]


def _repeat(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    at, length = _place(data, rng), int(rng.integers(1, 64))
    return data[:at] + data[at : at + length] * int(rng.choice([2, 2, 3, 50, 2000])) + data[at + length :]


def _insert(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + WORDS[rng.integers(len(WORDS))] + data[at:]


def _number(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Another number in the place of one in the text."""
    import re

    there = list(re.finditer(rb"[-+]?\d+\.?\d*(?:[eEdD][-+]?\d+)?", data[:4096]))
    if not there:
        return _integer(data, rng, other)
    match = there[rng.integers(len(there))]
    return data[: match.start()] + NUMBERS[rng.integers(len(NUMBERS))] + data[match.end() :]


def _word(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    parts = data.split(b" ")
    parts[rng.integers(len(parts))] = WORDS[rng.integers(len(WORDS))]
    return b" ".join(parts)


def _integer(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Another integer of 2, 4 or 8 bytes, mostly where one stands."""
    width = int(rng.choice([2, 4, 8]))
    if len(data) < width:
        return data
    at = int(rng.integers(len(data) - width + 1))
    at -= at % width if rng.random() < 0.8 else 0
    value = POWERS[rng.integers(len(POWERS))] * int(rng.choice([1, 1, 1, -1])) % (1 << 8 * width)
    return data[:at] + value.to_bytes(width, str(rng.choice(["little", "big"]))) + data[at + width :]  # type: ignore


def _splice(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _packed(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """The whole in a container."""
    kind = rng.integers(5)
    if kind < 3:
        return (gzip.compress, bz2.compress, _xz)[kind](data)
    stream = io.BytesIO()
    (_tarred if kind == 3 else _zipped)(
        stream, {"a/a.mtx": data, "a/b.mtx": other} if len(data) % 2 else {"a.rb": data}
    )
    return stream.getvalue()


_CHANGES = (
    _flip,
    _flip,
    _cut,
    _remove,
    _repeat,
    _insert,
    _number,
    _number,
    _word,
    _integer,
    _integer,
    _splice,
    _packed,
)


# --- judgement


class Judge:
    """Runs one reader on one content; raises AssertionError where the promise is broken."""

    def __init__(self, folder: str) -> None:
        import nnla
        from nnla.errors import NNLAError
        from nnla.problems import read_matrix, read_stand, read_vector
        from nnla.problems.gram import read_fasta
        from nnla.training.config import load_recipe

        self.errors, self.path = NNLAError, os.path.join(folder, "fuzz.safetensors")
        text: Callable[[Any], Callable[[str], Any]] = lambda read: lambda path: read(_text(path))  # noqa: E731
        self.readers: dict[str, Callable[[str], Any]] = {
            "matrix": read_matrix,
            "vector": read_vector,
            "stand": read_stand,
            "fasta": read_fasta,
            "recipe": load_recipe,
            "recurrence": text(nnla.Recurrence.from_json),
            "probe": text(nnla.SpectralProbe.from_json),
            "report": text(nnla.Report.from_json),
            "weights": nnla.load,
        }

    def __call__(self, kind: str, data: bytes) -> str:
        """What came of it: "read", or the name of the error."""
        with open(self.path, "wb") as stream:
            stream.write(data)
        try:
            found = self.readers[kind](self.path)
        except self.errors as error:
            said = str(error)
            assert said, "no word of what is wrong"
            assert "\n" not in said, f"no line: {said[:200]!r}"
            assert len(said) < 1500, f"a long line: {said[:200]!r}"
            assert "larger machine" not in said, f"too much memory: {said}"
            return type(error).__name__
        if kind == "matrix":
            assert found.dtype == np.float64
            assert found.shape[0] == found.shape[1] > 0
            found.check_format(full_check=True)
            assert found.nnz == 0 or (found.indices.min() >= 0 and found.indices.max() < found.shape[1])
        elif kind == "vector":
            assert found.dtype == np.float64
            assert found.ndim in (1, 2)
            assert found.size > 0
        elif kind == "recipe":
            assert found["task"].startswith("nnla.training."), found["task"]
        elif kind == "weights":
            repr(found)
        return "read"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def case(files: list[tuple[str, bytes]], seed: int, number: int) -> tuple[str, bytes]:
    """The reader and the content of one case."""
    rng = np.random.default_rng([seed, number])
    kind, data = files[rng.integers(len(files))]
    other = files[rng.integers(len(files))][1]
    if kind == "matrix" and rng.random() < 0.3:
        kind = "vector"
    if rng.random() < 0.02:
        kind = KINDS[rng.integers(len(KINDS))]
    return kind, changed(data, rng, other)


# --- runs


def run(count: int, seed: int, only: int | None, seconds: float = float("inf")) -> int:
    """Cases one by one; the exit code."""
    files, started = seeds(), time.monotonic()
    outcomes: Counter[str] = Counter()

    def late(*_: Any) -> None:
        raise KeyboardInterrupt  # nothing on the way catches it

    signal.signal(signal.SIGPROF, late)  # of CPU time, as a busy machine is no hang
    with open("/proc/self/statm") as stream:
        now = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        judge = Judge(folder)
        for number in range(count) if only is None else [only]:
            kind, data = case(files, seed, number)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcome = judge(kind, data)
            except BaseException as error:
                print(f"FAILED: --seed {seed} --only {number} ({kind}, {len(data)} bytes): {error!r}", flush=True)
                with open(f"fuzz-{seed}-{number}.bin", "wb") as stream:
                    stream.write(data)
                return 1
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            outcomes[f"{kind}: {outcome}"] += 1
            if time.monotonic() - started > seconds:
                break
    total = sum(outcomes.values())
    print(json.dumps({"cases": total, "seconds": round(time.monotonic() - started), "outcomes": dict(outcomes)}))
    return 0


def run_guided(count: int, seed: int) -> None:
    """The same, guided by coverage; libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["nnla.problems", "nnla.training.config", "nnla.registry", "nnla._files"]):
        judge_folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        judge = Judge(judge_folder)
    files = seeds()
    corpus = tempfile.mkdtemp(dir=judge_folder)
    for number, (kind, data) in enumerate(files):
        with open(os.path.join(corpus, f"{number}"), "wb") as stream:
            stream.write(bytes([KINDS.index(kind)]) + data)

    def one(content: bytes) -> None:
        if content:
            judge(KINDS[content[0] % len(KINDS)], content[1:])

    def mutate(content: bytes, largest: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if rng.random() < 0.3:
            return atheris.Mutate(content, largest)
        other = files[rng.integers(len(files))][1]
        return content[:1] + changed(content[1:], rng, other)[: largest - 1]

    options = [
        f"-runs={count}",
        f"-seed={seed + 1}",
        f"-timeout={12 * SECONDS}",
        "-rss_limit_mb=1500",
        "-max_len=524288",
    ]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", corpus], one, custom_mutator=mutate)
    atheris.Fuzz()


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--engine", choices=["own", "atheris"], default="own")
    options = parser.parse_args(words)
    warnings.simplefilter("ignore")
    if options.engine == "atheris":
        run_guided(options.count, options.seed)
    return run(options.count, options.seed, options.only)


if __name__ == "__main__":
    sys.exit(main())
