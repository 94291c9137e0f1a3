"""The right eigenvalues of a problem, once: pairs of tiny residual, and the inertia that says that none is missing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from scipy.sparse import linalg as spla

from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky

__all__ = ["Reference", "count_below", "reference"]

_MORE = 6  # pairs beyond those wanted, so that a gap to count in can be chosen
_ROUNDS = 8  # of looking for what is missing
_SECOND = 3e9  # operations of a factor up to which SuperLU counts, too
_EPS = float(np.finfo(float).eps)


@dataclass
class Reference:
    """All of the smallest eigenvalues: ``values``, each right to ``error``; ``counted`` says who counted them.

    norm, mass : ||A||, ||M||; sigma : a shift below the spectrum, 0 for what is definite
    """

    values: list[float]
    error: float
    norm: float
    mass: float
    sigma: float
    counted: str = ""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


def _norm(A: Any) -> float:
    if A.shape[0] <= 3:
        return float(np.linalg.norm(A.toarray(), 2))
    w = spla.eigsh(
        A, k=1, which="LM", tol=1e-2, return_eigenvectors=False, v0=np.ones(A.shape[0]) + np.arange(A.shape[0]) % 7
    )
    return float(abs(w[0]))


def _minus(A: Any, mu: float, M: Any) -> sp.csr_array:
    B = sp.csr_array(A - mu * (sp.eye_array(A.shape[0]) if M is None else M))
    B.sort_indices()
    return B


def count_below(A: Any, mu: float, M: Any = None) -> tuple[int, str] | None:
    """Eigenvalues below mu by Sylvester's law, and by whom; None where the two factors disagree or none is exact.

    The native L D L' and, where that is cheap, SuperLU without exchanges.
    """
    B = _minus(A, mu, M)
    n = B.shape[0]
    chol = Cholesky(B)
    chol.factor(indefinite=True)
    z = np.random.default_rng(0).standard_normal(n)
    b = B @ z
    y = chol.solve(b)
    # (B + E) y = b: how far the factor is from that of B
    off = float(np.linalg.norm(b - B @ y) / np.linalg.norm(y)) * n**0.5
    native, by = int(chol.negative), f"L D L' (within {off:.0e})"
    if chol.flops <= _SECOND:
        lu = spla.splu(
            sp.csc_matrix(B), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        if np.array_equal(lu.perm_r, lu.perm_c):
            if int(np.count_nonzero(lu.U.diagonal() < 0)) != native:
                return None
            by += " and SuperLU"
    return (native, by) if np.isfinite(off) else None


def _definite(A: Any, M: Any, sigma: float) -> Any:
    """A factor of A - sigma M, or None."""
    try:
        return Cholesky(_minus(A, sigma, M)).factor()
    except NNLAError:
        return None


def _below(A: Any, M: Any, norm: float, mass: float) -> tuple[float, Any]:
    """A shift below the spectrum, and the factor there."""
    for sigma in (0.0, -1e-9 * norm / mass):
        factor = _definite(A, M, sigma)
        if factor is not None and sigma < 0.0:
            return sigma, factor
    ends = spla.eigsh(A, k=1, M=M, which="SA", tol=1e-4, return_eigenvectors=False)
    sigma = float(ends[0])
    step = 1e-3 * norm / mass
    for _ in range(20):
        sigma -= step
        factor = _definite(A, M, sigma)
        if factor is not None:
            return sigma, factor
        step *= 2
    raise RuntimeError("no shift below the spectrum was found")


def _counted(A: Any, M: Any, w: np.ndarray, k: int) -> tuple[int, str]:
    """How many of the values are the smallest ones, none missing, and who says so; "" where that is not so.

    Counted in a gap behind the k-th, or, where it belongs to a cluster, on both sides of the k-th.
    """
    j = k + int(np.argmax(np.diff(w)[k - 1 :]))  # w[j - 1] | w[j]
    if w[j] - w[j - 1] > 1e-6 * abs(w[j - 1]):
        tau = float(w[j - 1] + w[j]) / 2
        counted = count_below(A, tau, M)
        return j, f"{j} below {tau:.6g} by {counted[1]}" if counted is not None and counted[0] == j else ""
    near = 1e-3 * abs(float(w[k - 1]))
    below, above = count_below(A, float(w[k - 1]) - near, M), count_below(A, float(w[k - 1]) + near, M)
    before = int(np.searchsorted(w, w[k - 1] - near))
    if below is None or above is None or below[0] != before or above[0] < k or np.ptp(w[before:k]) > near / 100:
        return k, ""
    return k, f"{before} before {w[k - 1]:.6g} and {above[0] - before} at it, by {above[1]}"


def _searched(A: Any, k: int, norm: float) -> Reference:
    """Without a factor: Lanczos, again and again beside what was found, until it finds nothing that belongs there.

    What a search from a random vector finds is complete but for copies, and the next search would show one of those.
    """
    n, rng = A.shape[0], np.random.default_rng(7)
    V, w = np.empty((n, 0)), np.empty(0)
    for _ in range(_ROUNDS):

        def lifted(v: np.ndarray, V: np.ndarray = V) -> np.ndarray:
            v = np.asarray(v, dtype=float).ravel()
            return A @ v + 2.0 * norm * (V @ (V.T @ v))

        operator = spla.LinearOperator((n, n), matvec=lifted, dtype=np.dtype(float))
        many = k + _MORE if w.size < k else 3
        x, X = spla.eigsh(operator, k=many, which="SA", tol=1e-12, ncv=4 * many + 20, v0=rng.standard_normal(n))
        if w.size >= k and x[0] > w[k - 1] - 1e-8 * norm:
            break
        V = np.linalg.qr(np.concatenate([V, X], axis=1))[0]
        w, Q = np.linalg.eigh(V.T @ (A @ V))
        V = V @ Q
    residuals = np.linalg.norm(A @ V - V * w, axis=0)[:k]
    sigma = float(w[0] - 0.01 * (w[k - 1] - w[0]))
    by = "not counted, a factor is too dear: a search beside them found nothing that belongs there"
    shift = 0.0 if w[0] > 1e-10 * norm else sigma
    return Reference(
        w[:k].tolist(), float(np.linalg.norm(residuals)), norm, 1.0, shift, by, {"n": n, "nnz": int(A.nnz)}
    )


def establish(A: Any, M: Any, k: int, most: float = float("inf")) -> Reference:
    """The k smallest eigenvalues and a few more: found by inverse Lanczos, rounds with what is found deflated.

    Without a factor that would take more than `most` operations.
    """
    n = A.shape[0]
    norm, mass = _norm(A), 1.0 if M is None else _norm(M)
    if M is None and not Cholesky(_minus(A, 0.0, None), max_flops=most).complete:
        return _searched(A, k, norm)
    sigma, factor = _below(A, M, norm, mass)
    rng = np.random.default_rng(7)
    V = np.empty((n, 0))
    many = min(k + _MORE, n - 2)

    def times(X: np.ndarray) -> np.ndarray:
        return X if M is None else M @ X

    by = ""
    for _ in range(_ROUNDS):
        MV = times(V)

        def inverse(b: np.ndarray, V: np.ndarray = V, MV: np.ndarray = MV, factor: Any = factor) -> np.ndarray:
            b = np.asarray(b, dtype=float).ravel()
            y = factor.solve(b - MV @ (V.T @ b))
            return y - V @ (MV.T @ y)

        operator = spla.LinearOperator((n, n), matvec=inverse, dtype=np.dtype(float))
        _, X = spla.eigsh(A, k=many, M=M, sigma=sigma, which="LM", OPinv=operator, v0=rng.standard_normal(n))
        V = np.concatenate([V, X], axis=1)
        for _ in range(2):  # orthonormal in M, then Ritz values
            G = V.T @ times(V)
            V = V @ sl.solve_triangular(np.linalg.cholesky((G + G.T) / 2), np.eye(V.shape[1]), lower=True).T
        H = V.T @ (A @ V)
        w, Q = np.linalg.eigh((H + H.T) / 2)
        V, w = (V @ Q)[:, : 2 * many], w[: 2 * many]
        R = A @ V - times(V) * w
        residuals = np.linalg.norm(R, axis=0)
        fine = residuals <= 1e-11 * norm * np.maximum(np.linalg.norm(V, axis=0), 1e-300)
        last = int(np.argmin(fine)) if not fine.all() else w.size  # all before are pairs
        if last <= k:  # the shift that was found without knowing the spectrum may be too near to its end, or too far
            better = float(w[0] - 0.01 * (w[k - 1] - w[0]))
            fresh = _definite(A, M, better)
            if fresh is not None:
                sigma, factor, V = better, fresh, V[:, :0]
            continue
        j, by = _counted(A, M, w[:last], k)
        if by:
            w, residuals = w[:j], residuals[:j]
            break
    definite = w[0] > 1e-10 * norm / mass
    shift = 0.0 if definite else float(w[0] - 0.01 * (w[k - 1] - w[0]))
    error = float(np.linalg.norm(residuals)) + 8 * _EPS * norm / mass
    return Reference(w.tolist(), error, norm, mass, shift, by, {"n": n, "nnz": int(A.nnz)})


def reference(A: Any, M: Any, k: int, path: Path, most: float) -> Reference:
    """From the file, or established and kept there."""
    if path.exists():
        kept = Reference(**json.loads(path.read_text()))
        if len(kept.values) >= k:
            return kept
    made = establish(A, M, k, most)
    path.write_text(json.dumps(asdict(made)))
    return made
