"""AutoSpec's engine for eigenproblems: a window of Ritz values -> a degree-21 filter, as the paper builds it.

Algorithm 2 reads the wanted and the first unwanted Ritz values with their residuals and puts out five numbers
in the place of lambda_k and of four eigenvalues at lambda_l; Algorithm 1 turns those into the coefficients of
equation (4). Any number k of wanted eigenvalues and any number l of Ritz values go through one network, because
the window is truncated or padded with its ends anchored (Appendices B.2, E). Nothing makes the polynomial small on
the unwanted spectrum, so whoever filters with it compares `filter_quality` with that of a classical filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.eigen.filters import check_window
from nnla.models.paper_backbone import PaperBase, backbone, check_sizes, gelu
from nnla.operators.arrays import is_torch, namespace
from nnla.polynomials.recurrence import Recurrence

__all__ = ["EigPaperConfig", "EigPaperEngine", "eig_embedding", "eig_forward", "eig_window"]


@dataclass(frozen=True)
class EigPaperConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    degree : degree of P; ``degree - 1`` layers, because the recurrence starts from X z
    wanted : Ritz values, with residuals, of the wanted part of the window (the paper's k_0)
    unwanted : those of the rest (l_0 - k_0)
    hidden : width of both embedding networks; the paper's is 4 k_0 + 8
    ends : numbers that stand for the eigenvalues at the l-th; the embedding has ``ends + 1``
    """

    degree: int = 21
    wanted: int = 10
    unwanted: int = 94
    hidden: int = 48
    ends: int = 4

    def __post_init__(self) -> None:
        check_sizes(self, {"degree": 3, "ends": 1, "wanted": 1})
        check_sizes(self, {"unwanted": self.ends, "hidden": 2 * max(self.wanted, self.ends)})

    @property
    def layers(self) -> int:
        """Number of layers D."""
        return self.degree - 1

    @property
    def window(self) -> int:
        """Ritz values read, l_0."""
        return self.wanted + self.unwanted

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, in the order of the paper: W1 to W4, then the stacked layers."""
        c = self
        return {
            "W1": (2 * c.window, c.hidden),
            "W2": (2 * c.window, c.hidden),
            "W3": (c.hidden, c.wanted),
            "W4": (c.hidden, c.ends),
            "W": (c.layers, c.ends + 1, 6),
            "b": (c.layers, 1, 6),
        }


def eig_window(k: int, size: int, wanted: int = 10, unwanted: int = 94) -> np.ndarray:
    """Which Ritz values Algorithm 2 reads, of ``size`` in descending order whose first k are wanted.

    Both parts are sampled uniformly, with repetitions where there are too few (Appendix E; the paper draws at
    random, here the samples are even, so that a probe has one answer). Entry ``wanted - 1`` is always the k-th
    Ritz value and the last one the last (Appendix B.2).

    Returns
    -------
    (wanted + unwanted,) indices, increasing.

    Notes
    -----
    Cost: none: ``wanted + unwanted`` indices.

    Examples
    --------
    >>> eig_window(2, 8, wanted=3, unwanted=4)
    array([0, 0, 1, 2, 4, 5, 7])
    """
    top = np.floor(np.linspace(0, k - 1, wanted) + 0.5 - 1e-9) if wanted > 1 else np.array([k - 1.0])
    rest = np.floor(np.linspace(k, size - 1, unwanted) + 0.5) if unwanted > 1 else np.array([size - 1.0])
    return np.concatenate([top, rest]).astype(np.int64)


def eig_embedding(parameters: dict[str, Any], x: Any) -> Any:
    """Algorithm 2, as repaired: y1 = min |W3' gelu(W1' x)|, y2 = W4' gelu(W2' x), (B, 2 l_0) -> (B, 1 + ends).

    The paper prints W3 in both lines; its parameter list says W4 for the second.

    Cost: 4 l_0 H + H (k_0 + ends) multiplications a row, for hidden size H and k_0 outputs of W3.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithm 2, lines 1 to 5.
    """
    p = parameters
    y1 = abs(gelu(x @ p["W1"]) @ p["W3"])  # line 2, and the magnitudes of line 3
    y1 = y1.amin(-1, keepdim=True) if is_torch(y1) else y1.min(axis=-1, keepdims=True)
    y2 = gelu(x @ p["W2"]) @ p["W4"]  # line 4
    return namespace(x).concatenate((y1, y2), axis=-1)  # line 5


def eig_forward(parameters: dict[str, Any], x: Any) -> Any:
    """The whole network, for NumPy arrays and torch tensors: windows (B, 2 l_0) -> coefficients (D, B, 5).

    Cost: that of `eig_embedding` and `backbone`.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithms 1 and 2.
    """
    return backbone(parameters, eig_embedding(parameters, x))


class EigPaperEngine(PaperBase):
    """The paper's trained engine for eigenproblems: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : EigPaperConfig
    parameters : dict of arrays as `eig_forward` takes them
    card : facts about the training, as JSON-able values

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithms 1 and 2, equations (4)-(5), (14)-(17).
    """

    name = "autospec-eig-paper"
    kind = "autospec-eig-paper"
    task = "filters"
    config_type = EigPaperConfig

    def recurrence(self, values: Any, residuals: Any, k: int, *, degree: int = 21) -> Recurrence:
        """The learned filter for a window of Ritz values.

        Parameters
        ----------
        values : (l,) Ritz values, descending, of an operator x with spectrum in [0, 1] whose wanted
            eigenvalues are the largest
        residuals : (l,) their residual norms, in the same units
        k : number of wanted eigenvalues, 1 <= k < l
        degree : degree of P; the one that was trained

        Returns
        -------
        Recurrence in x itself, positive at the wanted end, with max |P| = 1 over the unwanted Ritz values.

        Raises
        ------
        OptionError, ShapeError, NonFiniteError
            Another degree than the trained one; k out of range; values that are not a descending window.

        Notes
        -----
        Cost: a few small matrix-vector products. Everything is learned and nothing guaranteed, most of all for
        windows unlike the training's (`envelope`): compare `filter_quality` with a classical filter's.
        """
        self.check_degree(degree, "chebyshev, power")
        values, residuals = check_window(values, residuals, k)
        c = self.config
        index = eig_window(k, values.size, c.wanted, c.unwanted)
        x = np.concatenate([values[index], residuals[index]])
        coefficients = eig_forward(self.parameters, x[None, :])[:, 0, :].T
        coefficients[0, -1] = 0.0  # rho of the last layer is not used (line 5)
        raw = Recurrence(*coefficients, domain=(0.0, max(1.0, float(values[0]))))
        # The objective sees neither the scale of P nor its sign: both are settled here.
        level = float(np.abs(raw(values[k:])).max())
        sign = -1.0 if raw(float(values[0])) < 0 else 1.0
        return raw.scaled(sign / level) if math.isfinite(level) and level > 0 else raw
