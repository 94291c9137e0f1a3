"""The vector work of Lanczos: against NumPy for every shape, and orthogonal to working precision in hard cases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnla
from nnla.errors import ShapeError
from nnla.kernels import basis, native
from nnla.kernels.basis import Extension, combine, products, project, squares, transposed

EPS = float(np.finfo(np.float64).eps)
LENGTHS = (1, 2, 3, 15, 100, 511, 512, 513, 1000, 20000)
SHAPES = [(n, m, b) for n in LENGTHS for m in (1, 2, 3, 9, 40, 100) for b in (1, 2, 3, 4, 7, 8) if m + b <= n]


def orthonormal(rng, n, m, rows):
    V = np.full((rows, n), np.nan)
    V[:m] = np.linalg.qr(rng.standard_normal((n, m)))[0].T
    return V


def extend(V, end, low, W, scale, negligible):
    """W = H' V + L Q; in place of W what is left where there is no Q."""
    done = basis.extend(V, end, low, W.T.copy(), W, scale, negligible)
    assert isinstance(done, Extension)
    return done


def off(V):
    return float(np.abs(V @ V.T - np.eye(V.shape[0])).max())


@pytest.fixture(params=["native", "NumPy"])
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(basis, "native", None)
    elif native is None:
        pytest.skip("the native kernels are not there")


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("n", LENGTHS)
def test_the_parts_are_those_of_numpy(n, rng):
    for m, b in [(m, b) for k, m, b in SHAPES if k == n]:
        V, W = rng.standard_normal((m, n)), rng.standard_normal((b, n))
        scale = 8 * EPS * n**0.5
        np.testing.assert_allclose(products(V, W), V @ W.T, atol=scale * n**0.5)
        X = W.copy()
        H = project(V, X, W)
        np.testing.assert_allclose(X, W - H.T @ V, atol=scale * m * n**0.5)
        C = rng.standard_normal((m, b))
        np.testing.assert_allclose(combine(V, C), C.T @ V, atol=16 * EPS * m)
        f = rng.standard_normal(b)
        np.testing.assert_allclose(squares(W), (W * W).sum(axis=1), rtol=1e-14)
        np.testing.assert_allclose(squares(W, f, X), ((W - f[:, None] * X) ** 2).sum(axis=1), rtol=1e-13)
        assert np.array_equal(transposed(W), W.T)
        assert np.array_equal(transposed(transposed(W)), W)


@pytest.mark.usefixtures("kernels")
def test_a_combination_may_replace_its_rows(rng):
    V = rng.standard_normal((9, 1500))
    C = rng.standard_normal((7, 7))
    expected = C.T @ V[1:8]
    kept = V[[0, 8]].copy()
    combine(V[1:8], C, V[1:8])
    np.testing.assert_allclose(V[1:8], expected, atol=1e-13)
    combine(V[1:8], C[:, :0], V[1:1])
    assert np.array_equal(V[[0, 8]], kept)


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("n", LENGTHS)
def test_a_step_is_a_factorisation(n, rng):
    for m, b in [(m, b) for k, m, b in SHAPES if k == n]:
        for low in {0, m // 2}:
            V, W = orthonormal(rng, n, m, m + b), rng.standard_normal((b, n))
            done = extend(V, m, low, W.copy(), 0.0, EPS)
            np.testing.assert_allclose(done.before, np.linalg.norm(W, axis=1), rtol=1e-13)
            if done.L is None:
                assert m + b > 0.5 * n  # little room: what is left may be dependent
                continue
            assert np.array_equal(done.L, np.tril(done.L))
            assert np.all(np.diag(done.L) > 0)
            np.testing.assert_allclose(done.H.T @ V[:m] + done.L @ V[m:], W, atol=1e-13 * n**0.5)
            assert off(V) <= 1e-14 * max(m, 1) ** 0.5


def hard_blocks(rng, V, n, b):
    """Name -> rows that are hard to orthogonalise against the rows of V, and among each other."""
    m, noise = V.shape[0], rng.standard_normal((b, n))
    inside = rng.standard_normal((b, m)) @ V
    graded = np.vander(np.linspace(0, 1, n), b, increasing=True).T  # condition 10^b
    return {
        "nearly in the span": inside + 1e-9 * noise,
        "at the edge": inside + 1e-13 * noise,
        "one of them in the span": np.where(np.arange(b)[:, None] == 0, inside, noise),
        "a power basis": graded,
        "a power basis and the span": 1e3 * inside + graded,
        "nearly parallel": noise[:1] + 1e-2 * noise,
        "huge ranges": noise * 10.0 ** np.linspace(-12, 12, b)[:, None],
        "huge ranges in the span": (inside + 1e-4 * noise) * 10.0 ** np.linspace(-30, 30, b)[:, None],
        "small": 1e-120 * noise,
        "large": 1e120 * noise,
        "long vectors of one sign": np.ones((b, n)) + 0.1 * np.eye(b, n) + 0.01 * noise,
    }


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("b", [1, 4, 8])
@pytest.mark.parametrize("n", [300, 30011])
def test_steps_are_orthogonal_in_hard_cases(n, b, rng):
    made, m = 0, 40
    for low in (0, 20):
        for name, W in hard_blocks(rng, orthonormal(rng, n, m, m), n, b).items():
            V = orthonormal(np.random.default_rng(n), n, m, m + b)
            done = extend(V, m, low, W.copy(), 0.0, EPS)
            if done.L is None:
                continue
            made += 1
            assert off(V) <= 1e-14 * m**0.5, name
            error = np.linalg.norm(done.H.T @ V[:m] + done.L @ V[m:] - W, axis=1)
            assert np.all(error <= 1e-14 * m * np.linalg.norm(W, axis=1)), name
    assert made >= 12


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("fault", ["zero", "twice", "inside", "nearly twice", "below the scale"])
def test_what_is_dependent_is_left_to_the_caller(fault, rng):
    n, m, b = 2000, 10, 4
    V, W = orthonormal(rng, n, m, m + b), rng.standard_normal((b, n))
    scale = 0.0
    if fault == "zero":
        W[2] = 0.0
    elif fault == "inside":
        W[1] = rng.standard_normal(m) @ V[:m]
    elif fault == "below the scale":
        scale = 1e20
    else:
        W[3] = W[0] + (0.0 if fault == "twice" else 1e-9) * W[3]
    X = W.copy()
    done = extend(V, m, 0, X, scale, 8 * EPS)
    assert done.L is None
    np.testing.assert_allclose(X + done.H.T @ V[:m], W, atol=1e-13 * n**0.5)
    assert np.abs(V[:m] @ X.T).max() <= 1e-13


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_told(bad, rng):
    V, W = orthonormal(rng, 100, 5, 9), rng.standard_normal((4, 100))
    W[1, 50] = bad
    done = extend(V, 5, 0, W, 0.0, EPS)
    assert done.L is None
    assert not np.all(np.isfinite(done.before))


@pytest.mark.usefixtures("native_kernels")
def test_without_room_or_kernels_there_is_no_step(rng, monkeypatch):
    def extend(b, rows, X=None):
        X = rng.standard_normal((50, b)) if X is None else X
        return basis.extend(orthonormal(rng, 50, 5, rows), 5, 0, X, np.empty((b, 50)), 0.0, EPS)

    assert extend(3, 8) is not None
    assert extend(4, 8) is None
    assert extend(9, 30) is None
    assert extend(2, 8, np.zeros((50, 4))[:, ::2]) is None
    assert extend(2, 8, np.zeros((50, 2), np.float32)) is None
    monkeypatch.setattr(basis, "native", None)
    assert extend(2, 8) is None


@pytest.mark.usefixtures("native_kernels")
def test_shapes_are_checked():
    V, W = np.zeros((5, 10)), np.zeros((2, 10))
    with pytest.raises(ShapeError, match="length"):
        native.basis_products(V, np.zeros((2, 9)), np.zeros((5, 2)))
    with pytest.raises(ShapeError, match="shape"):
        native.basis_subtract(V, np.zeros((4, 2)), W)
    with pytest.raises(ShapeError, match="1 to 8"):
        native.basis_extend(
            V, 1, 0, np.zeros((10, 0)), np.zeros((0, 10)), 0.0, 0.0, np.zeros((1, 0)), np.zeros((0, 0)), np.zeros(0)
        )
    with pytest.raises(ShapeError, match="room"):
        native.basis_extend(V, 4, 0, W.T.copy(), W, 0.0, 0.0, np.zeros((4, 2)), np.zeros((2, 2)), np.zeros(2))
    line = np.zeros(100)
    with pytest.raises(ShapeError, match="overlaps"):
        native.basis_combine(line[:50].reshape(5, 10), np.zeros((5, 2)), line[25:45].reshape(2, 10))


CODE = """
import hashlib, numpy as np
from nnla.kernels import native
from nnla.kernels.basis import combine, extend
rng = np.random.default_rng(0)
V = np.zeros((30, 5001)); V[:26] = np.linalg.qr(rng.standard_normal((5001, 26)))[0].T
W = rng.standard_normal((4, 5001))
done = extend(V, 26, 18, W.T.copy(), W, 0.0, 1e-15)
V = combine(V, rng.standard_normal((30, 30)), V)
assert np.abs(done.L).min(initial=1, where=np.tri(4, dtype=bool)) > 0
parts = [V, done.H, done.L, done.before]
print(native.isa(), *[hashlib.sha256(p.tobytes()).hexdigest() for p in parts])
"""


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_every_instruction_set_is_deterministic(isa):
    """Bitwise the same in every run and for every number of threads."""
    found = []
    for threads in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": str(Path(nnla.__file__).parents[1]), "NNLA_ISA": isa}
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"OMP_NUM_THREADS": threads},
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    if found[0][0] != isa:
        pytest.skip(f"this processor has {found[0][0]} only")
    assert found[0] == found[1]
