"""Pointwise maps as real ReLU networks: within their bounds, exact where they are linear, and CG with them."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import (
    OPERATIONS,
    Algorithm,
    ReLUDomain,
    ReLUNetwork,
    conjugate_gradients,
    diag,
    dot,
    norm,
    operation,
    relu_network,
    sqrt,
    within,
)
from nnla.errors import OptionError
from nnla.problems import spd_systems

N = 5


def columns(layout, low, high, seed=0):
    """Prompts with entries of a size, positions where they belong."""
    U = np.random.default_rng(seed).uniform(low, high, (40, layout.rows, layout.columns))
    if layout.positions:
        U[:, layout["positions"].slice] = np.eye(layout.columns)
    return U


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_with_real_networks(name):
    domain = ReLUDomain(smallest=0.1, steps=12, units=50)
    program, exact = operation(name, N, network=domain), operation(name, N)
    for layer, true in zip(program.layers, exact.layers, strict=True):
        if true.ffn is None:
            assert layer.ffn is None
            continue
        U = columns(program.layout, 0.1, 1.0)
        assert isinstance(layer.ffn, ReLUNetwork)
        error = np.abs(layer.ffn(U) - true.ffn(U)).max()
        assert error <= layer.ffn.error + 1e-14
        if name not in ("multiply", "divide"):
            assert layer.ffn.error == 0  # linear: one hidden layer, exact
            assert layer.ffn.depth == 1
    assert program.size().relu_layers == sum(layer.ffn.depth for layer in program.layers if layer.ffn is not None)


CASES = {
    "u v": lambda u, v, s, A: u * v,
    "u / v": lambda u, v, s, A: u / v,
    "u'v u": lambda u, v, s, A: dot(u, v) * u,
    "u / ||u||": lambda u, v, s, A: u / norm(u),
    "||u||": lambda u, v, s, A: norm(u),
    "1 / s": lambda u, v, s, A: 1 / s,
    "1 + s s": lambda u, v, s, A: 1 + s * s,
    "sqrt": lambda u, v, s, A: sqrt(s),
    "diag": lambda u, v, s, A: diag(A) * diag(A),
    "promised": lambda u, v, s, A: within(u / within(s, 1.0, 0.1), 10.0) * v,
    "linear": lambda u, v, s, A: 2 * u - v,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [6, 16])
def test_errors_are_within_the_bound(case, steps):
    m = Algorithm(N)
    A = m.matrix("A")
    one = A.unit / A.unit
    u, v, s = m.vector("u", unit=one), m.vector("v", unit=one), m.scalar("s", unit=one)
    m.output("y", CASES[case](u, v, s, A))
    exact = m.compile()
    domain = ReLUDomain(smallest=0.1, steps=steps, units=60)
    network = relu_network(exact.layers[-1].ffn, domain)
    U = columns(exact.layout, 0.1, 1.0)
    error = np.abs(network(U) - exact.layers[-1].ffn(U))[..., -1]  # the last token: the others lie outside the domain
    assert error.max() <= network.error + 1e-13
    if case not in ("linear", "promised"):
        assert network.error < 100 * 0.25**steps * 10**5 + 0.3


def test_more_steps_and_units_are_more_exact():
    exact = operation("divide", N).layers[0].ffn
    errors = []
    for steps, units in ((8, 20), (14, 80), (22, 1000)):
        network = relu_network(exact, ReLUDomain(smallest=0.1, steps=steps, units=units))
        U = columns(exact.layout, 0.1, 1.0)
        errors.append((np.abs(network(U) - exact(U)).max(), network.error))
    assert errors[0][0] > 30 * errors[1][0] > 900 * errors[2][0]
    assert errors[0][1] > 30 * errors[1][1] > 900 * errors[2][1]


def test_conjugate_gradients_with_real_networks():
    systems = spd_systems(3, N, sigma=1.0, seed=1)
    domain = ReLUDomain(bounds={"x": 64.0, "r": 4.0}, steps=20, units=200)
    program, exact = (conjugate_gradients(N).compile(heads="four", network=d) for d in (domain, None))
    network = program.stacks["loop"][0].ffn
    assert network.errors[program.layout["x"].slice].max() < 1e-3
    pairs = zip(*(p.trajectory(3, A=systems.A, b=systems.b) for p in (program, exact)), strict=True)
    for state, true in pairs:
        assert np.linalg.norm(state["x"] - true["x"], axis=-1).max() < 3e-3 * np.linalg.norm(systems.x, axis=-1).max()
    # on the columns that CG itself meets, each loop is within the bounds of its outputs
    P, _ = exact.encode(A=systems.A, b=systems.b)
    P = exact.stacks["pre"][0](P)
    for _ in range(3):
        layer = exact.stacks["loop"][0]
        U = layer.attention(P).prompt
        wrong = np.abs(network(U) - layer.ffn(U))[..., -1].max(axis=0)
        assert (wrong <= network.errors + 1e-12).all()
        P = U + layer.ffn(U)
    names = [name for name in program.weights() if name.startswith("loop.0.ffn.")]
    assert len(names) == 2 * (network.depth + 1)


def test_domains_are_checked():
    for bad in (
        {"entries": 0.0},
        {"entries": float("inf")},
        {"bounds": {"x": -1.0}},
        {"smallest": 0.0},
        {"steps": 0},
        {"units": 1},
    ):
        with pytest.raises(OptionError):
            ReLUDomain(**bad)
    with pytest.raises(OptionError, match="positive"):
        within(Algorithm(2).scalar("s"), -1.0)
