"""Components and priors of families of matrices, from samples without noise."""

from __future__ import annotations

import numpy as np

from nnla.models.algebraformer_projected import mirrored

__all__ = ["family_components"]

MOST = 100  # components of each parity that are looked for
SPAN = 1e-12  # of the largest deviation: below it a direction is rounding
PRECISE = 1e-4  # of the largest deviation: components that are larger are kept in double precision
NOISE = (3e-2, 3e-3)  # that the first scale has to be steady under: relative to entries, and to all
ANCHORS = 1200  # samples that the functional of the first scale is made of


def family_components(samples: list[np.ndarray], seed: list[int]) -> tuple[dict[str, np.ndarray], tuple[int, int, int]]:
    """Arrays of a size of `nnla.models.algebraformer_projected.ProjectedConfig`, without the size's prefix.

    Parameters
    ----------
    samples : of each equation (B, n, n)
    seed : of the sketch

    Returns
    -------
    arrays : basis, rest, parity, unit, anchor, means, factors, tail
    numbers : components in double precision, components in all, columns of the factors

    Notes
    -----
    Even and odd components under reflection, each by a sketch of the samples' range. The rounding to float32 of all
    that need not be better comes before anything that depends on it.

    Cost: 12 B n^2 MOST operations.
    """
    n = samples[0].shape[-1]
    N, half = n * n, (n * n + 1) // 2
    rng = np.random.default_rng(seed)
    anchor = _anchor(np.concatenate(samples).reshape(-1, N), rng)[:half].astype(np.float32).astype(np.float64)
    whole_anchor = mirrored(anchor[None], np.ones(1), n)[0]
    free = [(A.reshape(-1, N) / (A.reshape(-1, N) @ whole_anchor)[:, None]) for A in samples]
    square = np.mean([np.mean(A * A, axis=0) for A in free], axis=0)
    unit = np.sqrt((square + square[::-1]) / 2)[:half].astype(np.float32).astype(np.float64)
    z = [A / mirrored(unit[None], np.ones(1), n)[0] for A in free]
    halves, parity, sizes = _components(np.concatenate(z), rng, n)
    leading = max(1, min(len(sizes) - 1, int((sizes > PRECISE * sizes[0]).sum())))
    rest = halves[leading:].astype(np.float32).astype(np.float64)
    P = mirrored(np.concatenate([halves[:leading], rest]), parity, n)
    inverse = np.linalg.inv(P @ P.T)
    coordinates = [Z @ P.T @ inverse for Z in z]
    found = [_prior(c) for c in coordinates]
    width = max(L.shape[1] for _, L in found)
    tail = max(float(np.sqrt(np.mean((Z - c @ P) ** 2, axis=1)).max()) for Z, c in zip(z, coordinates, strict=True))
    arrays = {
        "basis": halves[:leading],
        "rest": rest,
        "parity": parity,
        "unit": unit,
        "anchor": anchor,
        "means": np.stack([mean for mean, _ in found]).astype(np.float32),
        "factors": np.stack([np.pad(L, ((0, 0), (0, width - L.shape[1]))) for _, L in found]).astype(np.float32),
        "tail": np.array([tail]),
    }
    return {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items()}, (leading, len(parity), width)


def _anchor(A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Functional (N,) that is as near to 1 on the samples (B, N) as noise lets it: ridge regression of 1, even."""
    some = A[rng.permutation(len(A))[:ANCHORS]]
    size = np.sqrt(np.mean(some * some, axis=0))
    size = np.maximum(size, 1e-12 * size.max())
    z = some / size
    noise = NOISE[0] ** 2 + NOISE[1] ** 2 * np.mean(size * size) / (size * size)
    weighted = z / noise
    found = weighted.T @ np.linalg.solve(weighted @ z.T / len(z) + np.eye(len(z)), np.ones(len(z))) / len(z) / size
    return (found + found[::-1]) / 2


def _components(z: np.ndarray, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First halves (r, h) of orthonormal components of samples (B, n^2), their parities, and their sizes, falling."""
    half = (n * n + 1) // 2
    rows, signs, sizes = [], [], []
    for sign in (1.0, -1.0):
        X = (z + sign * z[:, ::-1]) / 2
        most = min(MOST, half, len(X))
        Q = np.linalg.qr(X.T @ rng.standard_normal((len(X), most)))[0]
        _, s, Vt = np.linalg.svd(X @ Q, full_matrices=False)
        V = Vt @ Q.T
        V = ((V + sign * V[:, ::-1]) / 2)[s > 0]
        rows.append(V[:, :half])
        sizes.append(s[s > 0])
        signs.append(np.full(len(V), sign))
    size, row, sign = np.concatenate(sizes), np.concatenate(rows), np.concatenate(signs)
    order = np.argsort(-size)
    order = order[size[order] > SPAN * size.max()]
    return np.ascontiguousarray(row[order]), sign[order], size[order]


def _prior(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (r,) and factor (r, q) of the covariance of coordinates (B, r)."""
    mean = c.mean(axis=0)
    _, s, Vt = np.linalg.svd(c - mean, full_matrices=False)
    keep = s > SPAN * s[0]
    return mean, (Vt[keep] * (s[keep] / np.sqrt(len(c)))[:, None]).T
