"""The programs compute the polynomials that they stand for, and those are the best of their degree."""

import numpy as np
import pytest

pytest.importorskip("torch")

from nnla.errors import OptionError
from nnla.extensions.minimax import learned_stage, odd_minimax
from nnla.interop.torch.transitions import from_powers, transition


@pytest.mark.parametrize("degree", [3, 5, 9, 17])
@pytest.mark.parametrize("ratio", [1e-4, 7e-3, 0.1, 0.3, 0.55])
def test_the_image_is_the_one_that_is_said(degree, ratio):
    step = transition(degree, 3 * ratio, 3.0)
    values = step(np.geomspace(3 * ratio, 3.0, 50_001))
    assert abs(values.min() - step.low) < 1e-5
    assert abs(values.max() - step.high) < 2e-5
    assert step.at_zero == pytest.approx(float(step(np.array([1e-9]))[0]) / 1e-9, rel=1e-9)


@pytest.mark.parametrize("ratio", [1e-3, 0.05, 0.2, 0.5])
def test_degree_17_equioscillates(ratio):
    """Ten extremes of the same size and alternating signs: no other polynomial of the degree is better."""
    step = transition(17, ratio)
    x = np.concatenate(
        [np.geomspace(ratio, 1, 40_001), 0.5 * (1 + ratio) - 0.5 * (1 - ratio) * np.cos(np.linspace(0, np.pi, 40_001))]
    )
    off = step(np.sort(x)) - 1
    error = step.high - 1
    large = off[np.abs(off) > (1 - 1e-4) * error]
    assert 1 + np.count_nonzero(np.diff(np.sign(large))) == 10


@pytest.mark.parametrize("degree", [3, 5, 9])
def test_programs_are_those_of_the_extension(degree):
    p, step = odd_minimax(degree, 0.1), transition(degree, 0.1)
    x = np.linspace(0, 1, 101)
    np.testing.assert_allclose(step(x), p(x), atol=1e-11)


def test_degree_17_is_better_than_the_learned_one():
    learned = learned_stage(0.2)
    assert learned is not None
    assert transition(17, 0.2).high - 1 < 0.6 * learned.error


def test_the_variable_keeps_numbers_small():
    """In powers of T the coefficients of degree 9 reach 585 at this ratio."""
    assert max(map(abs, odd_minimax(9, 7e-3))) > 500
    assert max(map(abs, transition(9, 7e-3).program)) < 30


def test_coefficients_as_published():
    step = from_powers((3.4445, -4.775, 2.0315), 0.0, 1.2)
    x = np.linspace(0.01, 1.2, 7)
    np.testing.assert_allclose(step(x), 3.4445 * x - 4.775 * x**3 + 2.0315 * x**5, atol=1e-12)


@pytest.mark.parametrize("arguments", [(4, 0.1), (5, 0.0), (5, 2.0), (17, 0.95), (3, 0.1, np.inf)])
def test_bad_intervals(arguments):
    with pytest.raises(OptionError):
        transition(*arguments)
