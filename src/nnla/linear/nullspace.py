"""The null space of a singular A, as far as it is known: read off the entries, given, or found by a factorisation.

Factors and hierarchies of a singular A are made of A with a few diagonal entries raised: for a b that is orthogonal to
the null space this changes nothing but which of the solutions they find.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.operators.null_vectors import NullVectors, null_vectors
from nnla.operators.operator import Operator
from nnla.operators.validation import asarray

__all__ = ["NullSpace", "found_null_space", "null_space_in_units", "with_null_space"]

_NULL = 1e-8  # of |A| |N|: up to there A N is zero, for vectors that the caller has computed
_DEPENDENT = 1e-10  # what a vector keeps beside the others, below which it is one of them


@dataclass(frozen=True, eq=False)
class NullSpace:
    """A subspace that A maps to zero.

    Attributes
    ----------
    n : order of A
    known : vectors read off the entries, or None
    basis : (n, m) orthonormal, and orthogonal to those
    words : what it is made of, for reports
    """

    n: int
    known: NullVectors | None
    basis: np.ndarray
    words: str

    @property
    def dimension(self) -> int:
        """Of the subspace."""
        return self.basis.shape[1] + (0 if self.known is None else self.known.count)

    def part(self, v: np.ndarray) -> np.ndarray:
        """The part of v in the subspace, (n,) or (n, k). Cost: two passes over v and over the basis, twice."""
        with np.errstate(under="ignore"):
            once = self._part(v)
            return once + self._part(v - once)  # what rounding has left of it

    def _part(self, v: np.ndarray) -> np.ndarray:
        out = np.zeros(v.shape) if self.known is None else self.known.combine(self.known.coefficients(v))
        return out + self.basis @ (self.basis.T @ v) if self.basis.shape[1] else out

    def ground(self, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, amounts) that make A definite on its diagonal: a row for each null vector, so that none avoids them.

        Where b is orthogonal to the subspace, N' (A + E) x = N' E x = 0, and so x vanishes in these rows and A x = b.

        Cost: a pass over the vectors, and a pivoted QR factorisation of the basis.
        """
        weight = np.sqrt(np.maximum(diagonal, 0.0))
        rows = np.empty(0, dtype=np.int64)
        basis = self.basis
        if self.known is not None:
            labels, values = self.known.labels, self.known.values
            largest = np.lexsort((weight * np.abs(values), labels))  # within each label the largest comes last
            last = np.append(labels[largest][1:] != labels[largest][:-1], True) & (labels[largest] >= 0)
            rows = largest[last]
            basis = basis - self.known.combine(basis[rows] / values[rows, None])
        if basis.shape[1]:
            weighted = basis * np.where(weight > 0, weight, 1.0)[:, None]
            weighted[rows] = 0.0
            factors: Any = scipy.linalg.qr(weighted.T, mode="r", pivoting=True, check_finite=False)
            pivots = factors[1]
            rows = np.append(rows, pivots[: basis.shape[1]])
        usual = float(np.median(diagonal[diagonal > 0]))
        return rows, np.where(diagonal[rows] > 0, diagonal[rows], usual)


def with_null_space(op: Operator, given: Any = None) -> tuple[Operator, NullSpace | None]:
    """The null space of A as far as it is known, and the operator that knows how to be made definite.

    Parameters
    ----------
    op : Operator
    given : (n,) or (n, m) vectors that A maps to zero, or None

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        The vectors do not fit A, or are no real numbers.
    OptionError
        A does not map them to zero.

    Notes
    -----
    Cost: that of `nnla.operators.null_vectors.null_vectors`; with vectors given, a product for each, and an
    orthonormal basis.
    """
    known = null_vectors(op)
    if known is None and given is None:
        return op, None
    basis = np.zeros((op.n, 0)) if given is None else _checked(op, given, known)
    parts = [] if known is None else _words(known)
    if basis.shape[1]:
        parts.append(f"{basis.shape[1]} vector{'s' * (basis.shape[1] > 1)} of nullspace=")
    null = NullSpace(op.n, known, basis, " and ".join(parts))
    return _grounded(op, null)


def null_space_in_units(
    inner: Operator, null: NullSpace | None, exponents: np.ndarray | None
) -> tuple[Operator, NullSpace | None]:
    """The same for S A S, S = diag(2^exponents), whose null space is S^-1 N; None for S = 1.

    Where the exponents differ, "least norm" is meant in the units of S A S.

    Cost: a pass over the vectors, and an orthonormal basis.
    """
    if null is None or exponents is None:
        return inner, null
    known, basis = null.known, null.basis
    if known is not None:
        shift = np.zeros(known.count, dtype=np.int64)
        on = known.labels >= 0
        np.maximum.at(shift, known.labels[on], exponents[on] - exponents.max())
        values = np.ldexp(known.values, np.where(on, shift[known.labels] - (exponents - exponents.max()), 0))
        known = replace(known, values=known.normalised(values))
    if basis.shape[1]:
        scaled = np.ldexp(basis, (exponents.min() - exponents)[:, None])
        if known is not None:
            scaled = scaled - known.combine(known.coefficients(scaled))
        basis = np.linalg.qr(scaled)[0]
    return _grounded(inner, NullSpace(null.n, known, basis, null.words))


def found_null_space(op: Operator, basis: np.ndarray) -> tuple[Operator, NullSpace]:
    """The same for an orthonormal basis that a factorisation has found. Cost: a pivoted QR factorisation of it."""
    grounded, null = _grounded(op, NullSpace(op.n, None, basis, f"{basis.shape[1]} null vectors found by factoring"))
    assert null is not None
    return grounded, null


def _grounded(op: Operator, null: NullSpace) -> tuple[Operator, NullSpace | None]:
    if null.dimension == 0:
        return op, None
    diagonal = op.diagonal()
    if diagonal is None:
        return op, null
    return op.grounded(*null.ground(op.space.host(diagonal))), null


def _words(known: NullVectors) -> list[str]:
    isolated, parts = known.isolated.size, known.count - known.isolated.size
    said = [f"a null vector on each of {parts} components" if parts > 1 else "a null vector"] if parts else []
    if isolated:
        said.append(f"{isolated} isolated unknown{'s' * (isolated > 1)}")
    return said


def _checked(op: Operator, given: Any, known: NullVectors | None) -> np.ndarray:
    """An orthonormal basis of the vectors given, beside those that are known."""
    N = asarray(given.toarray() if sp.issparse(given) else op.space.host(given), "nullspace")
    if N.dtype.kind not in "iuf":
        raise OptionError(f"nullspace= has dtype {N.dtype}; give real vectors")
    N = N.astype(np.float64).reshape(-1, 1) if N.ndim == 1 else N.astype(np.float64)
    if N.ndim != 2 or N.shape[0] != op.n or N.shape[1] > op.n:
        raise ShapeError(f"nullspace= has shape {N.shape} but A is {op.n}x{op.n}; give an array ({op.n}, m)")
    if not np.all(np.isfinite(N)):
        raise NonFiniteError("nullspace= contains NaN or Inf; repair it first")
    largest = np.max(np.abs(N), axis=0, initial=0.0)
    N = N[:, largest > 0] / largest[largest > 0]
    if not N.shape[1]:
        return N
    image, size = _image(op, N)
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(image <= _NULL * size))
    if bad.size:
        j = int(bad[0])
        raise OptionError(
            f"A does not map column {j} of nullspace= to zero: |A v| = {image[j] / max(size[j], 1e-300):.2g} |A| |v|; "
            "leave it out, or give vectors with A @ v = 0"
        )
    if known is not None:
        N = N - known.combine(known.coefficients(N))
        N = N - known.combine(known.coefficients(N))
    factors: Any = scipy.linalg.qr(N, mode="economic", pivoting=True, check_finite=False)
    Q, R = factors[:2]
    kept = np.abs(np.diag(R)) > _DEPENDENT * np.sqrt(op.n)
    return np.ascontiguousarray(Q[:, kept])


def _image(op: Operator, N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norms of A N and of |A| |N|, in rows scaled by the root of the diagonal; an estimate where A has no entries."""
    AN = op.space.host(op.matvec(op.as_vector(N, "nullspace")))
    diagonal = op.diagonal()
    if diagonal is None:
        probe = op.as_vector(np.random.default_rng(0).standard_normal(op.n))
        size = float(op.space.norm(op.matvec(probe))) / np.sqrt(op.n)
        return np.linalg.norm(AN, axis=0), size * np.linalg.norm(N, axis=0)
    d = op.space.host(diagonal)
    root = np.sqrt(np.where(d > 0, d, np.max(d)))
    # |a_ij| <= sqrt(a_ii a_jj): a bound of |A| |N| in these units, for a row of entries of its size
    return np.linalg.norm(AN / root[:, None], axis=0), np.linalg.norm(root[:, None] * N, axis=0)
