"""Total least squares and its truncated form, for systems whose matrix is noisy, too: public in
`nnla.linear.regularisation`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.linear.parameter_choice import Rule, Spectrum, choose_count
from nnla.linear.rectangular_systems import (
    DenseSystems,
    Regularised,
    dense_systems,
    right_hand_sides,
    row_numbers,
    stacked_svd,
)
from nnla.linear.singular_system import SingularSystem, scaled_truth, singular_system

__all__ = ["TTLS_CHOICES", "total_least_squares", "truncated_total_least_squares"]

#: The rules that know how to truncate [A, weight b].
TTLS_CHOICES = ("discrepancy", "hindsight")

_EPS = np.finfo(float).eps
_RESOLVED = 1e10  # of [A, weight b], whose smaller part keeps six digits then


def total_least_squares(A: Any, b: Any, *, weight: Any = 1.0) -> Regularised:
    """Total least squares: (A + E) x = b + e with the smallest ||[E, weight e]||_F.

    Nothing is regularised: for a square nonsingular A the smallest perturbation is none, and x is that of an exact
    solve; for more rows than columns x is further from zero than that of least squares.

    Parameters
    ----------
    A : (m, n), a batch (B, m, n), or a `SingularSystem` of either
    b : (m,); (B, m) for a batch, of which A may be (1, m, n)
    weight : > 0, the size of the errors in A relative to those in b, one or (B,); inf where b is exact ("data least
        squares"); "balanced" for b of the size of a column of A, which makes x independent of units

    Returns
    -------
    Regularised
        Its parameter is the smallest singular value of [A, weight b], the norm of the perturbation where m > n (for
        weight inf that of E). Where there is no smallest perturbation (b is orthogonal to the singular vectors that
        matter, or the rank of A is not full) x is that of the problem which leaves these out, and `attained` is False.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, OptionError, GradientError, NotConvergedError

    Notes
    -----
    Cost: that of `singular_system`, unless it is given. [A, weight b] itself is not decomposed: its smallest singular
    value is the root of a secular equation in the singular values of A, so that no weight or unit is too large.

    References
    ----------
    Golub & Van Loan, An analysis of the total least squares problem, SIAM J. Numer. Anal. 17 (1980) 883-893; Van Huffel
    & Vandewalle, The Total Least Squares Problem, 1991; Paige & Strakos, Numer. Math. 91 (2002) 117-146.

    Examples
    --------
    >>> A, b = np.array([[1.0], [2.0], [3.0]]), np.array([1.1, 1.9, 3.2])
    >>> least, total = np.linalg.lstsq(A, b, rcond=None)[0], total_least_squares(A, b).x
    >>> bool(total[0] > least[0])
    True
    """
    S = singular_system(A)
    b, b_exponents = right_hand_sides(S.systems, b)
    weights = _weights(weight, S.systems, b, b_exponents, infinite=True)
    theta, coefficients, attained = _secular(S.spectrum(b), weights, S.systems.A.shape[1:])
    sigma = np.ldexp(np.sqrt(theta), S.systems.exponents)
    return S.systems.answer(b, b_exponents, S.combine(coefficients), sigma, attained, "tls", "given")


def _secular(
    spectrum: Spectrum, weights: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The square of the smallest singular value of [A, w b], the coefficients of x, and whether x is generic.

    theta is the root of rest = theta (w^-2 + sum beta^2 / (s^2 - theta)) below the smallest s^2 whose beta is not zero;
    x has the coefficients s beta / (s^2 - theta). With theta = s^2 / (1 + exp(-y)) neither end loses digits.
    """
    m, n = shape
    b_norm = np.sqrt((spectrum.beta**2).sum(axis=1) + spectrum.rest)
    rounding = 8.0 * m**0.5 * _EPS * b_norm
    matter = spectrum.live & (np.abs(spectrum.beta) > rounding[:, None])
    pole = np.where(matter, spectrum.s, np.inf).min(axis=1)
    pole = np.where(np.isfinite(pole), pole, 1.0)[:, None]
    apart = (spectrum.s - pole) * (spectrum.s + pole)
    squares = np.where(matter, spectrum.beta**2, 0.0)
    with np.errstate(over="ignore", divide="ignore"):
        inverse = weights**-2.0

    def gaps(y: np.ndarray) -> np.ndarray:
        """s^2 - theta."""
        return apart + pole**2 / (1.0 + np.exp(y))[:, None]

    low, high = np.full(len(b_norm), -80.0), np.full(len(b_norm), 80.0)
    for _ in range(60):
        y = 0.5 * (low + high)
        theta = pole[:, 0] ** 2 / (1.0 + np.exp(-y))
        terms = np.where(matter, squares / np.where(matter, gaps(y), 1.0), 0.0)
        above = theta * (inverse + terms.sum(axis=1)) > spectrum.rest
        low, high = np.where(above, low, y), np.where(above, y, high)
    # where nothing is left, or next to nothing, theta is zero, and x solves A x = b exactly
    none = (low <= -79.0) | (spectrum.rest == 0)
    theta = np.where(none, 0.0, pole[:, 0] ** 2 / (1.0 + np.exp(-low)))
    gap = np.where(none[:, None], spectrum.s**2, gaps(low))
    kept = spectrum.live & (gap > 0)
    coefficients = np.where(kept, spectrum.s * spectrum.beta / np.where(kept, gap, 1.0), 0.0)
    full = spectrum.live.all(axis=1) & (n <= m)
    consistent = np.sqrt(spectrum.rest) <= rounding
    # without any beta that matters b is orthogonal to all that A x can be
    generic = kept.all(axis=1) & full & matter.any(axis=1)
    return theta, coefficients, consistent | generic


def truncated_total_least_squares(
    A: Any,
    b: Any,
    parameter: Any,
    *,
    weight: Any = 1.0,
    noise_norm: Any = None,
    safety: Any = None,
    x_true: Any = None,
) -> Regularised:
    """Truncated total least squares: the solution of least norm with the nearest [A, weight b] of rank k.

    Parameters
    ----------
    A : (m, n) or a batch (B, m, n)
    b : (m,); (B, m) for a batch, of which A may be (1, m, n)
    parameter : k from 0 to min(m, n), one or (B,); or the rule that chooses it: "discrepancy", the smallest k for which
        ||[A, weight b] - its best approximation of rank k||_F <= safety noise_norm; "hindsight". Cross-validation is
        not among them, as x does not depend linearly on b, nor is the L-curve, which has no corner where A is noisy
    weight : > 0, as for `total_least_squares`, but finite, and such that weight b is within 1e10 of the size of A;
        "balanced" always is
    noise_norm : ||[E, weight e]||_F of the errors E in A and e in b, one or (B,)
    safety : factor of the discrepancy, default 1
    x_true : (n,) or (B, n)

    Returns
    -------
    Regularised
        Its parameter is the k in use. A k for which no solution exists is lowered to the next for which there is one,
        and `attained` is False.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, OptionError, GradientError, NotConvergedError

    Notes
    -----
    Cost: a singular value decomposition of each [A, weight b].

    References
    ----------
    Fierro, Golub, Hansen & O'Leary, Regularization by truncated total least squares, SIAM J. Sci. Comput. 18 (1997)
    1223-1241.

    Examples
    --------
    >>> answer = truncated_total_least_squares(np.diag([1.0, 1e-3]), [1.0, 0.1], 1)
    >>> bool(np.linalg.norm(answer.x - [1.0, 0.0]) < 0.02)
    True
    """
    systems = A.systems if isinstance(A, SingularSystem) else dense_systems(A)
    b, b_exponents = right_hand_sides(systems, b)
    count, (_, m, n) = len(b), systems.A.shape
    largest = min(m, n)
    rule = Rule.checked(
        parameter,
        count,
        noise_norm=noise_norm,
        operator_noise=None,
        safety=safety,
        x_true=x_true,
        known=TTLS_CHOICES,
        whole_up_to=largest,
    )
    if rule.name == "discrepancy":
        with np.errstate(over="ignore", under="ignore"):
            rule = replace(rule, noise=np.minimum(np.ldexp(rule.noise, -systems.exponents), 1e300))
    truth = None
    if rule.name == "hindsight":
        truth = scaled_truth(rule.x_true, systems, b_exponents)
    weights = _weights(weight, systems, b, b_exponents, infinite=False)
    both = np.concatenate([np.broadcast_to(systems.A, (count, m, n)), (weights[:, None] * b)[:, :, None]], axis=2)
    _, sigma, Vt = stacked_svd(both, full_rows=True)
    last, others = Vt[:, :, n], Vt[:, :, :n]
    # x_k = -V12 V22' / |V22|^2, where V12 and V22 have the columns from k on
    below = np.cumsum(last[:, ::-1] ** 2, axis=1)[:, ::-1][:, : largest + 1]
    usable = below > (4.0 * (n + 1) * _EPS) ** 2
    scale = -1.0 / (np.where(usable, below, 1.0) * weights[:, None])
    squares = np.cumsum(sigma[:, ::-1] ** 2, axis=1)[:, ::-1]
    residual = np.zeros((count, largest + 1))
    residual[:, : min(largest + 1, squares.shape[1])] = np.sqrt(squares[:, : largest + 1])
    error = np.empty_like(residual)
    if truth is not None:
        running = np.matmul(last[:, None, largest + 1 :], others[:, largest + 1 :])[:, 0]
        for k in range(largest, -1, -1):
            running = running + last[:, k, None] * others[:, k]
            error[:, k] = ((scale[:, k, None] * running - truth) ** 2).sum(axis=1)
    k, attained = choose_count(rule, residual, np.zeros_like(residual), usable, m, error)
    chosen = np.where(np.arange(n + 1) >= k[:, None], last, 0.0)
    x = np.take_along_axis(scale, k[:, None], axis=1) * np.matmul(chosen[:, None, :], others)[:, 0]
    return systems.answer(b, b_exponents, x, k, attained, "ttls", rule.name)


def _weights(
    weight: Any, systems: DenseSystems, b: np.ndarray, b_exponents: np.ndarray, *, infinite: bool
) -> np.ndarray:
    """The weights (B,) in scaled units."""
    count, n = len(b), systems.A.shape[2]
    a_size = np.sqrt((systems.A**2).sum(axis=(1, 2)))
    b_size = np.sqrt((b**2).sum(axis=1))
    proportion = np.where((a_size > 0) & (b_size > 0), a_size / np.where(b_size > 0, b_size, 1.0), 1.0)
    if isinstance(weight, str):
        if weight != "balanced":
            raise OptionError(f"weight must be positive or 'balanced', got {weight[:60]!r}")
        return proportion / n**0.5
    values = row_numbers(weight, "weight", count, infinite=infinite)
    if not np.all(values > 0):
        raise OptionError(
            f"weight must be positive, got {str(weight)[:60]}; for errors in b alone use tikhonov(A, b, 0)"
        )
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(values, b_exponents - systems.exponents)
    if not infinite and not np.all((values < _RESOLVED * proportion) & (values * _RESOLVED > proportion)):
        raise OptionError(
            "A and weight b differ in size by more than 1e10, beyond what [A, weight b] resolves in float64: "
            "take weight='balanced'"
        )
    return np.maximum(values, np.finfo(float).tiny)
