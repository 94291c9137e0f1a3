"""Where the training of NLAFormer starts: at random, or at what the blocks are known to express."""

from __future__ import annotations

import numpy as np

from nnla.models.nlaformer import STAGES, NLAFormerConfig, unit_systems
from nnla.models.transformer import initial_parameters
from nnla.problems.dense_spd import spd_systems

__all__ = ["difference_head_parameters", "heavy_ball_parameters", "heavy_ball_rates", "random_parameters"]

_SMALL = 0.1  # what a block adds at first, by the rest
_SCORE = 0.5  # what is between a pair of heads: small enough to be linear, large enough to be seen
_SAMPLES = 500  # systems whose spectra say the rates


def random_parameters(config: NLAFormerConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random ones; a block adds little at first, and positions are as large as the columns are."""
    parameters = initial_parameters(config.shapes(), rng, 1)
    for name, value in parameters.items():
        if name.endswith("_mix"):
            value *= 50.0 / np.sqrt(value.shape[-1])  # embeddings have a deviation of .02
        if name == "positions":
            value *= 50.0
        if name.endswith(("out_W", "down_W")) or name == "x_W":
            value *= _SMALL
    return parameters


def difference_head_parameters(config: NLAFormerConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random ones whose heads see A: pairs with scores + and - a multiple of a_ij, of opposite outputs.

    Parameters
    ----------
    config : with a softmax block, an even number of heads that are at least n wide, and a width of at least 2 n + 1
    rng : for all else

    Notes
    -----
    Channels 0, ..., n of token i hold a_ij and b_i, the next n its position e_i; scores a_i' e_j. The two softmaxes of
    a pair differ by a multiple of sum_j (a_ij - mean) v_j to the first order, which random heads have to find.

    References
    ----------
    NLAFormer, theorem 2.1 (the second head, which cancels the constant).
    """
    n, width = config.n, config.width // config.heads
    p = random_parameters(config, rng)
    p["encode_W"][:, : 2 * n + 1], p["positions"][:, : 2 * n + 1] = 0.0, 0.0
    p["encode_W"][:, : n + 1] = np.eye(n + 1)
    p["positions"][:, n + 1 : 2 * n + 1] = np.eye(n)
    for stage in STAGES:
        qkv, out = p[f"{stage}_qkv_W"].reshape(config.width, 3, config.heads, width), p[f"{stage}_out_W"]
        qkv[:, :2] = 0.0
        for head in range(config.heads):
            even = head - head % 2
            qkv[:n, 0, head, :n] = (_SCORE if head == even else -_SCORE) * np.eye(n)
            qkv[n + 1 : 2 * n + 1, 1, head, :n] = np.eye(n)
            if head != even:
                qkv[:, 2, head] = qkv[:, 2, even]
                out[head * width : (head + 1) * width] = -out[even * width : (even + 1) * width]
    return p


def heavy_ball_rates(config: NLAFormerConfig, sigma: float, seed: list[int]) -> tuple[float, float]:
    """Step and momentum for unit-free systems of the family: the largest eigenvalue of all samples is still damped.

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods (1964).
    """
    systems = spd_systems(_SAMPLES, config.n, sigma=sigma, seed=seed)
    lam = np.linalg.eigvalsh(unit_systems(systems.A, systems.b, config.scaling)[0])
    low, high = np.sqrt(np.median(lam[:, 0])), np.sqrt(lam[:, -1].max())
    return float((2 / (low + high)) ** 2), float(((high - low) / (high + low)) ** 2)


def heavy_ball_parameters(
    config: NLAFormerConfig, step: float, momentum: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A gated network whose every iteration is v <- momentum v + step (b - A x), x <- x + v, from zero.

    Parameters
    ----------
    config : with a gated block, a width of at least n + 3 and at least n + 2 gates
    rng : for the gates that are left over, whose outputs are zero at first

    Notes
    -----
    Channels 0, ..., n - 1 of token i hold a_ij, channel n b_i, n + 1 x_i, n + 2 v_i. Gate j multiplies channel j by
    x_j, which the j-th mixing matrix brings to all tokens; two more gates of bias one pass b and v on.
    """
    n = config.n
    p = random_parameters(config, rng)
    b, x, v = n, n + 1, n + 2
    for name in ("encode_W", "encode_b", "positions", "x_W", "x_b"):
        p[name][:] = 0.0
    p["encode_W"][:, : n + 1] = np.eye(n + 1)
    p["x_W"][x] = 1.0
    for stage in STAGES:
        gate, bias, value, mix, out = (p[f"{stage}_{name}"] for name in ("gate_W", "gate_b", "value_W", "mix", "out_W"))
        gate[:, : n + 2], value[:, : n + 2], mix[: n + 2], out[:] = 0.0, 0.0, 0.0, 0.0
        gate[:n, :n] = np.eye(n)
        value[x, :n] = 1.0
        mix[np.arange(n), :, np.arange(n)] = 1.0
        bias[n : n + 2], mix[n : n + 2] = 1.0, np.eye(n)
        value[b, n], value[v, n + 1] = 1.0, 1.0
        if stage != "pre":
            out[:n, [x, v]], out[n, [x, v]] = -step, step
            out[n + 1, x], out[n + 1, v] = momentum, momentum - 1
    return p
