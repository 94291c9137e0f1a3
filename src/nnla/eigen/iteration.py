"""The hunt for k extremal eigenpairs in a thick-restart Lanczos process, restart by restart."""

from __future__ import annotations

import numpy as np

from nnla.eigen.filter_choice import FilterChoice
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.operators.arrays import to_numpy
from nnla.operators.operator import Operator

__all__ = ["Search", "multiply"]

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
    target : a pair is accepted at ``||A v - lambda v|| <= target``
    choice : the filter that F is; None where F is A or -A
    width : length of the spectrum of A, where there is a filter

    Attributes
    ----------
    restarts : fillings of the subspace
    history : estimated residual of the worst of the k wanted pairs after each
    worst_accepted : residual of the pair that was locked last
    misled : the filter turned out to be none for the wanted pairs
    stagnated : pairs were accepted that rounding keeps from the target
    verified : see `verify`
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
    ) -> None:
        self.op, self.space, self.k = op, space, k
        self.orientation, self.target, self._choice = orientation, target, choice
        # first guess of the residual in A by that in F, until there is one of either
        self._ratio = 1.0 if choice is None else 0.5 * width
        self.restarts = self.verify_restarts = 0
        self.history: list[float] = []
        self.stagnated = self.verified = self.misled = False
        self.worst_accepted = 0.0  # residual
        self._values: list[float] = []  # of the locked vectors
        self._theta: list[float] = []  # their values of F

    def inherit(self, other: Search) -> Search:
        """Take over the pairs that another search has locked, whose vectors are locked in this one's space."""
        self._values = list(other._values)
        self._theta = [self._filtered(value) for value in self._values]
        return self

    def _filtered(self, value: float) -> float:
        """F at an eigenvalue of A."""
        return self.orientation * value if self._choice is None else float(self._choice.recurrence(float(value)))

    def window(self, far: float) -> Window:
        """What is known of the wanted end now. Cost: a product with A for each vector kept, if there is a filter."""
        if self._choice is None:
            values, residuals = self.orientation * self.space.theta, self.space.residuals
        else:
            pairs = np.array([self._rayleigh(y) for y in self.space.kept_vectors(self.k + EXTRA)]).reshape(-1, 2)
            values, residuals = pairs[:, 0], pairs[:, 1]
        values = np.concatenate([self._values, values])
        residuals = np.concatenate([np.zeros(len(self._values)), residuals])
        order = np.argsort(-self.orientation * values, kind="stable")
        steps = self.space.steps
        return Window(values[order], residuals[order], far, self.op.n, self.k, self.space.size, steps)

    @property
    def done(self) -> bool:
        """Whether k pairs are locked."""
        return len(self._values) >= self.k

    def run(self, maxiter: int) -> None:
        """Restart until k pairs are locked, the filter turns out to mislead, or after ``maxiter`` restarts."""
        while not self.done and not self.misled and self.restarts < maxiter:
            self.restarts += 1
            self._restart(self.k)
            if self._too_few_beyond_the_cut():
                self.misled = True
            # what is locked has met the target; an estimate for the others
            left = self.k - len(self._values)
            worst = self._ratio * float(self.space.residuals[: max(left, 1)].max(initial=0.0)) if left else self.target
            self.history.append(worst)

    def _restart(self, wanted: int) -> int:
        """One filling, what it brings, and the shrinking; how many pairs were locked."""
        space = self.space
        space.extend()
        found = self._accept(wanted - len(self._values))
        left = max(wanted - len(self._values), 0)
        space.restart(found + min(left + EXTRA, max(space.active - found - 2, 1)))
        space.lock(found)
        return found

    def _too_few_beyond_the_cut(self) -> bool:
        """Whether fewer than k eigenvalues seem to lie beyond the filter's cut, after enough restarts to tell."""
        if self._choice is None or self._choice.cut is None or self.done:
            return False
        left = self.k - len(self._values)
        if left > self.space.theta.size or float(self.space.theta[left - 1]) > 1.0:
            return False
        if self.restarts >= 3:
            return True
        kept = self.space.kept_vectors(left)
        if len(kept) < left:
            return False
        value, residual = self._rayleigh(kept[left - 1])
        return self.orientation * (self._choice.cut - value) > residual  # an eigenvalue lies there

    def _accept(self, limit: int) -> int:
        """Take leading Ritz pairs that meet the target, in order, by their true residuals."""
        space, found = self.space, 0
        cut = None if self._choice is None else self._choice.cut
        floor = 8 * _EPS * float(np.abs(space.theta).max(initial=0.0))
        for i in range(min(limit, space.theta.size)):
            estimate = float(space.residuals[i])
            if self._ratio * estimate > 4 * self.target and estimate > floor:
                break
            value, residual = self._pair(i)
            if estimate > floor:
                self._ratio = max(residual / estimate, 1e-3 * self._ratio)
            if residual > self.target:
                if estimate > floor:
                    break
                self.stagnated = True
            if cut is not None and self.orientation * (value - cut) < 0:
                self.misled = True
                break
            self.worst_accepted = residual
            self._values.append(value)
            self._theta.append(float(space.theta[i]))
            found += 1
        return found

    def _pair(self, i: int) -> tuple[float, float]:
        """Rayleigh quotient and residual norm of the i-th Ritz vector. Cost: a product with A."""
        return self._rayleigh(self.space.vector(i))

    def _rayleigh(self, y: np.ndarray) -> tuple[float, float]:
        y = y / np.linalg.norm(y)
        Ay = multiply(self.op, y)
        value = float(y @ Ay)
        return value, float(np.linalg.norm(Ay - value * y))

    # -- verification ----------------------------------------------------------------------------------

    def verify(self, limit: int) -> bool:
        """Look for pairs that the Krylov space could not hold, from random vectors; True if none seems to be left.

        Parameters
        ----------
        limit : fillings of the subspace at most, from the last pair found on

        Returns
        -------
        Whether the leading pair of a search from a fresh random vector, beside the locked ones, is no better than
        the k-th and settled: a copy of the k-th, farther from the rest and of like size in a random vector, would
        have come up before it. Pairs found are locked, and `pairs` knows of them.
        """
        space, n = self.space, self.op.n
        left, fresh = limit, True
        while left > 0:
            if space.locked == n:
                self.verified = True
                break
            if space.locked >= space.size - 1 and space.size < n:
                break  # no room left to look
            if fresh:
                space.renew()
            left -= 1
            self.verify_restarts += 1
            space.extend()
            value, _ = self._pair(0)
            worst = sorted(self._values, key=lambda v: -self.orientation * v)[self.k - 1]
            better = self.orientation * (value - worst) > 2 * self.target
            settled = self._settled()
            found = self._accept(1) if better else 0
            space.restart(found + min(EXTRA, max(space.active - found - 2, 1)))
            space.lock(found)
            fresh = found > 0
            if found:
                left = limit  # there may be one more copy
            elif settled and not better:
                self.verified = True
                break
        return self.verified

    def _settled(self) -> bool:
        """Whether the leading Ritz pair is known well enough to tell it from the locked ones."""
        space = self.space
        top = float(space.theta[0])
        spread = top - float(space.theta[min(EXTRA, space.theta.size - 1)])
        apart = max(min(self._theta) - top, 0.05 * spread)
        floor = 8 * _EPS * float(np.abs(space.theta).max())
        return float(space.residuals[0]) <= max(0.1 * apart, floor)

    # -- the answer ------------------------------------------------------------------------------------

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k best pairs: eigenvalues increasing (k,), vectors (n, k), true residual norms (k,).

        Rayleigh-Ritz of A itself in the span of the locked vectors and, where fewer than k are locked, of the leading
        Ritz vectors. Cost: two products a vector.
        """
        space = self.space
        short = max(self.k - space.locked, 0)
        rows = space.locked_vectors()
        if short:
            rows = np.concatenate([rows, space.kept_vectors(short)])
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
