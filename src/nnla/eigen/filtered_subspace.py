"""A few extremal eigenpairs from blocks of Chebyshev corrections: for operators that are dear to factorise.

Block Davidson: the subspace grows by what a Chebyshev filter of high degree changes in the Ritz vectors that have not
converged. The change is made from the residuals, in float32 where the kernels have it: its rounding errors shrink with
the residuals, so that the pairs converge as far as products in float64 allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnla.eigen.block_products import BlockProducts, correction_coefficients, filter_coefficients
from nnla.eigen.iteration import RESOLVED
from nnla.eigen.ritz_basis import RitzBasis
from nnla.eigen.thick_restart import ThickRestart
from nnla.errors import OptionError
from nnla.operators.operator import Operator

__all__ = ["SubspaceOutcome", "SubspacePlan", "SubspaceSizes", "resolved_degree", "solve_subspace"]

_PROBE = 12  # Lanczos steps that show where the spectrum ends
_FIRST_DEGREE = 12  # of the filter that the random start goes through
_RESERVE = 6  # random vectors beyond k at the start: copies of the last eigenvalues, and a rank to lose
# Between the gains of the first and of the last pair: rounding errors along the first grow by as much, are taken out by
# the subspace that holds it, and may be some 10^4 times what is wanted before that loses its own digits.
_RANGE = {"float32": math.log(1e4 / 6e-8), "float64": math.log(1e4 / 1.1e-16)}
_FLOAT64 = 1.7  # time of a product in float64, by one in float32
_DEGREES = (4, 400)
_LARGEST_BLOCK = 32
_FURTHER = 6  # Ritz values beyond k that are told of
_STILL = 10  # filterings without progress that end the iteration
_MAXITER = 100


@dataclass(frozen=True)
class SubspacePlan:
    """What `solve_subspace` may choose as it likes: the pairs are the same, the time is not.

    Attributes
    ----------
    cut : Ritz values beyond k that are left undamped
    gain : of the last wanted pair against what is damped, in one filtering
    spare : Ritz vectors beyond k that are kept at a restart
    """

    cut: int = 12
    gain: float = 2e3
    spare: int = 16


@dataclass(frozen=True)
class SubspaceSizes:
    """Vectors of `solve_subspace`: corrected at a time, kept at a restart, and in the subspace at most."""

    block: int
    keep: int
    basis: int

    @classmethod
    def of(cls, n: int, k: int, spare: int = SubspacePlan.spare) -> SubspaceSizes:
        """As they suit k pairs of an operator of order n.

        Examples
        --------
        >>> SubspaceSizes.of(5000, 10)
        SubspaceSizes(block=16, keep=26, basis=42)
        """
        block = min(8 * math.ceil((k + 1) / 8), _LARGEST_BLOCK)
        keep = min(k + spare, n)
        return cls(block, keep, min(keep + block, n))


@dataclass(frozen=True, eq=False)
class SubspaceOutcome:
    """What `solve_subspace` found.

    Attributes
    ----------
    values : (k,) eigenvalues, increasing: Rayleigh quotients of A
    vectors : (n, k) orthonormal columns
    residuals : (k,) norms of ``A v - lambda v``, from fresh products in float64
    converged : every residual is within the bound that was asked for
    stagnated : the iteration ended because the residuals did not shrink any more
    products : products with A, every column of every step of a filter counted
    expected : products that it would have taken, as far as the last turn could tell
    filterings : blocks of corrections
    history : the largest residual of the wanted pairs after each
    further_values : (j,) Ritz values beyond the wanted ones, the nearest first
    further_residuals : (j,) their residuals
    interval : (cut, far) of the last filter, in A; None if there was none
    single : whether filters may run in float32
    flops : spent on orthogonality and Ritz vectors
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    converged: bool
    stagnated: bool
    products: int
    expected: float
    filterings: int
    history: tuple[float, ...]
    further_values: np.ndarray
    further_residuals: np.ndarray
    interval: tuple[float, float] | None
    single: bool
    flops: float


def solve_subspace(
    op: Operator,
    k: int,
    orientation: float,
    target: float,
    rng: np.random.Generator,
    *,
    floor: float = 0.0,
    start: np.ndarray | None = None,
    far: float | None = None,
    maxiter: int = _MAXITER,
    products: float = math.inf,
    plan: SubspacePlan = SubspacePlan(),
) -> SubspaceOutcome:
    """k eigenpairs of A at one end of its spectrum by block Davidson with Chebyshev corrections.

    Parameters
    ----------
    op : Operator, A, symmetric, in units that suit squares of its entries
    k : pairs wanted, 1 to n
    orientation : 1.0 where the largest eigenvalues are wanted, -1.0 where the smallest
    target : residual that pairs are accepted at, if it tells the wanted eigenvalues from zero, too, as in `Search`
    rng : of the start
    floor : residual that rounding leaves: no less is asked for
    start : (j, n) rows to begin with besides the random ones, which are always there
    far : a bound of the other end of the spectrum; from some steps of Lanczos where it is None
    maxiter : filterings at most
    products : it gives up where it has spent so many, or, after two turns, expects to need twice as many
    plan : where to cut, and what a filtering shall gain

    Returns
    -------
    SubspaceOutcome

    Raises
    ------
    OptionError
        There are not as many pairs.
    NonFiniteError
        Products overflow.

    Notes
    -----
    Each turn: Rayleigh-Ritz in float64, residuals of the k + 1 leading pairs, and for those not converged the change
    that T_d of the interval [cut, far] makes. The cut is a Ritz value some places beyond the k-th; the degree d is such
    that the k-th pair gains the plan's factor against what is damped. Where the first pair would gain too much more
    than the k-th for float32 to resolve the latter, the filter has a lower degree or runs in float64. The span of Ritz
    vector and change holds the filtered vector, so that a turn is at least a step of subspace iteration with T_d; the
    vectors kept make it more.

    Cost: a turn takes d - 1 products a vector in float32 and one in float64, and some ``8 n b m`` operations for b
    vectors and a subspace of m, in matrix products. Storage: ``2 m + 4 b`` vectors of float64, and ``3 b`` of float32.

    Validity: the residuals are those of A. Copies: the start spans k + 6 random vectors, so that with probability one
    it has a component in k + 6 - i directions of the eigenspace of an eigenvalue with i eigenvalues before it: all
    copies that are among the first k + 6 eigenvalues can be found, and nothing is lost on the way but by rounding. That
    they *were* found, is not proved: a component may be small, and Ritz values may rest at other eigenvalues. The
    caller counts, or looks again from other random vectors.

    References
    ----------
    Zhou, Saad, A Chebyshev-Davidson algorithm for large symmetric eigenproblems, SIAM J. Matrix Anal. Appl. 29 (2007).
    Zhou, Block Chebyshev-Davidson method with inner-outer restart, J. Comput. Phys. 229 (2010).
    Kodali, Ramakrishnan, Motamarri, arXiv:2503.22652 (filters of residuals, in low precision).

    Examples
    --------
    >>> from nnla.operators import as_operator
    >>> from nnla.problems import poisson2d
    >>> op = as_operator(poisson2d(30))
    >>> found = solve_subspace(op, 4, -1.0, 1e-9, np.random.default_rng(0))
    >>> found.converged, bool(abs(op.csr @ found.vectors - found.vectors * found.values).max() < 1e-9)
    (True, True)
    """
    if not 1 <= k <= op.n:
        raise OptionError(f"a matrix of order {op.n} has no {k} eigenpairs")
    return _Iteration(op, k, orientation, target, floor, rng, far, plan).run(start, maxiter, products)


def resolved_degree(degree: int, spread: float, single: bool) -> tuple[int, bool]:
    """A degree of a filter that the arithmetic resolves, and whether that is float32: what brings more for its time.

    Parameters
    ----------
    degree : wanted
    spread : between what a degree gains for the first and for the last pair, in logarithms
    single : whether float32 is possible

    Examples
    --------
    >>> resolved_degree(60, 0.1, True), resolved_degree(60, 0.9, True)
    ((60, True), (51, False))
    """
    low, high = (
        max(min(degree, int(room / spread)) if spread > 0 else degree, _DEGREES[0]) for room in _RANGE.values()
    )
    return (low, True) if single and low >= high / _FLOAT64 else (high, False)


class _Iteration:
    """The state of `solve_subspace`, for the smallest eigenvalues of s A."""

    def __init__(
        self,
        op: Operator,
        k: int,
        orientation: float,
        target: float,
        floor: float,
        rng: np.random.Generator,
        far: float | None,
        plan: SubspacePlan,
    ) -> None:
        self.op, self.k, self.sign, self.rng = op, k, -orientation, rng
        self.target, self.floor, self.plan = target, floor, plan
        self.before = op.products
        self.products = BlockProducts(op, self.sign)
        self.sizes = SubspaceSizes.of(op.n, k, plan.spare)
        self.basis = RitzBasis(self.products, op.n, self.sizes.basis)
        self.far = math.nan if far is None else self.sign * far
        self.history: list[float] = []
        self.filterings = 0
        self.interval: tuple[float, float] | None = None
        self.cut = self.half = math.nan
        self.t = self.rates = np.empty(0)  # of the pairs: as the filter sees them, and what a degree gains
        self.expected = 0.0  # products in the end

    def run(self, start: np.ndarray | None, maxiter: int, products: float) -> SubspaceOutcome:
        self._begin(start)
        basis, k = self.basis, self.k
        converged = stagnated = refreshed = False
        while True:
            X, _, R, residuals = basis.pairs(0, min(k + 1, basis.filled))
            bound = self._bound()
            self.history.append(float(residuals[:k].max()))
            met = self.history[-1] <= bound
            stagnated = not met and self._stands_still()
            if not met:
                self._plan(residuals, bound)
            spent = self.op.products - self.before
            dear = spent >= products or (self.filterings > 2 and self.expected > 2 * products)
            if met or stagnated or dear or self.filterings >= maxiter or basis.complete:
                values, true = self._true_residuals(X[:k])
                converged = bool(true.max() <= bound)
                if converged or refreshed or not met:
                    break
                basis.refresh()  # the products have been rotated too often
                refreshed = True
                continue
            refreshed = False
            self._correct(R, residuals, bound)
        return self._outcome(X[:k], values, true, converged, stagnated and not converged)

    # -- the start -------------------------------------------------------------------------------------

    def _begin(self, start: np.ndarray | None) -> None:
        """Fill the subspace for the first time: filtered random vectors, and those given."""
        n, basis = self.op.n, self.basis
        if basis.size == n:  # the subspace can hold everything
            basis.extend(self.rng.standard_normal((n, n)))
            return
        count = min(self.k + _RESERVE, basis.size)
        if start is not None and len(start) and basis.size > count:
            basis.extend(np.array(start[: basis.size - count], dtype=np.float64))
        if basis.filled and not math.isnan(self.far):
            first, cut = float(basis.theta[0]), float(basis.theta[-1])
        else:
            first, cut = self._ends()
        X = self.rng.standard_normal((count, n))
        if self.far > cut:
            half = (self.far - cut) / 2
            spread = math.acosh(1 + max(cut - first, 0.0) / half)
            degree, single = resolved_degree(_FIRST_DEGREE, spread, self.products.single)
            self._filter(X, np.ones(count), filter_coefficients(degree, count), cut, single)
        while basis.filled <= min(self.k, n - 1):  # an eigenvalue far from all others may leave but its own vector
            basis.extend(self.rng.standard_normal((count, n))[: basis.size - basis.filled])

    def _ends(self) -> tuple[float, float]:
        """The first Ritz value of some Lanczos steps, and a first cut; sets `far` where it is not known."""
        steps = min(_PROBE, self.op.n)
        x = np.empty((1, self.op.n))

        def apply(v: np.ndarray) -> np.ndarray:
            return self.products.product(v[None, :], x)[0]

        probe = ThickRestart(apply, self.op.n, steps, None, self.rng)
        probe.extend()
        top, bottom = float(probe.theta[0]), float(probe.theta[-1])
        if math.isnan(self.far):
            self.far = top + float(probe.residuals[0]) + 0.01 * (top - bottom)
        return bottom, float(probe.theta[::-1][steps // 3])

    # -- a turn ----------------------------------------------------------------------------------------

    def _bound(self) -> float:
        """Residual that pairs are accepted at now: half of what `Search` asks for, as vectors are rounded later."""
        largest = float(np.abs(self.basis.theta[: self.k]).max())
        return max(min(self.target, 0.5 * RESOLVED * largest), self.floor)

    def _plan(self, residuals: np.ndarray, bound: float) -> None:
        """Where to cut, what a degree of the filter gains for each pair, and the products in the end."""
        theta, k = self.basis.theta, self.k
        first, last = float(theta[0]), float(theta[-1])
        # the other end was no bound if a Ritz value lies beyond it; a spectrum of one point is given some width
        least = max(1e-13 * max(abs(first), abs(last)), 1e-290)
        self.far = max(self.far, last + 0.01 * (last - first), first + least)
        width = self.far - first
        cut = float(theta[min(k + self.plan.cut, theta.size) - 1])
        self.cut = min(max(cut, float(theta[k - 1]) + 1e-9 * width), self.far - 0.01 * width)
        self.half = (self.far - self.cut) / 2
        self.t = np.maximum(((self.cut + self.far) / 2 - theta[: residuals.size]) / self.half, 1 + 1e-12)
        self.rates = np.arccosh(self.t)
        need = np.log(np.maximum(residuals[:k] / bound, 1.0)) if bound > 0 else np.full(k, math.inf)
        self.expected = self.op.products - self.before + float((need / self.rates[:k]).sum())

    def _correct(self, R: np.ndarray, residuals: np.ndarray, bound: float) -> None:
        """Extend the subspace by the corrections of the pairs that have not converged, those nearest to the cut."""
        k, rates = self.k, self.rates
        chosen = np.flatnonzero(residuals > bound)[-self.sizes.block :]
        last = int(np.flatnonzero(residuals[:k] > bound)[-1])
        gain = math.log(self.plan.gain)
        if bound > 0:
            gain = min(gain, math.log(float(residuals[:k].max()) / bound) + 1.5)
        wanted = min(math.ceil(gain / float(rates[last])), _DEGREES[1])
        degree, single = resolved_degree(wanted, float(rates[0] - rates[last]), self.products.single)
        gamma = correction_coefficients(self.t[chosen], self.half, degree)
        self._filter(R[chosen], 1 / residuals[chosen], gamma, self.cut, single)

    def _filter(self, R: np.ndarray, scale: np.ndarray, gamma: np.ndarray, cut: float, single: bool) -> None:
        self.filterings += 1
        self.interval = cut, self.far
        W = self.products.filtered(R, scale, gamma, self.interval, np.empty_like(R), single=single)
        self.basis.extend(W, self.sizes.keep)

    def _stands_still(self) -> bool:
        history = self.history
        return len(history) > _STILL and min(history[-_STILL:]) > 0.7 * min(history[:-_STILL])

    # -- the answer ------------------------------------------------------------------------------------

    def _true_residuals(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rayleigh quotients of s A, and residuals, by fresh products."""
        AX = self.products.product(np.ascontiguousarray(X), np.empty_like(X))
        values = np.einsum("ij,ij->i", X, AX) / np.einsum("ij,ij->i", X, X)
        return values, np.linalg.norm(AX - values[:, None] * X, axis=1)

    def _outcome(
        self, X: np.ndarray, values: np.ndarray, residuals: np.ndarray, converged: bool, stagnated: bool
    ) -> SubspaceOutcome:
        k, basis, s = self.k, self.basis, self.sign
        order = np.argsort(s * values, kind="stable")
        vectors = np.ascontiguousarray(X[order].T)  # before the basis overwrites them
        end = min(k + _FURTHER, basis.filled)
        return SubspaceOutcome(
            values=s * values[order],
            vectors=vectors,
            residuals=residuals[order],
            converged=converged,
            stagnated=stagnated,
            products=self.op.products - self.before,
            expected=self.expected,
            filterings=self.filterings,
            history=tuple(self.history),
            further_values=s * basis.theta[k:end],
            further_residuals=basis.pairs(k, end)[3],
            interval=None if self.interval is None else (s * self.interval[0], s * self.interval[1]),
            single=self.products.single,
            flops=basis.flops,
        )
