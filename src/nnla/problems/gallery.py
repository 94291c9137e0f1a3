"""Small named SPD systems on structured grids and networks, each seeded and exactly symmetric.

Finite elements on unstructured meshes live in `nnla.problems.finite_elements` and are re-exported here,
so that ``gallery.<name>`` finds every generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems.assembly import assemble, graph_laplacian
from nnla.problems.finite_elements import (
    delaunay_mesh,
    elasticity2d,
    elasticity3d,
    eliminate,
    p1_mass,
    p1_stiffness,
)

__all__ = [
    "CIRCUIT_PALETTE",
    "WATHEN_ELEMENT",
    "checkerboard_field",
    "delaunay_mesh",
    "diffusion2d",
    "diffusion3d",
    "elasticity2d",
    "elasticity3d",
    "eliminate",
    "grid_circuit",
    "lognormal_field",
    "p1_mass",
    "p1_stiffness",
    "poisson1d",
    "poisson2d",
    "poisson3d",
    "power_grid",
    "wathen",
]

_E1 = [[6, -6, 2, -8], [-6, 32, -6, 20], [2, -6, 6, -6], [-8, 20, -6, 32]]
_E2 = [[3, -8, 2, -6], [-8, 16, -8, 20], [2, -8, 3, -8], [-6, 20, -8, 16]]

#: The 8 x 8 element mass matrix of gallery('wathen'): corners and mid-sides alternate around the element.
WATHEN_ELEMENT = np.block([[np.array(_E1), np.array(_E2)], [np.array(_E2).T, np.array(_E1)]]) / 45.0

#: Conductances of wire segments found in G2_circuit, and how many rows in 100 of its plane use each.
CIRCUIT_PALETTE = (
    (58.823529, 70),
    (29.411765, 10),
    (392.156863, 2),
    (1176.470588, 2),
    (235.294118, 2),
    (168.067227, 2),
    (130.718954, 2),
    (106.951872, 2),
    (90.497738, 2),
    (78.431373, 2),
    (51.470592, 2),
    (36.764706, 2),
)


def _finite_volumes(k: ArrayLike, weights: ArrayLike | None) -> csr_array:
    """5-/7-point finite volumes for -div(k grad u), harmonic means at faces, u = 0 one step outside."""
    k = np.asarray(k, dtype=np.float64)
    if k.size == 0 or not np.all(np.isfinite(k)) or not np.all(k > 0):
        raise OptionError("the coefficient field must be non-empty, finite and positive")
    weights = np.ones(k.ndim) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (k.ndim,) or not np.all(weights > 0):
        raise OptionError(f"weights must be {k.ndim} positive numbers, one for each axis")
    number = np.arange(k.size, dtype=np.int32).reshape(k.shape)
    ground = np.zeros(k.shape)
    i: list[np.ndarray] = []
    j: list[np.ndarray] = []
    t: list[np.ndarray] = []
    for axis, weight in enumerate(weights):
        low = tuple(slice(None, -1) if d == axis else slice(None) for d in range(k.ndim))
        high = tuple(slice(1, None) if d == axis else slice(None) for d in range(k.ndim))
        i.append(number[low].ravel())
        j.append(number[high].ravel())
        t.append((weight * 2.0 / (1.0 / k[low] + 1.0 / k[high])).ravel())
        for end in (0, -1):
            face = tuple(end if d == axis else slice(None) for d in range(k.ndim))
            ground[face] += weight * k[face]
    return graph_laplacian(np.concatenate(i), np.concatenate(j), np.concatenate(t), ground.ravel())


def poisson1d(n: int) -> csr_array:
    """Three-point Laplacian with zero boundary values: ``tridiag(-1, 2, -1)``.

    Eigenvalues ``2 - 2 cos(pi k / (n + 1))``, k = 1..n.

    Notes
    -----
    Cost: linear in n.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 2.2.

    Examples
    --------
    >>> poisson1d(3).toarray()
    array([[ 2., -1.,  0.],
           [-1.,  2., -1.],
           [ 0., -1.,  2.]])
    """
    return _finite_volumes(np.ones(n), None)


def poisson2d(nx: int, ny: int | None = None) -> csr_array:
    """Five-point Laplacian on an nx x ny grid of inner nodes (n = nx ny; square if `ny` is left out).

    Eigenvalues are the sums of those of `poisson1d`.

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 2.2.

    Examples
    --------
    >>> poisson2d(4, 3).shape
    (12, 12)
    """
    return _finite_volumes(np.ones((nx if ny is None else ny, nx)), None)


def poisson3d(nx: int, ny: int | None = None, nz: int | None = None) -> csr_array:
    """Seven-point Laplacian on an nx x ny x nz grid of inner nodes (a cube if only `nx` is given).

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 2.2.

    Examples
    --------
    >>> float(poisson3d(3)[0, 0])
    6.0
    """
    return _finite_volumes(np.ones((nx if nz is None else nz, nx if ny is None else ny, nx)), None)


def diffusion2d(k: ArrayLike, *, weights: Sequence[float] | None = None) -> csr_array:
    """Finite volumes for ``-div(k grad u) = f`` on a rectangle, harmonic means at the faces.

    Parameters
    ----------
    k : float array (ny, nx)
        Positive coefficient at each node. ``k = 1`` gives `poisson2d` exactly.
    weights : two floats, optional
        Factor of the flux along each axis (y, x): anisotropy.

    Returns
    -------
    csr_array (nx ny, nx ny)
        SPD M-matrix, five entries a row.

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    S. V. Patankar, Numerical Heat Transfer and Fluid Flow, 1980, section 4.2-3 (harmonic mean).

    Examples
    --------
    >>> A = diffusion2d(np.ones((3, 4)), weights=(1.0, 100.0))
    >>> A.shape, float(A[0, 1])
    ((12, 12), -100.0)
    """
    k = np.asarray(k, dtype=np.float64)
    if k.ndim != 2:
        raise OptionError(f"diffusion2d needs a coefficient field with 2 axes, got {k.ndim}")
    return _finite_volumes(k, weights)


def diffusion3d(k: ArrayLike, *, weights: Sequence[float] | None = None) -> csr_array:
    """Finite volumes for ``-div(k grad u) = f`` on a box; `k` has shape (nz, ny, nx). See `diffusion2d`.

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    S. V. Patankar, Numerical Heat Transfer and Fluid Flow, 1980, section 4.2-3 (harmonic mean).

    Examples
    --------
    >>> float(diffusion3d(np.full((2, 2, 2), 3.0))[0, 0])
    18.0
    """
    k = np.asarray(k, dtype=np.float64)
    if k.ndim != 3:
        raise OptionError(f"diffusion3d needs a coefficient field with 3 axes, got {k.ndim}")
    return _finite_volumes(k, weights)


def lognormal_field(
    shape: int | Sequence[int], *, s: float = 1.0, correlation: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Smooth lognormal coefficient: exp of white noise filtered by a Gaussian.

    Parameters
    ----------
    shape : ints
        Grid shape.
    s : float
        Standard deviation of the log; the sample is centred and scaled to it exactly.
    correlation : float
        Correlation length l as a fraction of the longest side: correlation ``exp(-r^2 / (2 l^2))``.
    seed : int
        Seed of the noise.

    Returns
    -------
    float array of the given shape
        Positive; geometric mean 1. Periodic, as the filter is applied by FFT.

    Notes
    -----
    Cost: two fast Fourier transforms of the grid.

    Examples
    --------
    >>> k = lognormal_field((32, 32), s=1.5)
    >>> round(float(np.log(k).std()), 12)
    1.5
    """
    shape = tuple(int(m) for m in np.atleast_1d(shape))
    noise = np.fft.rfftn(np.random.default_rng(seed).standard_normal(shape))
    length = correlation * max(shape)
    exponent = np.zeros(noise.shape)
    for axis, m in enumerate(shape):
        frequency = np.fft.rfftfreq(m) if axis == len(shape) - 1 else np.fft.fftfreq(m)
        column = [1] * len(shape)
        column[axis] = -1
        exponent = exponent + (np.pi * length * frequency.reshape(column)) ** 2
    # The filter of the noise is the root of the spectrum: half of the exponent of the covariance's.
    field = np.fft.irfftn(noise * np.exp(-exponent), s=shape, axes=tuple(range(len(shape))))
    field -= field.mean()
    deviation = field.std()
    return np.exp(field * (s / deviation)) if deviation > 0 else np.ones(shape)


def checkerboard_field(shape: Sequence[int], *, blocks: int = 8, contrast: float = 1e4) -> np.ndarray:
    """Coefficient that jumps between 1 and `contrast` on a checkerboard of `blocks` squares a side.

    Examples
    --------
    >>> checkerboard_field((2, 4), blocks=2, contrast=10.0)
    array([[ 1.,  1., 10., 10.],
           [10., 10.,  1.,  1.]])
    """
    parity: np.ndarray = np.zeros(shape, dtype=np.int64)
    for axis, m in enumerate(shape):
        column = [1] * len(shape)
        column[axis] = m
        parity = parity + (np.arange(m) * blocks // m).reshape(column)
    return np.where(parity % 2 == 0, 1.0, float(contrast))


def wathen(nx: int, ny: int, seed: int = 0, *, density: ArrayLike | None = None) -> csr_array:
    """Wathen's random mass matrix: nx x ny serendipity (8-node) elements of random density.

    Parameters
    ----------
    nx, ny : int
        Elements along each axis.
    seed : int
        Seed of the densities, uniform on (0, 100).
    density : float array (ny, nx), optional
        Densities to use instead.

    Returns
    -------
    csr_array (n, n), n = 3 nx ny + 2 nx + 2 ny + 1
        SPD. Scaled by its diagonal, all eigenvalues lie in [1/4, 9/2].

    Notes
    -----
    Cost: 36 triplets an element; some 3 microseconds an unknown.

    References
    ----------
    A. J. Wathen, Realistic eigenvalue bounds for the Galerkin mass matrix, IMA J. Numer. Anal. 7, 1987;
    N. J. Higham, The test matrix toolbox, ``gallery('wathen')``.

    Examples
    --------
    >>> wathen(2, 3).shape
    (29, 29)
    """
    if nx < 1 or ny < 1:
        raise OptionError(f"wathen needs at least one element along each axis, got {nx} x {ny}")
    if density is None:
        density = 100.0 * np.random.default_rng(seed).random((ny, nx))
    rho = np.asarray(density, dtype=np.float64).reshape(ny, nx)
    j, i = np.meshgrid(np.arange(1, ny + 1), np.arange(1, nx + 1), indexing="ij")
    first = 3 * j * nx + 2 * i + 2 * j + 1
    fourth = (3 * j - 1) * nx + 2 * j + i - 1
    fifth = 3 * (j - 1) * nx + 2 * i + 2 * j - 3
    nodes = [first, first - 1, first - 2, fourth, fifth, fifth + 1, fifth + 2, fourth + 1]
    dofs = np.stack(nodes, axis=-1).reshape(-1, 8) - 1
    return assemble(dofs, rho.reshape(-1, 1, 1) * WATHEN_ELEMENT, 3 * nx * ny + 2 * nx + 2 * ny + 1)


def _grid_edges(number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the edges of a numbered grid along x, then along y."""
    return number[:, :-1], number[:, 1:], number[:-1], number[1:]


def _draw(palette: Sequence[tuple[float, float]], size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values, counts = np.array(palette, dtype=np.float64).T
    return rng.choice(values, size=size, p=counts / counts.sum())


def grid_circuit(
    nx: int, ny: int, *, palette: Sequence[tuple[float, float]] = CIRCUIT_PALETTE, leak: float = 1e-2, seed: int = 0
) -> csr_array:
    """Nodal matrix of a plane resistor grid: every line of wire has one conductance from a palette.

    Parameters
    ----------
    nx, ny : int
        Grid of nodes, numbered along x.
    palette : sequence of (conductance, relative frequency)
        By default the palette of G2_circuit.
    leak : float
        Conductance from every node to ground; smaller is harder.
    seed : int
        Seed of the draws.

    Returns
    -------
    csr_array (nx ny, nx ny)
        SPD M-matrix with row sums `leak`.

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    The palette is that of G2_circuit: Davis, Hu, The University of Florida sparse matrix collection, ACM TOMS 38, 2011.

    Examples
    --------
    >>> A = grid_circuit(5, 4, leak=0.5)
    >>> bool(np.allclose(A.sum(axis=1), 0.5))
    True
    """
    rng = np.random.default_rng(seed)
    number = np.arange(nx * ny, dtype=np.int32).reshape(ny, nx)
    a, b, c, d = _grid_edges(number)
    along_x = np.broadcast_to(_draw(palette, (ny, 1), rng), a.shape)
    along_y = np.broadcast_to(_draw(palette, (ny - 1, 1), rng), c.shape)
    return graph_laplacian(
        np.concatenate([a.ravel(), c.ravel()]),
        np.concatenate([b.ravel(), d.ravel()]),
        np.concatenate([along_x.ravel(), along_y.ravel()]),
        np.full(nx * ny, float(leak)),
    )


def power_grid(
    nx: int,
    ny: int,
    *,
    wires: tuple[float, ...] = (0.548426, 0.427991, 1.011736, 5.34188),
    vias: tuple[float, ...] = (2.0, 2.666667, 2.0, 2.5),
    pitch: tuple[int, int] = (2, 3),
    supply: float = 21724.961981,
    supply_fraction: float = 0.021,
    cut: float = 0.19,
    palette: Sequence[tuple[float, float]] = CIRCUIT_PALETTE,
    seed: int = 0,
) -> csr_array:
    """On-chip power grid: layers of parallel wires over a plane, joined by vias, tied to a supply.

    The build of G2_circuit as its entries show it: a plane grid whose lines have one conductance each; over
    it layers of wires, alternately along y and x, joined at their crossings; supply nodes in runs along the
    first and last lines of the plane.

    Parameters
    ----------
    nx, ny : int
        Nodes of the plane.
    wires, vias : floats
        Conductance of each wire layer's segments, from the top, and of the vias below that layer.
    pitch : (int, int)
        Plane nodes a crossing along x and y.
    supply, supply_fraction : float
        Conductance to the supply, and the share of all nodes that have it.
    cut : float
        Share of the wire segments that are missing; vias keep the network connected.
    palette : sequence of (conductance, relative frequency)
        For the lines of the plane.
    seed : int
        Seed of the draws.

    Returns
    -------
    csr_array (n, n), n = nx ny + len(wires) ceil(nx / pitch_x) ceil(ny / pitch_y)
        SPD M-matrix; wire layers first, the plane last.

    Notes
    -----
    Cost: linear in n; some 1 microsecond an unknown.

    References
    ----------
    The build is that of G2_circuit, read off its entries: Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> A = power_grid(12, 12, supply_fraction=0.05)
    >>> A.shape, int((A.sum(axis=1) > 1.0).sum())
    ((240, 240), 12)
    """
    rng = np.random.default_rng(seed)
    cx, cy = -(-nx // pitch[0]), -(-ny // pitch[1])
    layers = np.arange(len(wires) * cx * cy, dtype=np.int32).reshape(len(wires), cy, cx)
    plane = layers.size + np.arange(nx * ny, dtype=np.int32).reshape(ny, nx)
    n = layers.size + plane.size
    a, b, c, d = _grid_edges(plane)
    ends = [(a, b), (c, d)]
    weights = [
        np.broadcast_to(_draw(palette, (ny, 1), rng), a.shape),
        np.broadcast_to(_draw(palette, (ny - 1, 1), rng), c.shape),
    ]
    for layer, (wire, via) in enumerate(zip(wires, vias, strict=True)):
        along_x, along_x_end, along_y, along_y_end = _grid_edges(layers[layer])
        start, end = (along_x, along_x_end) if layer % 2 else (along_y, along_y_end)
        whole = rng.random(start.shape) >= cut
        wire_ends = (start[whole], end[whole])
        below = layers[layer + 1] if layer + 1 < len(wires) else plane[:: pitch[1], :: pitch[0]]
        ends += [wire_ends, (layers[layer], below)]
        weights += [np.full(wire_ends[0].shape, wire), np.full(below.shape, via)]
    ground = np.zeros(n)
    supplied = max(1, round(supply_fraction * n))
    # Runs at both ends of the plane, as in G2_circuit.
    ground[layers.size + np.arange((supplied + 1) // 2)] = supply
    ground[n - np.arange(1, supplied // 2 + 1)] = supply
    return graph_laplacian(
        np.concatenate([i.ravel() for i, _ in ends]),
        np.concatenate([j.ravel() for _, j in ends]),
        np.concatenate([w.ravel() for w in weights]),
        ground,
    )
