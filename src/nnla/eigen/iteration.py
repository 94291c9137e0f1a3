"""The hunt for k extremal eigenpairs in a thick-restart Lanczos process, restart by restart."""

from __future__ import annotations

import math

import numpy as np

from nnla.eigen.filter_choice import FilterChoice
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.operators.arrays import to_numpy
from nnla.operators.operator import Operator

__all__ = ["Search", "multiply"]

RESOLVED = 1e-5  # residuals of what counts as resolved, by the largest of the wanted eigenvalues
_RESOLVING = 0.1 * RESOLVED  # the same while copies may be missing, without which that eigenvalue is too large
_STILL, _STILL_NOISY = 200, 20  # fillings without progress that end a search, the second for noisy products
EXTRA = 5  # Ritz vectors kept beyond the wanted ones, as `eigs` is usually asked for k + 5
_EPS = float(np.finfo(np.float64).eps)


def multiply(op: Operator, v: np.ndarray) -> np.ndarray:
    """A v as a NumPy array, whatever kind of operator A is; counted.

    Cost: a product with A.
    """
    return op.matvec(v) if op.xp == "numpy" else to_numpy(op.matvec(op.as_vector(v)))


class Search:
    """Finds the k eigenpairs of A at one end of its spectrum, as the largest of a filter F of A.

    Parameters
    ----------
    op : Operator, A
    space : ThickRestart of F, with the same eigenvectors, F decreasing away from the wanted end
    k : pairs wanted
    orientation : 1.0 where the largest eigenvalues of A are wanted, -1.0 where the smallest
    target : a pair is accepted at ``||A v - lambda v|| <= target``, if that resolves the wanted eigenvalues, too
    floor : residual that rounding leaves: no less is asked for, and a search that stands still ends. Without one, the
        target is all, and the search goes on
    choice : the filter that F is; None where F is A or -A
    width : length of the spectrum of A, where there is a filter
    noise : of a product, relative to its size, where that is more than the rounding of float64
    inverse_of : s where F is (s - o A)^-1, o the orientation

    Attributes
    ----------
    restarts : fillings of the subspace
    history : estimated residual of the worst of the k wanted pairs after each
    worst_accepted : residual of the pair that was locked last
    values, thetas : eigenvalues of the locked vectors in the order of locking, and what F makes of them
    misled : the filter turned out to be none for the wanted pairs
    stagnated : pairs were accepted that rounding keeps from the target
    """

    def __init__(
        self,
        op: Operator,
        space: ThickRestart,
        k: int,
        orientation: float,
        target: float,
        choice: FilterChoice | None = None,
        width: float = 0.0,
        *,
        floor: float | None = None,
        inverse_of: float | None = None,
        noise: float = 0.0,
    ) -> None:
        self.op, self.space, self.k = op, space, k
        self.orientation, self.target, self.choice = orientation, target, choice
        self.floor = target if floor is None else floor
        self._still = math.inf if floor is None else _STILL_NOISY if noise > 0 else _STILL
        self._inverse_of, self._noise = inverse_of, noise
        # first guess of the residual in A by that in F, until there is one of either
        self._ratio = 1.0 if choice is None else 0.5 * width
        self.restarts = self._locked = self._locked_at = 0
        self.history: list[float] = []
        self.stagnated = self.misled = False
        self.worst_accepted = 0.0
        self.values: list[float] = []
        self.thetas: list[float] = []

    def inherit(self, other: Search) -> Search:
        """Take over the pairs that another search has locked, whose vectors are locked in this one's space."""
        self.values = list(other.values)
        self.thetas = [self.filtered(value) for value in self.values]
        return self

    def filtered(self, value: float) -> float:
        """F at an eigenvalue of A."""
        if self._inverse_of is not None:
            return 1.0 / (self._inverse_of - self.orientation * value)
        return self.orientation * value if self.choice is None else float(self.choice.recurrence(float(value)))

    def window(self, far: float) -> Window:
        """What is known of the wanted end now. Cost: a product with A for each vector kept, if there is a filter."""
        if self.choice is None:
            values, residuals = self.orientation * self.space.theta, self.space.residuals
        else:
            pairs = np.array([self._rayleigh(y) for y in self.space.kept_vectors(self.k + EXTRA)]).reshape(-1, 2)
            values, residuals = pairs[:, 0], pairs[:, 1]
        values = np.concatenate([self.values, values])
        residuals = np.concatenate([np.zeros(len(self.values)), residuals])
        order = np.argsort(-self.orientation * values, kind="stable")
        steps = self.space.steps
        return Window(values[order], residuals[order], far, self.op.n, self.k, self.space.size, steps)

    @property
    def done(self) -> bool:
        """Whether k pairs are locked."""
        return len(self.values) >= self.k

    @property
    def complete(self) -> bool:
        """Whether the first filling held the whole space, and with it every eigenpair."""
        return self.restarts == 1 and self.space.size == self.space.n

    @property
    def target_now(self) -> float:
        """Residual that the pairs found so far are accepted at."""
        return max(min(self.target, RESOLVED * max(map(abs, self.values), default=0.0)), self.floor)

    @property
    def best(self) -> list[int]:
        """Places in `values` of the k best locked pairs, best first."""
        order = sorted(range(len(self.values)), key=lambda i: -self.orientation * self.values[i])
        return order[: self.k]

    def run(self, maxiter: int) -> None:
        """Restart until k pairs are locked, the filter turns out to mislead, or after ``maxiter`` restarts."""
        while not self.done and not self.misled and self.restarts < maxiter:
            self.restarts += 1
            self._restart(self.k)
            if self._too_few_beyond_the_cut():
                self.misled = True
            # what is locked has met the target; an estimate for the others
            left = self.k - len(self.values)
            worst = self._ratio * float(self.space.residuals[: max(left, 1)].max(initial=0.0)) if left else self.target
            self.history.append(worst)
            if self._stands_still():
                self.stagnated = True
                break

    def _stands_still(self) -> bool:
        """Whether many fillings have neither brought a pair nor the next ones nearer."""
        self._locked_at = self.restarts if len(self.values) > self._locked else self._locked_at
        self._locked = len(self.values)
        since = self.restarts - self._locked_at
        if min(since, len(self.history)) < self._still:
            return False
        return self.history[-1] > 0.5 * self.history[-int(self._still)]

    def _restart(self, wanted: int) -> int:
        """One filling, what it brings, and the shrinking; how many pairs were locked."""
        space = self.space
        space.extend()
        found = self.accept(wanted - len(self.values))
        left = max(wanted - len(self.values), 0)
        space.restart(found + min(left + EXTRA, max(space.active - found - 2, 1)))
        space.lock(found)
        return found

    def _too_few_beyond_the_cut(self) -> bool:
        """Whether fewer than k eigenvalues seem to lie beyond the filter's cut, after enough restarts to tell."""
        if self.choice is None or self.choice.cut is None or self.done:
            return False
        left = self.k - len(self.values)
        if left > self.space.theta.size or float(self.space.theta[left - 1]) > 1.0:
            return False
        if self.restarts >= 3:
            return True
        kept = self.space.kept_vectors(left)
        if len(kept) < left:
            return False
        value, residual = self._rayleigh(kept[left - 1])
        return self.orientation * (self.choice.cut - value) > residual  # an eigenvalue lies there

    def accept(self, limit: int) -> int:
        """Take leading Ritz pairs that meet the target, in order, by their true residuals."""
        space, found = self.space, 0
        cut = None if self.choice is None else self.choice.cut
        floor = 8 * max(_EPS, self._noise) * float(np.abs(space.theta).max(initial=0.0))
        for i in range(min(limit, space.theta.size)):
            estimate = float(space.residuals[i])
            if self._ratio * estimate > 4 * self.target and estimate > floor:
                break
            value, residual = self.pair(i)
            if estimate > floor:
                self._ratio = max(residual / estimate, 1e-3 * self._ratio)
            if residual > self.target or residual > max(self._resolving(residual, value), self.floor):
                if estimate > floor:
                    break
                self.stagnated = True
            if cut is not None and self.orientation * (value - cut) < 0:
                self.misled = True
                break
            self.worst_accepted = residual
            self.values.append(value)
            self.thetas.append(float(space.theta[i]))
            found += 1
        return found

    def _resolving(self, residual: float, value: float) -> float:
        """Residual that tells the wanted eigenvalues from zero; asks the k-th Ritz pair only if nearer ones do not do.

        Cost: a product, if at all.
        """
        known = _RESOLVING * max(map(abs, [value, *self.values]))
        last = self.k - len(self.values) - 1
        if residual <= max(known, self.floor) or not 0 <= last < self.space.theta.size:
            return known
        least, off = self.pair(last)
        return max(known, _RESOLVING * (abs(least) - off))  # the eigenvalue may be as small as that

    def pair(self, i: int) -> tuple[float, float]:
        """Rayleigh quotient and residual norm of the i-th Ritz vector. Cost: a product with A."""
        return self._rayleigh(self.space.vector(i))

    def _rayleigh(self, y: np.ndarray) -> tuple[float, float]:
        y = y / np.linalg.norm(y)
        Ay = multiply(self.op, y)
        value = float(y @ Ay)
        return value, float(np.linalg.norm(Ay - value * y))

    # -- the answer ------------------------------------------------------------------------------------

    def pairs(self, spare: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k best pairs: eigenvalues increasing (k,), vectors (n, k), true residual norms (k,).

        Rayleigh-Ritz of A itself in the span of the locked vectors and, where fewer than k are locked, of the leading
        Ritz vectors and of ``spare`` rows. Cost: two products a vector.
        """
        space = self.space
        short = max(self.k - space.locked, 0)
        rows = space.locked_vectors()
        if short:
            rows = np.concatenate([rows, space.kept_vectors(short), *([] if spare is None else [spare])])[: space.n]
        Q, _ = np.linalg.qr(rows.T)
        AQ = np.stack([multiply(self.op, np.ascontiguousarray(q)) for q in Q.T], axis=1)
        H = Q.T @ AQ
        w, S = np.linalg.eigh((H + H.T) / 2)
        best = np.argsort(-self.orientation * w, kind="stable")[: self.k]
        best = np.sort(best)
        w, V = w[best], Q @ S[:, best]
        V /= np.linalg.norm(V, axis=0)
        residuals = np.array([self._residual(w[j], V[:, j]) for j in range(w.size)])
        return w, V, residuals

    def _residual(self, value: float, v: np.ndarray) -> float:
        return float(np.linalg.norm(multiply(self.op, np.ascontiguousarray(v)) - value * v))
