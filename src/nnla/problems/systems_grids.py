"""Generated systems of differences and finite volumes on grids: diffusion, its coefficients, time steps, lines."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian
from nnla.problems.gallery import checkerboard_field, diffusion2d, diffusion3d, lognormal_field, wathen
from nnla.problems.systems_meshes import grid_points, random_shape
from nnla.problems.systems_types import Drawn, SystemFamily, decades, loads, mirrored, whole_decades

__all__ = ["FAMILIES"]


def _dimension(rng: np.random.Generator) -> int:
    return int(rng.choice(np.array([2, 3])))


def _diffusion(k: np.ndarray, weights: Any = None) -> csr_array:
    return diffusion2d(k, weights=weights) if k.ndim == 2 else diffusion3d(k, weights=weights)


def constant_grid(rng: np.random.Generator, n: int) -> Drawn:
    """The Laplacian on a grid: 5, 7, 9 or 27 points, and a shift that may be zero.

    Saad, Iterative Methods for Sparse Linear Systems, section 2.2; the 27 points are those of HPCG (Dongarra, Heroux,
    Luszczek 2016). Every solver's first test; pressure and potential solvers.
    """
    d, dense = _dimension(rng), bool(rng.random() < 0.4)
    shape = random_shape(rng, n, d, 6.0)
    if dense:
        near = sparse.csr_array([[1.0]])
        for m in shape:
            near = sparse.kron(near, sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(m, m)))
        A = csr_array(float(3**d) * sparse.eye_array(near.shape[0]) - near)
    else:
        A = _diffusion(np.ones(shape))
    shift = 0.0 if rng.random() < 0.5 else decades(rng, -6, 0)
    A = csr_array(A + shift * sparse.eye_array(A.shape[0]))
    kind, b = loads(rng, grid_points(shape))
    return A, b, {"shape": shape, "points": 3**d if dense else 2 * d + 1, "shift": shift, "load": kind}


def jump_grid(rng: np.random.Generator, n: int) -> Drawn:
    """Diffusion with jumps: checkerboards, inclusions or layers of another conductivity.

    Chan and Wan, Robust multigrid methods for nonsmooth coefficient elliptic linear systems (2000). Composites,
    reservoirs, semiconductors.
    """
    d = _dimension(rng)
    shape, contrast = random_shape(rng, n, d), decades(rng, 0.5, 6)
    kind = str(rng.choice(np.array(["checkerboard", "inclusions", "layers"])))
    if kind == "checkerboard":
        k = checkerboard_field(shape, blocks=int(rng.integers(2, 17)), contrast=contrast)
    elif kind == "layers":
        axis = int(rng.integers(d))
        values = 10.0 ** rng.uniform(0.0, np.log10(contrast), shape[axis])
        k = np.ones(shape) * values.reshape([-1 if a == axis else 1 for a in range(d)])
    else:
        k, points = np.ones(shape), grid_points(shape).reshape(*shape, d)
        for _ in range(int(rng.integers(3, 20))):
            centre, radius = rng.random(d) * shape, rng.uniform(0.03, 0.2) * max(shape)
            k[((points - centre) ** 2).sum(axis=-1) < radius**2] = contrast ** float(rng.choice([1.0, -1.0]))
    load, b = loads(rng, grid_points(shape))
    return _diffusion(k), b, {"shape": shape, "field": kind, "contrast": contrast, "load": load}


def lognormal_grid(rng: np.random.Generator, n: int) -> Drawn:
    """Flow through a porous medium of lognormal permeability.

    Freeze, Water Resources Research 11 (1975); Cliffe et al., Comput. Visual. Sci. 14 (2011). Groundwater and
    reservoir simulation, uncertainty quantification.
    """
    shape, s, correlation = random_shape(rng, n, _dimension(rng)), rng.uniform(0.5, 3.5), decades(rng, -2, -0.5)
    k = lognormal_field(shape, s=s, correlation=correlation, seed=int(rng.integers(2**31)))
    load, b = loads(rng, grid_points(shape))
    return _diffusion(k), b, {"shape": shape, "s": s, "correlation": correlation, "load": load}


def anisotropic_grid(rng: np.random.Generator, n: int) -> Drawn:
    """Anisotropic diffusion: along the axes in 2-D and 3-D, or rotated in 2-D (nine points).

    Trottenberg, Oosterlee, Schueller, Multigrid (2001), section 5.1; bilinear elements as in PyAMG's gallery.
    Layered media, boundary layers, image filters, plasma.
    """
    shape, ratio = random_shape(rng, n, _dimension(rng)), decades(rng, 0.5, 4)
    load, b = loads(rng, grid_points(shape))
    drawn = {"shape": shape, "ratio": ratio, "load": load}
    if len(shape) == 3 or rng.random() < 0.4:
        weights = np.ones(len(shape))
        weights[rng.permutation(len(shape))[: int(rng.integers(1, len(shape)))]] = ratio
        return _diffusion(np.ones(shape), weights), b, {**drawn, "angle": 0.0}
    angle = float(rng.uniform(0.0, np.pi))
    c, s = np.cos(angle), np.sin(angle)
    K = np.array([[c, -s], [s, c]]) @ np.diag([1.0, 1.0 / ratio]) @ np.array([[c, s], [-s, c]])
    mass = [sparse.diags_array([1.0, 4.0, 1.0], offsets=[-1, 0, 1], shape=(m, m)) / 6.0 for m in shape]
    stiff = [sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m)) for m in shape]
    slope = [sparse.diags_array([-0.5, 0.5], offsets=[-1, 1], shape=(m, m)) for m in shape]
    A = K[0, 0] * sparse.kron(stiff[0], mass[1]) + K[1, 1] * sparse.kron(mass[0], stiff[1])
    A = A - 2.0 * K[0, 1] * sparse.kron(slope[0], slope[1])
    return mirrored(A), b, {**drawn, "angle": angle}


def time_step_grid(rng: np.random.Generator, n: int) -> Drawn:
    """One implicit Euler step of the heat equation on a grid, its step over many decades.

    Hairer and Wanner, Solving ODEs II (1996), section IV.1. Transient heat, battery and chip temperature, image
    smoothing; the step is that of an adaptive integrator.
    """
    shape = random_shape(rng, n, _dimension(rng))
    k = lognormal_field(shape, s=rng.uniform(0.0, 2.0), correlation=0.05, seed=int(rng.integers(2**31)))
    step = decades(rng, -2, 5)
    capacity = decades(rng, -0.5, 0.5, k.size) if rng.random() < 0.3 else np.ones(k.size)
    A = csr_array(sparse.diags_array(capacity) + step * _diffusion(k))
    kind, b = loads(rng, grid_points(shape))
    return A, capacity * b, {"shape": shape, "step": step, "load": kind}


def line(rng: np.random.Generator, n: int) -> Drawn:
    """Three-point systems: a rod of varying conductivity, a cubic spline, a step of a cable equation.

    De Boor, A Practical Guide to Splines (1978), chapter IV; Hines, Int. J. Bio-Med. Comp. 15 (1984).
    """
    kind = str(rng.choice(np.array(["rod", "spline", "cable"])))
    if kind == "spline":
        h = decades(rng, -1, 1, n + 1)
        A = sparse.diags_array([h[1:-1] / 6, (h[:-1] + h[1:]) / 3, h[1:-1] / 6], offsets=[-1, 0, 1])
        y = np.cumsum(rng.standard_normal(n + 2))
        slope = np.diff(y) / h
        return csr_array(A), np.diff(slope), {"line": kind}
    k = decades(rng, 0, rng.uniform(0.1, 4), n + 1)
    ground = np.zeros(n)
    ground[0], ground[-1] = k[0], k[-1]
    if kind == "cable":
        ground = ground + decades(rng, -4, 1)
    A = graph_laplacian(np.arange(n - 1), np.arange(1, n), k[1:-1], ground)
    load, b = loads(rng, np.arange(n, dtype=np.float64)[:, None])
    return A, b, {"line": kind, "load": load}


def banded(rng: np.random.Generator, n: int) -> Drawn:
    """A band that is full or has gaps: smoothing, a stationary process on a line, a high-order difference.

    Golub and Van Loan, Matrix Computations, section 4.3; Whittaker-Henderson smoothing (Eilers 2003).
    """
    if rng.random() < 0.5:
        order, weight = int(rng.integers(2, 5)), decades(rng, -1, 6)
        D: Any = sparse.eye_array(n)
        for _ in range(order):
            D = sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(D.shape[0] - 1, D.shape[0])) @ D
        A = sparse.eye_array(n) + weight * (D.T @ D)
        y = np.cumsum(rng.standard_normal(n)) / n**0.5 + 0.1 * rng.standard_normal(n)
        return mirrored(A), y, {"band": order, "weight": weight}
    half = min(n - 1, whole_decades(rng, 2, 60))
    k = np.arange(1, half + 1)
    values = np.exp(-k / (half * rng.uniform(0.1, 1.0))) * (1 - k / (half + 1))
    values[rng.random(half) < rng.uniform(0.0, 0.6)] = 0.0
    scale = decades(rng, -1, 1, n) if rng.random() < 0.5 else np.ones(n)
    nugget = decades(rng, -4, 0)
    diagonals = [v * scale[o:] * scale[:-o] for o, v in zip(k, values, strict=True) if v > 0]
    used = [int(o) for o, v in zip(k, values, strict=True) if v > 0]
    lower = sparse.diags_array([*diagonals, np.zeros(n)], offsets=[*(-o for o in used), 0], shape=(n, n))
    A = csr_array(lower + lower.T)
    # a positive definite function times gaps need not be one: dominance of the diagonal makes it so
    strength = np.asarray(abs(A).sum(axis=1)).ravel()
    A = csr_array(A + sparse.diags_array(strength + nugget * scale**2))
    return mirrored(A), scale * rng.standard_normal(n), {"band": half, "nugget": nugget}


def wathen_grid(rng: np.random.Generator, n: int) -> Drawn:
    """Wathen's mass matrix of eight-node elements with random densities.

    Wathen, IMA J. Numer. Anal. 7 (1987); densities over up to four decades, as of several materials.
    """
    nx, ny = random_shape(rng, max(4, n // 3), 2)
    spread = rng.uniform(0.5, 4.0)
    A = wathen(nx, ny, density=decades(rng, 0, spread, (ny, nx)))
    return A, A @ rng.standard_normal(A.shape[0]), {"shape": (nx, ny), "decades": spread}


def image_segmentation(rng: np.random.Generator, n: int) -> Drawn:
    """Random-walker segmentation: a grid of pixels or voxels joined by exp(-beta (difference of grey)^2).

    Grady, IEEE Trans. PAMI 28 (2006); scikit-image's random_walker. Seeds are eliminated; b is the pull of one label.
    """
    shape, beta = random_shape(rng, n, _dimension(rng), 2.0), decades(rng, 1, 3)
    grey = np.log(lognormal_field(shape, s=0.3, correlation=0.06, seed=int(rng.integers(2**31))))
    grey = np.sign(grey) * 0.5 + grey + decades(rng, -2.5, -0.7) * rng.standard_normal(shape)
    grey = (grey - grey.min()) / np.ptp(grey)
    number = np.arange(grey.size).reshape(shape)
    i, j, w = [], [], []
    for axis in range(len(shape)):
        low, high = np.delete(number, -1, axis=axis).ravel(), np.delete(number, 0, axis=axis).ravel()
        i.append(low)
        j.append(high)
        w.append(np.exp(-beta * (grey.ravel()[low] - grey.ravel()[high]) ** 2) + 1e-6)
    count = min(grey.size // 4, whole_decades(rng, 2, max(3, grey.size // 50)))
    seeds = rng.choice(grey.size, count, replace=False)
    A = graph_laplacian(np.concatenate(i), np.concatenate(j), np.concatenate(w), np.zeros(grey.size))
    free = np.ones(grey.size, dtype=bool)
    free[seeds] = False
    rows = csr_array(A[free])
    b = -(rows[:, seeds] @ (grey.ravel()[seeds] > 0.5).astype(float))
    if not b.any():
        b = -(rows[:, seeds] @ np.ones(count))
    return rows[:, free], b, {"shape": shape, "beta": beta, "seeds": count}


def optical_flow(rng: np.random.Generator, n: int) -> Drawn:
    """Horn-Schunck optical flow: two unknowns a pixel, coupled by the gradient of the image, and smoothness.

    Horn and Schunck, Artificial Intelligence 17 (1981); registration in medical imaging solves the same systems.
    """
    shape, alpha = random_shape(rng, max(4, n // 2), 2, 2.0), decades(rng, -3, 0)
    image = np.log(lognormal_field(shape, s=1.0, correlation=decades(rng, -1.7, -0.7), seed=int(rng.integers(2**31))))
    gy, gx = (g.ravel() for g in np.gradient(image + 0.02 * rng.standard_normal(shape)))
    number = np.arange(gx.size).reshape(shape)
    pairs = [(number[:, :-1], number[:, 1:]), (number[:-1], number[1:])]
    i, j = (np.concatenate([pair[e].ravel() for pair in pairs]) for e in (0, 1))
    L = graph_laplacian(i, j, np.full(i.size, alpha), np.full(gx.size, 1e-7 * alpha))
    data = sparse.block_array(
        [
            [sparse.diags_array(gx * gx), sparse.diags_array(gx * gy)],
            [sparse.diags_array(gx * gy), sparse.diags_array(gy * gy)],
        ]
    )
    A = data + sparse.block_diag([L, L])
    change = gx * rng.uniform(-1, 1) + gy * rng.uniform(-1, 1) + 0.01 * rng.standard_normal(gx.size)
    b = -np.concatenate([gx * change, gy * change])
    if rng.random() < 0.5:  # both components of a pixel side by side
        old = np.arange(2 * gx.size).reshape(2, -1).T.ravel()
        A, b = csr_array(A)[old][:, old], b[old]
    return mirrored(A), b, {"shape": shape, "alpha": alpha}


FAMILIES = {
    "constant grid": SystemFamily(constant_grid, "grids"),
    "jump grid": SystemFamily(jump_grid, "grids"),
    "lognormal grid": SystemFamily(lognormal_grid, "grids"),
    "anisotropic grid": SystemFamily(anisotropic_grid, "grids"),
    "time step grid": SystemFamily(time_step_grid, "grids"),
    "line": SystemFamily(line, "lines"),
    "banded": SystemFamily(banded, "lines"),
    "wathen grid": SystemFamily(wathen_grid, "mass"),
    "image segmentation": SystemFamily(image_segmentation, "images"),
    "optical flow": SystemFamily(optical_flow, "images"),
}
