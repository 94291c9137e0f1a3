"""The product of two matrices as a certified ReLU network: what exponentials and roots are made of, by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nnla.constructions.relu_certificates import (
    MANY_STEPS,
    Bound,
    Certificate,
    Draft,
    cheapest_steps,
    follow_round,
)
from nnla.constructions.relu_matrix_programs import MatrixProgram, MatrixSum, NetworkSize
from nnla.constructions.relu_networks import (
    LARGEST_N,
    SLACK,
    SMALLEST_BOUND,
    MatrixSet,
    checked_matrices,
    one_of,
    positive,
    refuse_small,
    whole,
)
from nnla.constructions.relu_products import ReLUNetwork
from nnla.errors import OptionError, ShapeError

__all__ = ["CertifiedProduct", "relu_matmul"]

LARGEST_BOUND = 1e100


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedProduct:
    """A ReLU network for X Y with \\|\\|network(X, Y) - X Y\\|\\|_F <= certificate.error on two sets of matrices.

    Attributes
    ----------
    left, right : the sets
    eps : what was asked for
    program, certificate : as of `CertifiedNetwork`
    """

    left: MatrixSet
    right: MatrixSet
    eps: float
    program: MatrixProgram
    certificate: Certificate

    def __repr__(self) -> str:
        size = self.size
        return (
            f"<CertifiedProduct n={self.left.n}: error <= {self.certificate.error:.2e}, {size.depth} layers of "
            f"{size.width}, {size.parameters:,} parameters>"
        )

    @property
    def size(self) -> NetworkSize:
        """Depth, width, parameters."""
        return self.program.size

    @property
    def network(self) -> ReLUNetwork:
        """The explicit sparse network on columns of 2 n^2 entries, those of X first, row by row."""
        n2, c = self.left.n**2, self.certificate
        return ReLUNetwork(self.program.network.weights, np.full(n2, c.products), np.full(n2, c.rounding))

    @property
    def layers(self) -> tuple[tuple[Any, np.ndarray], ...]:
        """(W, b) of each layer, as of `CertifiedNetwork`."""
        return self.program.network.weights

    def __call__(self, X: Any, Y: Any) -> np.ndarray:
        """network(X, Y) (..., n, n) for matrices of the sets, of equal shapes (..., n, n).

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, OptionError : as `CertifiedNetwork`

        Cost: about 14 n^3 operations for each pair.
        """
        X, Y = checked_matrices(X, self.left, "the product"), checked_matrices(Y, self.right, "the product")
        if X.shape != Y.shape:
            raise ShapeError(f"factors of shapes {X.shape} and {Y.shape}; pass batches of one shape")
        return self.program(X, Y)


def _follow(left: MatrixSet, right: MatrixSet, steps: Sequence[int]) -> tuple:
    held = {name: Bound(s.norm, s.entry, np.zeros(3)) for name, s in (("left", left), ("right", right))}
    draft = Draft((("left", "right"),), (MatrixSum("output", {0: 1.0}),))
    done, held, _ = follow_round(left.n, draft, steps[0], held, 0)
    return (done,), held["output"].errors * (1 + SLACK)


@lru_cache(maxsize=256)
def _cheapest(left: MatrixSet, right: MatrixSet, eps: float) -> CertifiedProduct:
    follow = partial(_follow, left, right)
    found = cheapest_steps(follow, [1], eps)
    if found is None:
        smallest = 1.05 * float(follow([MANY_STEPS])[1].sum())
        raise refuse_small(eps, smallest, f"X Y, n={left.n}, {left} and {right}")
    program = MatrixProgram(left.n, 1.0, found[0], ("left", "right"))
    return CertifiedProduct(left, right, eps, program, found[1])


def relu_matmul(
    n: int, bound: float, eps: float, *, right_bound: float | None = None, domain: str = "ball"
) -> CertifiedProduct:
    """A ReLU network for the product of two n x n matrices, with a proof for all pairs of two sets.

    Parameters
    ----------
    n : size of the matrices, 1 to 32
    bound, right_bound : of the left set and of the right one (the same by default), as for `relu_expm`
    eps : absolute bound on the error in the Frobenius norm; rounding included
    domain : "ball", \\|\\|A\\|\\|_2 <= bound, or "box", \\|a_ij\\| <= bound

    Returns
    -------
    CertifiedProduct : call it on X and Y; m + 2 hidden layers of at most 4 n^3 + 2 n^2 units, where
        n^2 bound right_bound 4^-(m+1) is about eps

    Raises
    ------
    OptionError
        Arguments outside of these, or an eps that float64 cannot reach: the message names the smallest possible one.

    Cost: milliseconds.

    References
    ----------
    Yarotsky, Neural Networks 94 (2017), Proposition 3, for one product of numbers.

    Examples
    --------
    >>> network = relu_matmul(2, 1.0, 1e-4)
    >>> network([[0.5, 0.25], [0.0, 0.5]], [[0.0, 0.5], [0.5, 0.0]]).round(3).tolist()
    [[0.125, 0.25], [0.25, 0.0]]
    """
    n, eps = whole(n, "n", 1, LARGEST_N), positive(eps, "eps", 1e300)
    one_of(domain, "domain", ("ball", "box"))
    bounds = [positive(b, "bound", LARGEST_BOUND) for b in (bound, bound if right_bound is None else right_bound)]
    if min(bounds) < SMALLEST_BOUND:
        raise OptionError(f"bound={min(bounds):g}: give bounds of at least {SMALLEST_BOUND:g}, or scale a factor")
    left, right = (MatrixSet(domain, n, b) for b in bounds)
    return _cheapest(left, right, eps)
