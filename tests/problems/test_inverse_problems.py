"""Hansen's problems against SciPy's adaptive quadrature of their kernels, and against what is published of them."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import nnla
from nnla.errors import NNLAError, OptionError
from nnla.problems import INVERSE_PROBLEMS, inverse_problem
from nnla.problems.inverse_problems import baart, deriv2, foxgood, gravity, heat, phillips, shaw

GALERKIN = {
    "deriv2(1)": lambda n: deriv2(n),
    "deriv2(2)": lambda n: deriv2(n, 2),
    "deriv2(3)": lambda n: deriv2(n, 3),
    "phillips": phillips,
    "baart": baart,
}
MIDPOINT = {
    "shaw": shaw,
    "gravity(1)": lambda n: gravity(n),
    "gravity(2)": lambda n: gravity(n, 2, 0.1),
    "gravity(3)": lambda n: gravity(n, 3, 0.5),
    "heat": heat,
    "heat(5)": lambda n: heat(n, 5.0),
    "foxgood": foxgood,
}
ALL = GALERKIN | MIDPOINT


def integral(f, low, high, breaks=()):
    """An integral by SciPy, piece by piece between the points where f is not smooth."""
    ends = [low, *sorted(p for p in breaks if low < p < high), high]
    return sum(quad(f, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in pairwise(ends))


def kinks(name, s):
    """Where K(s, .) f is not smooth."""
    own = {"deriv": [s, 0.5], "phill": [s - 3, s + 3, -3, 3], "gravi": [1 / 3, 7 / 8], "heat": [0.1, 0.15, 0.5, s]}
    return own.get(name[:5], own.get(name[:4], []))


@pytest.mark.parametrize("name", GALERKIN)
def test_galerkin_entries_are_integrals_of_kernel_and_box_functions(name):
    n = 8
    p = GALERKIN[name](n)
    assert p.galerkin
    assert not p.consistent
    s_edges, t_edges = np.linspace(*p.s_range, n + 1), np.linspace(*p.t_range, n + 1)
    assert p.s == pytest.approx((s_edges[1:] + s_edges[:-1]) / 2)
    assert p.t == pytest.approx((t_edges[1:] + t_edges[:-1]) / 2)
    scale = 1 / np.sqrt((s_edges[1] - s_edges[0]) * (t_edges[1] - t_edges[0]))

    def row(s, j):
        return integral(lambda t: float(p.kernel(s, t)), t_edges[j], t_edges[j + 1], kinks(name, s))

    for i, j in ((0, 0), (3, 3), (7, 7), (2, 3), (3, 2), (2, 4), (4, 2), (6, 3), (0, 7), (7, 0)):
        wanted = scale * integral(lambda s, j=j: row(s, j), s_edges[i], s_edges[i + 1])
        assert p.A[i, j] == pytest.approx(wanted, rel=1e-10, abs=1e-13 * np.abs(p.A).max())


@pytest.mark.parametrize("name", GALERKIN)
def test_galerkin_vectors_are_projections(name):
    p = GALERKIN[name](8)
    for vector, f, ends in ((p.x, p.solution, p.t_range), (p.b, p.data, p.s_range)):
        edges = np.linspace(*ends, 9)
        for i in range(8):
            wanted = integral(lambda v, f=f: float(f(v)), edges[i], edges[i + 1]) / np.sqrt(edges[1] - edges[0])
            assert vector[i] == pytest.approx(wanted, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("name", [*GALERKIN, "foxgood"])
def test_the_data_are_the_integral_of_the_solution(name):
    p = ALL[name](8)
    low, high = p.s_range
    for s in (low, *np.linspace(low, high, 7)[1:-1], low + 1e-9, high):
        assert float(p.data(s)) == pytest.approx(applied(p, name, s), abs=1e-10)


@pytest.mark.parametrize("name", MIDPOINT)
def test_midpoint_entries_are_values_of_the_kernel(name):
    n = 24
    p = MIDPOINT[name](n)
    low, high = p.t_range
    h = (high - low) / n
    assert p.t == pytest.approx(low + h * (np.arange(n) + 0.5))
    assert p.s == pytest.approx(p.t + h / 2 if name.startswith("heat") else p.t)
    for i in range(0, n, 5):
        for j in range(n):
            assert p.A[i, j] == pytest.approx(h * float(p.kernel(p.s[i], p.t[j])), rel=1e-13)
    assert p.x == pytest.approx(p.solution(p.t))
    assert p.consistent == (name != "foxgood")
    assert p.b == pytest.approx(p.A @ p.x if p.consistent else p.data(p.s), rel=1e-14)


def applied(p, name, s):
    return integral(lambda t: float(p.kernel(s, t) * p.solution(t)), *p.t_range, kinks(name, s))


@pytest.mark.parametrize("name", ALL)
def test_a_times_x_converges_to_the_integral_of_the_solution(name):
    """Of second order; f of gravity(3) jumps between two of the cells."""
    errors = []
    for n in (96, 192):
        p = ALL[name](n)
        size = np.sqrt((p.s_range[1] - p.s_range[0]) / n) if p.galerkin else 1.0
        rows = range(n // 7, n, n // 7)
        wanted = np.array([applied(p, name, s) for s in p.s[list(rows)]])
        errors.append(np.abs((p.A @ p.x)[list(rows)] / size - wanted).max() / np.abs(wanted).max())
    assert errors[1] < 3e-3
    assert errors[1] < 1e-9 or errors[1] < 0.4 * errors[0]


def test_the_published_kernels():
    """By formulas other than the code's: sums, the textbook's sin u / u, the heat kernel's image."""
    s, t = 0.3, 0.8
    assert deriv2(4).kernel(s, t) == pytest.approx(s * (t - 1))
    assert deriv2(4).kernel(t, s) == pytest.approx(s * (t - 1))
    u = np.pi * (np.sin(s) + np.sin(t))
    assert shaw(4).kernel(s, t) == pytest.approx((np.cos(s) + np.cos(t)) ** 2 * (np.sin(u) / u) ** 2)
    assert shaw(4).kernel(s, -s) == pytest.approx(4 * np.cos(s) ** 2)
    assert gravity(4, 1, 0.2).kernel(s, t) == pytest.approx(0.2 * (0.04 + 0.25) ** -1.5)
    assert phillips(4).kernel(s, t) == pytest.approx(1 + np.cos(np.pi * 0.5 / 3))
    assert phillips(4).kernel(-2.0, 1.5) == 0
    assert heat(4, 2.0).kernel(t, s) == pytest.approx(0.5**-1.5 / (4 * np.sqrt(np.pi)) * np.exp(-1 / (16 * 0.5)))
    assert heat(4).kernel(s, t) == 0
    assert baart(4).kernel(s, t) == pytest.approx(np.exp(s * np.cos(t)))
    assert foxgood(4).kernel(s, t) == pytest.approx(np.sqrt(s**2 + t**2))


def test_the_published_solutions():
    t = np.array([0.2, 0.6, 0.95])
    assert [deriv2(4, k).solution(0.7) for k in (1, 2, 3)] == pytest.approx([0.7, np.exp(0.7), 0.3])
    assert shaw(4).solution(0.8) == pytest.approx(2 + np.exp(-2 * 1.3**2))
    assert gravity(4).solution(t) == pytest.approx(np.sin(np.pi * t) + 0.5 * np.sin(2 * np.pi * t))
    assert gravity(4, 2).solution(np.array([0, 1 / 6, 1 / 3, 7 / 8, 15 / 16, 1])) == pytest.approx([0, 1, 2, 1, 0.5, 0])
    assert gravity(4, 3).solution(t) == pytest.approx([2, 1, 1])
    assert heat(4).solution(np.array([0.05, 0.1, 0.125, 0.15, 0.2, 0.6])) == pytest.approx(
        [0.1875, 0.75, 1.0, 0.75, 0.75 * np.exp(-2), 0]
    )
    assert baart(4).solution(t) == pytest.approx(np.sin(t))
    assert foxgood(4).solution(t) == pytest.approx(t)


def spectrum(p):
    return np.linalg.svd(p.A, compute_uv=False)


def test_deriv2_is_mildly_ill_posed():
    p = deriv2(128)
    i = np.arange(1, 13)
    assert spectrum(p)[:12] == pytest.approx(1 / (np.pi * i) ** 2, rel=0.02)
    assert np.linalg.eigvalsh(p.A).max() < 0
    assert np.linalg.cond(deriv2(256).A) / np.linalg.cond(p.A) == pytest.approx(4, rel=0.05)


def test_phillips_decays_like_the_third_power():
    sigma = spectrum(phillips(400))[19:60]
    assert np.polyfit(np.log(np.arange(20, 61)), np.log(sigma), 1)[0] == pytest.approx(-3, abs=0.3)


@pytest.mark.parametrize("depth", [0.1, 0.25, 0.5])
def test_gravity_decays_exponentially_and_faster_with_the_depth(depth):
    sigma = spectrum(gravity(128, depth=depth))
    first, last = int(1.5 / depth), int(3 / depth)
    rate = np.log(sigma[first] / sigma[last]) / (last - first)
    assert rate == pytest.approx(np.pi * depth, rel=0.25)


def test_baart_decays_faster_than_exponentially():
    steps = np.diff(np.log(spectrum(baart(64))[:9]))
    assert np.all(np.diff(steps) < 0)


@pytest.mark.parametrize("name", ["shaw", "foxgood", "baart"])
def test_severely_ill_posed_problems_are_numerically_singular(name):
    assert np.linalg.cond(inverse_problem(name, 32).A) > 1e14


def test_heat_is_as_ill_conditioned_as_kappa_says():
    condition = [np.linalg.cond(heat(64, kappa).A) for kappa in (1.0, 2.0, 5.0)]
    assert condition[0] > 1e24 > condition[1] > 1e12
    assert condition[2] < 10
    assert np.array_equal(heat(16).A, np.tril(heat(16).A))


def test_the_data_of_foxgood_do_not_satisfy_picards_condition():
    p = foxgood(64)
    U, sigma, _ = np.linalg.svd(p.A)
    coefficients = np.abs(U.T @ p.b) / sigma
    assert coefficients[:8].min() < 1e-3 * coefficients[0]
    assert coefficients[8:24].max() > 1e2 * coefficients[:8].min()


@pytest.mark.parametrize("name", INVERSE_PROBLEMS)
def test_sizes(name):
    for n in (4, 12, np.int64(20)):
        p = inverse_problem(name, n)
        assert p.A.shape == (n, n)
        assert p.b.shape == p.x.shape == p.s.shape == p.t.shape == (n,)
        assert p.A.dtype == p.b.dtype == p.x.dtype == np.float64
        assert np.all(np.isfinite(p.A))
    if name != "phillips":
        assert inverse_problem(name, 1).A.shape == (1, 1)
        assert inverse_problem(name, 7).A.shape == (7, 7)
    for n in (0, -4, 4.0, "8", None, True, 10**400, float("nan"), np.ones(2), [4]):
        with pytest.raises(OptionError, match="n must be"):
            inverse_problem(name, n)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: phillips(6), "multiple of 4"),
        (lambda: phillips(2), "multiple of 4"),
        (lambda: deriv2(7, 3), "multiple of 2"),
        (lambda: deriv2(8, 4), "1, 2 or 3"),
        (lambda: deriv2(8, np.ones(2)), "1, 2 or 3"),
        (lambda: deriv2(8, True), "1, 2 or 3"),
        (lambda: gravity(8, 0), "1, 2 or 3"),
        (lambda: gravity(8, 1, 0.0), "positive"),
        (lambda: gravity(8, 1, float("nan")), "finite"),
        (lambda: gravity(8, 1, 1e-200), "range of float64"),
        (lambda: gravity(8, 1, 1e200), "range of float64"),
        (lambda: heat(8, -1), "positive"),
        (lambda: heat(8, "1"), "finite number"),
        (lambda: heat(8, 1e-3), "range of float64"),
        (lambda: heat(8, 1e-300), "range of float64"),
        (lambda: inverse_problem("tomo", 8), "use one of"),
        (lambda: inverse_problem(None, 8), "use one of"),
        (lambda: inverse_problem("shaw", 8, example=1), "it has none"),
        (lambda: inverse_problem("gravity", 8, kappa=1), "it has example, depth"),
    ],
)
def test_what_cannot_be_made_is_refused(call, words):
    with pytest.raises(NNLAError, match=words):
        call()


def test_public_names():
    for name in ("InverseProblem", "INVERSE_PROBLEMS", "inverse_problem", *INVERSE_PROBLEMS):
        assert getattr(nnla.problems, name) is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        nnla.problems.shaw(4).name = "x"
