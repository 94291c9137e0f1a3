"""Difference formulas: order, the slopes in c, the law n e^-C, and the rounding that ends both."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnla.constructions import SCHEMES, default_sink, default_step, head_scheme, operation
from nnla.errors import DTypeError, OptionError


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_weights_are_a_derivative_of_the_stated_order(scheme):
    moments = [
        sum(w * t**k for t, w in zip(scheme.nodes, scheme.weights, strict=True)) for k in range(scheme.order + 2)
    ]
    np.testing.assert_allclose(moments[: scheme.order + 1], np.eye(scheme.order + 1)[1], atol=1e-13)
    # the stated constant: the next moment over its factorial
    assert abs(moments[-1]) / math.factorial(scheme.order + 1) == pytest.approx(scheme.constant, rel=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_the_truncation_bounds_the_formula(scheme):
    for x in (0.01, 0.3, 1.0, 2.0):
        for z in (x, -x):
            value = sum(w * math.exp(t * z) for t, w in zip(scheme.nodes, scheme.weights, strict=True)) / z
            assert abs(value - 1) <= scheme.truncation(1.0, x) * (1 + 1e-9) + 1e-13


def error(name, n=20, count=20, **options):
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, count, n, n))
    Y = operation(name, n, **options).run(A=A, B=B)["Y"]
    exact = A.swapaxes(-1, -2) @ B
    return np.linalg.norm(Y - exact, axis=(1, 2)).max() / np.linalg.norm(exact, axis=(1, 2)).min()


# where truncation rules: far above the best step
STEPS = {"paper": (1e-3, 1e-4), "central": (0.3, 0.03), "four": (2.0, 0.5), "eight": (6.0, 4.0)}


@pytest.mark.parametrize("name", SCHEMES)
def test_the_error_falls_with_the_order_of_the_scheme(name):
    large, small = STEPS[name]
    slope = math.log(error("AtB", heads=name, c=large) / error("AtB", heads=name, c=small)) / math.log(large / small)
    assert slope == pytest.approx(SCHEMES[name].order, rel=0.06)


def test_below_the_best_step_rounding_grows_like_one_over_c():
    slope = math.log10(error("AtB", c=1e-9) / error("AtB", c=1e-7)) / 2
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("n", [5, 20, 60])
@pytest.mark.parametrize("C", [9.0, 12.0, 16.0])
def test_the_sink_leaves_n_exp_minus_C(n, C):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((10, n))
    y = operation("vector_transpose", n, heads="eight", C=C).run(a=a)["y"]
    relative = np.linalg.norm(y - a, axis=1) / np.linalg.norm(a, axis=1)
    # n e^-C, and as much again from the sum of the scores where it is not small
    assert 0.9 * n * math.exp(-C) < relative.max() < 2.5 * n * math.exp(-C)


def test_a_larger_sink_than_the_default_gains_nothing():
    best = error("AtB")
    assert error("AtB", C=60.0) > 0.5 * best
    assert error("AtB", C=24.0) > 1.2 * best


def test_options_are_checked():
    with pytest.raises(OptionError, match="central"):
        head_scheme("three")
    with pytest.raises(DTypeError, match="float16"):
        default_sink(np.float16)
    assert default_sink() == 36.0
    assert default_step("central", np.float32) > 100 * default_step("central")
