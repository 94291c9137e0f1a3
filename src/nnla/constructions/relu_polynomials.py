"""Polynomials, powers, sine and cosine of matrices as certified ReLU networks: Horner's rule in a power of the matrix.

p(A) - b_0 I = S_0 with S_j = sum_{i=1..q} b_{jq+i} A^i + A^q S_{j+1}: q = 1 is Horner's rule, q > 1 Paterson's and
Stockmeyer's, with powers up to A^q by doubling. The identity comes last. Norms are bounded by the majorant
sum_k |b_k| r^k, and errors as in `relu_certificates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import numpy as np

from nnla.constructions.relu_certificates import (
    MANY_STEPS,
    TRUNCATION,
    Bound,
    Candidate,
    Draft,
    cheapest_program,
    follow_round,
)
from nnla.constructions.relu_matrix_programs import MatrixSum
from nnla.constructions.relu_networks import (
    LARGEST_N,
    SLACK,
    CertifiedNetwork,
    MatrixSet,
    one_of,
    positive,
    refuse_small,
    whole,
)
from nnla.errors import OptionError

__all__ = [
    "LARGEST_BLOCK",
    "LARGEST_NORM",
    "LARGEST_TERMS",
    "ended",
    "horner_drafts",
    "relu_cosm",
    "relu_polynomial",
    "relu_power",
    "relu_sinm",
    "taylor_remainder",
]

LARGEST_TERMS = 170  # 171! overflows
LARGEST_BLOCK = 6
LARGEST_NORM = 300.0
LARGEST_DEGREE = 64


def taylor_remainder(r: float, K: int) -> float:
    """Bound on sum_{k > K} r^k / k!.

    Examples
    --------
    >>> abs(taylor_remainder(1.0, 3) - (np.e - 8 / 3)) < 5e-4
    True
    """
    if r >= K + 2:
        return math.inf
    return math.exp((K + 1) * math.log(r) - math.lgamma(K + 2)) / (1 - r / (K + 2)) * (1 + 1e-12)


def _power(i: int) -> str:
    return "input" if i == 1 else f"B{i}"


def _sum(name: str, products: dict[int, float], values: dict[str, float]) -> MatrixSum:
    return MatrixSum(name, {k: c for k, c in products.items() if c}, {k: c for k, c in values.items() if c})


def horner_drafts(b: Sequence[float], q: int) -> tuple[list[Draft], tuple[str, float]]:
    """Rounds of products for sum_{k >= 1} b_k B^k, and what is held then: a name, and the number in front of it.

    Parameters
    ----------
    b : coefficients, the last one not zero
    q : Horner's rule in B^q; at most the degree

    Examples
    --------
    >>> [len(draft.products) for draft in horner_drafts([0, 1, 1, 1, 1, 1, 1], 3)[0]]
    [1, 1, 1]
    """
    K = len(b) - 1
    blocks = [{i: b[j + i] for i in range(1, q + 1) if j + i <= K} for j in range(0, K, q)]
    top, drafts, h = ("input", b[K]), [], 1  # the last block as a held matrix times a number
    while h < q:
        new = {i: p for p, i in enumerate(range(h + 1, min(2 * h, q) + 1))}
        sums = [_sum(_power(i), {}, {_power(i): 1.0}) for i in range(1, h + 1)]
        sums += [_sum(_power(i), {p: 1.0}, {}) for i, p in new.items()]
        if q in new and len(blocks[-1]) > 1:
            fresh = {new[i]: c for i, c in blocks[-1].items() if i in new}
            sums.append(_sum("S", fresh, {_power(i): c for i, c in blocks[-1].items() if i not in new}))
            top = ("S", 1.0)
        drafts.append(Draft(tuple((_power(h), _power(i - h)) for i in new), tuple(sums)))
        h = max(new)
    for own in reversed(blocks[:-1]):
        name, c = top
        sums = [_sum("S", {0: c}, {_power(i): a for i, a in own.items()})]
        sums += [_sum(_power(i), {}, {_power(i): 1.0}) for i in range(1, q + 1)]
        drafts.append(Draft(((_power(q), name),), tuple(sums)))
        top = ("S", 1.0)
    return drafts, top


def ended(drafts: list[Draft], top: tuple[str, float], identity: float) -> list[Draft]:
    """The rounds with identity I + what is held as their output, and without sums that nobody reads."""
    name, c = top
    if not drafts:
        return [Draft((), (MatrixSum("output", {}, {name: c}, identity),))]
    last = next(x for x in drafts[-1].sums if x.name == name)
    drafts = [*drafts[:-1], Draft(drafts[-1].products, (MatrixSum("output", last.products, last.values, identity),))]
    for i in range(len(drafts) - 2, -1, -1):
        after = drafts[i + 1]
        read = {v for pair in after.products for v in pair} | {v for x in after.sums for v in x.values}
        drafts[i] = Draft(drafts[i].products, tuple(x for x in drafts[i].sums if x.name in read))
    return drafts


def _follow(domain: MatrixSet, drafts: list[Draft], remainder: float, steps: Sequence[int]) -> tuple:
    """Rounds with their scales, and the parts of the final error."""
    held = {"input": Bound(domain.norm, domain.entry, np.zeros(2 + len(drafts)))}
    rounds = []
    for i, (draft, m) in enumerate(zip(drafts, steps, strict=True)):
        done, held, _ = follow_round(domain.n, draft, m, held, i)
        rounds.append(done)
    errors = held["output"].errors.copy()
    errors[TRUNCATION] += domain.n**0.5 * remainder
    return tuple(rounds), errors * (1 + SLACK)


Series = Callable[[int], float]  # coefficient of A^k


def _series_candidates(domain: MatrixSet, series: Series, eps: float) -> Iterator[Candidate]:
    """The fewest terms that leave some of eps to the products, and the next two."""
    r, n = domain.norm, domain.n
    start = next((K for K in range(2, LARGEST_TERMS) if n**0.5 * taylor_remainder(r, K) < 0.9 * eps), LARGEST_TERMS)
    for K in range(start, min(start + 3, LARGEST_TERMS + 1)):
        b = [series(k) for k in range(K + 1)]
        if b[-1]:
            yield from _polynomial_candidates(domain, b, taylor_remainder(r, K))


def _polynomial_candidates(domain: MatrixSet, b: Sequence[float], remainder: float) -> Iterator[Candidate]:
    for q in range(1, min(LARGEST_BLOCK, len(b) - 1) + 1):
        drafts = ended(*horner_drafts(b, q), b[0])
        products = [len(d.products) for d in drafts]
        parameters = {"terms": len(b) - 1, "block": q}
        yield Candidate(parameters, 1.0, products, partial(_follow, domain, drafts, remainder))


def _power_candidates(domain: MatrixSet, k: int) -> Iterator[Candidate]:
    """From the left: square, and multiply where the binary digit is one."""
    drafts, name = [], "input"
    for digit in f"{k:b}"[1:]:
        keep = MatrixSum("input", {}, {"input": 1.0})
        drafts.append(Draft(((name, name),), (MatrixSum("P", {0: 1.0}), keep)))
        if digit == "1":
            drafts.append(Draft((("P", "input"),), (MatrixSum("P", {0: 1.0}), keep)))
        name = "P"
    drafts = ended(drafts, (name, 1.0), 0.0)
    yield Candidate({"power": k}, 1.0, [len(d.products) for d in drafts], partial(_follow, domain, drafts, 0.0))


def _sine(k: int) -> float:
    return (0.0, 1.0, 0.0, -1.0)[k % 4] / math.factorial(k)


def _cosine(k: int) -> float:
    return (1.0, 0.0, -1.0, 0.0)[k % 4] / math.factorial(k)


Key = tuple[str, tuple[float, ...]]  # a function's name, and the coefficients of a polynomial or the exponent


def _candidates(domain: MatrixSet, key: Key, eps: float) -> Iterator[Candidate]:
    name, data = key
    if name in ("sin", "cos"):
        return _series_candidates(domain, _sine if name == "sin" else _cosine, eps)
    if name == "polynomial":
        return _polynomial_candidates(domain, data, 0.0)
    return _power_candidates(domain, int(data[0]))


@lru_cache(maxsize=256)
def _cheapest(domain: MatrixSet, key: Key, eps: float, minimise: str) -> CertifiedNetwork:
    found = cheapest_program(domain.n, _candidates(domain, key, eps), eps, minimise)
    if found is None:
        smallest = math.inf
        with np.errstate(over="ignore", invalid="ignore"):
            for c in _candidates(domain, key, 1e-17):
                total = 1.05 * float(c.follow([MANY_STEPS] * len(c.products))[1].sum())
                smallest = total if total < smallest else smallest
        if not math.isfinite(smallest):
            raise OptionError(f"{key[0]} has no certificate on {domain}: its terms overflow; give a smaller set")
        raise refuse_small(eps, smallest, f"{key[0]}(A), n={domain.n}, {domain}")
    program, certificate, parameters = found
    return CertifiedNetwork(key[0], domain, eps, "horner", parameters, program, certificate)


def _network(key: Key, n: int, bound: float, eps: float, domain: str, minimise: str) -> CertifiedNetwork:
    n, eps = whole(n, "n", 1, LARGEST_N), positive(eps, "eps", 1e300)
    one_of(domain, "domain", ("ball", "box"))
    one_of(minimise, "minimise", ("parameters", "depth"))
    bound = positive(bound, "bound", LARGEST_NORM / (n if domain == "box" else 1))
    return _cheapest(MatrixSet(domain, n, bound), key, eps, minimise)


def relu_polynomial(
    n: int,
    bound: float,
    eps: float,
    coefficients: Sequence[float],
    *,
    domain: str = "ball",
    minimise: str = "parameters",
) -> CertifiedNetwork:
    """A ReLU network for sum_k b_k A^k with an error of at most eps in the Frobenius norm, on a set, proved.

    Parameters
    ----------
    n, bound, eps, domain, minimise : as for `relu_expm`
    coefficients : b_0, b_1, ..., at most 65

    Raises
    ------
    OptionError
        Arguments outside of these, or an eps that float64 cannot reach: the message names the smallest possible one.

    Cost: the search over blocks and steps takes some hundredths of a second, once for each set and eps.

    References
    ----------
    Paterson and Stockmeyer, SIAM J. Comput. 2 (1973). Higham, Functions of Matrices (2008), Section 4.2.

    Examples
    --------
    >>> network = relu_polynomial(2, 2.0, 1e-4, [1.0, 0.0, 3.0])  # I + 3 A^2
    >>> network([[0.0, 1.0], [1.0, 0.0]]).round(3).tolist()
    [[4.0, 0.0], [0.0, 4.0]]
    """
    try:
        b = [float(c) for c in coefficients]
    except (TypeError, ValueError):
        raise OptionError(f"coefficients={coefficients!r}: give real numbers b_0, b_1, ...") from None
    while len(b) > 2 and b[-1] == 0:
        b.pop()
    if not 2 <= len(b) <= LARGEST_DEGREE + 1 or not all(math.isfinite(c) and abs(c) < 1e100 for c in b) or b[-1] == 0:
        raise OptionError(f"coefficients={coefficients!r}: give 2 to {LARGEST_DEGREE + 1} finite ones, not all zero")
    return _network(("polynomial", tuple(b)), n, bound, eps, domain, minimise)


def relu_power(
    n: int, bound: float, eps: float, k: int, *, domain: str = "ball", minimise: str = "parameters"
) -> CertifiedNetwork:
    """A ReLU network for A^k, 2 <= k <= 64, by squaring and multiplying; see `relu_polynomial`.

    Cost: as `relu_polynomial`.

    References
    ----------
    Higham, Functions of Matrices (2008), Section 4.1 (binary powering).

    Examples
    --------
    >>> relu_power(2, 1.0, 1e-6, 5)([[0.0, 1.0], [1.0, 0.0]]).round(5).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return _network(("power", (float(whole(k, "k", 2, LARGEST_DEGREE)),)), n, bound, eps, domain, minimise)


def relu_sinm(
    n: int, bound: float, eps: float, *, domain: str = "ball", minimise: str = "parameters"
) -> CertifiedNetwork:
    """A ReLU network for sin(A) by its Taylor series; see `relu_polynomial`. Terms grow to e^bound: small bounds alone.

    Cost: as `relu_polynomial`.

    References
    ----------
    Higham, Functions of Matrices (2008), Chapter 12.

    Examples
    --------
    >>> relu_sinm(1, 1.0, 1e-6)([[1.0]]).round(5).tolist()
    [[0.84147]]
    """
    return _network(("sin", ()), n, bound, eps, domain, minimise)


def relu_cosm(
    n: int, bound: float, eps: float, *, domain: str = "ball", minimise: str = "parameters"
) -> CertifiedNetwork:
    """A ReLU network for cos(A) by its Taylor series; see `relu_polynomial`. Terms grow to e^bound: small bounds alone.

    Cost: as `relu_polynomial`.

    References
    ----------
    Higham, Functions of Matrices (2008), Chapter 12.

    Examples
    --------
    >>> relu_cosm(1, 1.0, 1e-6)([[1.0]]).round(5).tolist()
    [[0.5403]]
    """
    return _network(("cos", ()), n, bound, eps, domain, minimise)
