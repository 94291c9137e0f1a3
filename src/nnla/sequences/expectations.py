"""What each choice is expected to take, from counts and from what the run has shown; it solves nothing."""

from __future__ import annotations

import math

from nnla.sequences.changes import Change
from nnla.sequences.costs import Costs, counted
from nnla.sequences.kept import Kept, SetUp
from nnla.sequences.policy import Situation, chebyshev_iterations
from nnla.sequences.systems import System, drift_between

__all__ = ["Expectations", "analysed", "drift_of"]

_AUTO = 3e-3  # seconds that choosing a method takes
_RUN = 5e-4  # seconds around CG
_LEAST_DRIFT = 1e-4  # of a matrix whose diagonal is the same and whose other entries are not
_USUAL = 40.0  # iterations of CG where nothing is known of them
_RATE = 0.5  # of what a guess gains: the weight of the last one
_AGAIN = 10  # solves until what did not pay is tried again, doubled every time


class Expectations:
    """Expected seconds of the choices of a step.

    Parameters
    ----------
    rtol : of the solves
    learn : False for seconds by counts alone

    Attributes
    ----------
    costs : seconds of parts
    family : the method that what is kept is of: "direct", "ic", ...; None before a solve
    """

    def __init__(self, rtol: float, learn: bool) -> None:
        self.costs = Costs(learn)
        self.digits = math.log(1.0 / max(rtol, 1e-16))
        self.family: str | None = None
        self._counts = Costs(True)  # iterations, which no clock has a say in
        self._fill: tuple[float, float] | None = None  # operations and entries of a factor, by stored entry of A
        self._gain: float | None = None  # share of the iterations that a guess saves
        self._pause, self._next = _AGAIN, 0

    # -- seconds -----------------------------------------------------------------------------------------------------

    def part(self, name: str, system: System, columns: int = 1) -> float:
        """Seconds of a part of a solve."""
        return self.costs.seconds(name, counted(name, system.n, system.nnz, columns=columns))

    def learn_part(self, name: str, system: System, measured: float, columns: int = 1, times: float = 1.0) -> None:
        """Take note of the seconds of so many such parts."""
        if times > 0:
            known = counted(name, system.n, system.nnz, columns=columns)
            self.costs.learn(name, measured=measured / times, counted=known)

    def factor(self, system: System, kept: Kept) -> float:
        """Seconds of a factorisation, with the analysis where that is not kept."""
        flops, entries = self.fill(system, kept)
        known = counted("factor", system.n, system.nnz, flops=flops, entries=entries)
        order = 0.0 if analysed(kept, system) else self.part("order", system)
        return order + self.costs.seconds("factor", known)

    def substitution(self, system: System, kept: Kept, columns: int) -> float:
        """Seconds of a solution by a factor."""
        _, entries = self.fill(system, kept)
        known = counted("substitution", system.n, system.nnz, entries=entries, columns=columns)
        return self.costs.seconds("substitution", known)

    def fill(self, system: System, kept: Kept) -> tuple[float, float]:
        """Operations and entries of a factor."""
        if kept.analysis is not None and analysed(kept, system):
            return kept.analysis.flops, kept.analysis.nnz
        if system.pattern == () and system.op.csr is None:
            return system.n**3 / 3.0, system.n**2 / 2.0
        flops, entries = self._fill or (1e3, 10.0)
        return flops * system.nnz, entries * system.nnz

    def learn_fill(self, flops: float, entries: float, system: System) -> None:
        """What an analysis has counted."""
        self._fill = flops / system.nnz, entries / system.nnz

    def iterations(self, method: str, drift: float | None) -> float:
        """Of CG, from nothing: with a set-up of this matrix (None), or of one that it has drifted from by so much."""
        if method == "direct":
            known = chebyshev_iterations(max(drift or 0.0, _LEAST_DRIFT), self.digits)
        else:
            fresh = self._counts.seconds(f"fresh.{method}", _USUAL)
            known = fresh * math.exp(0.5 * min(drift or 0.0, 100.0))
        return known if drift is None else self._counts.seconds(f"drift.{method}", known)

    def learn_iterations(self, method: str, drift: float | None, iterations: float, done: float) -> None:
        """Take note of iterations that have made a share ``done`` of the reduction asked for."""
        whole = max(iterations, 1.0) / max(done, 0.05)
        if drift is None:
            self._counts.learn(f"fresh.{method}", measured=whole, counted=_USUAL)
        else:
            known = self.iterations(method, drift) / self._counts.seconds(f"drift.{method}", 1.0)
            self._counts.learn(f"drift.{method}", measured=whole, counted=known)

    # -- guesses -----------------------------------------------------------------------------------------------------

    def learn_guess(self, share: float, gained: float, number: int) -> None:
        """A guess has made this share of the reduction, and has saved so many seconds in all."""
        share = max(share, 0.0)
        self._gain = share if self._gain is None else self._gain + _RATE * (share - self._gain)
        if gained <= 0.0:
            self._next, self._pause = number + self._pause, 2 * self._pause
        else:
            self._pause = _AGAIN

    # -- the situation ------------------------------------------------------------------------------------------------

    def cold(self, system: System, kept: Kept, columns: int) -> float:
        """Seconds of `nnla.solve`."""
        return self.costs.seconds(f"cold.{self.family}", self.counted_cold(system, kept, columns))

    def counted_cold(self, system: System, kept: Kept, columns: int) -> float:
        """The same by counts."""
        n, nnz = system.n, system.nnz
        family = self.family or "direct"
        seconds = _AUTO + counted("verify", n, nnz, columns=columns)
        if family == "direct":
            flops, entries = self.fill(system, kept)
            more = counted("order", n, nnz) + counted("factor", n, nnz, flops=flops, entries=entries)
            return seconds + more + counted("substitution", n, nnz, entries=entries, columns=columns)
        step = counted(f"step.{family}", n, nnz, columns=columns)
        return seconds + counted(f"setup.{family}", n, nnz) + step * self.iterations(family, None)

    def situation(
        self, system: System, change: Change, kept: Kept, columns: int, owed: float, cold_so_far: float, number: int
    ) -> Situation:
        """What a policy is asked with."""
        family, set_up = self.family, kept.set_up
        if family is None:
            return Situation(change, None, math.inf)
        cold = self.cold(system, kept, columns)
        verify = self.part("verify", system, columns)
        solutions = 0 if kept.space is None or kept.space.n != system.n else len(kept.space)
        refresh = keep = gain = None
        if family == "direct":
            refresh = self.factor(system, kept) + self.substitution(system, kept, columns) + verify
        else:
            step = self.part(f"step.{family}", system, columns)
            fresh = self.iterations(family, None) * step
            around = self.part("verify", system, columns) + _RUN
            renewal = 0.0 if change is Change.SAME else 1.5 * solutions * self.part("product", system)
            gain = self._expected_gain(fresh, renewal, solutions, number)
            saved = max(gain, 0.0) if gain is not None else 0.0
            refresh = self.part(f"setup.{family}", system) + fresh + around - saved
        age = None
        if set_up is not None and set_up.diagonal.size == system.n:
            age = system.number - set_up.number
            keep = self._keep(system, kept, set_up, columns, verify, age)
            if gain is not None and gain > 0.0:
                keep -= gain
        return Situation(
            change, age, cold, refresh, keep, math.inf if set_up is None else set_up.average, owed, cold_so_far, gain,
            None, solutions,
        )  # fmt: skip

    def _keep(self, system: System, kept: Kept, set_up: SetUp, columns: int, verify: float, age: int) -> float:
        method = set_up.method
        if age == 0:
            if method == "direct":
                return self.substitution(system, kept, columns) + verify
            step = self.part(f"step.{method}", system, columns)
            return self.iterations(method, None) * step + verify + _RUN
        if set_up.method == "direct":
            step = self.substitution(system, kept, columns) + 1.5 * self.part("product", system, columns) + 2e-5
        else:
            step = self.part(f"step.{method}", system, columns)
        return self.iterations(method, drift_of(set_up, system)) * step + verify + _RUN

    def _expected_gain(self, fresh: float, renewal: float, solutions: int, number: int) -> float | None:
        if not solutions:
            return 0.0
        if number < self._next:
            return -1.0
        if self._gain is None:
            return None
        return self._gain * fresh - renewal


def analysed(kept: Kept, system: System) -> bool:
    """Whether the analysis that is kept is of this pattern."""
    return kept.analysis is not None and bool(system.pattern) and kept.pattern == system.pattern


def drift_of(set_up: SetUp, system: System) -> float | None:
    """How far the matrix is from that of a set-up; None for the same one."""
    if set_up.number == system.number:
        return None
    return max(drift_between(set_up.diagonal, system.diagonal), _LEAST_DRIFT)
