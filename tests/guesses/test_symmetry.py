"""A network takes for symmetric what the solver does, no more and no less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NotSymmetricError
from nnla.models.nsls import NSLS, NSLSConfig, initial_parameters
from nnla.models.nsls_plus import NSLSPlus, NSLSPlusConfig

ONE = nnla.problems.frame("mini", 11, style="irregular", loads=1)
b = ONE.loads[:, 0]


def plain() -> NSLS:
    config = NSLSConfig(inner=8, blocks=2)
    return NSLS(config, initial_parameters(config.shapes(), np.random.default_rng(0)), {"name": "random"})


def plus() -> NSLSPlus:
    config = NSLSPlusConfig(inner=8, blocks=2, outputs=4, part=100)
    return NSLSPlus(config, initial_parameters(config.shapes(), np.random.default_rng(0)), {"name": "random"})


def rounded() -> Any:
    """Symmetric up to the rounding of float32, in which it is given."""
    A = sp.csr_array(ONE.A, dtype=np.float32)
    rng = np.random.default_rng(0)
    A.data *= np.float32(1) + np.float32(2**-23) * rng.integers(0, 2, A.nnz).astype(np.float32)
    assert abs(A - A.T).max() > 1e-10 * abs(A).max()
    return A


def skew_in_small_entries() -> Any:
    """A pair of entries that differ by a third, both far smaller than the largest entry."""
    A = sp.csr_array(sp.block_diag([ONE.A, 1e-12 * abs(ONE.A).max() * np.array([[4.0, 1.0], [1.5, 4.0]])]))
    assert abs(A - A.T).max() < 1e-11 * abs(A).max()
    return A


@pytest.mark.parametrize("model", [plain(), plus()], ids=["nsls", "nsls-plus"])
def test_symmetric_up_to_the_rounding_of_its_type(model):
    A = rounded()
    assert nnla.as_operator(A).n == b.size
    start = model.guess(A, b) if isinstance(model, NSLS) else model.propose(A, b).x
    assert np.all(np.isfinite(start))
    assert nnla.initial_guess(A, b, model=model).report.used
    assert nnla.solve(A, b, warm_start=model, method="ic", rtol=1e-6).report.warm_start["used"]


@pytest.mark.parametrize("model", [plain(), plus()], ids=["nsls", "nsls-plus"])
def test_not_symmetric_however_small_the_entries(model):
    A = skew_in_small_entries()
    longer = np.append(b, [1.0, 1.0])
    with pytest.raises(NotSymmetricError):
        nnla.as_operator(A)
    with pytest.raises(NotSymmetricError):
        model.guess(A, longer) if isinstance(model, NSLS) else model.propose(A, longer)
