"""What `nnla.checks.check_model` asks of the models of each task; `nnla.tasks.TASKS` says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.errors import NNLAError
from nnla.evaluation.conformance import say
from nnla.types import SpectralProbe

__all__ = [
    "check_dense_solutions",
    "check_filters",
    "check_guesses",
    "check_inverse_square_roots",
    "check_iterated_solutions",
    "check_margins",
    "check_newton_steps",
    "check_plans",
    "check_polynomials",
    "check_schedules",
    "check_transitions",
]

_UNIT = 2.0**30  # exact: what depends on it depends on the scale, not on rounding


def check_polynomials(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for linear systems: probes of random spectra, the same in other units.

    Cost: a simulated probe and three answers of the engine a trial.
    """
    from nnla.evaluation.engines import unguarded
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import simulate_probe

    rng = np.random.default_rng(seed)
    messages: list[str] = []
    degree = engine.degree or 11
    for _ in range(trials):
        s = sample_spectrum(rng)
        alpha, beta, users = simulate_probe(s.lam, s.weight, s.measure, 40)
        probe = SpectralProbe(alpha, beta, s.n, reductions=users)
        scaled = SpectralProbe(_UNIT * alpha, _UNIT * beta, s.n, reductions=users)
        try:
            one, again, other = (unguarded(engine, p, degree, 1e-8)[0] for p in (probe, probe, scaled))
        except NNLAError as error:
            say(messages, True, f"{type(error).__name__}: {error}")
            continue
        say(messages, one != again, "two calls differ")
        lam = s.lam[s.lam <= probe.upper_bound]
        p, q = one(lam), _UNIT * other(_UNIT * lam)
        say(messages, not np.allclose(p, q, rtol=1e-5, atol=0.0), "the answer depends on the scale of A")
        say(messages, not np.all(p > 0), "a polynomial is not positive on the spectrum")
    return messages


def check_filters(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for eigenproblems: windows of random spectra, the same in other units."""
    from nnla.eigen.filter_choice import choose_filter
    from nnla.eigen.window import Window
    from nnla.problems.eigen_spectra import eigen_spectrum
    from nnla.tasks import task_of

    method = task_of(engine).method
    assert method is not None
    k, ncv = 5, 20
    messages: list[str] = []
    for trial in range(trials):
        lam = eigen_spectrum(seed + trial)
        residual = 1e-4 * (lam[-1] - lam[0]) * np.ones(ncv)

        def choice(unit: float, lam: np.ndarray = lam, residual: np.ndarray = residual) -> Any:
            window = Window(unit * lam[:ncv], unit * residual, unit * float(lam[-1]), lam.size, k, ncv, 60)
            return choose_filter(window, method, 21, engine=engine).recurrence

        one, again, other = choice(1.0), choice(1.0), choice(_UNIT)
        say(messages, one != again, "two calls differ")
        p, q = one(lam), other(_UNIT * lam)
        say(messages, not np.all(np.isfinite(p)), "a filter is not finite on the spectrum")
        say(messages, not np.allclose(p, q, rtol=1e-5, atol=1e-8), "the answer depends on the scale of A")
        say(messages, not p[0] > 0, "a filter is not positive at the wanted end")
    return messages


def check_plans(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for plans of the subspace method: windows of random spectra, the same in other units."""
    from nnla.eigen.window import Window
    from nnla.problems.eigen_spectra import eigen_spectrum

    k, ncv = 5, 20
    messages: list[str] = []
    for trial in range(trials):
        lam = eigen_spectrum(seed + trial)
        residual = 1e-4 * (lam[-1] - lam[0]) * np.ones(ncv)

        def counts(unit: float, lam: np.ndarray = lam, residual: np.ndarray = residual) -> np.ndarray:
            window = Window(unit * lam[:ncv], unit * residual, unit * float(lam[-1]), lam.size, k, ncv, ncv)
            found = engine.counts(window, digits=8.0)
            return np.array([found.products, found.filterings, found.flops])

        one, again, other = counts(1.0), counts(1.0), counts(_UNIT)
        say(messages, not np.array_equal(one, again), "two calls differ")
        say(messages, not (np.all(np.isfinite(one)) and np.all(one > 0)), "a count is not positive")
        say(messages, not np.allclose(one, other, rtol=1e-6), "the answer depends on the scale of A")
    return messages


def check_margins(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for polynomials of functions: the inverse square root, on probes of random spectra."""
    from nnla.functions.design import design_function
    from nnla.functions.scalars import FUNCTIONS

    options: dict[str, Any] = {"method": "autospec", "rtol": 1e-6, "degree": 21, "engine": engine}
    return _roots(lambda probe: design_function(probe, FUNCTIONS["inv_sqrt"], **options).recurrence, trials, seed)


def check_inverse_square_roots(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for the inverse square root: its polynomials, on probes of random spectra."""
    return _roots(lambda probe: engine.recurrence(probe, degree=engine.degree or 21), trials, seed)


def _roots(answer: Callable[[SpectralProbe], Any], trials: int, seed: int) -> list[str]:
    """Of polynomials for the inverse square root: probes of random spectra, the same in other units."""
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import simulate_lanczos

    rng = np.random.default_rng(seed)
    messages: list[str] = []
    for _ in range(trials):
        s = sample_spectrum(rng)
        alpha, beta = simulate_lanczos(s.lam, s.weight, 40)
        probe, scaled = SpectralProbe(alpha, beta, s.n), SpectralProbe(_UNIT * alpha, _UNIT * beta, s.n)
        one, again, other = answer(probe), answer(probe), answer(scaled)
        say(messages, one != again, "two calls differ")
        p, q = one(s.lam), np.sqrt(_UNIT) * other(_UNIT * s.lam)
        say(messages, not np.all(np.isfinite(p)), "a polynomial is not finite on the spectrum")
        near = s.lam <= probe.upper_bound
        say(messages, not np.allclose(p[near], q[near], rtol=1e-4), "the answer depends on the scale of A")
    return messages


def check_guesses(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of initial guesses: up to five small frames, the same in another order and other units."""
    from nnla.guesses.guess import initial_guess
    from nnla.problems.frames import frame
    from nnla.problems.geometry import Geometry

    messages: list[str] = []
    for trial in range(min(trials, 5)):
        one = frame("mini", 20_000_000 + seed + trial, style="irregular", loads=2)
        A, b, rng = one.A, one.loads[:, 1], np.random.default_rng(trial)
        order, c, d = rng.permutation(one.n), _UNIT, 2.0**-20

        def guess(A: Any, b: Any, order: Any, one: Any = one) -> np.ndarray:
            geometry = Geometry(one.dof[order], one.coordinates[order]) if model.takes_geometry else None
            return initial_guess(A, b, model=model, geometry=geometry, guard=False).x

        every = np.arange(one.n)
        x, again = guess(A, b, every), guess(A, b, every)
        size = float(np.linalg.norm(x))
        say(messages, not np.all(np.isfinite(x)), "a guess is not finite")
        say(messages, not np.array_equal(x, again), "two calls differ")
        say(messages, not x @ (A @ x) <= 2 * (b @ x) * (1 + 1e-9), "a guess is farther from the solution than zero")
        scaled = guess(c * A, d * b, every) * (c / d)
        say(messages, not np.linalg.norm(scaled - x) <= 1e-5 * size, "the answer depends on the scale of A or b")
        moved = guess(A[order][:, order], b[order], order)
        say(messages, not np.linalg.norm(moved - x[order]) <= 1e-3 * size, "the answer depends on the order of rows")
    return messages


def check_dense_solutions(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of dense systems: boundary value problems of its sizes, the same in other units, alone and in a batch.

    Cost: six answers of the model to ``trials`` systems in all, and their refinement, up to 30 times more.
    """
    from nnla.problems.bvp import EQUATIONS, bvp_systems

    messages: list[str] = []
    for trial in range(min(trials, len(EQUATIONS) * len(model.sizes))):
        n, equation = model.sizes[trial % len(model.sizes)], EQUATIONS[trial // len(model.sizes)]
        systems = bvp_systems(2, equation=equation, n=n, seed=[seed, trial])
        _check_dense(messages, model, systems.A, np.stack([systems.b, systems.b[::-1]], axis=2))
    return messages


def check_iterated_solutions(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of positive definite systems: random ones of its sizes, as `check_dense_solutions` does.

    Cost: six answers of the model to ``trials`` systems in all, and their refinement, up to 30 times more.
    """
    from nnla.problems.dense_spd import spd_systems

    messages: list[str] = []
    for trial in range(trials):
        systems = spd_systems(2, model.sizes[trial % len(model.sizes)], seed=[seed, trial])
        _check_dense(messages, model, systems.A, np.stack([systems.b, systems.b[::-1]], axis=2))
    return messages


def _check_dense(messages: list[str], model: Any, A: np.ndarray, b: np.ndarray) -> None:
    """What holds for two matrices A (2, n, n) with two right-hand sides each, b (2, n, 2)."""
    kept = A.copy(), b.copy()
    x, again = model.guess(A, b), model.guess(A, b)
    say(messages, not (np.array_equal(A, kept[0]) and np.array_equal(b, kept[1])), "the model changes A or b")
    say(messages, not np.all(np.isfinite(x)), "an answer is not finite")
    say(messages, not np.array_equal(x, again), "two calls differ")
    scaled = model.guess(_UNIT * A, b / _UNIT) * _UNIT * _UNIT
    say(messages, not np.array_equal(scaled, x), "the answer depends on the scale of A or b")
    size, alone = float(np.linalg.norm(x)), model.guess(A[1], b[1, :, 0])
    say(messages, not np.linalg.norm(alone - x[1, :, 0]) <= 1e-3 * size, "the answer depends on the batch")
    if model.linear:
        mixed = model.guess(A, b[:, :, :1] - 2 * b[:, :, 1:]) - x[:, :, :1] + 2 * x[:, :, 1:]
        say(messages, not np.linalg.norm(mixed) <= 1e-4 * size, "linear is said, and A(b - 2c) != A(b) - 2 A(c)")
    solved, report = model.solve(A, b, refine=True, rtol=1e-8)
    residual = np.linalg.norm(b - A @ solved, axis=1) / np.linalg.norm(b, axis=1)
    wrong = report.converged != bool(np.all(residual <= 1.001e-8))
    say(messages, wrong, "the report calls verified what is not, or the other way round")


def check_schedules(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for momentum schedules: probes of random spectra, the same in other units."""
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import simulate_lanczos

    rng = np.random.default_rng(seed)
    messages: list[str] = []
    for _ in range(trials):
        s = sample_spectrum(rng)
        alpha, beta = simulate_lanczos(s.lam, s.weight, 12)
        probe, scaled = SpectralProbe(alpha, beta, s.n), SpectralProbe(_UNIT * alpha, _UNIT * beta, s.n)
        one, again, other = (engine.lower(p, 1e-3) for p in (probe, probe, scaled))
        say(messages, one != again, "two calls differ")
        say(messages, not 0 < one < probe.upper_bound, "the lower end is not in (0, b)")
        say(messages, not np.isclose(other, _UNIT * one, rtol=1e-6), "the answer depends on the scale of the Hessian")
    return messages


def check_transitions(engine: Any, trials: int, seed: int) -> list[str]:
    """Of a table of transitions: ratios that rise in (0, 1), and ``trials`` of the errors that it states."""
    from nnla.extensions.minimax import Stage

    ratios, parameters, errors = engine.table()
    messages: list[str] = []
    say(messages, not (np.all(np.diff(ratios) > 0) and ratios[0] > 0 and ratios[-1] < 1), "the ratios do not rise")
    for ratio, row, error in list(zip(ratios, parameters, errors, strict=True))[:trials]:
        x = np.linspace(ratio, 1.0, 4000)
        found = float(np.abs(Stage(row, error, 1 - error, 1 + error)(x) - 1).max())
        say(messages, not found <= 1.001 * error + 1e-14, f"the error for ratio {ratio:.3g} is {found:.3g}")
    return messages


def check_newton_steps(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for Newton steps: random regressions, the same in other units and with rows in another order."""
    from nnla.extensions.lp_newton import newton_lp
    from nnla.problems.lp_families import lp_problems
    from nnla.problems.lp_regression import lp_regression

    rng = np.random.default_rng(seed)
    messages: list[str] = []
    for problem in lp_problems(trials, m=240, n=12, seed=seed, fixed=False):
        A, b = problem.design.columns, problem.target
        order = rng.permutation(len(b))

        def step(state: Any) -> Any:
            d = engine.direction(state)
            if d is not None:
                say(messages, not np.all(np.isfinite(d)), "a direction is not finite")
                say(messages, not float(d @ state.gradient) < 0, "a direction does not descend")
            return d

        ends: list[np.ndarray] = []
        counts: list[int] = []
        for other in (problem, problem, lp_regression(_UNIT * A, b / _UNIT), lp_regression(A[order], b[order])):
            x, report = newton_lp(other, step=step)
            say(messages, not report.converged, "a run did not converge")
            ends.append(x * problem.design.norms * problem.design.largest if other is problem else x)
            counts.append(report.iterations)
        size = float(np.abs(ends[0]).max())
        say(messages, not np.array_equal(ends[0], ends[1]), "two calls differ")
        scaled = ends[2] * _UNIT**2 * problem.unit
        say(messages, counts[2] != counts[0], "the steps depend on the scale of A or b")
        say(messages, not np.abs(scaled - ends[0]).max() <= 1e-4 * size, "the answer depends on the scale of A or b")
        moved = ends[3] * problem.unit
        say(messages, not np.abs(moved - ends[0]).max() <= 1e-4 * size, "the answer depends on the order of rows")
    return messages
