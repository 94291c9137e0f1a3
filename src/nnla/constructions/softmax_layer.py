"""One transformer layer as the NLAFormer paper writes it: softmax attention with explicit weights, then a network.

``Attn(P) = P + sum_h W_V P softmax((W_K P)' (W_Q P))`` and ``TF(P) = Attn(P) + FFN(Attn(P))``. A prompt P has one token
in each column; the softmax is taken down the columns, over the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nnla.errors import OptionError, ShapeError

__all__ = ["Attended", "Head", "SoftmaxLayer", "softmax"]


@dataclass(frozen=True, eq=False, repr=False)
class Head:
    """One attention head.

    Attributes
    ----------
    W_Q, W_K : (k, rows)
    W_V : (rows, rows)
    """

    W_Q: np.ndarray
    W_K: np.ndarray
    W_V: np.ndarray

    def __repr__(self) -> str:
        return f"<Head: keys of {len(self.W_K)} entries, {self.W_V.shape[1]} rows, {self.nonzeros} weights>"

    @property
    def nonzeros(self) -> int:
        """Weights that are not zero."""
        return sum(int(np.count_nonzero(W)) for W in (self.W_Q, self.W_K, self.W_V))


@dataclass(frozen=True, eq=False, repr=False)
class Attended:
    """What attention makes of prompts, and the sizes that its error depends on.

    Attributes
    ----------
    prompt : (..., rows, tokens)
    scores : largest \\|score\\| over the heads, the keys but the first (the sink) and the queries; 0 without heads
    """

    prompt: np.ndarray
    scores: float


def softmax(Z: np.ndarray, *, shift: bool = False) -> np.ndarray:
    """Softmax down the columns.

    Parameters
    ----------
    Z : (..., keys, queries)
    shift : subtract the largest score of every column first, as libraries for training do. Without it, scores are
        shifted only where their exponentials would overflow

    Returns
    -------
    (..., keys, queries), the dtype of Z

    Notes
    -----
    Shift or not is the same function, but not the same rounding: behind a sink of score C, small scores z become z - C,
    which loses all digits below C eps; exp(z) itself loses eps only. Constructions that difference heads in z lose C
    times more digits with the shift.

    Cost: one exponential an entry.

    Examples
    --------
    >>> softmax(np.log([[1.0], [3.0]])).round(3).tolist()
    [[0.25], [0.75]]
    >>> softmax(np.array([[1000.0], [1000.0]])).tolist()
    [[0.5], [0.5]]
    """
    largest = Z.max(axis=-2, keepdims=True)
    limit = np.log(np.finfo(Z.dtype).max) / 2  # sums of exponentials stay finite, and so do the shares of small scores
    if shift or not float(np.abs(largest).max(initial=0.0)) < limit:
        Z = Z - largest
    E = np.exp(Z)
    return E / E.sum(axis=-2, keepdims=True)


@dataclass(frozen=True, eq=False, repr=False)
class SoftmaxLayer:
    """A layer: heads, then a column-wise network.

    Attributes
    ----------
    heads : in the order in which they are summed
    ffn : (..., rows, tokens) -> (..., rows, tokens), one column at a time: a `nnla.constructions.ReLUNetwork` or a
        `nnla.constructions.PointwiseMap`; None for the zero network
    shift : how `softmax` is computed

    References
    ----------
    NLAFormer, eq. (1).

    Examples
    --------
    >>> E = np.eye(2)
    >>> layer = SoftmaxLayer((Head(np.zeros((1, 2)), np.zeros((1, 2)), E),), None)
    >>> layer(np.array([[1.0, 3.0], [0.0, 2.0]])).tolist()  # equal scores: the mean of the tokens is added
    [[3.0, 5.0], [1.0, 3.0]]
    """

    heads: tuple[Head, ...]
    ffn: Callable[[np.ndarray], np.ndarray] | None = None
    shift: bool = False

    def __repr__(self) -> str:
        return f"<SoftmaxLayer: {len(self.heads)} heads, {type(self.ffn).__name__}>"

    def attention(self, P: np.ndarray) -> Attended:
        """Attn(P), and the largest score.

        Parameters
        ----------
        P : (..., rows, tokens), float32 or float64; heads of the same dtype

        Raises
        ------
        ShapeError : rows that are not those of the weights
        OptionError : a dtype that is not that of the weights

        Notes
        -----
        Heads are summed among themselves first, in order: constructed heads come in pairs whose constants cancel
        exactly, and would leave rounding of the size of those constants if each were added to P.

        Cost: heads * (tokens * rows^2 + tokens^2 (rows + k)) multiplications a prompt.
        """
        if not self.heads:
            return Attended(P, 0.0)
        added, largest = np.zeros_like(P), 0.0
        for head in self.heads:
            if P.ndim < 2 or head.W_V.shape[1] != P.shape[-2]:
                raise ShapeError(
                    f"a prompt of shape {P.shape} has not {head.W_V.shape[1]} rows; give (..., rows, tokens)"
                )
            if P.dtype != head.W_V.dtype:
                raise OptionError(f"a prompt in {P.dtype} and weights in {head.W_V.dtype}; convert one of them")
            Z = (head.W_K @ P).swapaxes(-1, -2) @ (head.W_Q @ P)
            largest = max(largest, float(np.abs(Z[..., 1:, :]).max(initial=0.0)))
            # Values are few: the rows of W_V that are not zero are the only ones that are computed.
            rows = np.flatnonzero(head.W_V.any(axis=1))
            added[..., rows, :] += (head.W_V[rows] @ P) @ softmax(Z, shift=self.shift)
        return Attended(P + added, largest)

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """TF(P): (..., rows, tokens)."""
        U = self.attention(P).prompt
        return U if self.ffn is None else U + self.ffn(U)

    @property
    def nonzeros(self) -> int:
        """Weights of the heads that are not zero."""
        return sum(head.nonzeros for head in self.heads)
