"""ReLU networks with exact weights and proved errors: squares, products, and interpolants on geometric grids.

Yarotsky's networks: with the tent map g, ``u - sum_{s <= m} g^s(u) / 4^s`` is the interpolant of u^2 on the grid of
step X"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.errors import OptionError, ShapeError

__all__ = [
    "Interpolant",
    "ReLUNetwork",
    "Stage",
    "one_layer_product",
    "power_interpolant",
    "product_error",
    "product_network",
    "relu_chain",
    "square_network",
]

LARGEST_STEPS = 60  # of squares: beyond 26, less than rounding in float64
LARGEST_UNITS = 1_000_000


@dataclass(frozen=True, eq=False)
class ReLUNetwork:
    """W_L relu(... relu(W_1 x + b_1) ...) + b_L, column by column.

    Attributes
    ----------
    weights : (W, b) of each layer; W sparse, (out, in), b (out,)
    errors : (out,) bounds on the errors of the outputs, on the domain that the network's maker states; rounding is not
        in them

    Examples
    --------
    >>> network = product_network(10)
    >>> network.depth, network.width, network(np.array([[0.5], [-0.25]])).tolist()
    (11, 6, [[-0.125]])
    """

    weights: tuple[tuple[Any, np.ndarray], ...]
    errors: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(..., in, columns) -> (..., out, columns), the dtype of x.

        Raises
        ------
        ShapeError : other rows than the network's
        """
        inputs = self.weights[0][0].shape[1]
        if x.ndim < 2 or x.shape[-2] != inputs:
            raise ShapeError(
                f"an array of shape {x.shape}, and a network of {inputs} inputs; give (..., {inputs}, columns)"
            )
        batch, columns = x.shape[:-2], x.shape[-1]
        y = np.moveaxis(x, -2, 0).reshape(inputs, -1)
        for i, (W, b) in enumerate(self.weights):
            y = W.astype(x.dtype) @ y + b.astype(x.dtype)[:, None]
            if i + 1 < len(self.weights):
                np.maximum(y, 0, out=y)
        return np.moveaxis(y.reshape(-1, *batch, columns), 0, -2)

    @property
    def error(self) -> float:
        """The largest of the bounds."""
        return float(self.errors.max())

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return len(self.weights) - 1

    @property
    def width(self) -> int:
        """Units of the largest hidden layer."""
        return max(W.shape[0] for W, _ in self.weights[:-1])

    @property
    def nonzeros(self) -> int:
        """Weights and biases that are not zero."""
        return sum(int(W.nnz) + int(np.count_nonzero(b)) for W, b in self.weights)


@dataclass(frozen=True, eq=False)
class Stage:
    """One hidden layer between signals: O relu(H s + h) + o."""

    H: Any
    h: np.ndarray
    O: Any  # noqa: E741
    o: np.ndarray


def relu_chain(stages: Sequence[Stage], errors: Any) -> ReLUNetwork:
    """Stages one after the other: what follows a hidden layer linearly is merged into the next one's weights.

    Examples
    --------
    >>> E = sp.eye(1, format="csr")
    >>> absolute = Stage(sp.csr_array([[1.0], [-1.0]]), np.zeros(2), sp.csr_array([[1.0, 1.0]]), np.zeros(1))
    >>> relu_chain([absolute, absolute], 0.0)(np.array([[-3.0, 2.0]])).tolist()
    [[3.0, 2.0]]
    """
    weights: list[tuple[Any, np.ndarray]] = []
    O: Any = None  # noqa: E741
    o: Any = None
    for stage in stages:
        W, b = (stage.H, stage.h) if O is None else (stage.H @ O, stage.H @ o + stage.h)
        weights.append((sp.csr_array(W), np.asarray(b, dtype=float)))
        O, o = stage.O, stage.o  # noqa: E741
    weights.append((sp.csr_array(O), np.asarray(o, dtype=float)))
    for W, _ in weights:
        W.eliminate_zeros()
        W.sort_indices()
    return ReLUNetwork(tuple(weights), np.broadcast_to(np.asarray(errors, dtype=float), (O.shape[0],)))


def _steps(m: Any) -> int:
    if not isinstance(m, (int, np.integer)) or isinstance(m, bool) or not 1 <= m <= LARGEST_STEPS:
        raise OptionError(f"m={m!r} is no number of steps; give a whole number from 1 to {LARGEST_STEPS}")
    return int(m)


def _bound(value: Any, name: str) -> float:
    if not isinstance(value, (int, float, np.floating)) or not 0 < value < 1e150:
        raise OptionError(f"{name}={value!r} is no bound; give a positive number below 1e150")
    return float(value)


def square_network(m: int) -> ReLUNetwork:
    """u -> u^2 on [0, 1]: never below, and at most 2^(-2m - 2) above.

    Parameters
    ----------
    m : steps: hidden layers of three units

    References
    ----------
    Yarotsky, Error bounds for approximations with deep ReLU networks, Neural Networks 94 (2017), Proposition 2.

    Examples
    --------
    >>> u = np.linspace(0, 1, 1025)[None]
    >>> error = square_network(4)(u) - u**2
    >>> float(error.min()), float(error.max()) == 2.0**-10
    (0.0, True)
    """
    m = _steps(m)
    stages = []
    for s in range(1, m + 1):
        enter = [[1.0], [1.0], [1.0]] if s == 1 else [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        leave = [[2.0, -4.0, 0.0], [-2.0 / 4**s, 4.0 / 4**s, 1.0]]
        stages.append(Stage(sp.csr_array(enter), np.array([0.0, -0.5, 0.0]), sp.csr_array(leave), np.zeros(2)))
    last = stages[-1]
    stages[-1] = Stage(last.H, last.h, last.O[[1]], np.zeros(1))
    return relu_chain(stages, 2.0 ** (-2 * m - 2))


def product_error(m: int, x: float = 1.0, y: float = 1.0) -> float:
    """Error of `product_network` on \\|x\\| <= x, \\|y\\| <= y."""
    return x * y * 2.0 ** (-2 * m - 2)


def product_stages(m: int, x: float, y: float) -> list[Stage]:
    """The m + 1 stages of a product; six units each but the first, which has four."""
    half = np.array([[0.5 / x, 0.5 / y], [-0.5 / x, -0.5 / y], [0.5 / x, -0.5 / y], [-0.5 / x, 0.5 / y]])
    moduli = np.array([[1.0, 1.0, 0, 0], [0, 0, 1.0, 1.0]] * 2)  # p, q as the tents' arguments, and as the sums' starts
    stages = [Stage(sp.csr_array(half), np.zeros(4), sp.csr_array(moduli), np.zeros(4))]
    # Units of p and of q are neighbours, so that what is equal cancels exactly, term by term.
    H = np.kron([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.eye(2))
    h = np.repeat([0.0, -0.5, 0.0], 2)
    for s in range(1, m + 1):
        O = np.kron([[2.0, -4.0, 0.0], [-2.0 / 4**s, 4.0 / 4**s, 1.0]], np.eye(2))  # noqa: E741
        if s == m:
            O = x * y * (O[[2]] - O[[3]])  # noqa: E741
        stages.append(Stage(sp.csr_array(H), h, sp.csr_array(O), np.zeros(len(O))))
    return stages


def product_network(m: int, x: float = 1.0, y: float = 1.0) -> ReLUNetwork:
    """(x, y) -> x y, with m + 1 hidden layers of at most six units.

    Parameters
    ----------
    m : steps
    x, y : the domain is \\|x\\| <= x, \\|y\\| <= y

    Notes
    -----
    With p = \\|x/X + y/Y\\| / 2 and q = \\|x/X - y/Y\\| / 2 in [0, 1], xy = XY (p^2 - q^2). Both squares come out too
    large by 0 to 2^(-2m - 2), so the error is at most XY 2^(-2m - 2); zero times anything is exactly zero.

    Examples
    --------
    >>> network = product_network(12, 4.0, 0.5)
    >>> network.error == 2.0 * 2.0**-26
    True
    """
    m, x, y = _steps(m), _bound(x, "x"), _bound(y, "y")
    return relu_chain(product_stages(m, x, y), product_error(m, x, y))


def one_layer_product(pieces: int) -> ReLUNetwork:
    """(x, y) -> x y on [-1, 1]^2 with one hidden layer of 2 N units; its largest error is 1 / N^2.

    Parameters
    ----------
    pieces : N, of the interpolant of u^2 on [-1, 1]

    Notes
    -----
    The interpolant on a grid of step h is too large by 0 to h^2 / 4 = 1 / N^2; the product is that of (x + y)/2 less
    that of (x - y)/2.

    Examples
    --------
    >>> network = one_layer_product(100)
    >>> network.depth, network.width, round(network.error, 9)
    (1, 200, 0.0001)
    """
    if not isinstance(pieces, (int, np.integer)) or isinstance(pieces, bool) or not 1 <= pieces <= LARGEST_UNITS:
        raise OptionError(f"pieces={pieces!r} is no number of units; give a whole number from 1 to {LARGEST_UNITS}")
    step = 2.0 / pieces
    knots = -1.0 + step * np.arange(pieces)
    slopes = np.full(pieces, 2.0 * step)
    slopes[0] = step - 2.0
    H = 0.5 * np.vstack([np.ones((pieces, 2)), np.tile([1.0, -1.0], (pieces, 1))])
    stage = Stage(
        sp.csr_array(H), -np.concatenate([knots, knots]), sp.csr_array([np.concatenate([slopes, -slopes])]), np.zeros(1)
    )
    return relu_chain([stage], 1.0 / pieces**2)


@dataclass(frozen=True, eq=False)
class Interpolant:
    """A convex falling function as value + sum_k slopes_k relu(knots_k - x), constant outside of its grid.

    Attributes
    ----------
    knots, slopes : of its units
    value : at the right end
    relative : bound on the relative error within the grid
    """

    knots: np.ndarray
    slopes: np.ndarray
    value: float
    relative: float


def power_interpolant(power: float, low: float, high: float, units: int) -> Interpolant:
    """x^power, power = -1 or -1/2, on [low, high] by chords on a geometric grid.

    Parameters
    ----------
    power : -1 or -0.5
    low, high : ends, positive
    units : pieces

    Notes
    -----
    With q the ratio of neighbours, 1/x comes out too large by at most (q - 1)^2 / (4 q), relatively, and x^-1/2 by at
    most 3/32 (q - 1)^2 sqrt(q). Units point to the left: all terms of a sum are positive, and none is larger than the
    sum; units that point to the right would lose all digits of small values.

    Examples
    --------
    >>> f = power_interpolant(-1.0, 1e-3, 1.0, 200)
    >>> x = np.geomspace(1e-3, 1, 999)
    >>> y = f.value + np.maximum(f.knots - x[:, None], 0) @ f.slopes
    >>> bool((np.abs(y * x - 1) <= f.relative * (1 + 1e-9)).all()), round(f.relative, 5)
    (True, 0.0003)
    """
    if power not in (-1.0, -0.5):
        raise OptionError(f"power={power!r}: chords and their errors are known for -1 and -1/2")
    if not 0 < low < high < float("inf"):
        raise OptionError(f"low={low!r} and high={high!r} are no interval; give 0 < low < high")
    grid = np.geomspace(low, high, units + 1)
    values = grid**power
    falls = -np.diff(values) / np.diff(grid)  # of the pieces, from left to right
    slopes = np.append(falls[:-1] - falls[1:], falls[-1])  # at the knots right of each piece
    q = (high / low) ** (1.0 / units)
    relative = (q - 1) ** 2 / (4 * q) if power == -1.0 else 3 / 32 * (q - 1) ** 2 * np.sqrt(q)
    return Interpolant(np.append(low, grid[1:]), np.append(-falls[0], slopes), float(values[-1]), float(relative))
