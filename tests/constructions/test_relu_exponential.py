"""Certified ReLU networks for exp(A): measured error <= certificate <= eps, for the worst matrices that are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnla.constructions import adversarial_matrices, attack, exact_function, relu_expm, theorem_size
from nnla.constructions.relu_exponential import CONSTRUCTIONS
from nnla.constructions.relu_polynomials import taylor_remainder
from nnla.errors import OptionError


def worst(network, A):
    return np.linalg.norm(network(A) - exact_function("exp", A), axis=(-2, -1)).max()


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize(("n", "bound", "eps"), [(1, 0.5, 1e-3), (2, 1.0, 1e-8), (3, 4.0, 1e-5)])
def test_measured_below_certificate_below_eps(n, bound, eps, construction):
    network = relu_expm(n, bound, eps, construction=construction)
    A = adversarial_matrices(network.domain, 400)
    assert worst(network, A) <= network.certificate.error <= eps
    if n == 3 and construction != "scaling":
        return
    explicit = network.evaluate_layers(A[:5])
    np.testing.assert_allclose(explicit, network(A[:5]), rtol=0, atol=network.certificate.rounding)
    bare = network.network
    assert dataclasses.astuple(network.size) == (bare.depth, bare.width, bare.nonzeros)
    assert bare.error == pytest.approx(network.certificate.truncation + network.certificate.products)


@pytest.mark.parametrize(("n", "bound", "eps"), [(2, 4.0, 1e-2), (3, 1.0, 1e-6), (5, 4.0, 1e-8), (8, 4.0, 1e-10)])
def test_certificates_are_within_a_factor_of_five(n, bound, eps):
    network = relu_expm(n, bound, eps)
    found = attack(network, count=512, generations=8)
    assert found.error <= network.certificate.error <= eps
    assert network.certificate.error <= 5 * found.error
    assert network.domain.holds(found.matrix[None]).all()


@pytest.mark.parametrize(("n", "bound", "eps"), [(2, 0.5, 1e-4), (3, 1.0, 1e-7), (4, 0.1, 1e-10)])
def test_the_box(n, bound, eps):
    network = relu_expm(n, bound, eps, domain="box")
    A = adversarial_matrices(network.domain, 400)
    assert np.linalg.norm(A, 2, axis=(-2, -1)).max() > 0.95 * n * bound  # corners of the box are among them
    assert worst(network, A) <= network.certificate.error <= eps
    assert network.size.parameters <= relu_expm(n, n * bound, eps).size.parameters


def test_a_step_fewer_breaks_the_bound():
    """The certificate can fail: with one step fewer in each product, an attack finds matrices beyond it."""
    network = relu_expm(3, 1.0, 1e-4)
    rounds = tuple(dataclasses.replace(r, m=max(1, r.m - 1)) for r in network.program.rounds)
    coarse = dataclasses.replace(network, program=dataclasses.replace(network.program, rounds=rounds))
    assert attack(coarse, count=512, generations=5).error > network.certificate.error


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 4),
    bound=st.floats(1e-3, 5.0),
    digits=st.floats(1.0, 9.0),
    seed=st.integers(0, 2**20),
    construction=st.sampled_from(CONSTRUCTIONS),
)
def test_any_set(n, bound, digits, seed, construction):
    network = relu_expm(n, bound, 10.0**-digits, construction=construction)
    A = adversarial_matrices(network.domain, 24, seed=seed)
    assert worst(network, A) <= network.certificate.error <= 10.0**-digits


def test_rounding_counts():
    """At the smallest eps rounding is most of the certificate, and what is smaller is refused by name."""
    with pytest.raises(OptionError, match="rounding allows") as refusal:
        relu_expm(8, 4.0, 1e-12)
    smallest = float(str(refusal.value).split("eps >= ")[1].split()[0])
    assert 1e-12 < smallest < 1e-10
    network = relu_expm(8, 4.0, smallest)
    assert network.certificate.error <= smallest
    assert network.certificate.rounding > network.certificate.products
    with pytest.raises(OptionError, match="rounding allows"):
        relu_expm(8, 4.0, 0.9 * smallest)
    with pytest.raises(OptionError, match="use construction='scaling'"):
        relu_expm(2, 300.0, 1.0, construction="taylor")


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0},
        {"n": 2.0},
        {"n": True},
        {"n": 33},
        {"bound": 0.0},
        {"bound": np.nan},
        {"bound": 301.0},
        {"eps": -1.0},
        {"eps": np.inf},
        {"construction": "pade"},
        {"domain": "sphere"},
        {"minimise": "width"},
    ],
)
def test_arguments(arguments):
    with pytest.raises(OptionError):
        relu_expm(**({"n": 2, "bound": 1.0, "eps": 1e-3} | arguments))


@pytest.mark.parametrize("bound", [1e-250, 1e-20, 1e-7])
def test_small_sets_are_linear(bound):
    network = relu_expm(2, bound, 1e-12)
    assert network.program.products == 0
    A = bound * np.array([[0.0, 1.0], [0.0, 0.0]])
    assert (network(A) == np.eye(2) + A).all()
    with pytest.raises(OptionError, match="outside"):
        network(np.full((2, 2), bound))


def test_equal_arguments_give_the_same_network():
    assert relu_expm(2, 1.0, 1e-3) is relu_expm(2, np.float64(1), 1e-3)


def test_constructions_and_sizes():
    """Scaling and squaring is the smallest, and all are far below the theorem; depth is traded for parameters."""
    by = {c: relu_expm(5, 4.0, 1e-6, construction=c).size for c in CONSTRUCTIONS}
    assert by["scaling"].parameters <= by["paterson-stockmeyer"].parameters < by["taylor"].parameters
    shallow = relu_expm(5, 4.0, 1e-6, minimise="depth").size
    assert shallow.depth < by["scaling"].depth
    assert shallow.parameters > by["scaling"].parameters
    theorem = relu_expm(5, 4.0, 1e-6).theorem
    assert theorem == theorem_size(5, 4.0, 1e-6)
    assert theorem.log10_width > 40


def test_remainder():
    for r in (0.01, 1.0, 4.0):
        for K in (3, 6, 12):
            k = np.arange(K + 1, K + 60)
            true = np.exp(k * np.log(r) - np.cumsum(np.log(np.arange(1, K + 60)))[k - 1]).sum()
            assert true <= taylor_remainder(r, K) <= 5 * true or r >= K
    assert taylor_remainder(10.0, 5) == np.inf
