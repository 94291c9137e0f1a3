"""The native module built with sanitizers, and everything it binds called on every awkward pattern.

Slow (a build, half a minute of processor time each): NNLA_SANITIZERS=0 leaves them out.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
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


def build(folder, sanitizers):
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_CXX_COMPILER=g++"]
    configure += ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-DNNLA_SANITIZE={sanitizers}"]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
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
def addresses(tmp_path_factory):
    return library("libasan.so"), build(tmp_path_factory.mktemp("address"), "address,undefined")


def test_no_invalid_access_and_no_undefined_behaviour(addresses):
    preload, module = addresses
    done = under(preload, SCRIPT, module)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "exercised" in done.stdout


def test_the_sanitizer_would_have_seen_it(addresses):
    """Arrays that promise more than they hold are for the Python wrappers to refuse; raw, they must be seen."""
    preload, module = addresses
    code = (
        "import importlib.util, sys, numpy as np\n"
        "spec = importlib.util.spec_from_file_location('_native', sys.argv[1])\n"
        "native = importlib.util.module_from_spec(spec); spec.loader.exec_module(native)\n"
        "native.locality(np.array([0, 5000], np.int32), np.zeros(3000, np.int32), 8)"
    )
    done = under(preload, "-c", code, module)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr


def test_no_data_race(tmp_path):
    preload = library("libtsan.so")
    # GCC's runtime cannot place its shadow memory where addresses are randomised as widely as in new kernels.
    prefix = ("setarch", platform.machine(), "-R")
    if shutil.which("setarch") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("cannot switch off the randomisation of addresses")
    if under(preload, "-c", "pass", prefix=prefix).returncode:
        pytest.skip("ThreadSanitizer does not run here")
    module = build(tmp_path, "thread")
    done = under(preload, SCRIPT, module, 3, prefix=prefix, threads=3)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "exercised" in done.stdout
