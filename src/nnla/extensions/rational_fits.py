"""Scalar rational approximation on an interval: Zolotarev's for the roots, AAA for other functions, given poles."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ellipj, ellipkm1

from nnla.errors import MissingDependencyError, OptionError
from nnla.functions.scalars import scalar_function

__all__ = ["Fit", "fit_poles", "fit_rational", "zolotarev_inv_sqrt"]

_LARGEST_DEGREE = 40


@dataclass(frozen=True, eq=False)
class Fit:
    """r(x) = constant + sum residues / (x - poles), times x if `times_x`; `error` as `RationalReport.fit_error`."""

    poles: np.ndarray
    residues: np.ndarray
    constant: float
    error: float
    times_x: bool = False

    def __call__(self, x: Any) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = self.constant + np.real(np.sum(self.residues / (x[..., None] - self.poles), axis=-1))
        return x * y if self.times_x else y


def zolotarev_inv_sqrt(a: float, b: float, degree: int) -> Fit:
    """x^(-1/2) on [a, b] with `degree` poles, all negative and simple, residues positive.

    The trapezoidal rule in an elliptic parametrisation (method 3 of Hale, Higham and Trefethen), whose nodes are
    Zolotarev's; scaled so that the relative error takes both signs equally. It falls like
    exp(-2 pi^2 degree / (log(b/a) + 3)).

    Notes
    -----
    Cost: elliptic functions at ``degree`` points and the error on a grid, below 1 ms.

    References
    ----------
    Hale, Higham, Trefethen, Computing A^alpha, log(A), and related matrix functions by contour integrals, SIAM J.
    Numer. Anal. 46 (2008) 2505-2523, method 3.

    Examples
    --------
    >>> fit = zolotarev_inv_sqrt(1e-6, 1.0, 12)
    >>> fit.error < 1e-5, bool(np.all(fit.poles.real < 0))
    (True, True)
    """
    complement = a / b
    K = float(ellipkm1(complement))
    t = (np.arange(degree) + 0.5) * K / degree
    sn, cn, dn, _ = ellipj(t, 1 - complement)
    poles = -a * (sn / cn) ** 2
    residues = 2 * K * math.sqrt(a) / (math.pi * degree) * dn / cn**2
    x = _grid(a, b)
    product = np.sqrt(x) * np.sum(residues / (x[:, None] - poles), axis=1)
    scale = 2 / (product.max() + product.min())
    return Fit(poles.astype(complex), (scale * residues).astype(complex), 0.0, float(np.abs(scale * product - 1).max()))


def fit_rational(f: Any, bounds: tuple[float, float], degree: int | None, rtol: float) -> Fit:
    """The approximation that suits f: Zolotarev, AAA, or exact for "inv"; `degree` None means as `rtol` asks.

    Cost: milliseconds for the roots, some 0.15 s for AAA; no products.

    References
    ----------
    That of `zolotarev_inv_sqrt`; Nakatsukasa, Sete, Trefethen, The AAA algorithm for rational approximation, SIAM J.
    Sci. Comput. 40 (2018) A1494-A1522.
    """
    if f == "inv":
        return Fit(np.zeros(1, complex), np.ones(1, complex), 0.0, 0.0)
    if f in ("inv_sqrt", "sqrt", "sign"):
        return _zolotarev(f, bounds, degree, rtol)
    return _aaa(f, bounds, degree, rtol)


def _zolotarev(f: str, bounds: tuple[float, float], degree: int | None, rtol: float) -> Fit:
    a, b = (bounds[0] ** 2, bounds[1] ** 2) if f == "sign" else bounds
    tries = range(1, _LARGEST_DEGREE + 1) if degree is None else [degree if f != "sign" else math.ceil(degree / 2)]
    fit = zolotarev_inv_sqrt(a, b, tries[0])
    for count in tries:
        fit = zolotarev_inv_sqrt(a, b, count)
        if fit.error <= rtol:
            break
    if f == "sign":
        # x w / (x^2 + s^2) = (w / 2) (1 / (x - i s) + 1 / (x + i s))
        s = 1j * np.sqrt(-np.real(fit.poles))
        half = 0.5 * fit.residues
        return Fit(np.concatenate([s, -s]), np.concatenate([half, half]), 0.0, fit.error)
    return Fit(fit.poles, fit.residues, 0.0, fit.error, f == "sqrt")


def _grid(a: float, b: float) -> np.ndarray:
    """Points of [a, b] that crowd at both ends, and towards zero where a is positive and small."""
    parts = [0.5 * (a + b) - 0.5 * (b - a) * np.cos(np.linspace(0, np.pi, 500))]
    if a > 0:
        parts.append(np.geomspace(a, b, 1000))
    return np.unique(np.clip(np.concatenate(parts), a, b))


def _relative(y: np.ndarray) -> np.ndarray:
    """What errors are divided by: |f|, or its largest value where f changes sign or comes close to zero."""
    size = np.abs(y)
    top = float(size.max()) or 1.0
    same = np.all(y > 0) or np.all(y < 0)
    return size if same and size.min() > 1e-12 * top else np.full(y.shape, top)


def _aaa(f: Any, bounds: tuple[float, float], degree: int | None, rtol: float) -> Fit:
    try:
        from scipy.interpolate import AAA
    except ImportError as error:
        raise MissingDependencyError("AAA needs SciPy 1.15; upgrade SciPy, or pass poles=") from error
    x = _grid(*bounds)
    y = scalar_function(f)(x)
    size = _relative(y)
    if np.ptp(y) <= 1e-15 * np.abs(y).max():
        return Fit(np.zeros(0, complex), np.zeros(0, complex), float(y[0]), 0.0)
    best: Fit | None = None
    for count in range(2, _LARGEST_DEGREE + 1) if degree is None else [degree]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stops at the number of terms asked for is the point
            found = AAA(x, y, rtol=1e-15, max_terms=count + 1, clean_up=False)
        fit = _with_residues(_off_interval(np.asarray(found.poles()), bounds), x, y, size)
        if best is None or fit.error < best.error:
            best = fit
        if best.error <= rtol or (degree is None and count > best.poles.size + 8):
            break
    assert best is not None
    return best


def _off_interval(poles: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Poles in exact conjugate pairs, without those on the interval or next to it (spurious: f has none there)."""
    a, b = bounds
    width = 1e-10 * (b - a)
    kept: list[complex] = []
    for pole in poles[np.isfinite(poles)]:
        if abs(pole.imag) <= 1e-12 * abs(pole):
            if not a - width <= pole.real <= b + width:
                kept.append(complex(pole.real))
        elif pole.imag > 0 and not (a <= pole.real <= b and pole.imag < width):
            kept += [pole, pole.conjugate()]
    return np.array(kept, dtype=complex)


def _with_residues(poles: np.ndarray, x: np.ndarray, y: np.ndarray, size: np.ndarray) -> Fit:
    """Residues and constant by least squares of the relative error; real arithmetic with conjugate pairs joined."""
    columns = [np.ones_like(x)]
    kinds: list[tuple[complex, int]] = []
    for pole in poles:
        if pole.imag == 0:
            columns.append(1 / (x - pole.real))
            kinds.append((pole, 1))
        elif pole.imag > 0:
            basis = 1 / (x - pole)
            columns += [2 * basis.real, -2 * basis.imag]
            kinds.append((pole, 2))
    M = np.stack(columns, axis=1) / size[:, None]
    scale = np.linalg.norm(M, axis=0)
    if not (np.all(np.isfinite(M)) and np.all(scale > 0) and np.all(np.isfinite(scale))):
        raise OptionError("the poles are too far from the interval, or f too large on it, for float64; rescale A")
    solution = np.linalg.lstsq(M / scale, y / size, rcond=1e-15)[0] / scale
    position = 1
    out_poles: list[complex] = []
    residues: list[complex] = []
    for pole, width in kinds:
        if width == 1:
            out_poles.append(pole)
            residues.append(complex(solution[position]))
        else:
            w = complex(solution[position], solution[position + 1])
            out_poles += [pole, np.conj(pole)]
            residues += [w, w.conjugate()]
        position += width
    fit = Fit(np.array(out_poles, complex), np.array(residues, complex), float(solution[0]), math.inf)
    return Fit(fit.poles, fit.residues, fit.constant, float(np.abs((fit(x) - y) / size).max()))


def fit_poles(f: Any, poles: np.ndarray, bounds: tuple[float, float]) -> Fit:
    """The least squares fit with the poles given.

    Cost: one least squares problem, a row for each point of the grid and a column for each pole; no products.
    """
    if poles.ndim != 1 or poles.size == 0 or not np.all(np.isfinite(poles)):
        raise OptionError("poles must be a non-empty list of finite numbers")
    real, imaginary = np.real(poles), np.imag(poles)
    upper, lower = np.sort_complex(poles[imaginary > 0]), np.sort_complex(poles[imaginary < 0].conj())
    if upper.shape != lower.shape or not np.allclose(upper, lower):
        raise OptionError("complex poles must come in conjugate pairs, so that f(A) is real")
    x = _grid(*bounds)
    if f == "sign":
        x = np.concatenate([-x[::-1], x])
    if np.any((imaginary == 0) & (real >= x[0]) & (real <= x[-1])):
        raise OptionError(f"a pole lies within the spectrum [{x[0]:.6g}, {x[-1]:.6g}]; move it off")
    y = scalar_function(f)(x)
    return _with_residues(poles, x, y, _relative(y))
