"""The short recurrence that every learned or classical polynomial of nnla is applied by.

A `Recurrence` is a handful of numbers: the coefficients of the paper's state recurrence (AutoSpec,
equations (4)-(5)) and an affine map of the operator. It needs products with ``A`` and nothing else,
so it travels as JSON to any language and solver.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nnla._files import number_list, one_line, parsed_object
from nnla.errors import FileFormatError, NonFiniteError, OptionError, ShapeError
from nnla.types import real_array, real_number

__all__ = ["Recurrence", "chebyshev"]

_FIELDS = ("rho", "gamma", "eta", "alpha", "beta")


@dataclass(frozen=True, eq=False)
class Recurrence:
    r"""A polynomial P in the form that executes: coefficients of a short linear recurrence.

    With :math:`X = (A - \text{shift}) / \text{scale}` and the start
    :math:`(A_0, B_0, C_0) = (z, z, Xz)`, layers :math:`k = 1, \dots, D-1` do

    .. math:: A \leftarrow A + \rho_k C, \quad B \leftarrow C, \quad
              C \leftarrow \gamma_k A + \eta_k B + (\alpha_k + \beta_k X) C

    (old values on the right), and layer D reads out
    :math:`P(A) z = \gamma_D A + \eta_D B + (\alpha_D + \beta_D X) C`.

    Parameters
    ----------
    rho, gamma, eta, alpha, beta : array_like, shape (D,)
        Coefficients; ``rho[-1]`` is not used. D layers give a polynomial of degree at most D + 1.
    domain : (float, float)
        The interval of the spectrum the polynomial was made for; information, not a limit.
    shift, scale : float
        The affine map X = (A - shift) / scale.

    Raises
    ------
    ShapeError, NonFiniteError, OptionError
        Coefficients of unequal length, not finite, or a zero scale.

    Notes
    -----
    Cost of one application: `products` products with A and three stored vectors.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (4)-(5), Propositions 3.1 and 3.2.

    Examples
    --------
    >>> import nnla
    >>> r = nnla.Recurrence.chebyshev(0.1, 2.0, degree=11)
    >>> r.degree, r.products
    (11, 11)
    >>> bool(abs(1 - 0.7 * r(0.7)) < 0.03)
    True
    """

    rho: np.ndarray
    gamma: np.ndarray
    eta: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    domain: tuple[float, float] = (-1.0, 1.0)
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for field in _FIELDS:
            value = real_array(getattr(self, field), field)
            value.flags.writeable = False
            object.__setattr__(self, field, value)
        sizes = {getattr(self, f).shape for f in _FIELDS}
        if len(sizes) != 1 or self.rho.ndim != 1 or self.rho.size == 0:
            raise ShapeError(
                "a Recurrence needs rho, gamma, eta, alpha, beta of one equal length D >= 1; "
                f"got shapes {sorted(sizes)}"
            )
        ends = real_array(self.domain, "domain")
        if ends.shape != (2,):
            raise ShapeError(f"the domain of a Recurrence is (a, b), got {self.domain!r}")
        object.__setattr__(self, "domain", (float(ends[0]), float(ends[1])))
        for name in ("shift", "scale"):
            number = real_array(getattr(self, name), name)
            if number.size != 1:
                raise ShapeError(f"the {name} of a Recurrence is one number, got shape {number.shape}")
            object.__setattr__(self, name, float(number.flat[0]))
        numbers = [*(getattr(self, f) for f in _FIELDS), self.shift, self.scale, *self.domain]
        if not all(np.all(np.isfinite(v)) for v in numbers):
            raise NonFiniteError("a Recurrence has NaN or Inf among its coefficients; rebuild it")
        if self.scale == 0:
            raise OptionError("a Recurrence needs scale != 0 in X = (A - shift) / scale")

    # -- size and cost ---------------------------------------------------------------------------

    @cached_property
    def degree(self) -> int:
        """Degree of P: products with A of one application (layers that need no product skip it)."""
        return self.products

    @cached_property
    def products(self) -> int:
        """Products with A that one application costs."""
        return int(self.starts_with_product) + int(np.count_nonzero(self.beta))

    @cached_property
    def starts_with_product(self) -> bool:
        """Whether C_0 = X z is ever read."""
        if any(c[0] != 0 for c in (self.alpha, self.beta)):
            return True
        return self.rho.size > 1 and (self.rho[0] != 0 or self.eta[1] != 0)

    # -- evaluation --------------------------------------------------------------------------------

    def __call__(self, lam: Any) -> Any:
        """P at scalars: an array of any shape, or one number.

        Works on NumPy arrays, Python numbers and torch tensors.
        """
        if isinstance(lam, (int, float)):
            return float(self._run(lambda c: lam * c, np.float64(1.0)))
        if type(lam).__module__.partition(".")[0] != "torch":
            lam = np.asarray(lam, dtype=np.float64)
        return self._run(lambda c: lam * c, lam * 0 + 1.0)

    def apply(self, A: Any, z: Any) -> Any:
        """P(A) z for a vector (n,) or a block (n, k).

        Parameters
        ----------
        A : anything with ``@``, or a callable ``v -> A v``
            The operator; never modified.
        z : array, shape (n,) or (n, k)
            NumPy array or torch tensor of a floating dtype; never modified.

        Returns
        -------
        array of z's shape.

        Notes
        -----
        Cost: `products` products with A, at most five vectors of z's shape stored.
        """
        matvec: Callable[[Any], Any] = A if callable(A) and not hasattr(A, "__matmul__") else lambda v: A @ v
        if isinstance(z, np.ndarray):
            return self._run_in_place(matvec, z)
        return self._run(matvec, z)

    def _layers(self) -> list[tuple[float, float, float, float, float]]:
        """(rho, gamma, eta, alpha, beta) with alpha + beta X written in terms of A."""
        alpha = self.alpha - self.beta * (self.shift / self.scale)
        beta = self.beta / self.scale
        rows = zip(self.rho, self.gamma, self.eta, alpha, beta, strict=True)
        return [tuple(float(v) for v in row) for row in rows]  # type: ignore[misc]

    def _run(self, matvec: Callable[[Any], Any], z: Any) -> Any:
        """Equation (5) on anything with + and *; products by zero are left out."""
        acc, old, new = z, z, z
        if self.starts_with_product:
            new = (1.0 / self.scale) * matvec(z) + (-self.shift / self.scale) * z
        layers = self._layers()
        for rho, gamma, eta, alpha, beta in layers[:-1]:
            following = _combine(matvec, acc, old, new, gamma, eta, alpha, beta)
            if rho != 0:
                acc = acc + rho * new  # A+ = A + rho C
            old, new = new, following  # B+ = C
        return _combine(matvec, acc, old, new, *layers[-1][1:])

    def _run_in_place(self, matvec: Callable[[Any], Any], z: np.ndarray) -> np.ndarray:
        """The same on NumPy arrays with four buffers: a third of the time of fresh temporaries."""
        work = np.empty_like(z, order="C")
        spare = [np.empty_like(work) for _ in range(3)]
        acc, old, new = z, z, z
        if self.starts_with_product:
            new = spare.pop()
            np.multiply(matvec(z), 1.0 / self.scale, out=new)
            if self.shift != 0:
                np.multiply(z, -self.shift / self.scale, out=work)
                new += work
        layers = self._layers()
        for k, (rho, gamma, eta, alpha, beta) in enumerate(layers):
            following = spare.pop() if spare else np.empty_like(work)  # C+ of (5)
            terms = [(c, v) for c, v in ((alpha, new), (eta, old), (gamma, acc)) if c != 0]
            if beta != 0:
                np.multiply(matvec(new), beta, out=following)
            elif terms:
                factor, state = terms.pop(0)
                np.multiply(state, factor, out=following)
            else:
                following[...] = 0
            for factor, state in terms:
                np.multiply(state, factor, out=work)
                following += work
            if k == len(layers) - 1:
                return following
            if rho != 0:
                np.multiply(new, rho, out=work)
                acc = acc + work if acc is z else np.add(acc, work, out=acc)  # A+ = A + rho C
            if old is not z and old is not new:
                spare.append(old)
            old, new = new, following  # B+ = C
        raise AssertionError("unreachable: D >= 1")

    # -- construction ------------------------------------------------------------------------------

    @classmethod
    def from_chebyshev(cls, coefficients: Any, a: float, b: float) -> Recurrence:
        """The polynomial sum_k c_k T_k(x), x = (2 lam - a - b) / (b - a), as Clenshaw's recurrence.

        Clenshaw's backward sum is an affine three-term recurrence (Proposition 3.1) once its first
        two steps are absorbed into the paper's start C_0 = X z; exact, without monomials.

        Parameters
        ----------
        coefficients : array_like, shape (degree + 1,)
        a, b : float
            The interval, a < b.
        """
        c = real_array(coefficients, "Chebyshev coefficients")
        a, b = real_number(a, "a"), real_number(b, "b")
        if c.ndim != 1 or c.size == 0:
            raise ShapeError(f"Chebyshev coefficients must be a non-empty 1-D array, got shape {c.shape}")
        if not b > a:
            raise OptionError(f"the interval needs a < b, got [{a}, {b}]")
        n = c.size - 1
        maps: dict[str, Any] = {"domain": (a, b), "shift": (a + b) / 2, "scale": (b - a) / 2}
        if n <= 1:
            linear = c[1] if n == 1 else 0.0
            return cls(*np.array([[0.0], [c[0]], [0.0], [linear], [0.0]]), **maps)
        depth = n - 1  # layers; layer k makes b_{n-1-k}, where b_{n-1} = 2 c_n X + c_{n-1} = 2 c_n C_0 + ...
        gamma, eta = np.empty(depth), np.full(depth, -1.0)
        alpha, beta = np.zeros(depth), np.full(depth, 2.0)
        for k in range(depth):
            gamma[k] = c[n - 2 - k]
        beta[-1] = 1.0  # the last Clenshaw step is c_0 + X b_1 - b_2
        # C_0 stands for (b_{n-1} - c_{n-1}) / (2 c_n), so the layers that read it are adapted.
        half = beta[0]
        gamma[0] -= c[n]
        eta[0] = 0.0
        alpha[0] = half * c[n - 1]
        beta[0] = half * 2 * c[n]
        if depth > 1:
            eta[1] = -2 * c[n]
            gamma[1] -= c[n - 1]
        return cls(np.zeros(depth), gamma, eta, alpha, beta, **maps)

    @classmethod
    def from_function(cls, f: Callable[[np.ndarray], Any], a: float, b: float, degree: int) -> Recurrence:
        """Chebyshev interpolant of f on [a, b]: exact when f is a polynomial of that degree."""
        if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or degree < 0:
            raise OptionError(f"degree must be an integer of at least 0, got {degree!r}")
        if not callable(f):
            raise OptionError(f"f must be a function of an array, got {type(f).__name__}")
        a, b = real_number(a, "a"), real_number(b, "b")
        t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        values = real_array(f((a + b) / 2 + (b - a) / 2 * t), "f")
        values = np.full(t.shape, values[0]) if values.shape == (1,) else values
        if values.shape != t.shape:
            raise ShapeError(f"f has shape {values.shape} for x of shape {t.shape}; it must keep the shape")
        return cls.from_chebyshev(_chebyshev_coefficients(values), a, b)

    @classmethod
    def from_roots(cls, roots: Any, domain: tuple[float, float] | None = None) -> Recurrence:
        """P with 1 - x P(x) = prod_i (1 - x / roots_i): roots of the residual polynomial, in order.

        Proposition 3.2 with X = 1 - A / roots_1: C_k is the partial product, A_k the running sum.
        The order of the roots decides the stability (see `nnla.polynomials.classical.leja_order`).

        Parameters
        ----------
        roots : array_like, shape (m,), real and non-zero
            P has degree m - 1.
        domain : (float, float), optional
            Default: (min, max) of the roots.
        """
        zeta = real_array(roots, "residual roots")
        if zeta.ndim != 1 or zeta.size == 0 or np.any(zeta == 0) or not np.all(np.isfinite(zeta)):
            raise OptionError("residual roots must be real, finite and non-zero")
        m = zeta.size
        domain = domain or (float(zeta.min()), float(zeta.max()))
        maps: dict[str, Any] = {"domain": domain, "shift": zeta[0], "scale": -zeta[0]}
        if m == 1:
            return cls(*np.array([[0.0], [1 / zeta[0]], [0.0], [0.0], [0.0]]), **maps)
        # P = sum_{i=1}^m C_{i-2} / zeta_i with C_{-1} = z; scaled by zeta_1 it starts from A_0 = z.
        # 1 - A/zeta_i = (1 - q) + q X with q = zeta_1 / zeta_i.
        depth = m - 1
        q = zeta[0] / zeta
        rho, gamma, eta = np.zeros(depth), np.zeros(depth), np.zeros(depth)
        alpha, beta = np.zeros(depth), np.zeros(depth)
        for k in range(depth - 1):
            rho[k] = q[k + 1]
            alpha[k], beta[k] = 1 - q[k + 1], q[k + 1]
        gamma[-1] = 1 / zeta[0]
        alpha[-1] = 1 / zeta[-1]
        return cls(rho, gamma, eta, alpha, beta, **maps)

    @classmethod
    def chebyshev(cls, a: float, b: float, degree: int) -> Recurrence:
        """The Chebyshev preconditioner: P(x) = (1 - T_m(t(x)) / T_m(t(0))) / x on [a, b], m = degree + 1.

        See `nnla.polynomials.recurrence.chebyshev`, which this calls.
        """

        return chebyshev(a, b, degree)

    # -- conversion --------------------------------------------------------------------------------

    def to_chebyshev(self, a: float | None = None, b: float | None = None) -> np.ndarray:
        """Chebyshev coefficients of P on [a, b] (default: the domain), by sampling and a cosine sum."""
        a, b = (self.domain[0] if a is None else a), (self.domain[1] if b is None else b)
        degree = self.rho.size + 1
        t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        coefficients = _chebyshev_coefficients(self((a + b) / 2 + (b - a) / 2 * t))
        return coefficients[: self.degree + 1]

    def scaled(self, factor: float) -> Recurrence:
        """The polynomial factor * P."""
        last = np.ones(self.rho.size)
        last[-1] = factor
        return Recurrence(
            self.rho, self.gamma * last, self.eta * last, self.alpha * last, self.beta * last,
            self.domain, self.shift, self.scale,
        )  # fmt: skip

    def residual(self, lam: Any) -> Any:
        """R(lam) = 1 - lam P(lam), the residual polynomial of degree m = degree + 1."""
        return 1.0 - lam * self(lam)

    def to_json(self) -> str:
        """A JSON object of plain numbers; round-trips exactly."""
        data = {f: [float(v) for v in getattr(self, f)] for f in _FIELDS}
        data |= {"domain": list(self.domain), "shift": self.shift, "scale": self.scale}
        return json.dumps({"format": "nnla-recurrence", "version": 1, "degree": self.degree, **data})

    @classmethod
    def from_json(cls, text: str) -> Recurrence:
        """Inverse of `to_json`; a malformed text raises `FileFormatError`."""
        try:
            data = parsed_object(text)
            if data["format"] != "nnla-recurrence" or type(data["version"]) is not int or data["version"] != 1:
                raise FileFormatError("not an nnla recurrence of version 1; write one with Recurrence.to_json()")
            fields = [number_list(data[f]) for f in _FIELDS]
            a, b, shift, scale = number_list([*number_list(data["domain"]), data["shift"], data["scale"]])
            return cls(*fields, (a, b), shift, scale)  # type: ignore[arg-type]
        except FileFormatError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise FileFormatError(
                f"this is not a Recurrence in JSON ({one_line(error)}); write one with Recurrence.to_json()"
            ) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recurrence):
            return NotImplemented
        same = all(np.array_equal(getattr(self, f), getattr(other, f)) for f in _FIELDS)
        return same and (self.domain, self.shift, self.scale) == (other.domain, other.shift, other.scale)

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        a, b = self.domain
        return f"Recurrence(degree={self.degree}, domain=({a:.4g}, {b:.4g}))"


def _combine(
    matvec: Callable[[Any], Any],
    acc: Any,
    old: Any,
    new: Any,
    gamma: float,
    eta: float,
    alpha: float,
    beta: float,
) -> Any:
    """gamma A + eta B + (alpha + beta X) C without the terms that are zero."""
    total = beta * matvec(new) if beta != 0 else None
    for factor, state in ((alpha, new), (eta, old), (gamma, acc)):
        if factor != 0:
            total = factor * state if total is None else total + factor * state
    return 0.0 * new if total is None else total


def _chebyshev_coefficients(values: np.ndarray) -> np.ndarray:
    """Coefficients from values at the Chebyshev points of the first kind, (n + 1,) -> (n + 1,)."""
    from scipy.fft import dct

    c = np.asarray(dct(values, type=2)) / values.size
    c[0] /= 2
    return c


def check_top(b: float, degree: int, a: float = 0.0) -> None:
    if not (isinstance(degree, (int, np.integer)) and 0 <= degree <= 512):
        raise OptionError(f"degree must be an integer from 0 to 512, got {degree!r}")
    if not 0 <= real_number(a, "a") < real_number(b, "b"):
        raise OptionError(f"the interval needs 0 <= a < b, got [{a}, {b}]")


def chebyshev(a: float, b: float, degree: int) -> Recurrence:
    """Chebyshev preconditioner: R = T_m(t(x)) / T_m(t(0)), the smallest max |R| on [a, b].

    Parameters
    ----------
    a, b : float
        Interval, 0 < a < b.
    degree : int
        Degree of P; m = degree + 1.

    Notes
    -----
    Cost: m values of R and an interpolation, below 1 ms; ``degree`` products an application.
    Validity: P > 0 on (0, a + b) for even m and on (0, inf) for odd m, so it may precondition CG
    as long as the spectrum ends below a + b.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 12.3.

    Examples
    --------
    >>> r = chebyshev(1.0, 3.0, 0)      # one step of Richardson: P = 2 / (a + b)
    >>> round(r(2.0), 12)
    0.5
    """
    check_top(b, degree, a)
    if a <= 0:
        raise OptionError(f"the Chebyshev preconditioner needs a > 0, got {a}; use chebyshev4 for a = 0")
    m = degree + 1
    centre, half = (a + b) / 2, (b - a) / 2
    if half < 1e-6 * centre:  # one point to rounding: R = (1 - x/centre)^m
        return Recurrence.from_roots(np.full(m, centre), (a, b))
    if m == 1:
        return Recurrence.from_chebyshev([1 / centre], a, b)
    # arccosh((a + b) / (b - a)) written so that a/b of 1e-16 keeps its digits
    growth = 2 * np.arcsinh(np.sqrt(a / (b - a)))

    def values(x: np.ndarray) -> np.ndarray:
        t = (centre - x) / half
        inside = np.cos(m * np.arccos(np.clip(t, -1, 1))) / np.cosh(min(m * growth, 700.0))
        # below a, T_m(t) / T_m(t(0)) as a ratio of cosh that cannot overflow
        g = np.arccosh(np.maximum(t, 1.0))
        outside = np.exp(m * (g - growth)) * (1 + np.exp(-2 * m * g)) / (1 + np.exp(-2 * m * growth))
        return (1 - np.where(t > 1, outside, inside)) / x

    # Interpolated on (0, b], not [a, b]: eigenvalues below a must see P without extrapolation.
    recurrence = Recurrence.from_function(values, 0.0, b, degree)
    return replace(recurrence, domain=(a, b))
