"""Groups of softmax heads that compute V (K' Q): finite differences of the exponential behind a sink.

A sink token has the score C for every query. Then ``e^C softmax(c z)_ij = exp(c z_ij) / (1 + e^-C sum_k exp(c z_kj))``,
and a weighted sum over heads of different c is a difference quotient of exp at zero: what remains is z_ij.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.constructions.softmax_layer import Head
from nnla.errors import DTypeError, OptionError

__all__ = ["SCHEMES", "TYPICAL_SCORE", "HeadScheme", "bilinear_heads", "default_sink", "default_step", "head_scheme"]

_TERMS = 80  # of a series in c z, which has converged long before for any c z that is of use
TYPICAL_SCORE = 0.4  # of products of normalised data: the size that default steps are best for


@dataclass(frozen=True)
class HeadScheme:
    """A difference formula for the derivative of exp at zero: sum_h w_h exp(t_h c z) / c = z (1 + O((c z)^order)).

    Attributes
    ----------
    name
    nodes : t_h, one for each head; pairs of opposite signs are neighbours, so that their constants cancel exactly
    weights : w_h, of sum zero
    order : of the error in c
    constant : the error is constant * (c z)^order relative to z, for small c z
    """

    name: str
    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    order: int
    constant: float

    @property
    def heads(self) -> int:
        """Heads of one product."""
        return len(self.nodes)

    def truncation(self, scores: float, step: float) -> float:
        """Relative error of the formula where scores z are at most ``scores``: the series of its remainder.

        Examples
        --------
        >>> head_scheme("paper").truncation(1.0, 1e-6) < 5.1e-7
        True
        """
        x = step * scores
        power, total = 1.0, 0.0  # x^(k - 1) / k!
        for k in range(2, _TERMS):
            power *= x / k
            if k > self.order:
                total += abs(sum(w * t**k for t, w in zip(self.nodes, self.weights, strict=True))) * power
        return total


SCHEMES: dict[str, HeadScheme] = {
    scheme.name: scheme
    for scheme in (
        HeadScheme("paper", (1.0, 0.0), (1.0, -1.0), 1, 1 / 2),
        HeadScheme("central", (1.0, -1.0), (1 / 2, -1 / 2), 2, 1 / 6),
        HeadScheme("four", (1.0, -1.0, 2.0, -2.0), (2 / 3, -2 / 3, -1 / 12, 1 / 12), 4, 1 / 30),
        HeadScheme(
            "eight",
            (1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0),
            (4 / 5, -4 / 5, -1 / 5, 1 / 5, 4 / 105, -4 / 105, -1 / 280, 1 / 280),
            8,
            1 / 630,
        ),
    )
}
"""``paper`` +c and 0 (2 heads); ``central`` +c and -c (2 heads); ``four``, ``eight``: Richardson's extrapolations."""


def head_scheme(name: str | HeadScheme) -> HeadScheme:
    """A scheme by name.

    Raises
    ------
    OptionError : a name that is none of `SCHEMES`

    Examples
    --------
    >>> head_scheme("four").order
    4
    """
    if isinstance(name, HeadScheme):
        return name
    if not isinstance(name, str) or name not in SCHEMES:
        raise OptionError(f"heads={name!r} is no scheme; give one of {', '.join(SCHEMES)}")
    return SCHEMES[name]


def default_step(scheme: str | HeadScheme, dtype: object = np.float64) -> float:
    """The c at which truncation and rounding balance for scores of about 0.4.

    Notes
    -----
    The error is about constant (c z)^order z + eps / c: least at c = (eps / (order constant z))^(1/(order + 1)) / z.

    Examples
    --------
    >>> [f"{default_step(name):.0e}" for name in SCHEMES]
    ['8e-08', '3e-05', '3e-03', '8e-02']
    """
    formula = head_scheme(scheme)
    eps = float(np.finfo(np.dtype(dtype)).eps)  # type: ignore[arg-type]
    best = (eps / (formula.order * formula.constant * TYPICAL_SCORE)) ** (1 / (formula.order + 1))
    return best / TYPICAL_SCORE


def default_sink(dtype: object = np.float64) -> float:
    """C at which the sink's own error n e^-C has sunk below rounding: 36 in float64, 18 in float32.

    Notes
    -----
    More gains nothing, and costs digits where the softmax is computed with a shift (`softmax`).
    """
    try:
        kind = np.dtype(dtype)  # type: ignore[arg-type]
    except TypeError:
        raise DTypeError(f"dtype={dtype!r} is none; give float32 or float64") from None
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"constructions are made in float32 or float64, not in {kind}")
    return 36.0 if kind == np.float64 else 18.0


def bilinear_heads(
    V: np.ndarray,
    K: np.ndarray,
    Q: np.ndarray,
    sink: np.ndarray,
    ones: np.ndarray,
    *,
    scheme: str | HeadScheme = "central",
    step: float,
    C: float,
    dtype: object = np.float64,
) -> list[Head]:
    """Heads whose attention adds (V P) (K P)' (Q P) to a prompt P.

    Parameters
    ----------
    V : (rows, rows) what is summed, and where it is written; zero at the sink token
    K, Q : (k, rows); K P is zero at the sink token
    sink, ones : (rows,) such that sink P is one at the sink and zero elsewhere, ones P one at every token
    scheme : of the differences
    step : c
    C : score of the sink
    dtype : of the weights

    Returns
    -------
    heads : one for each node of the scheme. W_K = [K; C sink], W_Q = [t c Q; ones], W_V = e^C (w / c) V

    Notes
    -----
    The paper leaves the factor 1/c to the network behind; here it is part of W_V, so that attention adds the product
    itself and the network is of moderate size.

    References
    ----------
    NLAFormer, eqs. (17), (18), (28).
    """
    formula = head_scheme(scheme)
    heads = []
    W_K = np.vstack([K, C * sink]).astype(dtype)  # type: ignore[arg-type]
    for t, w in zip(formula.nodes, formula.weights, strict=True):
        W_Q = np.vstack([t * step * Q, ones])
        heads.append(Head(W_Q.astype(dtype), W_K, (np.exp(C) * (w / step) * V).astype(dtype)))  # type: ignore[arg-type]
    return heads
