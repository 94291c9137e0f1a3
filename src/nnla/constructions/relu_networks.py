"""Certified ReLU networks for matrix functions: a program, the set it is proved for, its certificate and size.

A matrix outside of the set is refused: nothing is known of the answer there.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.constructions.relu_certificates import Certificate
from nnla.constructions.relu_matrix_programs import MatrixProgram, NetworkSize
from nnla.constructions.relu_products import ReLUNetwork
from nnla.constructions.relu_theorem import TheoremSize
from nnla.errors import (
    DTypeError,
    FileFormatError,
    NonFiniteError,
    NotSymmetricError,
    OptionError,
    ShapeError,
)
from nnla.operators.validation import asarray

__all__ = [
    "CertifiedNetwork",
    "FineError",
    "MatrixSet",
    "checked_matrices",
    "load_layers",
    "one_of",
    "positive",
    "real_matrices",
    "refuse_small",
    "symmetric_part",
    "whole",
]

LARGEST_N = 32
SLACK = 2.0**-40  # the certificate is made for a set that is larger by this than the one that is promised

SMALLEST_BOUND = 1e-30  # networks for smaller sets are made for this one: powers of less underflow


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number within limits."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise OptionError(f"{name}={value!r}: give a whole number from {low} to {high}")
    return int(value)


def one_of(value: Any, name: str, choices: Sequence[str]) -> None:
    """Raise `OptionError` unless ``value`` is one of the choices."""
    if value not in choices:
        raise OptionError(f"{name}={value!r}: choose {' or '.join(map(repr, choices))}")


def positive(value: Any, name: str, high: float) -> float:
    """A positive number up to a limit."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool) or not 0 < value <= high:
        raise OptionError(f"{name}={value!r}: give a positive number up to {high:g}")
    return float(value)


@dataclass(frozen=True)
class MatrixSet:
    """The matrices that a certificate speaks of, real and n x n.

    Attributes
    ----------
    kind : "ball", \\|\\|A\\|\\|_2 <= bound; "box", \\|a_ij\\| <= bound; "gap", symmetric with
        gap <= \\|eigenvalues\\| <= bound; "definite", symmetric with gap <= eigenvalues <= bound
    bound, gap : absolute; a gap of 0 where there is none

    Examples
    --------
    >>> MatrixSet("ball", 2, 1.0).holds(np.array([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])).tolist()
    [True, False]
    """

    kind: str
    n: int
    bound: float
    gap: float = 0.0

    @property
    def symmetric(self) -> bool:
        """Whether it holds symmetric matrices alone."""
        return self.kind in ("gap", "definite")

    @property
    def norm(self) -> float:
        """Bound on the spectral norm, of the slightly larger set that the certificate is made for."""
        return self.entry * (self.n if self.kind == "box" else 1)

    @property
    def entry(self) -> float:
        """Bound on the entries, alike."""
        return max(self.bound, SMALLEST_BOUND) * (1 + SLACK)

    def __str__(self) -> str:
        return {
            "ball": f"||A||_2 <= {self.bound:g}",
            "box": f"|a_ij| <= {self.bound:g}",
            "gap": f"A = A', {self.gap:g} <= |eigenvalues| <= {self.bound:g}",
            "definite": f"A = A', {self.gap:g} <= eigenvalues <= {self.bound:g}",
        }[self.kind]

    def holds(self, A: np.ndarray) -> np.ndarray:
        """(B, n, n) -> (B,), whether a matrix belongs to it, up to a rounding that the certificate allows for."""
        inside = np.abs(A).max(axis=(-2, -1)) <= self.bound * (1 + SLACK / 2)
        if self.kind == "box":
            return inside
        B = np.where(inside[:, None, None], A, 0.0) / self.bound  # no squares that overflow, none that underflow
        top, gap = 1 + SLACK / 2, self.gap / self.bound - SLACK / 2
        if self.kind == "ball":
            unsure = np.sqrt((B * B).sum(axis=(-2, -1))) > 1  # ||A||_2 <= ||A||_F: most need no more
            if unsure.any():
                inside[unsure] &= np.linalg.norm(B[unsure], 2, axis=(-2, -1)) <= top
            return inside
        values = np.linalg.eigvalsh(B)
        low = values if self.kind == "definite" else np.abs(values)
        return inside & ((low >= gap) & (np.abs(values) <= top)).all(axis=-1)


def real_matrices(A: Any) -> np.ndarray:
    """Finite real square matrices (..., n, n) as float64, from lists, arrays and torch tensors without gradients."""
    A = asarray(A, "A")
    if A.dtype.kind not in "fiu":
        raise DTypeError(f"A has dtype {A.dtype}; pass real matrices")
    A = A.astype(np.float64)
    if A.ndim < 2 or A.shape[-2] != A.shape[-1] or A.shape[-1] == 0:
        raise ShapeError(f"A has shape {A.shape}; pass square matrices (..., n, n)")
    if not np.isfinite(A).all():
        raise NonFiniteError("A has NaN or infinite entries; remove them")
    return A


def symmetric_part(A: np.ndarray, what: str) -> np.ndarray:
    """(A + A') / 2, where that is A up to rounding; ``what`` is asked of it."""
    half = A / 2 - A.mT / 2
    n = A.shape[-1]
    if (np.abs(half).max(axis=(-2, -1)) > 1e-13 * n * np.abs(A).max(axis=(-2, -1))).any():
        raise NotSymmetricError(f"{what} is certified for symmetric matrices; pass (A + A.mT) / 2")
    return A / 2 + A.mT / 2


def checked_matrices(A: Any, domain: MatrixSet, what: str) -> np.ndarray:
    """Matrices (..., n, n) of a set, as float64 and exactly symmetric where the set is; ``what`` is asked of them."""
    A, n = real_matrices(A), domain.n
    if A.shape[-1] != n:
        raise ShapeError(f"A has shape {A.shape}, and the network is for {n} x {n} matrices; pass (..., {n}, {n})")
    if A.size == 0:
        return A
    if domain.symmetric:
        A = symmetric_part(A, what)
    if not domain.holds(A.reshape(-1, n, n)).all():
        raise OptionError(
            f"A is outside of the set that the network is certified for, {domain}; "
            "make a network for a larger set, or scale A"
        )
    return A


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedNetwork:
    """A ReLU network for f(A), with a proof for every matrix of a set.

    Attributes
    ----------
    function : "exp", "sign", ...
    domain : the set
    eps : what was asked for; ``certificate.error <= eps``
    construction : its name, and its parameters in ``parameters``
    program : what it computes, round by round
    certificate : bound on \\|\\|network(A) - f(A)\\|\\|_F, and so on the spectral norm, with its parts
    theorem : size of the existence theorem's network for the same set and eps; None where there is none
    """

    function: str
    domain: MatrixSet
    eps: float
    construction: str
    parameters: Mapping[str, int]
    program: MatrixProgram
    certificate: Certificate
    theorem: TheoremSize | None = None

    def __repr__(self) -> str:
        size = self.size
        return (
            f"<CertifiedNetwork {self.function}(A), n={self.n}, {self.domain}: error <= {self.certificate.error:.2e}, "
            f"{size.depth} layers of {size.width}, {size.parameters:,} parameters>"
        )

    @property
    def n(self) -> int:
        """Size of the matrices."""
        return self.domain.n

    @property
    def size(self) -> NetworkSize:
        """Depth, width, parameters."""
        return self.program.size

    @property
    def network(self) -> ReLUNetwork:
        """The explicit sparse network on columns of n^2 entries, row by row; it is built on the first call."""
        bare, certificate = self.program.network, self.certificate
        bounds = (
            np.full(self.n**2, certificate.truncation + certificate.products),
            np.full(self.n**2, certificate.rounding),
        )
        return ReLUNetwork(bare.weights, *bounds)

    @property
    def layers(self) -> tuple[tuple[Any, np.ndarray], ...]:
        """(W, b) of each layer, W a `scipy.sparse.csr_array` (out, in): relu(W x + b), the last one without relu."""
        return self.program.network.weights

    def __call__(self, A: Any) -> np.ndarray:
        """network(A) (..., n, n) for matrices (..., n, n) of the set, by the functional form.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, NotSymmetricError : no real, finite matrices of this size (and
            symmetric, where the set is)
        OptionError : a matrix outside of the set

        Cost: about 14 n^3 operations for each product of a matrix; what `layers` would take is 2 `size.parameters`.
        """
        return self.program(self.checked(A))

    def evaluate_layers(self, A: Any) -> np.ndarray:
        """The same by the explicit weights, layer by layer: slow, and equal up to rounding.

        Cost: 2 `size.parameters` operations for each matrix.
        """
        A = self.checked(A)
        if A.size == 0:
            return A
        columns = A.reshape(-1, self.n**2).T
        return self.network(columns).T.reshape(A.shape)

    def checked(self, A: Any) -> np.ndarray:
        """Matrices of the set, as float64 and exactly symmetric where the set is."""
        return checked_matrices(A, self.domain, self.function)

    def save(self, path: Any) -> None:
        """Explicit weights as safetensors, layers.i.{data,indices,indptr,shape,bias} in CSR, and the certificate.

        Cost: builds the layers; 12 bytes for each parameter.
        """
        from safetensors.numpy import save_file

        tensors: dict[str, np.ndarray] = {}
        for i, (W, b) in enumerate(self.layers):
            tensors |= {f"layers.{i}.data": W.data, f"layers.{i}.bias": b}
            tensors |= {f"layers.{i}.{k}": np.asarray(getattr(W, k), dtype=np.int64) for k in ("indices", "indptr")}
            tensors[f"layers.{i}.shape"] = np.array(W.shape, dtype=np.int64)
        about = {
            "function": self.function,
            "set": str(self.domain),
            "eps": self.eps,
            "error": self.certificate.error,
            "certificate": asdict(self.certificate),
            "construction": self.construction,
            "parameters": dict(self.parameters),
        }
        save_file(
            {k: np.ascontiguousarray(v) for k, v in tensors.items()}, os.fspath(path), {"nnla": json.dumps(about)}
        )


def load_layers(path: Any) -> ReLUNetwork:
    """Explicit weights from a file of `CertifiedNetwork.save`: a network on columns of n^2 entries.

    Raises
    ------
    FileFormatError : the file is none, or its layers do not fit one another
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            about = json.loads((file.metadata() or {})["nnla"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
        certificate, weights = about["certificate"], []
        for i in range(sum(k.endswith(".bias") for k in tensors)):
            at = f"layers.{i}."
            data, indices, indptr = (tensors[at + k] for k in ("data", "indices", "indptr"))
            W = sp.csr_array((data, indices, indptr), shape=tuple(int(k) for k in tensors[at + "shape"]))
            W.check_format(full_check=True)
            weights.append((W, tensors[at + "bias"]))
        if not weights or any(
            W.shape[0] != len(b) or W.shape[1] != (weights[i - 1][0].shape[0] if i else W.shape[1])
            for i, (W, b) in enumerate(weights)
        ):
            raise ValueError("layers do not fit")
        out = weights[-1][0].shape[0]
        errors = np.full(out, certificate["truncation"] + certificate["products"])
        return ReLUNetwork(tuple(weights), errors, np.full(out, certificate["rounding"]))
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, OSError):
            raise
        raise FileFormatError(
            f"{os.fspath(path)} holds no layers of a certified network; write it by save()"
        ) from error


class FineError(OptionError):
    """An eps that cannot be certified; ``smallest`` can."""

    def __init__(self, message: str, smallest: float) -> None:
        super().__init__(message)
        self.smallest = smallest


def refuse_small(eps: float, smallest: float, what: str) -> FineError:
    """The error where rounding, or the largest number of steps, keeps a bound above eps."""
    unit = 10.0 ** (math.floor(math.log10(smallest)) - 1)
    named = f"{math.ceil(smallest / unit) * unit:.2g}"  # rounded up: what is named can be had
    return FineError(
        f"eps={eps:g} cannot be certified in float64 for {what}: rounding allows {named} at the smallest; "
        f"give eps >= {named} or a smaller set",
        smallest,
    )
