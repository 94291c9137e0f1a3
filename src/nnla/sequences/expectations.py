"""What each choice is expected to take, from counts and from what the run has shown; it solves nothing."""

from __future__ import annotations

import math

from nnla.kernels.cholesky import Cholesky
from nnla.sequences.changes import Change
from nnla.sequences.costs import Costs, counted
from nnla.sequences.kept import Kept, SetUp
from nnla.sequences.policy import Situation, chebyshev_iterations
from nnla.sequences.systems import System, drift_between

__all__ = ["Expectations", "analysed", "drift_of"]

_AUTO = 3e-3  # seconds that choosing a method takes
_LEAST_DRIFT = 1e-4  # of a matrix whose diagonal is the same and whose other entries are not
_USUAL = 40.0  # iterations of CG where nothing is known of them
_FAST = 0.6  # weight of the last iterations in those expected
_RATE = 0.5  # weight of the last guess in what guesses are expected to gain
_ENOUGH = 4  # old solutions that guesses are judged by
_TRIED = 0.2  # of a solve: what they may cost until then
_AGAIN = 10  # solves until what did not pay is tried again, doubled every time
_FEWEST = 3.5  # iterations of CG with the factor of a matrix that has changed
_HOPE = 0.5  # by what a direct solution may take less than was predicted
_DOUBT = 2.0  # times the iterations that a factor takes after a drift by rule, before any were seen
_COLD_MOST = 3.0  # times the counted seconds that a cold solve is believed to take


class Expectations:
    """Expected seconds of the choices of a step.

    Parameters
    ----------
    rtol : of the solves
    learn : False for seconds by counts alone
    free : whether the method is for us to choose

    Attributes
    ----------
    costs : seconds of parts
    family : the method that what is kept is of: "direct", "ic", ...; None before a solve
    """

    def __init__(self, rtol: float, learn: bool, free: bool = True) -> None:
        self.costs = Costs(learn)
        self.digits = math.log(1.0 / min(max(rtol, 1e-16), 0.5))
        self.free = free
        self.family: str | None = None
        self._counts = Costs(True, _FAST)  # iterations, which no clock has a say in
        self._fill: tuple[float, float] | None = None  # operations and entries of a factor, by stored entry of A
        self._promised: float | None = None  # seconds of a direct solution, before anything was analysed
        self._gain: float | None = None  # share of the reduction that a guess makes
        self._pause, self._next = _AGAIN, 0

    def begin(self, method: str, predicted: dict[str, float] | None) -> None:
        """A solve from nothing has chosen a method, and has predicted what others would take."""
        self.family = method
        if predicted is not None and "direct" in predicted:
            self._promised = predicted["direct"]

    # -- seconds of parts ----------------------------------------------------------------------------------------------

    def part(self, name: str, system: System, columns: int = 1) -> float:
        """Seconds of a part of a solve."""
        return self.costs.seconds(name, counted(name, system.n, system.nnz, columns=columns))

    def learn_part(self, name: str, system: System, measured: float, times: float = 1.0) -> None:
        """Take note of the seconds of so many such parts."""
        if times > 0:
            self.costs.learn(name, measured=measured / times, counted=counted(name, system.n, system.nnz))

    def factor(self, system: System, kept: Kept) -> float:
        """Seconds of a factorisation, with the analysis where that is not kept."""
        if self._fill is None and not analysed(kept, system) and self.family != "direct":
            return math.inf if self._promised is None else self._promised
        flops, entries = self.fill(system, kept)
        known = counted("factor", system.n, system.nnz, flops=flops, entries=entries)
        order = 0.0 if analysed(kept, system) else self.part("order", system)
        return order + self.costs.seconds("factor", known)

    def substitution(self, system: System, kept: Kept, columns: int) -> float:
        """Seconds of a solution by a factor."""
        _, entries = self.fill(system, kept)
        known = counted("substitution", system.n, system.nnz, entries=entries, columns=columns)
        return self.costs.seconds("substitution", known)

    def step(self, method: str, system: System, kept: Kept, columns: int) -> float:
        """Seconds of an iteration of CG."""
        return self.costs.seconds(f"step.{method}", self._counted_step(method, system, kept, columns))

    def learn_step(self, method: str, system: System, kept: Kept, columns: int, seconds: float) -> None:
        """Take note of what an iteration took."""
        self.costs.learn(f"step.{method}", measured=seconds, counted=self._counted_step(method, system, kept, columns))

    def _counted_step(self, method: str, system: System, kept: Kept, columns: int) -> float:
        n, nnz = system.n, system.nnz
        if method != "direct":
            return counted(f"step.{method}", n, nnz, columns=columns)
        entries = self.fill(system, kept)[1]
        return counted("substitution", n, nnz, entries=entries) + 1.5 * counted("product", n, nnz) + 2e-5

    def fill(self, system: System, kept: Kept) -> tuple[float, float]:
        """Operations and entries of a factor."""
        if kept.repeated is not None and analysed(kept, system):
            return kept.repeated.flops, kept.repeated.nnz
        if system.op.csr is None:
            return system.n**3 / 3.0, system.n**2 / 2.0
        flops, entries = self._fill or (1e3, 10.0)
        return flops * system.nnz, entries * system.nnz

    def learn_fill(self, flops: float, entries: float, system: System) -> None:
        """What an analysis has counted."""
        self._fill = flops / system.nnz, entries / system.nnz

    # -- iterations ----------------------------------------------------------------------------------------------------

    def iterations(self, method: str, drift: float | None) -> float:
        """Of CG, from nothing: with a set-up of this matrix (None), or of one that it has drifted from by so much."""
        known = self._counted_iterations(method, drift)
        if drift is None:
            return known
        name = f"drift.{method}"
        if self._counts.known(name):
            return self._counts.seconds(name, known)
        return (_DOUBT if method == "direct" else 1.0) * known

    def _counted_iterations(self, method: str, drift: float | None) -> float:
        if method == "direct":
            return chebyshev_iterations(max(drift or 0.0, _LEAST_DRIFT), self.digits)
        fresh = self._counts.seconds(f"fresh.{method}", _USUAL)
        return fresh * math.exp(0.5 * min(drift or 0.0, 100.0))

    def learn_iterations(self, method: str, drift: float | None, iterations: float, done: float) -> None:
        """Take note of iterations that have made a share ``done`` of the reduction asked for."""
        whole = max(iterations, 1.0) / max(done, 0.05)
        name, known = f"drift.{method}", self._counted_iterations(method, drift)
        if drift is None:
            name, known = f"fresh.{method}", _USUAL
        self._counts.learn(name, measured=whole, counted=known)

    def learn_guess(self, share: float, gained: float, number: int, vectors: int) -> None:
        """A guess from so many vectors has made this share of the reduction, and has saved so many seconds in all."""
        share = max(share, 0.0)
        self._gain = share if self._gain is None else self._gain + _RATE * (share - self._gain)
        if gained <= 0.0 and vectors >= _ENOUGH:
            self._next, self._pause = number + self._pause, 2 * self._pause
        else:
            self._pause = _AGAIN

    # -- the situation -------------------------------------------------------------------------------------------------

    def cold(self, system: System, kept: Kept, columns: int) -> float:
        """Seconds of `nnla.solve`."""
        known = self._counted_cold(system, kept, columns)
        return min(self.costs.seconds(f"cold.{self.family}", known), _COLD_MOST * known)

    def learn_cold(self, system: System, kept: Kept, columns: int, seconds: float) -> None:
        """Take note of what a solve from nothing took."""
        self.costs.learn(f"cold.{self.family}", measured=seconds, counted=self._counted_cold(system, kept, columns))

    def _counted_cold(self, system: System, kept: Kept, columns: int) -> float:
        n, nnz = system.n, system.nnz
        family = self.family or "direct"
        seconds = _AUTO + counted("verify", n, nnz, columns=columns)
        if family == "direct":
            flops, entries = self.fill(system, kept)
            more = counted("order", n, nnz) + counted("factor", n, nnz, flops=flops, entries=entries)
            return seconds + more + counted("substitution", n, nnz, entries=entries, columns=columns)
        step = counted(f"step.{family}", n, nnz, columns=columns)
        return seconds + counted(f"setup.{family}", n, nnz) + step * self.iterations(family, None)

    def always_factored(self, system: System, kept: Kept) -> bool:
        """Whether a factorisation takes less than CG with an earlier factor can, however near that is."""
        if self.family != "direct" or not analysed(kept, system):
            return False
        step = self.step("direct", system, kept, 1)
        return self.factor(system, kept) < self.part("around", system) + _FEWEST * step

    def settle(self, method: str, system: System, change: Change, kept: Kept, columns: int, other: float) -> bool:
        """Whether to stay with a method that was tried, where the one before was expected to take so many seconds."""
        later = self.substitution(system, kept, columns) + self.part("verify", system, columns)
        if change is not Change.SAME:
            later += self.factor(system, kept)
        stays = method != "direct" or later < other
        if stays:
            self.family = method
        return stays

    def situation(
        self, system: System, change: Change, kept: Kept, columns: int, owed: float, cold_so_far: float, number: int
    ) -> Situation:
        """What a policy is asked with."""
        family, set_up = self.family, kept.set_up
        if family is None:
            return Situation(change, None, math.inf)
        verify = self.part("verify", system, columns)
        known = analysed(kept, system)
        direct = self.factor(system, kept) + self.substitution(system, kept, columns) + verify
        gain: float | None = 0.0
        refresh = direct
        if family != "direct":
            fresh = self.iterations(family, None) * self.step(family, system, kept, columns)
            gain = self._expected_gain(fresh, system, change, kept, number)
            refresh = self.part(f"setup.{family}", system) + fresh + self.part("around", system) - max(gain or 0.0, 0.0)
        cold = self.cold(system, kept, columns)
        if family != "direct" or known:
            refresh = min(refresh, cold)  # which does as much, and chooses first
        age = keep = None
        if set_up is not None and set_up.diagonal.size == system.n:
            age = system.number - set_up.number
            keep = self._keep(system, kept, set_up, columns, age, refresh) - max(gain or 0.0, 0.0)
        possible = (self.free or family == "direct") and system.op.csr is not None and Cholesky.available()
        factored = direct if possible and (family != "direct" or not known) else None
        return Situation(
            change, age, cold, refresh, keep,
            average=math.inf if set_up is None else set_up.average,
            owed=owed,
            cold_so_far=cold_so_far,
            guess_gain=gain,
            factored=factored,
            refactored=direct if known else self._later(direct, system),
            substituted=self.substitution(system, kept, columns) + verify,
            method=family,
            solves=number,
        )  # fmt: skip

    def _later(self, direct: float, system: System) -> float:
        """Seconds of a later direct solution; what was only predicted may turn out to be less, which is worth a try."""
        seconds = max(direct - self.part("order", system), 0.1 * direct)
        return seconds if self._fill is not None else _HOPE * seconds

    def _keep(self, system: System, kept: Kept, set_up: SetUp, columns: int, age: int, refresh: float) -> float:
        """Seconds of solving with what was set up for an earlier matrix, or for this one."""
        method = set_up.method
        step = self.step(method, system, kept, columns)
        if age == 0:
            if method == "direct":
                return self.substitution(system, kept, columns) + self.part("verify", system, columns)
            return self.iterations(method, None) * step + self.part("around", system)
        least = self.part("around", system) + (_FEWEST * step if method == "direct" else 0.0)
        if least > refresh:  # whatever the drift is
            return least
        return self.iterations(method, drift_of(set_up, system)) * step + self.part("around", system)

    def _expected_gain(self, fresh: float, system: System, change: Change, kept: Kept, number: int) -> float | None:
        """Seconds that a guess saves; None where that is not known."""
        if kept.space is None or kept.space.n != system.n or not len(kept.space):
            return None  # nothing to lose but memory
        if number < self._next:
            return -1.0
        renewal = 0.0 if change is Change.SAME else len(kept.space) * self.part("renew", system)
        if self._gain is None or (len(kept.space) < _ENOUGH and renewal < _TRIED * fresh):
            return None
        return self._gain * fresh - renewal


def analysed(kept: Kept, system: System) -> bool:
    """Whether the analysis that is kept is of this pattern."""
    return kept.repeated is not None and bool(system.pattern) and kept.pattern == system.pattern


def drift_of(set_up: SetUp, system: System) -> float | None:
    """How far the matrix is from that of a set-up; None for the same one."""
    if set_up.number == system.number:
        return None
    return max(drift_between(set_up.diagonal, system.diagonal), _LEAST_DRIFT)
