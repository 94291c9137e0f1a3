"""The test suites of SciPy's and PyAMG's own functions, run with nnla in their place.

The suites are read from the installed packages; ours are the shims. One run of pytest in a process of its own serves
all tests here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from suites import SUITES

import nnla

HERE = Path(__file__).resolve().parent


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Outcome and reason of every test, by suite."""
    folder = tmp_path_factory.mktemp("peers")
    (folder / "pytest.ini").write_text("[pytest]\n")
    out = folder / "outcomes.json"
    paths = [str(HERE), str(Path(nnla.__file__).parents[1])]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-p", "peers_plugin", "-p", "no:cacheprovider"]
    command += ["-q", "--no-header", "--tb=short", "--pyargs", *filter(_installed, SUITES)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths), "NNLA_PEERS_OUT": str(out)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert out.is_file(), (done.stdout + done.stderr)[-3000:]
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for name, outcome in json.loads(out.read_text()).items():
        module, _, test = name.partition("::")
        found.setdefault(module, {})[test] = tuple(outcome)
    return found


@pytest.mark.parametrize("module", SUITES)
def test_no_failure_but_those_listed(module, outcomes):
    if not _installed(module):
        pytest.skip(f"{module} is not installed; some packages come without their tests")
    suite, results = SUITES[module], outcomes[module]
    expected = {test for test in results for pattern in suite.fails if fnmatchcase(test, pattern)}
    failed = {test for test, (outcome, _) in results.items() if outcome == "failed"}
    assert not {test: results[test] for test in failed - expected}, "not listed in suites.py"
    assert not expected - failed, "listed in suites.py, and no longer failing"
    for pattern in suite.fails:
        assert any(fnmatchcase(test, pattern) for test in results), f"{pattern} matches no test"
    passed = [test for test, (outcome, _) in results.items() if outcome == "passed"]
    assert len(passed) >= suite.least
