"""Polynomials of a matrix in slices against the reference in NumPy: any pattern, recurrence, precision and block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nnla
from nnla.kernels import native
from nnla.kernels.system import native_layers
from nnla.polynomials.classical import chebyshev4, leja_order
from nnla.polynomials.design import design_polynomial
from nnla.polynomials.recurrence import Recurrence, chebyshev

pytestmark = pytest.mark.usefixtures("native_kernels")

SIZES = (1, 2, 15, 16, 17, 33, 100, 257, 1000)
RECURRENCES = ("chebyshev", "chebyshev4", "roots", "gmres", "least-squares", "richardson", "neumann")
KINDS = {"float64": ("64", 2.0**-53), "float32": ("32", 2.0**-24), "bfloat16": ("16", 2.0**-9)}  # and its rounding
fixture_is_a_function = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def recurrence_of(kind: str, degree: int) -> Recurrence:
    if kind == "chebyshev":
        return chebyshev(0.05, 1.02, degree)
    if kind == "chebyshev4":
        return chebyshev4(1.02, degree)
    if kind == "roots":
        t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        return Recurrence.from_roots(leja_order(0.535 + 0.485 * t))
    probe = nnla.probe(nnla.problems.poisson2d(12), 40)
    design = design_polynomial(probe, method=kind, degree=degree)
    r = design.recurrence  # made for [0, 8]: move it to [0, 1]
    return Recurrence(r.rho, r.gamma, r.eta, r.alpha, r.beta, (0.0, 1.0), r.shift / 8, r.scale / 8)


def native_polynomial(A, recurrence, dtype, scale=None, near=1 << 20, far=8 << 20):
    size = KINDS[dtype][0]
    matrix = getattr(native, f"Matrix{size}")(A.indptr, A.indices, A.data, scale)
    layers = native_layers(recurrence)
    return None if layers is None else getattr(native, f"Polynomial{size}")(matrix, *layers, scale, near, far)


def apply(polynomial, r):
    z = np.full_like(r, np.nan)
    if r.ndim == 1:
        polynomial.apply(r, z)
    else:
        polynomial.apply_block(r, z)
    return z


@pytest.mark.parametrize("dtype", KINDS)
@given(data=st.data())
@settings(fixture_is_a_function, max_examples=100)
def test_polynomials_against_the_reference(pattern_matrix, patterns, dtype, data):
    pattern, n = data.draw(st.sampled_from(patterns)), data.draw(st.sampled_from(SIZES))
    A = pattern_matrix(pattern, n, data.draw(st.integers(0, 99)), data.draw(st.booleans()))
    recurrence = recurrence_of(data.draw(st.sampled_from(RECURRENCES)), data.draw(st.integers(1, 40)))
    rng = np.random.default_rng(n)
    r = rng.standard_normal(n)
    scale, inner, inside = None, A, r
    if data.draw(st.booleans()):  # of any size: what is inside has the spectrum of A
        scale = rng.uniform(0.5, 2.0, n) * 10.0 ** data.draw(st.integers(-9, 9))
        A, inside = A.copy(), scale * r
        A.data /= scale[A.indices] * np.repeat(scale, np.diff(A.indptr))
    polynomial = native_polynomial(A, recurrence, dtype, scale)
    if polynomial is None:
        assert not recurrence.starts_with_product
        return
    got = apply(polynomial, r)
    assert np.array_equal(got, apply(polynomial, r))
    got /= 1.0 if scale is None else scale
    expected = recurrence.apply(inner, inside)
    # Every step rounds once by the size of the polynomial, and so does the reference.
    size = np.abs(recurrence(np.linspace(0, 1, 400))).max() * np.linalg.norm(inside)
    assert np.linalg.norm(got - expected) <= 8 * (recurrence.degree + 2) * KINDS[dtype][1] * size
