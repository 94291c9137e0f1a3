"""Fixtures shared by the tests: matrices small enough to know everything about."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

_SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "matrices"


def _matrix_folder() -> Path:
    return Path(os.environ.get("NNLA_TEST_MATRICES", _SHARED))


@pytest.fixture(scope="session")
def real_matrix():
    """Read a real matrix by name; skips without the data folder (NNLA_TEST_MATRICES points to one)."""

    def read(name: str):
        from nnla.problems import read_matrix

        path = _matrix_folder() / f"{name}.mtx.gz"
        if not path.is_file():
            pytest.skip(f"{path.name} is not here; set NNLA_TEST_MATRICES to a folder of SuiteSparse matrices")
        return read_matrix(path)

    return read


@pytest.fixture(scope="session")
def matrix_folder() -> Path:
    """The folder of real matrices, which may be absent; `real_matrix` skips then."""
    return _matrix_folder()


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
def no_weights(monkeypatch):
    """An installation whose weights are damaged."""
    import nnla.solvers  # which takes the loader along when it is first imported  # noqa: F401
    from nnla.errors import WeightsError

    def broken(name):
        raise WeightsError(f"the weights of {name!r} do not match their checksum; reinstall nnla")

    monkeypatch.setattr("nnla.registry.load", broken)
