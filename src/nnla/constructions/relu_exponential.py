"""exp(A) as a ReLU network with a proved error for all matrices of a set: Taylor, Paterson-Stockmeyer, squaring.

With B = A / 2^s and r = ||B||, the program computes Z = sum_{k=1..K} B^k / k! by Horner's rule in B^q (q = 1: Horner's
rule; q > 1: Paterson and Stockmeyer's), and then s times Z := 2 Z + Z^2, which squares I + Z. The identity is added
last: Z is small where B is, and products are as fine as their factors are small.

The remainder: ||e^B - I - Z||_F <= sqrt(n) sum_{k>K} r^k / k!. A squaring takes an error E to
(I + Z) E + E (I + Z) + E^2, at most (2 e^r + ||E||) ||E||; at the end, 2^s e^R of what was there at first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
from nnla.constructions.relu_polynomials import (
    LARGEST_BLOCK,
    LARGEST_NORM,
    LARGEST_TERMS,
    ended,
    horner_drafts,
    taylor_remainder,
)
from nnla.constructions.relu_theorem import theorem_size
from nnla.errors import OptionError

__all__ = ["CONSTRUCTIONS", "relu_expm"]

CONSTRUCTIONS = ("scaling", "taylor", "paterson-stockmeyer")


def _drafts(K: int, q: int, s: int) -> list[Draft]:
    """Rounds of products: Z by Horner's rule in B^q, then s squarings of I + Z."""
    drafts, (name, c) = horner_drafts([0.0, *(1 / math.factorial(k) for k in range(1, K + 1))], q)
    for _ in range(s):
        drafts.append(Draft(((name, name),), (MatrixSum("S", {0: c * c}, {name: 2 * c}),)))
        name, c = "S", 1.0
    return ended(drafts, (name, c), 1.0)


def _follow(domain: MatrixSet, K: int, q: int, s: int, drafts: list[Draft], steps: Sequence[int]) -> tuple:
    """Rounds with their scales, and the parts of the final error."""
    n, r = domain.n, domain.norm / 2.0**s
    held = {"input": Bound(r, domain.entry / 2.0**s, np.zeros(2 + len(drafts)))}
    rounds = []
    for i, (draft, m) in enumerate(zip(drafts, steps, strict=True)):
        if i == len(drafts) - s:  # from here on, the exact matrix is e^B - I
            held = {name: _against_exp(bound, n, r, K) for name, bound in held.items()}
        done, held, _ = follow_round(n, draft, m, held, i)
        rounds.append(done)
    final = held["output"] if s else _against_exp(held["output"], n, r, K)
    return tuple(rounds), final.errors * (1 + SLACK)


def _against_exp(bound: Bound, n: int, r: float, K: int) -> Bound:
    errors = bound.errors.copy()
    errors[TRUNCATION] += n**0.5 * taylor_remainder(r, K)
    return Bound(bound.norm + taylor_remainder(r, K), bound.entry + taylor_remainder(r, K), errors)


def _candidates(domain: MatrixSet, eps: float, construction: str) -> Iterator[Candidate]:
    """For each s and q, the smallest K that leaves some of eps to the products, and the next two."""
    squarings = range(max(0, math.ceil(math.log2(domain.norm))) + 8) if construction == "scaling" else (0,)
    blocks = (1,) if construction == "taylor" else range(1, LARGEST_BLOCK + 1)
    for s in squarings:
        r = domain.norm / 2.0**s
        grown = domain.n**0.5 * 2.0**s * math.exp(domain.norm - r)
        start = next((K for K in range(1, LARGEST_TERMS + 1) if grown * taylor_remainder(r, K) < 0.9 * eps), None)
        if start is None:
            continue
        for q in blocks:
            for K in range(max(q, start), min(start + 3, LARGEST_TERMS + 1)):
                drafts = _drafts(K, q, s)
                products = [len(d.products) for d in drafts]
                parameters = {"squarings": s, "terms": K, "block": q}
                yield Candidate(parameters, 2.0**-s, products, partial(_follow, domain, K, q, s, drafts), s)


@lru_cache(maxsize=256)
def _smallest(domain: MatrixSet, construction: str) -> float:
    """The least bound that the construction reaches, a few percent added."""
    found = math.inf
    for candidate in _candidates(domain, 1e-15 * math.exp(domain.norm), construction):
        with np.errstate(over="ignore", invalid="ignore"):
            total = 1.05 * float(candidate.follow([MANY_STEPS] * len(candidate.products))[1].sum())
        found = total if total < found else found
    return found


@lru_cache(maxsize=256)
def _cheapest(domain: MatrixSet, eps: float, construction: str, minimise: str) -> CertifiedNetwork:
    found = cheapest_program(domain.n, _candidates(domain, eps, construction), eps, minimise)
    if found is None:
        smallest = _smallest(domain, construction)
        if not math.isfinite(smallest):
            raise OptionError(f"{construction} has no certificate on {domain}; use construction='scaling'")
        raise refuse_small(eps, smallest, f"exp(A), n={domain.n}, {domain}, by {construction}")
    program, certificate, parameters = found
    theorem = theorem_size(domain.n, domain.bound, eps)
    return CertifiedNetwork("exp", domain, eps, construction, parameters, program, certificate, theorem)


def relu_expm(
    n: int,
    bound: float,
    eps: float,
    *,
    construction: str = "scaling",
    domain: str = "ball",
    minimise: str = "parameters",
) -> CertifiedNetwork:
    """A ReLU network for exp(A) with \\|\\|network(A) - exp(A)\\|\\|_F <= eps for every A of a set, proved.

    Parameters
    ----------
    n : size of the matrices, 1 to 32
    bound : R, of the set; A need not be symmetric
    eps : absolute bound on the error in the Frobenius norm, and so in the spectral one; rounding included
    construction : "scaling" (scaling and squaring, the smallest), "taylor" (Horner's rule, as in the theorem's proof),
        or "paterson-stockmeyer" (the same polynomial with fewer products)
    domain : "ball", \\|\\|A\\|\\|_2 <= R, or "box", \\|a_ij\\| <= R
    minimise : "parameters" or "depth"

    Returns
    -------
    CertifiedNetwork : call it on (..., n, n); `certificate`, `size`, `theorem`, `layers`. Equal arguments give the same
        object.

    Raises
    ------
    OptionError
        Arguments outside of these, or an eps that float64 cannot reach: the message names the smallest possible one.

    Cost: the search over squarings, terms and steps takes some tenths of a second, once for each set and eps.

    Validity: proved, rounding included, for evaluation in float64 in any order of the sums.

    References
    ----------
    Yarotsky, Neural Networks 94 (2017), Propositions 2 and 3. Padmanabhan and Brugiapaglia, arXiv 2602.07800. Higham,
    Functions of Matrices (2008), Sections 4.3 and 10.3.

    Examples
    --------
    >>> network = relu_expm(2, 1.0, 1e-6)
    >>> A = np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> error = np.abs(network(A) - [[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]]).max()
    >>> bool(error <= network.certificate.error <= 1e-6)
    True
    """
    n, eps = whole(n, "n", 1, LARGEST_N), positive(eps, "eps", 1e300)
    if construction not in CONSTRUCTIONS:
        raise OptionError(f"construction={construction!r}: choose one of {', '.join(CONSTRUCTIONS)}")
    one_of(domain, "domain", ("ball", "box"))
    one_of(minimise, "minimise", ("parameters", "depth"))
    bound = positive(bound, "bound", LARGEST_NORM / (n if domain == "box" else 1))
    return _cheapest(MatrixSet(domain, n, bound), eps, construction, minimise)
