"""Matrix products as ReLU networks: n^3 pairs of Yarotsky's squares side by side, with sums that are shared.

Entry (i, j) of X Y is sum_k x_ik y_kj, and with bounds x, y on the entries

    x_ik y_kj = x y (p^2 - q^2),    p = |x_ik/x + y_kj/y| / 2,  q = |x_ik/x - y_kj/y| / 2  in [0, 1].

Both squares are replaced by the interpolant f of u^2 on the grid of step 2^-m, which m layers of tents compute
(`relu_products`). 0 <= f(u) - u^2 <= 4^-(m+1), so an entry is wrong by at most n x y 4^-(m+1), and the product, in the
Frobenius norm, by n^2 x y 4^-(m+1).

What is summed over k is summed layer by layer: one unit for all f(p), one for all f(q) of an entry. A product takes
m + 1 hidden layers of 4 n^3 + 2 n^2 units, behind a layer that holds the factors as relu(v) and relu(-v).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.constructions.relu_products import LARGEST_STEPS, Stage

__all__ = [
    "UNIT",
    "chain_matrix",
    "eye",
    "interpolated_product",
    "product_chains",
    "product_defect",
    "product_roundings",
]

UNIT = 2.0**-53  # the unit roundoff of float64
SECOND_ORDER = 1.01  # covers what first-order bounds on rounding leave out, while n m UNIT < 1e-3
CHUNK = 1 << 18  # numbers of one work array: stays in the cache
assert LARGEST_STEPS * 64 * UNIT < 1e-3


def product_defect(n: int, m: int, x: float, y: float) -> float:
    """n^2 x y 4^-(m+1): bound on ||network(X, Y) - X Y||_F for |X_ij| <= x and |Y_ij| <= y, in exact arithmetic.

    Examples
    --------
    >>> product_defect(2, 3, 1.0, 0.5) == 4 * 0.5 / 256
    True
    """
    return n * n * x * y * 4.0 ** -(m + 1)


def product_roundings(n: int, m: int, x: float, y: float, X: float, Y: float) -> tuple[float, float]:
    """Bounds on what float64 adds to a product: in the squares and their sums, and the size of the sums.

    Parameters
    ----------
    x, y : bounds on entries, those of the network's weights
    X, Y : bounds on the spectral norms of the factors as they come in

    Returns
    -------
    rounding : of ||.||_F, whatever the order in which terms are added
    size : bound on the Frobenius norm of the sum of moduli of all terms of the output

    Notes
    -----
    With xi = X_ik/x, eta = Y_kj/y, rows and columns have ||xi||^2 <= rho_x^2 = min(n, (X/x)^2), and alike rho_y.

    1. p and q carry two roundings: u (|xi| + |eta|). Chords of u^2 rise by 2 u + 2^-m, and p + q = max(|xi|, |eta|), so
       both squares together are off by u [(1 + sqrt 2)(xi^2 + eta^2) + 2^(1-m) (|xi| + |eta|)].
    2. Tents are exact: 2t, 4 (t - 1/2) and 2 - 2t have no more digits than t in [0, 1] has, and t - 1/2 < 0 keeps its
       sign.
    3. A sum of n terms and what was there before is off by n u times the sum of moduli. That is, before step s, at most
       sum_k p^2 + q^2 + 2 4^-s = sum_k (xi^2 + eta^2)/2 + 2 4^-s, and sum_k p + q <= sqrt(n) (rho_x + rho_y) at first.
    4. 1/(2x), 1/(2y) and x y are themselves rounded: 4 u |xi eta|.

    Sums over i and j by ||(r_i + c_j)||_F <= sqrt(n) (||r|| + ||c||), ||r|| <= sqrt(n) rho^2 for the squared norms r.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms (2002), Sections 3.1 and 4.2.

    Examples
    --------
    >>> product_roundings(2, 10, 1.0, 1.0, 1.0, 1.0)[0] < 1e-14
    True
    """
    a, b = (min(float(n), (N / bound) ** 2) for N, bound in ((X, x), (Y, y)))
    squares, moduli = n * (a + b), n**1.5 * (math.sqrt(a) + math.sqrt(b))
    factors = (1 + 2**0.5) * squares + 2.0 ** (1 - m) * moduli + 4 * n * math.sqrt(a * b)
    sums = n * (moduli + (m - 1) * squares / 2 + 4 / 3 * n * n)
    return SECOND_ORDER * UNIT * x * y * (factors + sums), x * y * (squares / 2 + 24 * n * n * 4.0**-m)


def interpolated_product(X: np.ndarray, Y: np.ndarray, m: int, x: float, y: float) -> np.ndarray:
    """What the layers compute, at once: X Y with interpolated squares, in units of x y 4^-m.

    On the grid of step h = 2^-m and with u = (k + r) h, f(u) = h^2 (k (k + 2 r) + r).

    Cost: about 14 n^3 operations for each matrix.

    Examples
    --------
    >>> X = np.array([[[0.5, -0.25], [0.0, 1.0]]])
    >>> bool(np.abs(interpolated_product(X, X, 4, 1.0, 1.0) / 4**4 - X @ X).max() <= 2 * 4.0**-5)
    True
    """
    a, b = X * (0.5 / x * 2.0**m), Y * (0.5 / y * 2.0**m)
    out = np.empty(np.broadcast_shapes(X.shape, Y.shape))
    n = X.shape[-1]
    step = max(1, CHUNK // n**3)
    for start in range(0, len(out), step):
        left, right = a[start : start + step, :, None, :], b[start : start + step].mT[:, None]
        total = _chords(left + right)
        total -= _chords(left - right)
        total.sum(axis=-1, out=out[start : start + step])
    return out


def _chords(t: np.ndarray) -> np.ndarray:
    np.abs(t, out=t)
    k = np.floor(t)
    t -= k
    k *= k + 2 * t
    k += t
    return k


# ------------------------------------------------------------------------------------------------------- layers


def chain_matrix(n: int, left: Sequence[int], right: Sequence[int], x: float, y: float, parts: int) -> Any:
    """(4 n^3, parts) weights of a product's first layer: +-(x_ik/x + y_kj/y)/2 and +-(x_ik/x - y_kj/y)/2.

    Parameters
    ----------
    left, right : where the parts relu(v), relu(-v) of the factors start among what comes in
    parts : how many numbers come in

    Notes
    -----
    Units are in the order (sign within the modulus, p or q, i, j, k).
    """
    i, j, k = (g.ravel() for g in np.meshgrid(*[np.arange(n)] * 3, indexing="ij"))
    X, Y = (_difference(at, parts, starts) for at, starts in ((i * n + k, left), (k * n + j, right)))
    X, Y = X * (0.5 / x), Y * (0.5 / y)
    H = sp.csr_array(sp.vstack([X + Y, X - Y, -(X + Y), Y - X]))
    H.eliminate_zeros()
    return H


def _difference(at: np.ndarray, parts: int, starts: Sequence[int]) -> Any:
    """Rows that read entries as relu(v) - relu(-v)."""
    rows, ones = np.arange(len(at)), np.ones(len(at))
    signs, places = np.concatenate([ones, -ones]), np.concatenate([at + starts[0], at + starts[1]])
    return sp.csr_array((signs, (np.concatenate([rows, rows]), places)), shape=(len(at), parts))


def eye(k: int) -> Any:
    """The sparse identity."""
    return sp.csr_array((np.ones(k), (np.arange(k), np.arange(k))), shape=(k, k))


@lru_cache(maxsize=64)
def product_chains(n: int, m: int) -> tuple[list[Stage], Any]:
    """The tents of a product after its first layer, and the weights of its output in units of x y.

    Returns
    -------
    stages : m, from the four moduli's parts (4 n^3) to the units of the last layer: tents and, from the second layer
        on, 2 n^2 sums
    output : (n^2, units of the last layer)

    Notes
    -----
    Layer s has units a = relu(t), b = relu(t - 1/2) of t = g^(s-1)(p), and the next tent is g(t) = 2a - 4b. As t >= 0,
    a is t itself: the sums take it up one layer later, with one weight instead of two.

    Examples
    --------
    >>> stages, output = product_chains(2, 3)
    >>> [stage.H.shape[0] for stage in stages], output.shape
    ([32, 40, 40], (4, 40))
    """
    c = 2 * n**3  # chains: p and q
    chains, sums = eye(c), eye(2 * n * n)
    # rows (p or q, i, j), columns (p or q, i, j, k): adds up over k
    adds = sp.kron(sums, np.ones((1, n)), format="csr")
    b_units = sp.csr_array(adds.shape)
    moduli = sp.hstack([chains, chains])  # a modulus is the sum of its two parts
    tents = sp.hstack([2 * chains, -4 * chains])
    first, second = sp.vstack([moduli, moduli]), sp.vstack([tents, tents, sp.hstack([adds, b_units])])
    later = sp.hstack([sp.vstack([tents, tents]), sp.csr_array((2 * c, 2 * n * n))])
    stages: list[Stage] = []
    for s in range(1, m + 1):
        gathered = sp.hstack([-adds / 4.0 ** (s - 2), b_units, sums])
        into: Any = sp.csr_array(first if s == 1 else second if s == 2 else sp.vstack([later, gathered]))
        h = np.repeat([0.0, -0.5, 0.0], [c, c, into.shape[0] - 2 * c])
        stages.append(Stage(into, h, eye(len(h)), np.zeros(len(h))))
    last = -1.0 / 4.0 ** (m - 1) if m > 1 else 1.0
    output = sp.hstack([(last - 2.0 / 4**m) * adds, (4.0 / 4**m) * adds, *([sums] if m > 1 else [])])
    difference = sp.kron(np.array([[1.0, -1.0]]), eye(n * n), format="csr")
    return stages, sp.csr_array(difference @ output)
