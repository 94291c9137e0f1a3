"""Noise of known level: the deviation that the table states, the law, seeds, units, errors."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.problems import bvp_systems, noise_deviation, perturbed
from nnla.problems.perturbations import CORRELATION, LAWS, PARTS

RELATIVE = ("entrywise", "coloured", "heavy", "gain")


@pytest.fixture(scope="module")
def systems():
    return bvp_systems(300, n=16, seed=3)


@pytest.mark.parametrize("law", LAWS)
def test_deviation_is_what_the_table_says(systems, law):
    level = 0.01
    noise = perturbed(systems, law, level, seed=1).A - systems.A
    ratio = noise / noise_deviation(systems.A, law, level)
    assert abs(ratio.mean()) < 0.05
    # few values of a rounding are of one system alone; Student's t of 3 degrees has no fourth moment
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1, rel={"heavy": 0.15, "digits": 0.15}.get(law, 0.06))


@pytest.mark.parametrize("law", LAWS)
def test_level_zero_changes_nothing(systems, law):
    assert np.array_equal(perturbed(systems.A, law, 0.0), systems.A)


@pytest.mark.parametrize("law", LAWS)
def test_seeds_and_levels(systems, law):
    one, same = (perturbed(systems.A, law, 0.01, seed=5) for _ in range(2))
    assert np.array_equal(one, same)
    assert np.array_equal(one, perturbed(systems.A, law, 0.01, seed=np.random.default_rng(5)))
    if law not in ("quantised", "digits"):  # these draw nothing
        assert not np.array_equal(one, perturbed(systems.A, law, 0.01, seed=6))
        small = perturbed(systems.A, law, 1e-6, seed=5)
        np.testing.assert_allclose((small - systems.A) * 1e4, one - systems.A, rtol=0.2, atol=1e-3 * np.abs(one).max())
    levels = np.where(np.arange(len(systems)) % 2, 0.0, 0.01)
    mixed = perturbed(systems.A, law, levels, seed=5)
    assert np.array_equal(mixed[1::2], systems.A[1::2])
    assert np.array_equal(mixed[::2], one[::2])


def test_normal_noise_is_independent(systems):
    xi = (perturbed(systems.A, "entrywise", 0.01, seed=2) / systems.A - 1) / 0.01
    assert abs(np.mean(xi[:, 1:] * xi[:, :-1])) < 0.02
    assert np.mean(xi**4) == pytest.approx(3, rel=0.05)


def test_coloured_noise_is_correlated_along_rows_and_columns(systems):
    xi = (perturbed(systems.A, "coloured", 0.01, seed=2) / systems.A - 1) / 0.01
    for gap in (1, 4):
        assert np.mean(xi[:, gap:] * xi[:, :-gap]) == pytest.approx(CORRELATION**gap, abs=0.05)
        assert np.mean(xi[:, :, gap:] * xi[:, :, :-gap]) == pytest.approx(CORRELATION**gap, abs=0.05)
    np.testing.assert_allclose(np.mean(xi**2, axis=0), 1, atol=0.4)  # everywhere alike


def test_heavy_noise_has_tails(systems):
    xi = (perturbed(systems.A, "heavy", 0.01, seed=2) / systems.A - 1) / 0.01
    share = np.mean(np.abs(xi) > 4)
    assert 30 * 6.3e-5 < share < 0.02  # of a normal variable 6.3e-5


def test_gain_is_of_rank_one():
    gains = perturbed(np.ones((9, 7)), "gain", 0.05, seed=1)
    assert np.linalg.svd(gains, compute_uv=False)[1] < 1e-14
    assert np.linalg.matrix_rank(gains - 1, tol=1e-3) == 2


def test_roundings_are_idempotent_and_monotone(rng):
    A = np.sort(rng.standard_normal(400)).reshape(1, 20, 20) * 1e3
    fixed = perturbed(A, "quantised", 0.05)
    assert len(np.unique(fixed)) < 60
    assert np.all(np.diff(fixed.ravel()) >= 0)
    steps = np.diff(np.unique(fixed))
    np.testing.assert_allclose(steps / steps.min(), np.rint(steps / steps.min()), atol=1e-9)
    digits = perturbed(A, "digits", 0.01)
    np.testing.assert_allclose(perturbed(digits, "digits", 0.01), digits, rtol=1e-14)
    assert np.abs(digits / A - 1).max() < 0.04
    assert perturbed(np.array([[0.0, -0.0], [1.0, 2.0]]), "digits", 0.1)[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("unit", [1e-250, 1e250, 2.0**-300])
def test_every_unit(systems, law, unit):
    A = systems.A[:20] / 1e6
    noisy = perturbed(A * unit, law, 0.01, seed=3) / unit
    expected = perturbed(A, law, 0.01, seed=3)
    close = np.isclose(noisy, expected, rtol=1e-9, atol=1e-12)
    if law in ("quantised", "digits"):  # where a value lies between two multiples, rounding of the unit decides
        unit_matters = law == "digits"  # the mantissa in base ten is another one
        assert unit_matters or close.mean() > 0.999
        assert np.all(np.abs(noisy / A - 1)[np.abs(A) > 1e-2] < 0.1)
    else:
        assert close.all()
    assert np.isfinite(noisy).all()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("law", LAWS)
def test_parts_of_systems(systems, law, part):
    noisy = perturbed(systems, law, 0.01, part=part, seed=1)
    assert np.array_equal(noisy.A, systems.A) == (part == "b")
    assert np.array_equal(noisy.b, systems.b) == (part == "A")
    assert noisy.x is systems.x
    assert noisy.equation == systems.equation
    if part == "A":
        assert np.array_equal(noisy.A, perturbed(systems.A, law, 0.01, seed=1))
    if part == "b":
        assert np.array_equal(noisy.b, perturbed(systems.b[..., None], law, 0.01, seed=1)[..., 0])
        # most entries of b are a little above 1, where a digit more counts most
        size = 0.01 * np.linalg.norm(systems.b)
        assert np.linalg.norm(noisy.b - systems.b) == pytest.approx(size, rel=0.6 if law == "digits" else 0.3)


def test_types():
    A = np.arange(1, 10).reshape(3, 3)
    before = A.copy()
    assert perturbed(A, "entrywise", 0.1).dtype == np.float64
    assert np.array_equal(A, before)
    assert perturbed(A.tolist(), "entrywise", 0.1).shape == (3, 3)
    single = perturbed(A.astype(np.float32), "normwise", 0.1, seed=1)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, perturbed(A, "normwise", 0.1, seed=1), rtol=1e-6)
    big_endian = perturbed(A.astype(">f8"), "entrywise", 0.1, seed=1)
    np.testing.assert_array_equal(big_endian, perturbed(A, "entrywise", 0.1, seed=1))
    assert noise_deviation(A.astype(np.float32), "entrywise", 0.1).dtype == np.float32
    assert perturbed(np.ones((0, 2, 2)), "coloured", 0.1).shape == (0, 2, 2)
    assert perturbed(np.zeros((2, 3, 3)), "normwise", 0.1).tolist() == np.zeros((2, 3, 3)).tolist()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"law": "white"}, OptionError),
        ({"law": None}, OptionError),
        ({"part": "x"}, OptionError),
        ({"level": -0.1}, OptionError),
        ({"level": np.nan}, OptionError),
        ({"level": np.inf}, OptionError),
        ({"level": "1 %"}, OptionError),
        ({"level": [[0.1], [0.1, 0.2]]}, OptionError),
        ({"level": [0.1, 0.1]}, ShapeError),
        ({"systems": np.ones(3)}, ShapeError),
        ({"systems": np.ones((0, 0))}, ShapeError),
        ({"systems": [[1.0, 2.0], [3.0]]}, ShapeError),
        ({"systems": [[np.nan]]}, NonFiniteError),
        ({"systems": [[np.inf]]}, NonFiniteError),
        ({"systems": [[1j]]}, DTypeError),
        ({"systems": [["a"]]}, DTypeError),
        ({"systems": [[True]]}, DTypeError),
        ({"systems": np.ones((2, 2), np.float16)}, DTypeError),
        ({"systems": np.ones((2, 2), np.longdouble)}, DTypeError),
    ],
    ids=str,
)
def test_bad_input(wrong, error):
    with pytest.raises(error) as caught:
        perturbed(**({"systems": np.ones((3, 4, 4))} | wrong))
    assert "\n" not in str(caught.value)


def test_bad_input_of_deviation():
    with pytest.raises(OptionError, match="law"):
        noise_deviation(np.ones((2, 2)), "white", 0.1)
    with pytest.raises(OptionError, match="level"):
        noise_deviation(np.ones((2, 2)), "entrywise", -1)
