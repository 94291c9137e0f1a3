"""A^(-1/p) against eigenvalues in float64: values, units, batches, dtypes, no root, and no look at the device."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from nnla.errors import DTypeError, OptionError, ShapeError  # noqa: E402
from nnla.interop.torch import (  # noqa: E402
    flops,
    inverse_root,
    inverse_root_plan,
    read_certificate,
)


def definite(values, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    A = (Q * np.asarray(values)) @ Q.T
    return torch.tensor(0.5 * (A + A.T))


def exact(A, p):
    w, V = torch.linalg.eigh(A.double())
    return (V * w[..., None, :] ** (-1 / p)) @ V.mT


def relative(Z, R):
    size = R.abs().max()
    return float((Z.double() / size - R / size).norm() / (R / size).norm())


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "cond", "bound"), [(torch.float64, 1e8, 1e-7), (torch.float32, 1e4, 1e-3)])
def test_values(p, dtype, cond, bound):
    A = definite(np.geomspace(1, 1 / cond, 40)).to(dtype)
    Z, certificate = inverse_root(A, p, cond=cond, certificate=True)
    assert Z.dtype == dtype
    assert torch.equal(Z, Z.mT)
    assert relative(Z, exact(A, p)) < bound
    if p > 1:
        assert read_certificate(certificate).converged


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("unit", [1e-30, 1e-6, 1e30])
def test_units_do_not_matter(p, unit):
    A = definite(np.geomspace(1, 1e-3, 12)).float()
    Z, certificate = inverse_root(A * unit, p, certificate=True)
    assert relative(Z, exact(A.double() * unit, p)) < 1e-3
    assert bool(certificate.converged)


@pytest.mark.parametrize("unit", [1e-250, 1e250])
def test_units_in_double(unit):
    A = definite(np.geomspace(1, 1e-3, 12)) * unit
    Z, certificate = inverse_root(A, 2, certificate=True)
    assert relative(Z, exact(A, 2)) < 1e-8
    assert bool(certificate.converged)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_matrices_kept_in_half_precision(dtype):
    A = definite(np.geomspace(1, 0.1, 12)).to(dtype)
    Z, certificate = inverse_root(A, 2, rtol=1e-3, dtype=torch.float32, certificate=True)
    assert relative(Z, exact(A, 2)) < 1e-3
    assert bool(certificate.converged)
    assert inverse_root(A, 4).dtype == dtype


def test_tiny_norms_in_half_precision():
    A = definite(np.geomspace(1, 0.5, 6)).to(torch.float16) * 1e-4
    assert relative(inverse_root(A, 2, dtype=torch.float32), exact(A, 2)) < 2e-2


def test_a_batch_of_everything():
    """Each answer is the one that the matrix has by itself; zero, rank one and NaN are said."""
    good, other = definite(np.geomspace(1, 1e-3, 10)).float(), definite(np.geomspace(7e20, 7e18, 10), 1).float()
    column = torch.linspace(1, 2, 10)
    broken, infinite = good.clone(), good.clone()
    broken[2, 3], infinite[0, 0] = math.nan, math.inf
    batch = torch.stack([good, torch.zeros(10, 10), broken, other, torch.outer(column, column), infinite])
    Z, certificate = inverse_root(batch, 2, certificate=True)
    assert certificate.converged.tolist() == [True, False, False, True, False, False]
    said = read_certificate(certificate)
    assert not said.converged
    assert said.failed == (1, 2, 4, 5)
    assert said.zero == (1,)
    assert said.non_finite == (2, 5)
    assert said.count == 6
    assert torch.equal(Z[1], torch.zeros(10, 10))
    assert torch.isnan(Z[2]).all()
    assert torch.isnan(Z[5]).all()
    assert torch.isfinite(Z[4]).all()
    assert float(Z[4].abs().max()) < 4e3
    for k in (0, 3, 4):
        torch.testing.assert_close(Z[k], inverse_root(batch[k], 2), rtol=1e-5, atol=0.0)


def test_layouts_give_the_same():
    A = torch.stack([definite(np.geomspace(1, 1e-3, 8), k) for k in range(6)]).float()
    Z = inverse_root(A, 4)
    torch.testing.assert_close(inverse_root(A.reshape(2, 3, 8, 8), 4).reshape(6, 8, 8), Z)
    torch.testing.assert_close(inverse_root(A.mT, 4), Z)
    assert inverse_root(A[:0], 4).shape == (0, 8, 8)
    assert inverse_root(torch.full((1, 1), 16.0), 4).item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("law", ["flat", "diagonal", "two"])
def test_flat_spectra_are_within_the_plan(law):
    """Where the Frobenius norm is far above the largest eigenvalue: the bound of the norm is close all the same."""
    values = np.append(np.linspace(1, 0.5, 99), 1e-4)
    A = definite(values).float() if law == "flat" else torch.diag(torch.tensor(values)).float()
    if law == "two":
        A = torch.block_diag(*[torch.tensor([[2.0, 1.0], [1.0, 2.0]])] * 49, torch.tensor([[3e-4]]))
    Z, certificate = inverse_root(A, 2, cond=1e4, certificate=True)
    assert relative(Z, exact(A, 2)) < 1e-3
    assert bool(certificate.converged)


def test_a_ridge_is_added_and_known():
    values = np.geomspace(1, 1e-9, 16)
    A = definite(values).float()
    Z, certificate = inverse_root(A, 2, ridge=1e-3, certificate=True)
    assert bool(certificate.converged)
    shifts = np.array([1 / float(torch.linalg.eigvalsh(Z.double())[-1]) ** 2])
    assert 1e-3 < shifts[0] < 1.3e-3  # the bound of the norm is at most a third too large
    zero, flag = inverse_root(A * 0, 2, ridge=1e-3, certificate=True)
    assert float(zero.abs().max()) == 0.0
    assert bool(flag.zero)


def test_certificates_can_fail():
    # a plan for condition 1e2 on a matrix of 1e5; an indefinite matrix; a root for the wrong matrix
    A = definite(np.geomspace(1, 1e-5, 20)).float()
    assert not bool(inverse_root(A, 2, cond=1e2, certificate=True)[1].converged)
    skew = torch.tensor([[1.0, 0.5], [-0.5, 1.0]])  # no symmetric Z is a root of it
    for p in (1, 2, 4):
        assert not bool(inverse_root(skew, p, certificate=True)[1].converged)
    indefinite = definite([1.0, 0.5, 0.2, -0.3]).float()
    assert not bool(inverse_root(indefinite, 2, certificate=True)[1].converged)


def test_condition_1e8_in_single_precision_is_said_not_to_converge():
    A = definite(np.geomspace(1, 1e-8, 64)).float()
    certificate = inverse_root(A, 2, cond=1e8, certificate=True)[1]
    assert not bool(certificate.converged)


def test_fewer_products_than_a_fixed_schedule():
    """29 products whatever the matrix is what is in use."""
    for exponent, most in ((2, 8), (4, 13), (6, 19), (7, 21)):
        plan = inverse_root_plan(2, cond=10.0**exponent, rtol=0.03)
        assert plan.cost <= most <= 0.8 * 29
        assert flops(plan, 256, 256) == 0.5 * plan.products


def test_seven_digits_of_condition_in_single_precision():
    A = definite(np.geomspace(1, 1e-7, 96)).float()
    Z = inverse_root(A, 2, cond=1e7, rtol=0.03)
    assert relative(Z, exact(A, 2)) < 3e-2


def test_the_products_that_run_are_those_of_the_plan():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        products = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.baddbmm):
                self.products += result.shape[-1] == 9  # and not with vectors
            return result

    A = definite(np.geomspace(1, 1e-3, 9)).float()
    for p in (1, 2, 4):
        for cond in (3.0, 1e5):
            plan = inverse_root_plan(p, cond=cond)
            with Count() as count:
                inverse_root(A, p, plan=plan)
            assert count.products == plan.products


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_read_from_the_device(dtype):
    """Fake tensors hold no numbers: whoever asks for one fails."""
    with FakeTensorMode():
        Z, certificate = inverse_root(torch.empty(2, 3, 6, 6, dtype=dtype), 4, certificate=True)
        assert Z.shape == (2, 3, 6, 6)
        assert Z.dtype == dtype
        assert certificate.converged.shape == (2, 3)


def test_one_graph_under_compile():
    A = definite(np.geomspace(1, 1e-2, 6)).float()
    plan = inverse_root_plan(2, cond=1e2, rtol=0.03)
    call = torch.compile(lambda A: inverse_root(A, 2, plan=plan, certificate=True), fullgraph=True, backend="eager")
    with torch.no_grad():
        Z, certificate = call(A)
    assert torch.equal(Z, inverse_root(A, 2, plan=plan))
    assert bool(certificate.converged)


def test_the_input_stays_and_no_generator_is_touched():
    A = definite(np.geomspace(1, 1e-2, 6)).float()
    kept, state = A.clone(), torch.get_rng_state()
    inverse_root(A, 2, certificate=True)
    assert torch.equal(A, kept)
    assert torch.equal(state, torch.get_rng_state())


def test_gradients_go_through():
    A = definite(np.geomspace(1, 0.1, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda A: inverse_root(0.5 * (A + A.mT), 2), (A,), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda A: inverse_root(A[:3]), ShapeError),
        (lambda A: inverse_root(A[0]), ShapeError),
        (lambda A: inverse_root(A.numpy()), DTypeError),
        (lambda A: inverse_root(A.long()), DTypeError),
        (lambda A: inverse_root(A.to_sparse()), DTypeError),
        (lambda A: inverse_root(A, 3), OptionError),
        (lambda A: inverse_root(A, True), OptionError),
        (lambda A: inverse_root(A, cond=0.5), OptionError),
        (lambda A: inverse_root(A, cond=math.inf), OptionError),
        (lambda A: inverse_root(A, ridge=-1.0), OptionError),
        (lambda A: inverse_root(A, rtol=0.0), OptionError),
        (lambda A: inverse_root(A, dtype=torch.int32), DTypeError),
        (lambda A: inverse_root(A, 4, plan=inverse_root_plan(2)), OptionError),
        (lambda A: inverse_root(A, 2, plan=inverse_root_plan(2), cond=10.0), OptionError),
        (lambda A: inverse_root_plan(2, "int8"), DTypeError),
        (lambda A: inverse_root_plan(2, wide=-1), OptionError),
        (lambda A: inverse_root_plan(2, "tf32", cond=1e300), OptionError),
    ],
)
def test_bad_calls_are_refused_in_one_line(call, error):
    with pytest.raises(error) as caught:
        call(torch.eye(4))
    assert "\n" not in str(caught.value)
