"""Sixty cases of ``benchmarks/fuzz_solve.py``: none silently wrong, none crashing, none hanging."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_solve.py"


@pytest.fixture(scope="module")
def fuzz():
    if not SCRIPT.is_file():
        pytest.skip("the benchmarks are not part of this distribution")
    import sys

    spec = importlib.util.spec_from_file_location("fuzz_solve", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_solve"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz_solve"]


def test_sixty_cases(fuzz):
    summary = fuzz.run(60, seed=20, limit=20.0)
    assert summary["failures"] == []
    assert summary["count"] == 60
    assert summary["totals"]["solved"] >= 12
    assert summary["totals"]["error"] >= 15
    assert set(summary["by_method"]) == set(fuzz.METHODS)
    assert len(summary["by_kind"]) == len(fuzz.KINDS) + len(fuzz.OTHER_KINDS)
    assert "spd_sparse" in fuzz.table(summary)


def test_cases_are_functions_of_seed_and_index(fuzz):
    one, two = fuzz.make_case(3, 0), fuzz.make_case(3, 0)
    assert str(one) == str(two)
    assert np.array_equal(one.b, two.b)
    assert str(one) != str(fuzz.make_case(4, 0))


def spd_case(fuzz):
    A = fuzz.random_matrix("spd_sparse", 40, 0)
    return fuzz.Case(0, "spd_sparse", "csr", "one", "cg", A, A.copy(), np.ones(40), {"rtol": fuzz.RTOL})


@pytest.mark.parametrize("fault", ["x", "status", "residual", "shape", "nan", "crash", "message", "input", "hang"])
def test_the_judge_finds_faults(fuzz, monkeypatch, fault):
    """A judge that never finds anything would pass everything."""
    import dataclasses
    import time

    import nnla

    case = spd_case(fuzz)
    assert fuzz.judge(case, 20.0) == ("solved", "")
    real = nnla.solve

    def faulty(A, b, **options):
        x, report = real(A, b, **options)
        if fault == "x":
            x = x * (1 + 1e-6)
        elif fault == "status":
            report = dataclasses.replace(report, status="stagnation")
        elif fault == "residual":
            report = dataclasses.replace(report, converged=False, status="stagnation", relative_residual=0.5)
        elif fault == "shape":
            x = x[:, None]
        elif fault == "nan":
            x = x * np.nan
        elif fault == "crash":
            raise ZeroDivisionError
        elif fault == "message":
            raise nnla.errors.OptionError("two\nlines")
        elif fault == "input":
            b *= 2
        elif fault == "hang":
            time.sleep(5)
        return x, report

    monkeypatch.setattr(nnla, "solve", faulty)
    outcome, why = fuzz.judge(case, 0.2 if fault == "hang" else 20.0)
    assert outcome == {"crash": "crash", "hang": "hang"}.get(fault, "wrong")
    assert why
