"""Conditions read from matrices: right within a factor, and what they cost."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from nnla.errors import NotPositiveDefiniteError, ShapeError  # noqa: E402
from nnla.interop.torch import condition, inverse_root, plan_for, probe_cost  # noqa: E402


def definite(values, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return torch.tensor((Q * np.asarray(values)) @ Q.T)


@pytest.mark.parametrize("exponent", [1, 3, 6])
@pytest.mark.parametrize("unit", [1e-20, 1.0, 1e20])
def test_condition(exponent, unit):
    A = definite(np.geomspace(1, 10.0**-exponent, 30)).float() * unit
    assert 0.95 < float(condition(A)) / 10**exponent < 1.7


def test_condition_reads_nothing_and_says_what_has_none():
    with FakeTensorMode():
        assert condition(torch.empty(2, 3, 5, 5)).shape == (2, 3)
    batch = torch.stack([torch.eye(4), torch.zeros(4, 4), -torch.eye(4), torch.full((4, 4), torch.nan)])
    found = condition(batch)
    assert 1 <= found[0] < 2
    assert torch.isnan(found[1])
    assert torch.isinf(found[2])
    assert torch.isnan(found[3])


def test_a_plan_for_the_worst_of_a_batch():
    batch = torch.stack([definite(np.geomspace(1, 10.0**-k, 24), k) for k in (1, 2, 4)]).float()
    plan = plan_for(batch, 2, rtol=0.03)
    assert plan.products <= 14
    assert bool(inverse_root(batch, 2, plan=plan, certificate=True)[1].converged.all())
    assert plan_for(batch[:1], 2, rtol=0.03).products < plan.products


def test_what_is_not_definite_is_refused():
    with pytest.raises(NotPositiveDefiniteError):
        plan_for(-torch.eye(3))
    with pytest.raises(NotPositiveDefiniteError):
        plan_for(torch.zeros(3, 3))
    with pytest.raises(ShapeError):
        plan_for(torch.zeros(3, 2))


def test_a_ridge_makes_it_definite():
    v = torch.linspace(1, 2, 8)
    plan = plan_for(torch.outer(v, v), 2, rtol=0.03, ridge=1e-3)
    Z, certificate = inverse_root(torch.outer(v, v), 2, plan=plan, certificate=True)
    assert plan.ridge == 1e-3
    assert bool(certificate.converged)
    assert bool(torch.isfinite(Z).all())


def test_the_probe_is_cheap():
    assert probe_cost(256) < 1.2
    assert probe_cost(1024) < 0.6
