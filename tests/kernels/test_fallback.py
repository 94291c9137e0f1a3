"""Without the native kernels: the same answers from NumPy and SciPy, and somebody says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnla

CODE = """
import importlib.util, json, sys
if sys.argv[1] != "switched off":
    import importlib.abc
    class Blocked(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "nnla.kernels._native":
                raise (ModuleNotFoundError if sys.argv[1] == "absent" else ImportError)("undefined symbol: moon")
    sys.meta_path.insert(0, Blocked())
import numpy as np, nnla
from nnla import kernels
A = nnla.problems.poisson2d(40)
b = np.ones(A.shape[0])
methods = ["auto", "cg", "jacobi", "autospec", "ic", "direct"] + (["amg"] if importlib.util.find_spec("pyamg") else [])
reports = [nnla.solve(A, b, method=m).report for m in methods]
hidden = kernels.native is None and "nnla.kernels._native" not in sys.modules
print(json.dumps([hidden, kernels.why_not, [m for m, r in zip(methods, reports) if not r.converged]]))
"""


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("switched off", "NNLA_NATIVE=0"),
        ("absent", "not built"),
        ("broken", "cannot be loaded: undefined symbol: moon"),
    ],
)
def test_solves_go_on_and_the_reason_is_known(how, reason):
    environment = os.environ | {"PYTHONPATH": str(Path(nnla.__file__).parents[1])}
    environment["NNLA_NATIVE"] = "0" if how == "switched off" else "1"
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    hidden, why_not, failed = json.loads(done.stdout)
    assert hidden  # nobody has loaded them past the switch either
    assert reason in why_not
    assert failed == []
