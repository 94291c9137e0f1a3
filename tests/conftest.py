"""Fixtures shared by the tests: matrices small enough to know everything about."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from nnla.kernels import native

# Real matrices (SuiteSparse and StAnD, `NAME.mtx.gz`) are not part of the repository: the tests that read them skip
# without. They are looked for where NNLA_TEST_MATRICES says, else in a folder beside the checkout.
_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "matrices"


@pytest.fixture(scope="session")
def matrix_folder() -> Path:
    """The folder of real matrices, which may be absent; `real_matrix` skips then."""
    return Path(os.environ.get("NNLA_TEST_MATRICES", _BESIDE))


@pytest.fixture(scope="session")
def real_matrix(matrix_folder):
    """Read a real matrix by name, or skip."""

    def read(name: str):
        from nnla.problems import read_matrix

        path = matrix_folder / f"{name}.mtx.gz"
        if not path.is_file():
            pytest.skip(f"{path.name} is not here; set NNLA_TEST_MATRICES to a folder of SuiteSparse matrices")
        return read_matrix(path)

    return read


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1234)


@pytest.fixture
def make_engine():
    """An engine of random weights, envelope wide open: what must hold must hold for any weights."""

    def make(seed: int = 0, **card):
        from nnla.models.autospec import AutoSpecEngine, EngineConfig

        config = EngineConfig(hidden=16, members=2)
        rng = np.random.default_rng(seed)
        E, F, H, C = config.members, config.features, config.hidden, config.candidates
        parameters = {
            "mean": rng.standard_normal(F),
            "std": np.full(F, 5.0),
            "low": np.full(F, -1e3),
            "high": np.full(F, 1e3),
            "W0": rng.standard_normal((E, F, H)) / F**0.5,
            "b0": rng.standard_normal((E, 1, H)),
            "W1": rng.standard_normal((E, H, H)) / H**0.5,
            "b1": rng.standard_normal((E, 1, H)),
            "W2": rng.standard_normal((E, H, C + 1)) / H**0.5,
            "b2": rng.standard_normal((E, 1, C + 1)),
        }
        # as a file holds them, so that a round trip changes nothing
        parameters = {key: value.astype(np.float32) for key, value in parameters.items()}
        return AutoSpecEngine(config, parameters, {"name": f"random-{seed}", **card})

    return make


@pytest.fixture
def dense_engine():
    """Toy models of dense systems: "linear", a stored inverse; "nonlinear"; "exact"; "nan"; "garbage"; "zero"."""
    return _dense_engine


def _dense_engine(kind: str = "linear", matrices: np.ndarray | None = None, n: int = 8, **card):
    from nnla.models.dense_solutions import DenseSystemEngine
    from nnla.operators.arrays import alike, namespace

    @dataclass(frozen=True)
    class Config:
        n: int

        def shapes(self):
            return {"inverse": (self.n, self.n)}

    class Toy(DenseSystemEngine):
        name, config_type, asked = "toy", Config, 0
        linear = kind in ("linear", "exact", "zero")

        @property
        def sizes(self):
            return (self.config.n,)

        def answer(self, A, b):
            xp = namespace(b)
            self.asked += 1
            assert A.shape == (len(b), *self.config.shapes()["inverse"])
            assert bool(((xp.amax(xp.abs(b), 1) == 0) | (xp.amax(xp.abs(b), 1) >= 1)).all())
            if kind == "exact":
                return xp.linalg.solve(A, b)
            x = alike(self.parameters["inverse"], b) @ b
            if kind == "nonlinear":
                x = x * (1.2 + 0.3 * xp.sin(3.0 * xp.amax(xp.abs(b), 1)))[:, None, :]
            if kind == "nan":
                x = x * float("nan")
            if kind == "garbage":
                x = 1e9 * xp.cos(1e3 * x)
            return x * 0.0 if kind == "zero" else x

    if matrices is None:
        matrices = 3.0 * np.eye(n)[None]
    largest = np.abs(matrices).max((1, 2))
    units = np.ldexp(matrices, 1 - np.frexp(largest)[1][:, None, None])
    return Toy(Config(matrices.shape[-1]), {"inverse": np.linalg.inv(units.mean(axis=0))}, {"name": kind, **card})


@pytest.fixture
def no_weights(monkeypatch):
    """An installation whose weights are damaged."""
    import nnla.linear.solve  # which takes the loader along when it is first imported  # noqa: F401
    from nnla.errors import WeightsError

    def broken(name):
        raise WeightsError(f"the weights of {name!r} do not match their checksum; reinstall nnla")

    monkeypatch.setattr("nnla.registry.load", broken)


@pytest.fixture
def native_kernels():
    """For tests of native code: skips without it, and leaves the number of threads as it was."""
    if native is None:
        pytest.skip("the native kernels are not there")
    yield
    native.set_threads(0)


PATTERNS = ("banded", "grid", "arrow", "power law", "empty rows", "dense rows", "random", "diagonal")


@pytest.fixture(scope="session")
def patterns():
    return PATTERNS


@pytest.fixture(scope="session")
def pattern_matrix():
    return _pattern_matrix


def _pattern_matrix(pattern: str, n: int, seed: int, zeros: bool = False) -> sp.csr_array:
    """A symmetric matrix of such a pattern, spectrum in [0, 1]; with `zeros` stored zeros on one side only."""
    rng = np.random.default_rng([seed, n])
    i, j = _PATTERNS[pattern](n, rng)
    keep = (i != j) & (i >= 0) & (j >= 0) & (i < n) & (j < n)
    low, high = np.minimum(i, j)[keep], np.maximum(i, j)[keep]
    off = sp.csr_array((np.ones(low.size), (low, high)), shape=(n, n))
    if pattern == "grid":
        off.data[:] = -1.0  # equal values: the constants of a slice
    else:
        off.data = rng.standard_normal(off.nnz)
    off = off + off.T
    weights = abs(off).sum(axis=0)
    diagonal = weights + (np.where(weights > 0, 0.1, 0.0) if pattern == "empty rows" else 0.1)
    A = (off + sp.diags_array(diagonal)).tocsr()
    if zeros:  # the value is zero, so the matrix is still symmetric; the pattern is not
        a, b = rng.integers(0, n, (2, 2 * n))
        coo = A.tocoo()
        rows, columns = np.append(coo.coords[0], a), np.append(coo.coords[1], b)
        A = sp.csr_array((np.append(coo.data, np.zeros(2 * n)), (rows, columns)), shape=(n, n))
    A.sum_duplicates()
    A.data /= 2.0 * float(weights.max(initial=0.0)) + 0.1  # at most the largest row sum
    A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    return A


def _banded(n, rng):
    i = np.arange(n)
    return np.tile(i, 3), np.concatenate([i + 1, i + 2, i + int(rng.integers(3, 40))])


def _grid(n, rng):
    i, width = np.arange(n), max(2, int(n**0.5))
    right = i[(i + 1) % width != 0]
    return np.append(right, i), np.append(right + 1, i + width)


def _arrow(n, rng):
    i = np.arange(n)
    return np.append(np.zeros_like(i), np.full(n, n - 1)), np.append(i, i)


def _power_law(n, rng):
    size = 3 * n
    return (n * rng.random(size) ** 4).astype(int), rng.integers(0, n, size)


def _empty_rows(n, rng):
    i, j = rng.integers(0, n, (2, n))
    used = np.arange(n) % 5 < 2
    used[n // 3 : n // 3 + 40] = False  # whole slices
    return i[used[i] & used[j]], j[used[i] & used[j]]


def _dense_rows(n, rng):
    rows = rng.integers(0, n, 2)
    i, j = rng.integers(0, n, (2, 2 * n))
    return np.concatenate([i, np.repeat(rows, n)]), np.concatenate([j, np.arange(n), np.arange(n)])


def _random(n, rng):
    i, j = rng.integers(0, n, (2, 4 * n))
    return i, j


def _diagonal(n, rng):
    return np.zeros(0, dtype=int), np.zeros(0, dtype=int)


_PATTERNS = {
    "banded": _banded,
    "grid": _grid,
    "arrow": _arrow,
    "power law": _power_law,
    "empty rows": _empty_rows,
    "dense rows": _dense_rows,
    "random": _random,
    "diagonal": _diagonal,
}
