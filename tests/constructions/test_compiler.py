"""The compiler: what is written is what is computed, in as few layers as its products need."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import Algorithm, diag, dot, keep, norm, outer, permute_columns, row_sums, sqrt
from nnla.errors import NonFiniteError, NotSymmetricError, OptionError, ShapeError

RNG = np.random.default_rng(0)
N = 6
A, B = RNG.standard_normal((2, 3, N, N))
a, b, u, v = RNG.standard_normal((4, 3, N))
S = A + A.swapaxes(-1, -2)
T = A.swapaxes(-1, -2)


def times(M, x):
    return (M @ x[..., None])[..., 0]


VALUES = {"A": A, "B": B, "S": S, "a": a, "b": b, "u": u, "v": v, "s": np.array([0.5, -2.0, 3.0])}
SCALAR = VALUES["s"][:, None]
DOT = (u * v).sum(-1, keepdims=True)
# an expression of A, B (matrices), S (symmetric), a, b (across), u, v (last), s; its value; layers, heads of each
CASES = {
    "r - alpha A d": (lambda m: m.v - m.s * (m.A @ m.u), v - SCALAR * times(A, u), [2]),
    "A u": (lambda m: m.A @ m.u, times(A, u), [2]),
    "A a": (lambda m: m.A @ m.a, times(A, a), [2]),
    "A'u": (lambda m: m.A.T @ m.u, times(T, u), [2]),
    "A'a": (lambda m: m.A.T @ m.a, times(T, a), [2]),
    "u'A": (lambda m: m.u @ m.A, times(T, u), [2]),
    "u'A'": (lambda m: m.u @ m.A.T, times(A, u), [2]),
    "S u": (lambda m: m.S @ m.u, times(S, u), [2]),
    "A B'": (lambda m: m.A @ m.B.T, A @ B.swapaxes(-1, -2), [2]),
    "A'B'": (lambda m: m.A.T @ m.B.T, T @ B.swapaxes(-1, -2), [2, 2]),
    "A''": (lambda m: m.A.T.T + 0, A, [0]),
    "(A - 2 B) u": (lambda m: (m.A - 2 * m.B) @ m.u, times(A - 2 * B, u), [2]),
    "A (u - v)": (lambda m: m.A @ (m.u - m.v), times(A, u - v), [2]),
    "A (u * v)": (lambda m: m.A @ (m.u * m.v), times(A, u * v), [0, 2]),
    "A A u": (lambda m: m.A @ (m.A @ m.u), times(A, times(A, u)), [2, 2]),
    "A A A u": (lambda m: m.A @ (m.A @ (m.A @ m.u)), times(A, times(A, times(A, u))), [2, 2, 2]),
    "(A u) (B v)": (lambda m: (m.A @ m.u) * (m.B @ m.v), times(A, u) * times(B, v), [4]),
    "A u + B v": (lambda m: m.A @ m.u + m.B @ m.v, times(A, u) + times(B, v), [4]),
    "u'v A u": (lambda m: dot(m.u, m.v) * (m.A @ m.u), DOT * times(A, u), [2]),
    "u + a": (lambda m: m.u + m.a, u + a, [2]),
    "s a": (lambda m: m.s * m.a, SCALAR * a, [2]),
    "s A": (lambda m: m.s * m.A, SCALAR[..., None] * A, [2]),
    "A * B": (lambda m: m.A * m.B, A * B, [0]),
    "A / B": (lambda m: m.A / m.B, A / B, [0]),
    "a'b u": (lambda m: dot(m.a, m.b) * m.u, (a * b).sum(-1, keepdims=True) * u, [2]),
    "a'u": (lambda m: dot(m.a, m.u), (a * u).sum(-1), [2]),
    "u a'": (lambda m: outer(m.u, m.a), u[:, :, None] * a[:, None, :], [2]),
    "a b'": (lambda m: outer(m.a, m.b), a[:, :, None] * b[:, None, :], [2]),
    "u v'": (lambda m: outer(m.u, m.v), u[:, :, None] * v[:, None, :], [2, 2]),
    "diag": (lambda m: diag(m.A), np.diagonal(A, axis1=1, axis2=2), [0]),
    "u / ||u||": (lambda m: m.u / norm(m.u), u / np.linalg.norm(u, axis=-1, keepdims=True), [0]),
    "row sums": (lambda m: row_sums(m.A), A.sum(axis=-1), [2]),
    "identity": (lambda m: m.identity() - 2 * m.A, np.eye(N) - 2 * A, [0]),
    "1 / u": (lambda m: 1 / m.u, 1 / u, [0]),
    "-u / 4": (lambda m: -m.u / 4, -u / 4, [0]),
    "sqrt(u u)": (lambda m: sqrt(m.u * m.u), np.abs(u), [0]),
    "permuted": (lambda m: permute_columns(m.A, (1, 2, 0, 5, 4, 3)), A[..., [1, 2, 0, 5, 4, 3]], [2]),
    "kept": (lambda m: keep(m.u * m.v) + m.u * m.v, 2 * u * v, [0]),
    "A u twice": (lambda m: (m.A @ m.u) * (m.A @ m.u), times(A, u) ** 2, [2]),
    "A u, then A (A u + v)": (
        lambda m: m.A @ (m.A @ m.u + m.v) + m.A @ m.u,
        times(A, times(A, u) + v) + times(A, u),
        [2, 2],
    ),
    "gemm-like": (lambda m: m.A.T @ m.B - 3 * m.A, T @ B - 3 * A, [2]),
}


class Inputs(Algorithm):
    """One unit for all, so that all have sums."""

    def __init__(self):
        super().__init__(N)
        self.A = self.matrix("A")
        one = self.A.unit / self.A.unit
        self.B, self.S = self.matrix("B", unit=self.A.unit), self.matrix("S", symmetric=True, unit=self.A.unit)
        self.u, self.v = self.vector("u", unit=one), self.vector("v", unit=one)
        self.a, self.b = (self.vector(name, across=True, unit=one) for name in "ab")
        self.s = self.scalar("s", unit=one)


class Unitless(Inputs):
    """No units at all."""

    def __init__(self):
        Algorithm.__init__(self, N)
        one = self.vector("one").unit
        one = one / one
        for name in "ABS":
            setattr(self, name, self.matrix(name, unit=one, symmetric=name == "S"))
        for name in "uv":
            setattr(self, name, self.vector(name, unit=one))
        for name in "ab":
            setattr(self, name, self.vector(name, across=True, unit=one))
        self.s = self.scalar("s", unit=one)


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_is_computed(case, merge):
    expression, exact, heads = CASES[case]
    m = Unitless()
    m.output("y", expression(m))
    program = m.compile(heads="four", merge=merge, c=1e-3)
    got = program.run(one=np.zeros(N), **VALUES)["y"]
    np.testing.assert_allclose(got, exact, rtol=1e-8, atol=1e-8 * np.abs(exact).max())
    size = program.size()
    if not merge:
        assert size.heads["pre"] == [2 * h for h in heads]  # "four" has twice the heads of "central"
    else:
        assert all(h <= 2 * k for h, k in zip(size.heads["pre"], heads, strict=True))


def test_merged_products_share_heads():
    for expression, merged in ((lambda m: m.b + m.u - m.A @ m.u, 2), (lambda m: m.A @ m.u + m.B @ m.u, 2)):
        m = Unitless()
        m.output("y", expression(m))
        assert m.compile(merge=True).size().heads["pre"][0] <= 4
        assert m.compile(merge=True).size().heads["pre"][0] >= merged


def test_rows_are_used_again():
    m = Algorithm(N)
    M, x = m.matrix("A"), m.vector("x")
    y = x
    for _ in range(6):
        y = M @ y
    m.output("y", y)
    layout = m.compile().layout
    assert len([block for block in layout if block.role == "work"]) == 2


def test_rectangular_matrices():
    M = RNG.standard_normal((3, N))
    m = Algorithm(N)
    G = m.matrix("G", rows=3)
    w = m.vector("w", length=3)
    m.output("p", G.T @ w)
    m.output("q", G @ (G.T @ w))
    w0 = RNG.standard_normal(3)
    got = m.compile(heads="four").run(G=M, w=w0)
    np.testing.assert_allclose(got["p"], M.T @ w0, rtol=1e-9)
    np.testing.assert_allclose(got["q"], M @ M.T @ w0, rtol=1e-9)


def test_outputs_after_a_loop_and_states_without_update():
    m = Algorithm(N)
    M, x = m.matrix("A"), m.vector("x")
    s = m.state("s", x / norm(x))
    m.state("kept", M @ x)
    m.update(s, s + s)
    m.output("y", M @ s)
    got = m.compile().run(3, A=A[0], x=u[0])
    unit = u[0] / np.linalg.norm(u[0])
    np.testing.assert_allclose(got["s"], 8 * unit, rtol=1e-12)
    np.testing.assert_allclose(got["y"], 8 * A[0] @ unit, rtol=1e-8)
    np.testing.assert_allclose(got["kept"], A[0] @ u[0], rtol=1e-8)


def test_all_states_are_updated_at_once():
    m = Algorithm(N)
    x, y = (m.state(name, m.vector(name, unit=unit)) for name, unit in (("x", None), ("y", None)))
    m2 = Algorithm(N)
    x = m2.vector("x")
    y = m2.vector("y", unit=x.unit)
    x, y = m2.state("x", x), m2.state("y", y)
    m2.update(x, y)
    m2.update(y, x + y)
    got = m2.compile().run(5, x=np.zeros(N), y=np.ones(N))
    np.testing.assert_array_equal(got["x"], 5)
    np.testing.assert_array_equal(got["y"], 8)


def test_weights_are_the_layers():
    m = Algorithm(N)
    m.output("y", m.matrix("A") @ m.vector("x"))
    program = m.compile()
    weights = program.weights()
    assert sorted(weights) == [f"pre.0.heads.{h}.W_{k}" for h in range(2) for k in "KQV"]
    P, _ = program.encode(A=A[0], x=u[0])
    U = P.copy()
    for h in range(2):
        Z = (weights[f"pre.0.heads.{h}.W_K"] @ P).T @ (weights[f"pre.0.heads.{h}.W_Q"] @ P)
        E = np.exp(Z)
        U = U + weights[f"pre.0.heads.{h}.W_V"] @ P @ (E / E.sum(axis=0))
    np.testing.assert_allclose(
        U[program.layout["y"].slice, -1]
        * 2 ** np.ceil(np.log2(np.linalg.norm(A[0])))
        * 2 ** np.ceil(np.log2(np.linalg.norm(u[0]))),
        A[0] @ u[0],
        rtol=1e-7,
    )
    assert program.size().nonzeros == sum(np.count_nonzero(W) for W in weights.values())


def test_shapes_that_do_not_fit():
    m = Algorithm(N)
    M, x, w = m.matrix("A"), m.vector("x"), m.vector("w", length=3)
    G = m.matrix("G", rows=3)
    for bad in (
        lambda: M @ w,
        lambda: G @ G,
        lambda: x + w,
        lambda: x * w,
        lambda: dot(x, w),
        lambda: M @ m.scalar("s"),
        lambda: M + x,
        lambda: diag(G),
        lambda: row_sums(x),
        lambda: M * x,
        lambda: outer(M, x),
        lambda: m.vector("z", across=True, length=3),
        lambda: m.matrix("H", rows=3, symmetric=True),
    ):
        with pytest.raises(ShapeError):
            bad()


def test_a_transpose_that_has_no_tokens_is_for_products_only():
    m = Algorithm(N)
    G = m.matrix("G", rows=3)
    assert G.T.T is G
    m.output("y", G.T + G.T)
    with pytest.raises(ShapeError, match="use it in products"):
        m.compile()


def test_odd_parts_are_refused():
    m = Algorithm(N)
    M, x = m.matrix("A"), m.vector("x")
    for bad in (
        lambda: M @ np.eye(N),
        lambda: x + "1",
        lambda: x * None,
        lambda: x * float("nan"),
        lambda: x / 0,
        lambda: x + M @ x,
        lambda: m.vector("x"),
        lambda: m.vector("work1"),
        lambda: m.vector("a b"),
        lambda: permute_columns(M, (0, 0)),
        lambda: m.update(x, x),
        lambda: m.vector("z", unit="m"),
        lambda: m.compile(),
        lambda: Algorithm(0),
        lambda: Algorithm(10**9),
        lambda: Algorithm(2.5),
        lambda: x * np.ones(N),
    ):
        with pytest.raises(OptionError):
            bad()


def test_an_update_must_fit_its_state():
    m = Algorithm(N)
    M, x = m.matrix("A"), m.vector("x")
    s = m.state("s", x)
    with pytest.raises(OptionError, match="unit"):
        m.update(s, M @ s)
    with pytest.raises(ShapeError, match="rows"):
        m.update(s, dot(s, s))
    m.update(s, s + s)
    with pytest.raises(OptionError, match="already"):
        m.update(s, s)


def test_what_diverges_or_loses_all_accuracy_says_so():
    m = Algorithm(N)
    M, x = m.matrix("A"), m.vector("x")
    one = x.unit / x.unit
    s = m.state("s", m.vector("start", unit=one))
    big = m.scalar("big", unit=one)
    m.update(s, big * s * s)
    m.output("y", M @ s)
    program = m.compile()
    with pytest.raises(OptionError, match="normalise the vectors"):
        program.run(0, A=A[0], x=u[0], big=1.0, start=np.full(N, 1e6))
    with pytest.raises(NonFiniteError, match="overflows in loop"):
        program.run(12, A=np.zeros((N, N)), x=u[0], big=1.0, start=np.full(N, 1e6))


def test_a_promise_of_symmetry_is_checked():
    m = Algorithm(N)
    m.output("y", m.matrix("A", symmetric=True) @ m.vector("x"))
    with pytest.raises(NotSymmetricError, match="A is not symmetric"):
        m.compile().run(A=A[0], x=u[0])
