"""The native module built with sanitizers, and everything it binds called on every awkward pattern.

The builds take a minute of processor time each and are kept in pytest's cache until a source changes. NNLA_SANITIZERS=0
leaves these tests out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "sanitized" / "exercise.py"

if os.environ.get("NNLA_SANITIZERS") == "0":
    pytest.skip("switched off by NNLA_SANITIZERS=0", allow_module_level=True)
if not sys.platform.startswith("linux"):
    pytest.skip("preloads the sanitizers of GCC on Linux", allow_module_level=True)
if not (ROOT / "CMakeLists.txt").is_file() or importlib.util.find_spec("nanobind") is None:
    pytest.skip("needs the source tree and nanobind", allow_module_level=True)
for tool in ("cmake", "ninja", "g++"):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed", allow_module_level=True)


def library(name):
    """The sanitizer's shared library, or a skip."""
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(found):
        pytest.skip(f"GCC has no {name} here")
    return found


def fingerprint(sanitizers: str) -> str:
    """Of everything that a build depends on: sources, compiler, nanobind and Python."""
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    tools = (sanitizers, compiler, sys.version, sys.executable, importlib.metadata.version("nanobind"))
    found = hashlib.sha256("\n".join(tools).encode())
    for path in (ROOT / "CMakeLists.txt", *sorted((ROOT / "native").iterdir())):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:32]


@pytest.fixture(scope="module")
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where builds are kept: pytest's cache, where that is not switched off."""
    cache = getattr(request.config, "cache", None)
    return tmp_path_factory.mktemp("sanitizers") if cache is None else cache.mkdir("sanitizers")


def built(shelf: Path, sanitizers: str) -> Path:
    """The module with these sanitizers, built where the sources are not those of the last time.

    Workers of pytest-xdist that ask at the same time wait for the one that builds.
    """
    import fcntl  # not on Windows

    with open(shelf / f"{sanitizers}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = fingerprint(sanitizers)
        module = shelf / f"{sanitizers}-{key}.so"
        if not module.is_file():
            for old in shelf.glob(f"{sanitizers}-*"):
                old.unlink()
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(build(Path(folder), sanitizers), module.with_suffix(".part"))
            module.with_suffix(".part").rename(module)
    return module


def build(folder: Path, sanitizers: str) -> Path:
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_CXX_COMPILER=g++"]
    configure += ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-DNNLA_SANITIZE={sanitizers}"]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (module,) = folder.glob("_native*.so")
    return module


def under(preload, *arguments, prefix=(), threads=1):
    import nnla

    environment = os.environ | {
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python never frees what it holds at exit
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "exitcode=66",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(nnla.__file__).parents[1]),
        "PYTHONMALLOC": "malloc",  # not Python's arenas, in which overruns go unseen
    }
    command = [*prefix, sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)


@pytest.fixture(scope="module")
def addresses(shelf):
    # the runtime looks for the function that throws before Python loads a library of C++
    return f"{library('libasan.so')} {library('libstdc++.so.6')}", built(shelf, "address,undefined")


def test_no_invalid_access_and_no_undefined_behaviour(addresses):
    preload, module = addresses
    done = under(preload, SCRIPT, module)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "exercised" in done.stdout


def test_the_sanitizer_would_have_seen_it(addresses):
    """Arrays that change after they were checked are beyond any check; the sanitizer must see what is read then."""
    preload, module = addresses
    code = (
        "import importlib.util, sys, numpy as np\n"
        "spec = importlib.util.spec_from_file_location('_native', sys.argv[1])\n"
        "native = importlib.util.module_from_spec(spec); spec.loader.exec_module(native)\n"
        "indices = np.arange(9, dtype=np.int32)\n"
        "A = native.Product.csr(np.arange(10, dtype=np.int32), indices, np.ones(9))\n"
        "indices[4] = 3000\n"
        "native.ConjugateGradients(A, None, None).run(np.zeros(9), np.ones(9), 0.0, 1, 0, False, True)"
    )
    done = under(preload, "-c", code, module)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr


def test_no_data_race(shelf):
    preload = library("libtsan.so")
    # GCC's runtime cannot place its shadow memory where addresses are randomised as widely as in new kernels.
    prefix = ("setarch", platform.machine(), "-R")
    if shutil.which("setarch") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("cannot switch off the randomisation of addresses")
    if under(preload, "-c", "pass", prefix=prefix).returncode:
        pytest.skip("ThreadSanitizer does not run here")
    module = built(shelf, "thread")
    done = under(preload, SCRIPT, module, 3, prefix=prefix, threads=3)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "exercised" in done.stdout
