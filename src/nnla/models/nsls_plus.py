"""NSLS-plus: the graph network proposes a subspace, and linear algebra takes the best vector in it.

What differs from the paper's model: the system is equilibrated first; the network has several outputs, whose
span, joined with the Krylov space of its own CG steps, is searched for the least A-norm error; coarse nodes
carry messages across the whole graph; unknown types and coordinates may be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.models._graphs import Graphs, layers, leaky_relu, product
from nnla.models.guess_base import GuessBase, Proposal
from nnla.models.nsls_coarse import coarse_levels, partition
from nnla.models.nsls_features import check_system, divide_by_largest
from nnla.operators.arrays import namespace
from nnla.preconditioners.galerkin import dense_if_full, improve, split_columns
from nnla.preconditioners.krylov_basis import ConjugateGradients, conjugate_gradients
from nnla.problems.geometry import DOFS, Geometry

__all__ = [
    "Equilibrated",
    "NSLSPlus",
    "NSLSPlusConfig",
    "Proposal",
    "damping",
    "equilibrate",
    "plus_features",
    "plus_forward",
    "rigid_outputs",
]

_STACKS = ("norm_alpha", "norm_gamma", "norm_beta")
_STACKS += tuple(f"{which}_{part}" for which in ("first", "second") for part in ("root", "neighbour", "bias"))
_COARSE = ("root", "neighbour", "up", "bias")


@dataclass(frozen=True)
class NSLSPlusConfig:
    """Sizes and parts of the network; written into the weights file.

    Attributes
    ----------
    inner, blocks : as in the paper
    steps : of CG, for the features and for the Krylov space
    outputs : k, vectors that the network proposes
    part : unknowns of the parts that the vectors are cut into, which makes k vectors of each part; 0 for none
    overlap : degree of the polynomial in A that the cut vectors are multiplied by, so that parts overlap, before the
        best vector among them is sought; the vectors for deflation stay as they were cut, and sparse
    coarse : coarse levels, 0 to 3
    smoothing : degree of the polynomial in A that the outputs are multiplied by, which leaves small eigenvalues
        and damps large ones
    geometry : whether unknown types and coordinates are features
    rigid : whether the outputs start from the six rigid motions of each part; needs geometry
    equilibrated : whether the network works on D^-1/2 A D^-1/2
    search : "krylov" for the best vector in span(outputs, Krylov space), "outputs" for that in span(outputs)
    """

    inner: int = 32
    blocks: int = 10
    steps: int = 14
    outputs: int = 16
    part: int = 0
    overlap: int = 0
    coarse: int = 3
    smoothing: int = 8
    geometry: bool = False
    rigid: bool = False
    equilibrated: bool = True
    search: str = "krylov"

    def __post_init__(self) -> None:
        least = {
            "inner": 1,
            "blocks": 1,
            "steps": 1,
            "outputs": 1,
            "part": 0,
            "overlap": 0,
            "coarse": 0,
            "smoothing": 0,
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise OptionError(f"NSLSPlusConfig.{name} must be an integer of at least {lowest}, got {value!r}")
        if self.coarse > 3:
            raise OptionError(f"NSLSPlusConfig.coarse must be at most 3, got {self.coarse}")
        for name in ("geometry", "rigid", "equilibrated"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"NSLSPlusConfig.{name} must be true or false")
        if self.rigid and not self.geometry:
            raise OptionError("NSLSPlusConfig.rigid needs geometry=true")
        if self.search not in ("krylov", "outputs"):
            raise OptionError(f"NSLSPlusConfig.search is 'krylov' or 'outputs', got {self.search!r}")

    @property
    def features(self) -> int:
        """Features of a node."""
        return 2 * self.steps + 8 + (4 + 4 * DOFS if self.geometry else 0)

    @property
    def products(self) -> int:
        """Products with A in float64 that a proposal takes."""
        return self.steps + self.outputs + 2

    @property
    def network_products(self) -> int:
        """Products of A with a vector in float32 inside the network, coarse levels and overlap not counted."""
        return 2 * self.blocks * self.inner + self.smoothing * self.outputs

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters; those of the residual blocks are stacked."""
        d, m, F = self.inner, self.blocks, self.features
        convolution = {"root": (m, d, d), "neighbour": (m, d, d), "bias": (m, d)}
        out: dict[str, tuple[int, ...]] = {"encoder_weight": (F, d), "encoder_bias": (d,)}
        out |= {f"norm_{key}": (m, d) for key in ("alpha", "gamma", "beta")}
        for which in ("first", "second"):
            out |= {f"{which}_{key}": shape for key, shape in convolution.items()}
        for level in range(self.coarse):
            part = {"root": (m, d, d), "neighbour": (m, d, d), "up": (m, d, d), "bias": (m, d)}
            out |= {f"coarse{level}_{key}": shape for key, shape in part.items()}
        out |= {"decoder_weight1": (d, d), "decoder_bias1": (d,)}
        out |= {"decoder_weight2": (d, self.outputs), "skip_weight": (F, self.outputs)}
        return out | ({"rigid_weight": (DOFS, self.outputs)} if self.rigid else {})


@dataclass(frozen=True, eq=False)
class Equilibrated:
    """S A S with S = D^-1/2, whose diagonal is 1: what everything else works on.

    Attributes
    ----------
    A : csr_array (n, n)
    scale : (n,) the diagonal of S
    size : (n,) log10 of the diagonal of A over its median: the only trace of the units
    """

    A: csr_array
    scale: np.ndarray
    size: np.ndarray


def equilibrate(A: Any, *, really: bool = True) -> Equilibrated:
    """Scale a matrix to unit diagonal; with ``really=False`` divide it by its largest diagonal entry only.

    Raises
    ------
    NotPositiveDefiniteError
        A diagonal entry that is not positive.

    Notes
    -----
    Cost: one copy of A.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23.

    Examples
    --------
    >>> equilibrate(csr_array(np.array([[4.0, 1.0], [1.0, 1.0]]))).A.toarray()
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    D = A.diagonal()
    if not np.all(D > 0):
        row = int(np.argmin(D))
        raise NotPositiveDefiniteError(
            f"A has the diagonal entry {D[row]:.3g} in row {row}; this model is for positive definite systems: "
            "use model='nsls', or MINRES"
        )
    scale = 1.0 / np.sqrt(D) if really else np.full(D.size, 1.0 / np.sqrt(D.max()))
    data = A.data * np.repeat(scale, np.diff(A.indptr)) * scale[A.indices]
    return Equilibrated(csr_array((data, A.indices, A.indptr), shape=A.shape), scale, np.log10(D / np.median(D)))


def _logarithmic(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """sign(v) log(1 + 1000 |v| / max|v|), in [-1, 1]: small entries keep a voice."""
    v = divide_by_largest(values, starts)
    return np.sign(v) * np.log1p(1e3 * np.abs(v)) / np.log1p(1e3)


def plus_features(A: Any, size: np.ndarray, b: np.ndarray, starts: np.ndarray, cg: ConjugateGradients) -> np.ndarray:
    """Features of the nodes but for their geometry, (n, 2 steps + 8), float32.

    Parameters
    ----------
    A : (n, n) block-diagonal, equilibrated
    size : (n,) of `Equilibrated`
    b : (n,) equilibrated right-hand sides
    starts : (G + 1,)
    cg : its steps on A x = b

    Notes
    -----
    Cost: a few passes over the entries of A and over cg's arrays; no products.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 4.1, for the part that is theirs: b, CG's iterates, their scale.
    """
    last = np.stack([b, cg.iterates[:, -1], cg.residual], axis=1)
    magnitude = np.abs(A.data)
    absolute = np.add.reduceat(magnitude, A.indptr[:-1])
    square = np.add.reduceat(magnitude**2, A.indptr[:-1])
    columns = [
        divide_by_largest(cg.iterates, starts),
        divide_by_largest(cg.residuals, starts),
        divide_by_largest(cg.residual[:, None], starts),
        _logarithmic(last, starts),
        np.stack([size, np.log(absolute), square - 1.0, np.log(np.diff(A.indptr) / 10.0)], axis=1),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def damping(A: Any, starts: np.ndarray, degree: int) -> list[np.ndarray]:
    """Step lengths (n, 1) of steps V <- V - w A V that damp all but the lowest end of every spectrum.

    The roots are Chebyshev's on [alpha, beta]: beta the largest row sum of |A|, an upper bound of the
    eigenvalues, and alpha = 4 beta / (degree + 1)^2, as low as the degree reaches.

    Cost: a pass over the entries; each step then takes a product with every column.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 12.3.2 (Chebyshev's roots).
    """
    beta = np.maximum.reduceat(np.add.reduceat(np.abs(A.data), A.indptr[:-1]), starts[:-1])
    low = 4 / (degree + 1) ** 2
    nodes = (1 + low + (1 - low) * np.cos(np.pi * (np.arange(degree) + 0.5) / max(degree, 1))) / 2
    beta = np.repeat(beta, np.diff(starts))[:, None]
    return [(1.0 / (node * beta)).astype(np.float32) for node in nodes]


def rigid_outputs(geometry: Geometry, part: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The rigid motions of each part in the unknowns of the equilibrated system, (n, 6), float32.

    Cost: a few passes over (n, 6) numbers.
    """
    R = geometry.rigid_motions(part) / scale[:, None]
    largest = np.zeros((int(part.max()) + 1, R.shape[1]))
    np.maximum.at(largest, part, np.abs(R))
    return (R / np.maximum(largest, 1e-300)[part]).astype(np.float32)


def _overlapping(A: Any, W: Any, AW: Any, degree: int) -> tuple[Any, int]:
    """p(A) W with the polynomial of `damping`: what is rough at the cuts goes, as in smoothed aggregation.

    Returns the vectors, and how many products with A they took, and their own product will take, by stored entries.
    """
    n = A.indptr.size - 1
    starts = np.array([0, n])
    out: Any = W
    entries = 0
    for k, step in enumerate(damping(A, starts, degree) if degree else []):
        product_ = dense_if_full(AW if k == 0 else A @ out)
        if issparse(product_):
            out = (out - product_.multiply(step.astype(np.float64))).tocsr()
        else:
            out = (out.toarray() if issparse(out) else out) - step.astype(np.float64) * product_
        entries += out.nnz if issparse(out) else out.size
    return out, -(-entries // n)


def plus_forward(parameters: dict[str, Any], graphs: Any, F: Any, steps: Any = (), rigid: Any = None) -> Any:
    """The network, for NumPy arrays and `Graphs` or torch tensors and `TorchGraphs`.

    Parameters
    ----------
    parameters : as `NSLSPlusConfig.shapes`
    graphs : the batch, with the coarse levels of the config
    F : (n, features)
    steps : from `damping`, for the smoothing of the outputs
    rigid : from `rigid_outputs`, for models with them

    Returns
    -------
    (n, outputs)

    Notes
    -----
    Cost: 2 ``blocks`` products of A with (n, inner) arrays, those with the coarse levels, and one with (n, outputs) for
    each step; 4 ``blocks`` n inner^2 multiplications. `network_products` of the config counts the products.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), equations (5) and (6); coarse levels, skip, and smoothing are not theirs.
    """
    p = parameters
    cat = namespace(F).concatenate
    H = F @ p["encoder_weight"] + p["encoder_bias"]
    fine = zip(*(layers(p[key]) for key in _STACKS), strict=True)
    levels = range(len(graphs.coarse))
    coarse = [[layers(p[f"coarse{level}_{key}"]) for key in _COARSE] for level in levels]
    for k, (alpha, gamma, beta, root1, neighbour1, bias1, root2, neighbour2, bias2) in enumerate(fine):
        Z = graphs.norm(H, alpha, gamma, beta)  # (5) of NSLS
        M = cat((Z, product(graphs.A, Z)), 1) @ cat((root1, neighbour1), 0) + bias1  # (6) of NSLS
        # down: means of what lies below; up: each level adds its answer to the one below
        means = [Z]
        for level in levels:
            means.append(product(graphs.coarse[level][0], means[-1]))
        answer = None
        for level in reversed(levels):
            root, neighbour, up, bias = (stack[k] for stack in coarse[level])
            C, (_, prolong, A_c) = means[level + 1], graphs.coarse[level]
            total = cat((C, product(A_c, C)), 1) @ cat((root, neighbour), 0) + bias
            answer = product(prolong, leaky_relu(total if answer is None else total + answer) @ up)
        Z = leaky_relu(M if answer is None else M + answer)
        H = H + cat((Z, product(graphs.A, Z)), 1) @ cat((root2, neighbour2), 0) + bias2
    H = leaky_relu(H @ p["decoder_weight1"] + p["decoder_bias1"])
    V = H @ p["decoder_weight2"] + F @ p["skip_weight"]
    if rigid is not None:
        V = V + rigid @ p["rigid_weight"]
    for step in steps:
        V = V - step * product(graphs.A, V)
    return V


class NSLSPlus(GuessBase):
    """The trained network: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : NSLSPlusConfig
    parameters : dict of arrays, as `NSLSPlusConfig.shapes`
    card : facts about the training, as JSON-able values
    """

    name = kind = "nsls-plus"
    config_type = NSLSPlusConfig
    dtype = np.float32
    subspace = True

    def details(self) -> list[str]:
        return [f"outputs={self.config.outputs}"]

    @property
    def takes_geometry(self) -> bool:
        """Whether it was trained with geometry, and needs it."""
        return self.config.geometry

    @property
    def products(self) -> int:
        """Products with A in float64 that a proposal takes."""
        return self.config.products

    @property
    def network_products(self) -> int:
        """Products of A with a vector in float32 inside the network, coarse levels and overlap not counted."""
        return self.config.network_products

    def propose(self, A: Any, b: Any, geometry: Geometry | None = None) -> Proposal:
        """An approximate solution, and the subspace it was found in.

        Parameters
        ----------
        A : (n, n) symmetric positive definite, sparse or dense
        b : (n,)
        geometry : for models trained with it, and for no other

        Returns
        -------
        Proposal

        Raises
        ------
        OptionError
            Geometry without need, or none where it is needed.
        ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
            Whatever the network cannot be given.

        Notes
        -----
        Cost: ``steps + outputs + 2`` products with A, and `network_products` of the config in float32. With overlap,
        ``overlap + 1`` products with all the cut vectors, mostly zeros at first: for n = 2000 and parts of 125
        unknowns as much as the network.
        Guaranteed for any weights, with search="krylov": the A-norm error of x is at most that of ``steps``
        steps of CG with Jacobi preconditioning, up to rounding. How much smaller it is, is learned.
        """
        A, b = check_system(A, b)
        c, n = self.config, b.size
        self.check_geometry(geometry)
        if geometry is not None:
            geometry.check(n)
        system = equilibrate(A, really=c.equilibrated)
        right, starts = system.scale * b, np.array([0, n])
        largest = float(np.max(np.abs(right)))
        if largest == 0:
            return Proposal(np.zeros(n), csr_array((n, 0)), csr_array((n, 0)), 0)
        cg = conjugate_gradients(system.A, right / largest, starts, c.steps)
        F = plus_features(system.A, system.size, right / largest, starts, cg)
        if geometry is not None:
            F = np.concatenate([F, geometry.features().astype(np.float32)], axis=1)
        graphs = Graphs(system.A.astype(np.float32), starts, coarse_levels(system.A, c.coarse))
        steps = damping(system.A, starts, c.smoothing)
        part = partition(system.A, c.part)
        rigid = rigid_outputs(geometry, part, system.scale) if c.rigid and geometry is not None else None
        V = plus_forward(self.parameters, graphs, F, steps, rigid).astype(np.float64)
        V[:, ~np.all(np.isfinite(V), axis=0)] = 0.0  # of weights that overflow: nothing is proposed
        W = split_columns(V, part)
        AW = csr_array(system.A @ W)
        wide, blocks = _overlapping(system.A, W, AW, c.overlap)
        y = improve(system.A, right / largest, wide, cg if c.search == "krylov" else None, None if c.overlap else AW)
        for M, scale in ((W, system.scale), (AW, 1.0 / system.scale)):
            M.data = M.data * np.repeat(scale, np.diff(M.indptr))
        return Proposal(largest * system.scale * y, W, AW, c.network_products + blocks)

    def guess(self, A: Any, b: Any, geometry: Geometry | None = None) -> np.ndarray:
        """The approximate solution of `propose` alone."""
        return self.propose(A, b, geometry).x
