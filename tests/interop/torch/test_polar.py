"""Polar factors against singular values in float64: the band, FLOPs, units, batches, and no look at the device."""

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
    plan_for,
    polar,
    polar_plan,
    polar_plan_from,
    read_certificate,
)

MUON = ((3.4445, -4.7750, 2.0315),) * 5


def factors(m, values, seed=0):
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, len(values))))[0]
    V = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return torch.tensor((U * np.asarray(values)) @ V.T), torch.tensor(U @ V.T)


def band(U):
    sizes = torch.linalg.svdvals(U.double())
    return float(sizes.min()), float(sizes.max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(24, 24), (60, 20), (20, 60)])
def test_singular_values_end_in_the_band(dtype, shape):
    X, _ = factors(max(shape), np.linspace(1, 0.03, min(shape)))
    X = (X if shape[0] >= shape[1] else X.T).to(dtype)
    U, certificate = polar(X, certificate=True)
    low, high = band(U)
    assert U.shape == shape
    assert U.dtype == dtype
    assert low > 0.88
    assert high < 1.12
    assert read_certificate(certificate).converged


def test_a_narrow_band_is_the_polar_factor():
    X, Q = factors(50, np.geomspace(1, 1e-2, 16))
    for gram in (True, False, "auto"):
        U, certificate = polar(X, lower=5e-3, spread=1e-9, gram=gram, certificate=True)
        assert float((U - Q).norm()) < 1e-7
        assert bool(certificate.converged)


def test_the_three_forms_agree():
    X, _ = factors(40, np.geomspace(1, 0.02, 10))
    one, many = polar(X, gram=True), polar(X, gram=False)
    torch.testing.assert_close(one, many, rtol=0, atol=1e-9)
    torch.testing.assert_close(polar(X.T), polar(X).T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_half_precision_needs_its_restart(precision):
    """float16 products on any device; the band as planned, or nearly."""
    X, _ = factors(128, np.geomspace(1, 0.02, 32))
    low, high = band(polar(X.float(), plan=polar_plan(precision, aspect=4)))
    assert low > 0.85
    assert high < 1.15


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float64, 1e-250), (torch.float64, 1e250),
     (torch.float16, 1e-4), (torch.float16, 1e4), (torch.bfloat16, 1e-30), (torch.bfloat16, 1e30)],
)  # fmt: skip
def test_units_do_not_matter(dtype, unit):
    X, _ = factors(30, np.linspace(1, 0.05, 10))
    low, high = band(polar((X * unit).to(dtype)))
    assert low > 0.88
    assert high < 1.12


def test_a_batch_of_everything():
    good = factors(12, np.linspace(1, 0.1, 6))[0].float()
    broken, infinite = good.clone(), good.clone()
    broken[2, 3], infinite[0, 0] = math.nan, -math.inf
    u, v = torch.linspace(1, 2, 12), torch.linspace(-1, 1, 6)
    batch = torch.stack([good, torch.zeros(12, 6), broken, good * 1e-20, torch.outer(u, v), infinite])
    U, certificate = polar(batch, certificate=True)
    said = read_certificate(certificate)
    assert said.failed == (1, 2, 4, 5)
    assert said.zero == (1,)
    assert said.non_finite == (2, 5)
    assert torch.equal(U[1], torch.zeros(12, 6))
    assert torch.isnan(U[2]).any()
    assert torch.isnan(U[5]).any()
    # rank one: u v' to the band, the rest stays zero
    expected = torch.outer(u / u.norm(), v / v.norm())
    scale = float((U[4] * expected).sum())
    assert 0.88 < scale < 1.12
    torch.testing.assert_close(U[4], scale * expected, rtol=0, atol=1e-5)
    for k in (0, 3):
        torch.testing.assert_close(U[k], polar(batch[k]), rtol=0, atol=1e-6)


def test_layouts_give_the_same():
    X = torch.stack([factors(9, np.linspace(1, 0.2, 4), k)[0] for k in range(6)]).float()
    torch.testing.assert_close(polar(X.reshape(2, 3, 9, 4)).reshape(6, 9, 4), polar(X))
    assert polar(X[:0]).shape == (0, 9, 4)
    assert abs(polar(torch.tensor([[-3.0]])).item() + 1) < 0.12


def test_published_schedules_run_by_their_coefficients():
    plan = polar_plan_from(MUON)
    X, _ = factors(20, np.geomspace(1, 0.05, 8))
    X = X / X.norm()
    expected = X
    for a, b, c in MUON:
        G = expected.T @ expected
        expected = expected @ (a * torch.eye(8) + b * G + c * G @ G)
    # the scale of the norm's bound is another than Frobenius'
    U = polar(X, plan=plan)
    low, high = band(U)
    assert plan.low * 0.99 < low
    assert high < plan.high * 1.01
    assert band(expected)[1] < plan.high * 1.01


def test_flops():
    """In units of 2 n^3: the figures that the field gives, and eight tenths of the best of them."""
    plain = polar_plan_from(MUON, restart_at=range(5))
    gram = polar_plan_from(MUON, restart_at=[2])
    assert (flops(plain, 5, 5), flops(plain, 4, 1), flops(gram, 4, 1)) == (10.0, 32.5, 19.0)
    cubic = polar_plan_from([(1.5, -0.5)] * 5, restart_at=[2])
    assert flops(cubic, 1, 4) == 16.5
    assert flops(polar_plan(aspect=4), 4, 1) <= 0.8 * flops(polar_plan_from(MUON), 4, 1)
    half = polar_plan("bfloat16", aspect=4)
    assert flops(half, 4, 1) <= 0.8 * 19.0
    assert half.low / half.high > 0.88 / 1.12
    assert flops(polar_plan(), 7, 7) <= 0.8 * 10


def test_certificates_can_fail():
    X, _ = factors(20, np.geomspace(1, 1e-4, 10))
    assert not bool(polar(X, certificate=True)[1].converged)
    error = polar(X, certificate=True)[1]
    assert float(error.error) <= float(error.error_bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_nothing_is_read_from_the_device(dtype):
    with FakeTensorMode():
        for shape in ((2, 3, 6, 6), (3, 8)):
            U, certificate = polar(torch.empty(shape, dtype=dtype), certificate=True)
            assert U.shape == shape
            assert certificate.converged.shape == shape[:-2]


def test_one_graph_under_compile():
    call = torch.compile(lambda X: polar(X, certificate=True), fullgraph=True, backend="eager")
    for m in (8, 9):  # the second time with sizes that stay symbols
        X = factors(m, np.linspace(1, 0.2, 4))[0].float()
        with torch.no_grad():
            U, certificate = call(X)
        assert torch.equal(U, polar(X))
        assert bool(certificate.converged)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda X: polar(X[0]), ShapeError),
        (lambda X: polar(X[:, :0]), ShapeError),
        (lambda X: polar([[1.0]]), DTypeError),
        (lambda X: polar(X.to(torch.complex64)), DTypeError),
        (lambda X: polar(X, gram="yes"), OptionError),
        (lambda X: polar(X, lower=0.0), OptionError),
        (lambda X: polar(X, spread=1.0), OptionError),
        (lambda X: polar(X, plan=polar_plan(), spread=0.1), OptionError),
        (lambda X: polar(X, dtype=torch.int8), DTypeError),
        (lambda X: polar_plan(aspect=0.5), OptionError),
        (lambda X: polar_plan(restart="no"), OptionError),
        (lambda X: polar_plan_from([]), OptionError),
        (lambda X: polar_plan_from([(1.0,)]), OptionError),
        (lambda X: flops(polar_plan(), 0, 1), ShapeError),
        (lambda X: flops("muon", 1, 1), OptionError),
    ],
)
def test_bad_calls_are_refused_in_one_line(call, error):
    with pytest.raises(error) as caught:
        call(torch.eye(4))
    assert "\n" not in str(caught.value)


def test_a_band_asked_for_is_the_band_certified():
    X = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    for options in ({"spread": 1e-5}, {"lower": 1e-4}):
        U, certificate = polar(X, certificate=True, **options)
        spread = options.get("spread", 0.12)
        sizes = torch.linalg.svdvals(U.double())
        assert bool(certificate.converged), options
        assert float((sizes - 1).abs().max()) <= spread + 2e-6


def test_wrong_plans_dtypes_and_options_are_refused():
    X = torch.randn(4, 3)
    for plan in (3, inverse_root_plan(2)):
        with pytest.raises(OptionError, match="polar_plan"):
            polar(X, plan=plan)
    for plan in (3, polar_plan()):
        with pytest.raises(OptionError, match="inverse_root_plan"):
            inverse_root(torch.eye(3), plan=plan)
    for call in (lambda: polar(X, dtype="float32"), lambda: inverse_root(torch.eye(3), dtype="float32")):
        with pytest.raises(DTypeError, match="of torch"):
            call()
    with pytest.raises(OptionError, match="gram"):
        polar(X, gram=np.array([1, 2]))
    assert plan_for(torch.zeros(0, 3, 3)).products >= 1
