"""The differential fuzz: a fixed part of it, and that its judges find faults."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import nnla

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are not part of this distribution")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


# what a few seconds allow; `python benchmarks/fuzz.py` has the rest
FIXED = {
    "solve": 160, "torch": 6, "prepare": 25, "precondition": 20, "refuse": 60, "eigsh": 40, "funm": 20, "matfun": 20,
    "polar": 10, "root": 10, "rational": 2, "matrix_function": 2, "read": 60, "json": 40, "weights": 15, "threads": 2,
}  # fmt: skip


@pytest.mark.parametrize("kind", FIXED)
def test_a_fixed_part(kind):
    from fuzzing.cases import FAILURES
    from fuzzing.residuals import EXTENDED
    from fuzzing.workers import judge

    if not EXTENDED:
        pytest.skip("no extended precision here, in which the fuzz judges")
    if kind == "torch":
        pytest.importorskip("torch")
    results = [judge(kind, seed) for seed in range(FIXED[kind])]
    failed = [f"{r.outcome} {r.name} {r.text}: {r.why}" for r in results if r.outcome in FAILURES]
    assert not failed, "\n".join(failed)
    outcomes = Counter(r.outcome for r in results)
    assert outcomes["right"] or kind == "refuse"


def test_cases_are_functions_of_kind_and_seed():
    from fuzzing.kinds import KINDS, draw_cases

    assert set(FIXED) == set(KINDS)
    for kind, make in KINDS.items():
        if kind not in ("torch", "polar"):  # they load torch, which takes its time
            one, two, other = make(3), make(3), make(4)
            assert one.text == two.text
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one.arrays, two.arrays, strict=True))
            assert other.text != one.text or kind in ("json", "weights", "read", "threads")
    assert list(draw_cases(50, 7)) == list(draw_cases(50, 7))
    assert {kind for kind, _ in draw_cases(20, 0, ("read", "json"))} == {"read", "json"}


def easy_case():
    """A solve of a well-conditioned system."""
    from fuzzing.answers import judge_solution
    from fuzzing.cases import Case
    from fuzzing.matrices import draw_matrix
    from fuzzing.systems import System

    M = draw_matrix(np.random.default_rng(0), "grid", 30)
    b = np.ones(M.n)
    S = System(M, M.A, "csr", M.A, "ones", b, b, True, True, 0.0, "")

    def judge(answer, warned):
        return judge_solution(S, answer.x, answer.report, {}, True, [])

    return Case("an easy one", lambda: nnla.solve(M.A, b, method="cg"), judge, [M.A.data, b])


FAULTS = {
    "x": "wrong", "status": "wrong", "residual": "wrong", "shape": "wrong", "nan": "wrong", "lost": "missed",
    "crash": "raw", "base": "raw", "message": "wrong", "refused": "missed", "input": "touched", "warning": "warned",
    "hang": "hang",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_judge_finds_faults(monkeypatch, fault):
    """A judge that never finds anything would pass everything."""
    from fuzzing.cases import carry_out

    case = easy_case()
    assert carry_out(case) == ("right", "")
    real = nnla.solve

    def faulty(A, b, **options):
        x, report = real(A, b, **options)
        if fault == "x":
            x = x * (1 + 1e-6)
        elif fault == "status":
            report = dataclasses.replace(report, status="stagnation")
        elif fault == "residual":
            report = dataclasses.replace(report, converged=False, status="stagnation", relative_residual=0.5)
        elif fault == "lost":
            x, report = x * 0, dataclasses.replace(report, converged=False, status="maxiter", relative_residual=1.0)
        elif fault == "shape":
            x = x[:, None]
        elif fault == "nan":
            x = x * np.nan
        elif fault == "crash":
            raise ZeroDivisionError
        elif fault == "base":
            raise nnla.errors.NNLAError("nobody knows")
        elif fault == "message":
            raise nnla.errors.OptionError("")  # without a word
        elif fault == "refused":
            raise nnla.errors.OptionError("not today")
        elif fault == "input":
            b *= 2
        elif fault == "warning":
            warnings.warn("overflow encountered", RuntimeWarning, stacklevel=1)
        elif fault == "hang":
            time.sleep(5)
        return nnla.Solution(x, report)

    monkeypatch.setattr(nnla, "solve", faulty)
    outcome, why = carry_out(case, 0.05 if fault == "hang" else 10.0)
    assert outcome == FAULTS[fault], why
    assert why


DYING = """
import os, signal
from fuzzing.workers import Result

def judge(kind, seed, limit):
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Result(kind, seed, "right", "", 0.0, "")
"""


@pytest.mark.skipif(os.name != "posix", reason="a process kills itself by a signal")
def test_a_crash_costs_its_case_and_no_other(tmp_path, monkeypatch):
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(str(tmp_path))
    from dying import judge
    from fuzzing.workers import run_all

    tally = run_all(iter([("json", seed) for seed in range(5)]), jobs=1, judge=judge)
    assert tally.total == 5
    (lost,) = tally.failures
    assert (lost.name, lost.outcome) == ("json:2", "crash")


def test_the_command(monkeypatch, capsys):
    import fuzz
    from fuzzing.workers import Result

    found = Result("read", 3, "wrong", "the matrix read is not the one written", 0.1, "read market")
    monkeypatch.setattr(fuzz, "judge", lambda kind, seed, limit: found)
    assert fuzz.main(["--replay", "read:3"]) == 1
    assert "wrong" in capsys.readouterr().out
    tally = fuzz.Tally()
    tally.add(found)
    assert "read" in fuzz.table(tally)
