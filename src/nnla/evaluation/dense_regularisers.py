"""Yardsticks that know the noise but not the family: Tikhonov, truncated SVD, total least squares, by every rule."""

from __future__ import annotations

import numpy as np

from nnla.linear.regularisation import (
    tikhonov,
    total_least_squares,
    truncated_svd,
    truncated_total_least_squares,
)
from nnla.linear.singular_system import singular_system

__all__ = ["HINDSIGHT", "regularised"]

HINDSIGHT = ("Tikhonov, hindsight", "TSVD, hindsight", "truncated TLS, hindsight")


def regularised(
    A: np.ndarray, b: np.ndarray, x: np.ndarray, noise_A: np.ndarray, noise_b: np.ndarray
) -> dict[str, np.ndarray]:
    """Answers of the classical regularisers to noisy systems.

    Parameters
    ----------
    A, b : (B, n, n), (B, n) with noise
    x : (B, n) without, for `HINDSIGHT`: the best that any rule could do, and no method
    noise_A, noise_b : (B, n, n), (B, n) the noise itself, of which the rules are told the norms

    Returns
    -------
    dict
        Name -> (B, n). Total least squares takes b in the units of a column of A.

    Notes
    -----
    Cost: two singular value decompositions a system, and some passes over singular values.
    """
    S = singular_system(A)
    sizes = {"noise_norm": np.linalg.norm(noise_b, axis=1), "operator_noise": np.linalg.norm(noise_A, 2, axis=(1, 2))}
    out: dict[str, np.ndarray] = {}
    for name, method in (("Tikhonov", tikhonov), ("TSVD", truncated_svd)):
        for rule, options in (("discrepancy", sizes), ("gcv", {}), ("hindsight", {"x_true": x})):
            out[f"{name}, {rule}"] = method(S, b, rule, **options).x
    # b in the units of a column of A
    weight = np.linalg.norm(A, axis=(1, 2)) / (np.sqrt(A.shape[2]) * np.linalg.norm(b, axis=1))
    both = np.hypot(np.linalg.norm(noise_A, axis=(1, 2)), weight * sizes["noise_norm"])
    out["TLS"] = total_least_squares(S, b, weight=weight).x
    for rule, options in (("discrepancy", {"noise_norm": both}), ("hindsight", {"x_true": x})):
        out[f"truncated TLS, {rule}"] = truncated_total_least_squares(S, b, rule, weight=weight, **options).x
    return out
