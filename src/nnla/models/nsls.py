"""NSLS, the neural sparse linear solver as its paper builds it: a graph network guesses the solution.

The matrix is a weighted graph, diagonal and all; b, diag(A) and a few iterates of a classical method are
the features of its nodes; ten residual blocks of two graph convolutions predict the direction of x, and a
least-squares factor its length. The guess is not linear in b: it may start a solver, never precondition CG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models._graphs import Graphs, layers, leaky_relu, product
from nnla.models.guess_base import GuessBase
from nnla.models.nsls_features import AUGMENTATIONS, augment, check_system
from nnla.operators.arrays import namespace

__all__ = ["NSLS", "NSLSConfig", "initial_parameters", "nsls_forward", "nsls_inputs", "scale_to_system"]

_STACKS = ("norm_alpha", "norm_gamma", "norm_beta")
_STACKS += tuple(f"{which}_{part}" for which in ("first", "second") for part in ("root", "neighbour", "bias"))


@dataclass(frozen=True)
class NSLSConfig:
    """Sizes and features of the network; written into the weights file.

    Attributes
    ----------
    inner : d, 32 or 128 in the paper
    blocks : residual blocks of two convolutions; 2 ``blocks`` is the radius that a node sees
    augmentation : "none", "cg", "arnoldi", "jacobi", "cg+arnoldi" or "cg+jacobi"
    steps : of each augmentation
    jacobi_sign : "correct", or "authors" as the published code has it
    """

    inner: int = 32
    blocks: int = 10
    augmentation: str = "cg"
    steps: int = 14
    jacobi_sign: str = "correct"

    def __post_init__(self) -> None:
        for name in ("inner", "blocks", "steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"NSLSConfig.{name} must be an integer of at least 1, got {value!r}")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionError(f"no augmentation {self.augmentation!r}; choose one of {', '.join(AUGMENTATIONS)}")
        if self.jacobi_sign not in ("correct", "authors"):
            raise OptionError(f"NSLSConfig.jacobi_sign is 'correct' or 'authors', got {self.jacobi_sign!r}")

    @property
    def features(self) -> int:
        """Features of a node: 16 in the paper."""
        kinds = 0 if self.augmentation == "none" else len(self.augmentation.split("+"))
        return 2 + kinds * self.steps

    @property
    def products(self) -> int:
        """Products with A in float64 that a guess takes."""
        kinds = 0 if self.augmentation == "none" else len(self.augmentation.split("+"))
        return kinds * self.steps + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters; those of the residual blocks are stacked."""
        d, m = self.inner, self.blocks
        convolution = {"root": (m, d, d), "neighbour": (m, d, d), "bias": (m, d)}
        return {
            "encoder_weight": (self.features, d),
            "encoder_bias": (d,),
            "norm_alpha": (m, d),
            "norm_gamma": (m, d),
            "norm_beta": (m, d),
            **{f"first_{key}": shape for key, shape in convolution.items()},
            **{f"second_{key}": shape for key, shape in convolution.items()},
            "decoder_weight1": (d, d),
            "decoder_bias1": (d,),
            "decoder_weight2": (d, 1),
            "decoder_bias2": (1,),
        }


def initial_parameters(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fresh parameters: PyTorch's default for linear layers, uniform within 1 / sqrt(fan-in); norms are identities."""
    out: dict[str, np.ndarray] = {}
    fan_in = 1
    for key, shape in shapes.items():
        part = key.rpartition("_")[2]
        if part in ("alpha", "gamma"):
            out[key] = np.ones(shape)
        elif part == "beta":
            out[key] = np.zeros(shape)
        else:
            if not part.startswith("bias"):
                fan_in = shape[-2]  # a bias follows its weights
            out[key] = rng.uniform(-1, 1, size=shape) / np.sqrt(fan_in)
    return {key: value.astype(np.float32) for key, value in out.items()}


def nsls_inputs(A: Any, b: np.ndarray, starts: np.ndarray, config: NSLSConfig) -> tuple[Any, np.ndarray]:
    """What the network sees of a batch of systems, in float32.

    Parameters
    ----------
    A : csr_array (n, n), block-diagonal, unscaled
    b : (n,)
    starts : (G + 1,)

    Returns
    -------
    Edge weights A / max|a_ij| of each system, and features (n, F) by `augment`.

    Notes
    -----
    Cost: ``steps`` products with A for each iteration of the augmentation, and a copy of A.

    References
    ----------
    Grementieri & Galeone, Towards Neural Sparse Linear Solvers (arXiv:2203.06944), sections 4.1 and 4.2.
    """
    F = augment(
        A, b, starts, augmentation=config.augmentation, steps=config.steps, jacobi_sign=config.jacobi_sign
    ).astype(np.float32)
    entries = A.indptr[starts]
    largest = np.maximum.reduceat(np.abs(A.data), entries[:-1])
    scaled = A.copy()
    scaled.data = (A.data / np.repeat(largest, np.diff(entries))).astype(np.float32)
    return scaled, F


def nsls_forward(parameters: dict[str, Any], graphs: Any, F: Any) -> Any:
    """The network (section 4.3), for NumPy arrays and `Graphs` or torch tensors and `TorchGraphs`.

    Parameters
    ----------
    parameters : as `NSLSConfig.shapes`
    graphs : the batch
    F : (n, features)

    Returns
    -------
    (n,) directions of the solutions.

    Notes
    -----
    Cost: 2 ``blocks`` products of A with (n, inner) arrays and 4 ``blocks`` n inner^2 multiplications; some six such
    arrays.

    References
    ----------
    Grementieri & Galeone, equations (5) and (6), figure 3.
    """
    p = parameters
    cat = namespace(F).concatenate
    H = F @ p["encoder_weight"] + p["encoder_bias"]
    stacks = [layers(p[key]) for key in _STACKS]
    for alpha, gamma, beta, root1, neighbour1, bias1, root2, neighbour2, bias2 in zip(*stacks, strict=True):
        Z = graphs.norm(H, alpha, gamma, beta)  # (5)
        # (6): Theta_1 x_i + Theta_2 sum_j a_ji x_j as one product with both matrices on top of each other
        Z = leaky_relu(cat((Z, product(graphs.A, Z)), 1) @ cat((root1, neighbour1), 0) + bias1)
        H = H + cat((Z, product(graphs.A, Z)), 1) @ cat((root2, neighbour2), 0) + bias2
    H = leaky_relu(H @ p["decoder_weight1"] + p["decoder_bias1"])
    return (H @ p["decoder_weight2"] + p["decoder_bias2"])[:, 0]


def scale_to_system(A: Any, b: np.ndarray, y: np.ndarray) -> np.ndarray:
    """mu y with the mu that minimises |A (mu y) - b| (equations 3 and 4), in float64; zero where A y = 0.

    Notes
    -----
    Cost: a product with A.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), equations (3) and (4).

    Examples
    --------
    >>> scale_to_system(np.diag([1.0, 2.0]), np.array([2.0, 4.0]), np.array([0.5, 0.5]))
    array([2., 2.])
    """
    y = np.asarray(y, dtype=np.float64)
    Ay = A @ y
    square = float(Ay @ Ay)
    return float(Ay @ b) / square * y if square > 0 else np.zeros_like(y)


class NSLS(GuessBase):
    """The trained network: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : NSLSConfig
    parameters : dict of arrays, as `NSLSConfig.shapes`
    card : facts about the training, as JSON-able values

    References
    ----------
    Grementieri & Galeone, Towards Neural Sparse Linear Solvers (arXiv:2203.06944).
    """

    name = kind = "nsls"
    config_type = NSLSConfig
    dtype = np.float32

    def details(self) -> list[str]:
        return [f"inner={self.config.inner}"]

    @property
    def products(self) -> int:
        """Products with A in float64 that a guess takes."""
        return self.config.products

    @property
    def network_products(self) -> int:
        """Products of A with a vector in float32 inside the network."""
        return 2 * self.config.blocks * self.config.inner

    def guess(self, A: Any, b: Any) -> np.ndarray:
        """An approximate solution.

        Parameters
        ----------
        A : (n, n) symmetric, sparse or dense
        b : (n,)

        Returns
        -------
        (n,) float64, scaled to the least residual in its direction; zeros for b = 0

        Raises
        ------
        ShapeError, NonFiniteError, NotSymmetricError
            Whatever a network cannot be given.

        Notes
        -----
        Cost: ``steps`` products with A for each augmentation, one for the scale, and 2 ``blocks`` products with
        ``inner`` vectors in float32. Nothing is guaranteed but that the residual is no larger than that of
        zero; everything else is learned.
        """
        A, b = check_system(A, b)
        starts = np.array([0, b.size])
        weights, F = nsls_inputs(A, b, starts, self.config)
        return scale_to_system(A, b, nsls_forward(self.parameters, Graphs(weights, starts), F))
