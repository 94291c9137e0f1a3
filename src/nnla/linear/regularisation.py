"""Classical regularisation of dense, ill-conditioned systems with noise: what people do by hand.

Noise in b: `tikhonov`, `truncated_svd`. Noise in A: `total_least_squares`, `truncated_total_least_squares`. Each takes
one system or a batch, and a parameter or a rule that chooses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnla.linear.parameter_choice import CHOICES, Rule, choose_count, choose_lambda
from nnla.linear.rectangular_systems import Regularised, right_hand_sides
from nnla.linear.singular_system import SingularSystem, scaled_rule, singular_system
from nnla.linear.total_least_squares import TTLS_CHOICES, total_least_squares, truncated_total_least_squares

__all__ = [
    "CHOICES",
    "TTLS_CHOICES",
    "Regularised",
    "SingularSystem",
    "singular_system",
    "tikhonov",
    "total_least_squares",
    "truncated_svd",
    "truncated_total_least_squares",
]


def tikhonov(
    A: Any,
    b: Any,
    parameter: Any,
    *,
    noise_norm: Any = None,
    operator_noise: Any = None,
    safety: Any = None,
    x_true: Any = None,
) -> Regularised:
    """Tikhonov's method in standard form: x minimises ||A x - b||^2 + lambda^2 ||x||^2.

    Parameters
    ----------
    A : (m, n), a batch (B, m, n), or a `SingularSystem` of either
    b : (m,); (B, m) for a batch, of which A may be (1, m, n)
    parameter : lambda >= 0 in the units of A, one or (B,); or the rule that chooses it:
        "discrepancy", the lambda with ||A x - b|| = safety (noise_norm + operator_noise ||x||);
        "gcv", generalised cross-validation, the minimum of ||A x - b||^2 / (m - sum of filter factors)^2, for white
        noise of unknown size. For square systems of this size it now and then takes noise for signal, and x is useless;
        "modified-gcv", with 1.4 times the sum of the filter factors, which does so far less often, but regularises
        even what has no noise;
        "l-curve", the corner of the curve (log ||A x - b||, log ||x||);
        "hindsight", the lambda whose x is nearest to x_true: not a method, but the best that any rule could do
    noise_norm : ||noise in b||_2, one or (B,)
    operator_noise : ||noise in A||_2, one or (B,), default 0
    safety : factor of the discrepancy, default 1
    x_true : (n,) or (B, n)

    Returns
    -------
    Regularised
        lambda = 0 is the least squares solution of least norm, inf is x = 0. Where no x is as good as the discrepancy
        asks for, or the L-curve has no corner, lambda is 0 and `attained` is False.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, OptionError, GradientError, NotConvergedError

    Notes
    -----
    Cost: that of `singular_system`, unless it is given, and up to 300 passes over the singular values for a rule; x is
    formed once.

    Validity: singular values below max(m, n) eps times the largest are rounding and count as zero, as for
    `numpy.linalg.lstsq`. Any units from 1e-250 to 1e250: x and lambda scale as they must, to the bit for powers of two.

    References
    ----------
    Hansen, Discrete Inverse Problems, 2010, chapters 4 and 5; for operator_noise Goncharskii, Leonov & Yagola, USSR
    Comput. Math. Math. Phys. 13 (1973) 25-37.

    Examples
    --------
    >>> from nnla.problems import shaw
    >>> p = shaw(64)
    >>> noise = 1e-3 * np.random.default_rng(0).standard_normal(64)
    >>> far = np.linalg.norm(np.linalg.solve(p.A, p.b + noise) - p.x)
    >>> near = np.linalg.norm(tikhonov(p.A, p.b + noise, "modified-gcv").x - p.x)
    >>> bool(far > 1e6), bool(near < 0.1 * np.linalg.norm(p.x))
    (True, True)
    """
    S = singular_system(A)
    b, b_exponents = right_hand_sides(S.systems, b)
    spectrum = S.spectrum(b)
    rule = Rule.checked(
        parameter, len(b), noise_norm=noise_norm, operator_noise=operator_noise, safety=safety, x_true=x_true
    )
    rule = scaled_rule(rule, S.systems, b_exponents)
    if rule.name == "given":
        with np.errstate(over="ignore", under="ignore"):
            rule = replace(rule, value=np.ldexp(rule.value, -S.systems.exponents))
    truth = None if rule.x_true is None else S.coefficients(rule.x_true)
    with np.errstate(over="ignore", under="ignore"):
        lam, attained = choose_lambda(rule, spectrum, truth)
        x = S.combine(spectrum.coefficients(lam))
        lam = np.ldexp(lam, S.systems.exponents)
    return S.systems.answer(b, b_exponents, x, lam, attained, "tikhonov", rule.name)


def truncated_svd(
    A: Any,
    b: Any,
    parameter: Any,
    *,
    noise_norm: Any = None,
    operator_noise: Any = None,
    safety: Any = None,
    x_true: Any = None,
) -> Regularised:
    """Truncated singular value decomposition: the least squares solution of the nearest matrix of rank k.

    Parameters
    ----------
    A : (m, n), a batch (B, m, n), or a `SingularSystem` of either
    b : (m,); (B, m) for a batch, of which A may be (1, m, n)
    parameter : k from 0 to min(m, n), one or (B,); or the rule that chooses it, as for `tikhonov`: "discrepancy", the
        smallest k that is good enough; "gcv"; "modified-gcv"; "l-curve"; "hindsight"
    noise_norm, operator_noise, safety, x_true : as for `tikhonov`

    Returns
    -------
    Regularised
        Its parameter is the number of components in use: a k beyond the numerical rank is lowered to it. Where no k is
        as good as the discrepancy asks for, or the L-curve has no corner, it is the largest, and `attained` is False.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, OptionError, GradientError, NotConvergedError

    Notes
    -----
    Cost: that of `singular_system`, unless it is given, and some passes over the singular values; min(m, n) for the
    L-curve.

    Validity: as for `tikhonov`.

    References
    ----------
    Hansen, Discrete Inverse Problems, 2010, sections 4.2 and 5.4.

    Examples
    --------
    >>> answer = truncated_svd(np.diag([1.0, 0.5, 1e-9]), [1.0, 1.0, 1e-4], "discrepancy", noise_norm=1e-3)
    >>> answer.x, answer.parameter, answer.attained
    (array([1., 2., 0.]), 2, True)
    """
    S = singular_system(A)
    b, b_exponents = right_hand_sides(S.systems, b)
    spectrum = S.spectrum(b)
    number = S.s.shape[1]
    rule = Rule.checked(
        parameter,
        len(b),
        noise_norm=noise_norm,
        operator_noise=operator_noise,
        safety=safety,
        x_true=x_true,
        whole_up_to=number,
    )
    rule = scaled_rule(rule, S.systems, b_exponents)
    none = np.zeros((len(b), 1))
    y = spectrum.beta / spectrum.s
    tails = np.concatenate([np.cumsum(spectrum.beta[:, ::-1] ** 2, axis=1)[:, ::-1], none], axis=1)
    residual = np.sqrt(tails + spectrum.rest[:, None])
    size = np.sqrt(np.concatenate([none, np.cumsum(y**2, axis=1)], axis=1))
    rank = spectrum.live.sum(axis=1)
    usable = np.arange(number + 1) <= rank[:, None]
    error = None
    if rule.x_true is not None:
        truth = S.coefficients(rule.x_true)
        lost = np.concatenate([np.cumsum(truth[:, ::-1] ** 2, axis=1)[:, ::-1], none], axis=1)
        error = lost + np.concatenate([none, np.cumsum((y - truth) ** 2, axis=1)], axis=1)
    k, attained = choose_count(rule, residual, size, usable, spectrum.rows, error)
    if rule.name == "given":
        attained = np.ones_like(attained)  # what lies beyond the rank adds nothing
    x = S.combine(np.where(np.arange(number) < k[:, None], y, 0.0))
    return S.systems.answer(b, b_exponents, x, k, attained, "tsvd", rule.name)
