"""Iterations by the compiler, against the same iterations in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import chebyshev, conjugate_gradients, jacobi, power_iteration, richardson
from nnla.problems import spd_systems

N = 20
SYSTEMS = spd_systems(12, N, sigma=1.2, seed=3)
A, b = SYSTEMS.A, SYSTEMS.b
RNG = np.random.default_rng(0)


def times(M, x):
    return (M @ x[..., None])[..., 0]


def textbook(A, b, loops):
    x, r = np.zeros_like(b), b.copy()
    d = r.copy()
    for _ in range(loops):
        q, rr = times(A, d), (r * r).sum(-1, keepdims=True)
        dq = (d * q).sum(-1, keepdims=True)
        alpha = np.divide(rr, dq, out=np.zeros_like(rr), where=dq > 1e-300)
        x, r = x + alpha * d, r - alpha * q
        d = r + np.divide((r * r).sum(-1, keepdims=True), rr, out=np.zeros_like(rr), where=rr > 1e-300) * d
    return x


def relative(y, x):
    return float((np.linalg.norm(y - x, axis=-1) / np.linalg.norm(x, axis=-1)).max())


@pytest.mark.parametrize(("heads", "bar"), [("paper", 3e-6), ("central", 1e-8), ("four", 1e-9), ("eight", 1e-11)])
def test_conjugate_gradients_arrive_where_the_textbooks_do(heads, bar):
    got = conjugate_gradients(N).compile(heads=heads).run(30, A=A, b=b)["x"]
    assert relative(got, textbook(A, b, 30)) < bar


def test_each_step_is_the_textbooks():
    program = conjugate_gradients(N).compile(heads="eight")
    for t, state in enumerate(program.trajectory(8, A=A, b=b)):
        if t:
            assert relative(state["x"], textbook(A, b, t)) < 1e-6
        np.testing.assert_allclose(np.linalg.norm(state["d"], axis=-1), 1, rtol=1e-12)


def test_conjugate_gradients_take_the_papers_layers_heads_and_rows():
    size = conjugate_gradients(N).compile().size()
    assert size.layers == {"pre": 1, "loop": 1, "post": 0}
    assert size.heads == {"pre": [4], "loop": [2], "post": []}
    assert (size.rows, size.columns) == (6 * N + 2, N + 1)
    assert conjugate_gradients(N).compile(merge=True).size().heads["pre"] == [2]


def test_a_direction_that_is_not_normalised_drowns():
    raw, unit = (
        relative(conjugate_gradients(N, normalised=k).compile(heads="four").run(30, A=A, b=b)["x"], textbook(A, b, 30))
        for k in (False, True)
    )
    assert raw > 5 * unit


def test_having_arrived_it_stays():
    program = conjugate_gradients(N).compile(heads="four")
    states = list(program.trajectory(150, A=A[:3], b=b[:3]))
    np.testing.assert_array_equal(states[-1]["x"], states[-2]["x"])
    assert relative(states[-1]["x"], SYSTEMS.x[:3]) < 1e-9
    zero = program.run(5, A=A[:1], b=np.zeros((1, N)))
    assert all(not value.any() for value in zero.values())


def test_it_starts_from_x():
    got = conjugate_gradients(N).compile(heads="four").run(0, A=A, b=b, x=SYSTEMS.x)
    assert np.linalg.norm(got["r"], axis=-1).max() < 1e-8 * np.linalg.norm(b, axis=-1).max()


@pytest.mark.parametrize("power", [-830, -400, 400, 830])
def test_units_do_not_matter(power):
    program, scale = conjugate_gradients(N).compile(heads="four"), 2.0**power
    x = program.run(25, A=A[:2], b=b[:2])["x"]
    np.testing.assert_array_equal(program.run(25, A=A[:2], b=b[:2] * scale)["x"], x * scale)
    np.testing.assert_array_equal(program.run(25, A=A[:2] * scale, b=b[:2] * scale)["x"], x)
    np.testing.assert_array_equal(program.run(25, A=A[:2] * scale, b=b[:2])["x"], x / scale)


def test_float32():
    got = conjugate_gradients(N).compile(heads="four", dtype=np.float32).run(20, A=A, b=b)["x"]
    assert relative(got, SYSTEMS.x) < 3e-2


def test_jacobi_reads_off_a_diagonal_of_any_spread():
    D = A + 100.0 ** RNG.uniform(-1, 1, (len(A), 1, N)) * np.eye(N)
    got = jacobi(N).compile(heads="four").run(0, A=D, b=b)["inverse_diagonal"]
    np.testing.assert_allclose(got, 1 / np.diagonal(D, axis1=1, axis2=2), rtol=1e-9)


def test_jacobi():
    D = np.eye(N) * 3 * np.abs(A).sum(axis=-1).max(axis=-1)[:, None, None] + A
    x = np.zeros_like(b)
    for _ in range(25):
        x = x + (b - times(D, x)) / np.diagonal(D, axis1=1, axis2=2)
    assert relative(jacobi(N).compile(heads="four").run(25, A=D, b=b)["x"], x) < 1e-9


def test_richardson():
    omega = 1 / np.linalg.norm(A, 2, axis=(1, 2))
    x = np.zeros_like(b)
    for _ in range(25):
        x = x + omega[:, None] * (b - times(A, x))
    assert relative(richardson(N).compile(heads="four").run(25, A=A, b=b, omega=omega)["x"], x) < 1e-9


def test_chebyshev():
    w = np.linalg.eigvalsh(A)
    theta, delta = (w[:, -1] + w[:, 0]) / 2, (w[:, -1] - w[:, 0]) / 2
    got = chebyshev(N).compile(heads="eight").run(40, A=A, b=b, theta=theta, delta=delta)["x"]
    # the residual polynomial is T_k((theta - lambda) / delta) / T_k(theta / delta)
    ratio = np.arccosh(theta / delta)
    bound = 1 / np.cosh(40 * ratio)
    error = np.sqrt(((times(A, got - SYSTEMS.x)) * (got - SYSTEMS.x)).sum(-1))
    start = np.sqrt((times(A, SYSTEMS.x) * SYSTEMS.x).sum(-1))
    assert (error <= 1.01 * bound * start + 1e-10 * start).all()


def test_power_iteration():
    got = power_iteration(N).compile(heads="four").run(150, A=A[:8], start=np.ones(N))
    w, V = np.linalg.eigh(A[:8])
    gap = 1 - (w[:, -2] / w[:, -1]) ** 150 > 0.99999
    assert gap.sum() >= 2
    np.testing.assert_allclose(got["quotient"][gap], w[gap, -1], rtol=1e-9)
    np.testing.assert_allclose(np.abs((got["v"] * V[..., -1]).sum(-1))[gap], 1, rtol=1e-9)
