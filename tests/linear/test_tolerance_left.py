"""What an engine is asked for: the reduction that is still to come when the probe has ended, not the whole of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnla

STEPS = 30


class Recording:
    """The shipped engine, which remembers the tolerances that it was asked for."""

    def __init__(self) -> None:
        self.engine = nnla.load("autospec-cg")
        self.asked: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def choose(self, probe: Any, *, degree: int = 11, rtol: float = 1e-8) -> Any:
        self.asked.append(rtol)
        return self.engine.choose(probe, degree=degree, rtol=rtol)


@pytest.fixture(scope="module")
def system() -> tuple[Any, np.ndarray]:
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((64, 64), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


def asked(A: Any, b: np.ndarray, **options: Any) -> tuple[float, float]:
    """What the engine was asked for, each time the same, and the relative residual that the probe had left then."""
    engine = Recording()
    report = nnla.solve(A, b, engine=engine, **{"method": "autospec", "probe_steps": STEPS, **options}).report
    assert report.probe_iterations == STEPS
    assert engine.asked == pytest.approx(engine.asked[:1] * len(engine.asked), rel=1e-6)
    return engine.asked[0], report.residual_history[STEPS - 1]


@pytest.mark.parametrize("rtol", [1e-6, 1e-10])
def test_what_the_probe_has_gained_is_not_asked_for_again(system, rtol):
    found, left = asked(*system, rtol=rtol)
    assert left < 0.5  # the probe gained something
    assert found == pytest.approx(rtol / left, rel=1e-6)


def test_nor_is_what_the_start_was_worth(system):
    A, b = system
    x0 = nnla.solve(A, b, rtol=1e-5, method="jacobi").x
    found, left = asked(A, b, x0=x0)
    assert left < 1e-4
    assert found == pytest.approx(1e-8 / left, rel=1e-6)


def test_an_absolute_tolerance_counts(system):
    A, b = system
    atol = 1e-5 * float(np.linalg.norm(b))
    found, left = asked(A, b, atol=atol)
    assert found == pytest.approx(1e-5 / left, rel=1e-6)


def test_of_several_right_hand_sides_the_worst_counts(system):
    A, b = system
    easy = A @ np.cos(np.arange(b.size))  # its residual falls faster
    found, left = asked(A, np.stack([1e6 * easy, b, np.zeros_like(b)], axis=1))
    alone, left_alone = asked(A, b)
    assert left == pytest.approx(left_alone, rel=1e-6)
    assert found == pytest.approx(alone, rel=1e-6)


def test_never_less_than_a_half_nor_more_than_float64_holds(system):
    A, b = system
    history = nnla.solve(A, b, method="jacobi", rtol=1e-12).report.residual_history[:STEPS]
    found, _ = asked(A, b, rtol=0.9 * min(history))
    assert found == 0.5
    found, _ = asked(A, b, rtol=1e-25, maxiter=1)
    assert found == 1e-15


def test_auto_asks_for_the_same(system, prices):
    prices(autospec=1.0)
    found, left = asked(*system, method="auto")
    assert found == pytest.approx(1e-8 / left, rel=1e-6)
