"""What float64 cannot know is not called converged, and nothing is handed out that leaves the range."""

from __future__ import annotations

import numpy as np
import torch

from nnla.matfun import cosm, expm, logm, signm, sinm


def test_an_unsymmetric_matrix_of_half_precision_is_none_that_is_symmetric():
    A = torch.tensor([[1.0, 0.05], [0.0, 1.0]], dtype=torch.bfloat16)
    X = expm(A)
    assert X.report.symmetric == 0
    assert float(X[1, 0]) == 0.0
    B = np.array([[1.0, 0.006], [0.0, 1.0]], dtype=np.float16)
    assert logm(B)[1, 0] == 0.0
    C = np.array([[1.0, 9e-7], [0.0, 0.0]], dtype=np.float32)
    assert expm(C)[1, 0] == 0.0


def test_a_sign_that_rounding_decides():
    for d in (1e-14, 1e-13):
        A = np.array([[0.3, 0.9], [-0.1 + d, -0.3]])
        assert not signm(A).report.converged
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    assert not signm((Q * np.array([1.0, 1e-12, -1e-12])) @ Q.T).report.converged
    assert signm((Q * np.array([1.0, 1e-6, -1e-6])) @ Q.T).report.converged


def test_far_from_normal_matrices():
    A = np.array([[30898.740041689984, -66865.08481374734], [14266.336416838247, -30872.4441515326]])
    assert sinm(A).report.residual > 7e-6  # its error, by 200 digits
    B = np.array([[2742.288038069, 265.1996811613161], [-28356.61825596144, -2742.296219781312]])
    assert cosm(B).report.residual > 1e-6


def test_answers_beyond_their_dtype_are_nan():
    X = expm(np.array([[[12.0]], [[1.0]]], dtype=np.float16), undefined="nan")
    assert np.isnan(X[0]).all()
    assert X.report.undefined == [0]
    assert not X.report.converged
    assert X.report.converged_each == [False, True]


def test_logarithms_leave_random_numbers_alone():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    A = 2 * np.eye(6) + np.eye(6, k=1)
    assert np.array_equal(logm(A), logm(A))
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(after) == str(before)


def test_rates_beyond_the_series():
    Q = np.ones((4, 4)) - 4 * np.eye(4)
    for t in (1e12, 1e17, 1e300):
        X = expm(t * Q, undefined="nan")
        assert X.report.rates == 1
        assert not X.report.converged
        assert not np.isinf(X).any()
    G = np.random.default_rng(0).exponential(size=(5, 5))
    np.fill_diagonal(G, 0.0)
    np.fill_diagonal(G, -G.sum(1))
    narrow = expm((50 * G).astype(np.float32))
    assert narrow.report.converged  # its rows sum to one as well as those of Q do to zero
    assert narrow.report.row_sum_error > 1e-8


def test_no_warnings_and_no_untyped_errors():
    for f, A in ((expm, -1000 * np.eye(2)), (expm, 1e300 * np.eye(2)), (expm, 1e308 * np.eye(2))):
        assert f(A, method="relu", undefined="nan").report.fallbacks == 1
    assert sinm(1e-300 * np.eye(2), method="polynomial").shape == (2, 2)
    assert np.isnan(cosm(np.full((2, 2), 1.7e308), method="polynomial", undefined="nan")).all()


def test_a_zero_of_the_sine_has_a_residual():
    report = sinm([[np.pi]]).report
    assert report.residual < 1.0
    assert abs(float(sinm([[np.pi]])[0, 0])) < 2e-16
