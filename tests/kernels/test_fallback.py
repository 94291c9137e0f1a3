"""Without the native kernels: the same answers from NumPy and SciPy, and somebody says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnla

CODE = """
import json, sys
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
methods = ["auto", "cg", "jacobi", "autospec", "ic", "direct"]
reports = [nnla.solve(A, b, method=m).report for m in methods]
print(json.dumps([kernels.native is None, kernels.why_not, all(r.converged for r in reports)]))
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
    absent, why_not, converged = json.loads(done.stdout)
    assert absent
    assert reason in why_not
    assert converged
