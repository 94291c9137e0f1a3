"""How networks see the dense systems of a family: by tables of what entries, right-hand sides and answers usually are.

A / scale is free of units, exactly; its entries and the answers then have mean 0 and deviation 1, about. The tables are
made in training (`nnla.training.dense_systems`), one set for each size, and lie with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nnla.models.dense_solutions import DenseSystemEngine
from nnla.operators.arrays import is_torch, namespace
from nnla.preconditioners.dense_reference import row_scaled_reference

__all__ = [
    "SKETCHES",
    "TabledEngine",
    "as_dtype_of",
    "measures",
    "plain",
    "scale_of",
    "standardised",
    "table_shapes",
    "unit_answers",
    "unit_rhs",
]


_LEAST_SCALE = 0.05  # of the scale, by that of the sizes of the entries
SKETCHES = 4  # random matrices that a family's own is not in


def table_shapes(n: int, *, linear: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of the tables of a size; answers are operators or solutions.

    Examples
    --------
    >>> table_shapes(3, linear=False)["size3_answer_mean"]
    (3,)
    """
    answer = (n, n) if linear else (n,)
    shapes: dict[str, tuple[int, ...]] = {f"size{n}_mean": (n, n), f"size{n}_deviation": (n, n)}
    shapes |= {f"size{n}_answer_mean": answer, f"size{n}_answer_deviation": answer}
    return shapes | {f"size{n}_sketch": (SKETCHES, n, n), f"size{n}_far": (2,)}


def scale_of(p: Mapping[str, Any], A: Any) -> Any:
    """Factor (B,) of matrices (B, n, n): about 1 for those of the training. A / scale is unit-free.

    Notes
    -----
    The multiple of the mean matrix that A is nearest to, entries weighed by what they usually are: noise averages out.
    Where these entries nearly cancel, as in one of some thousand rough matrices, a part of their sizes instead, so that
    the scale is never near zero.
    """
    n = A.shape[-1]
    xp = namespace(A)
    mean, deviation = p[f"size{n}_mean"], p[f"size{n}_deviation"]
    weight = mean / (mean * mean + deviation * deviation)
    whole = (mean * weight).sum()
    nearest = (A * weight).sum((-1, -2)) / whole
    least = _LEAST_SCALE * xp.abs(A * weight).sum((-1, -2)) / whole
    return xp.where(xp.abs(nearest) < least, xp.where(nearest < 0, -least, least), nearest)


def standardised(p: Mapping[str, Any], A: Any) -> Any:
    """Entries of unit-free matrices (B, n, n) by those of the training: of mean 0 and deviation 1, about.

    Notes
    -----
    Entries of many deviations, which are rare, must not drown the others: from one on they count by their logarithm.
    """
    n = A.shape[-1]
    return namespace(A).arcsinh((A - p[f"size{n}_mean"]) / p[f"size{n}_deviation"])


def plain(p: Mapping[str, Any], A: Any) -> Any:
    """Entries of matrices (B, n, n) in any unit, by mean and deviation of those of the training."""
    n = A.shape[-1]
    return (A / scale_of(p, A)[:, None, None] - p[f"size{n}_mean"]) / p[f"size{n}_deviation"]


def measures(p: Mapping[str, Any], A: Any) -> tuple[Any, Any]:
    """(B,) and (B,) how far matrices lie from a family: by the size of their entries, and by what is not in its span.

    Notes
    -----
    The first is the root mean square of the standardised entries, which finds other magnitudes. The second is that of
    their products with a few random matrices orthogonal to the family (``sketch``): an entry that no member has shows.

    Cost: six passes over A.
    """
    n = A.shape[-1]
    z = plain(p, A)
    off = (z[:, None] * p[f"size{n}_sketch"]).sum((-1, -2))
    size = namespace(A).arcsinh(z)
    return (size * size).mean((-1, -2)) ** 0.5, (off * off).mean(-1) ** 0.5


def unit_rhs(b: Any) -> tuple[Any, Any]:
    """Right-hand sides (B, n) by their root mean square with the sign of their sum, and that (B,).

    A network that sees these has x(c b) = c x(b) for every c, negative ones included.

    Examples
    --------
    >>> unit, size = unit_rhs(np.array([[3.0, -4.0, -5.0, 0.0]]))
    >>> size.round(4), (unit * size[:, None]).round(4)
    (array([-3.5355]), array([[ 3., -4., -5.,  0.]]))
    """
    xp = namespace(b)
    size = (b * b).mean(-1) ** 0.5
    one = xp.ones_like(size)
    size = xp.where(size > 0, size, one) * xp.where(b.sum(-1) < 0, -one, one)
    return b / size[..., None], size


def unit_answers(p: Mapping[str, Any], out: Any) -> Any:
    """Answers, (B, n) or (B, n, n), from what a network says of them, the same of mean 0 and deviation 1."""
    n = out.shape[-1]
    return p[f"size{n}_answer_mean"] + p[f"size{n}_answer_deviation"] * out


def as_dtype_of(x: Any, like: Any) -> Any:
    """An array in the dtype of another."""
    return x.to(like.dtype) if is_torch(x) else x.astype(like.dtype, copy=False)


class TabledEngine(DenseSystemEngine):
    """An engine with tables: scales, distances, and solutions one right-hand side at a time.

    A model brings ``sizes`` and `solutions`.
    """

    dtype = np.float32

    def solutions(self, p: Mapping[str, Any], A: Any, b: Any) -> Any:
        """x (B, n) for unit-free matrices (B, n, n) and right-hand sides (B, n), in the network's dtype."""
        raise NotImplementedError

    def distances(self, A: Any) -> Any:
        """(B,) how far matrices (B, n, n) are from those of the training: 1 is the farthest of those.

        Notes
        -----
        The larger of `measures`, each by its largest in training.
        """
        p, n = self.parameters_like(A), A.shape[-1]
        xp = namespace(A)
        with np.errstate(all="ignore"):
            size, off = measures(p, A)
            far = xp.maximum(size / p[f"size{n}_far"][0], off / p[f"size{n}_far"][1])
        return xp.where(xp.isfinite(far), far, xp.full_like(far, np.inf))

    def preconditioner(self, A: Any) -> Callable[[Any], Any] | None:
        """The training's mean matrix inverted, its rows scaled as those of A are.

        Notes
        -----
        Nothing is learned here but the mean. The networks know smooth right-hand sides, and residuals are rough: with
        them in this place GMRES took more steps, or did not end (`reproduce/algebraformer_table.py`).

        Cost: that of `row_scaled_reference`.
        """
        return row_scaled_reference(self.parameters[f"size{A.shape[-1]}_mean"], A)

    def answer(self, A: Any, b: Any) -> Any:
        """x (B, n, k) for matrices (B, n, n) and right-hand sides (B, n, k)."""
        p = self.parameters_like(A)
        scale = scale_of(p, A)[:, None, None]
        like = p[f"size{A.shape[-1]}_mean"]
        unit = as_dtype_of(A / scale, like)
        columns = [self.solutions(p, unit, as_dtype_of(b[:, :, i], like)) for i in range(b.shape[-1])]
        return namespace(A).stack(columns, -1) / scale
