"""Conformance checks that anyone can run on their own operators, preconditioners and models.

Each returns a list of messages, empty when nothing is wrong: fit for a test (``assert not check(...)``)
and for a first look at what a code hands over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotPositiveDefiniteError, NotSymmetricError
from nnla.operators.operator import as_operator

__all__ = ["check_model", "check_operator", "check_preconditioner", "check_recurrence"]


def check_operator(A: Any, *, trials: int = 3, seed: int = 0) -> list[str]:
    """Is A linear, symmetric, deterministic, positive along random vectors, and does it keep its input?

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes
    trials : random vectors
    seed : of the vectors

    Notes
    -----
    Cost: 6 products a trial. Random vectors cannot prove definiteness; they refute it often.

    Examples
    --------
    >>> import numpy as np
    >>> check_operator(np.diag([1.0, 2.0]))
    []
    >>> len(check_operator(np.array([[1.0, 2.0], [0.0, 1.0]]))) > 0
    True
    """
    messages: list[str] = []
    try:
        op = as_operator(A)
    except (NotSymmetricError, NotPositiveDefiniteError) as error:
        # a product that is not linear, or not repeatable, looks like this first: go on to name the cause
        messages.append(f"{type(error).__name__}: {error}")
        op = as_operator(A, check=False)
    except NNLAError as error:
        return [f"{type(error).__name__}: {error}"]
    rng = np.random.default_rng(seed)

    def product(v: np.ndarray) -> np.ndarray:
        from nnla.operators.arrays import to_numpy

        return to_numpy(op.matvec(op.as_vector(v)))

    for _ in range(trials):
        u, v = rng.standard_normal((2, op.n))
        kept = v.copy()
        Au, Av = product(u), product(v)
        size = np.linalg.norm(Au) + np.linalg.norm(Av) + 1e-300
        _say(messages, not np.array_equal(v, kept), "the product changes its input vector")
        _say(
            messages,
            not np.array_equal(product(v), Av),
            "two products with one vector differ: not deterministic",
        )
        combined = product(2.0 * u - 3.0 * v)
        _say(
            messages,
            np.linalg.norm(combined - 2 * Au + 3 * Av) > 1e-10 * size,
            "A(2u - 3v) != 2Au - 3Av: not linear",
        )
        gap = abs(u @ Av - v @ Au)
        _say(messages, gap > 1e-9 * size * np.sqrt(op.n), "u'Av != v'Au: not symmetric")
        _say(messages, not v @ Av > 0, f"v'Av = {v @ Av:.3g} for a random v: not positive definite")
        if op.n > 1:
            block = product(np.stack([u, v], axis=1))
            wrong = np.linalg.norm(block - np.stack([Au, Av], axis=1)) > 1e-10 * size
            _say(messages, wrong, "the product with a block of two vectors differs from two products")
    return messages


def check_preconditioner(M: Any, A: Any = None, *, trials: int = 3, seed: int = 0) -> list[str]:
    """Is M linear, symmetric and positive: may it precondition CG? With A: does it help at all?

    Parameters
    ----------
    M : LinearOperator, matrix, or callable r -> M r with ``shape``
    A : the operator it is for, optional; then the condition along CG is compared with and without M

    Examples
    --------
    >>> import nnla
    >>> A = nnla.problems.poisson2d(20)
    >>> check_preconditioner(nnla.preconditioner(A), A)
    []
    """
    if not hasattr(M, "shape") and A is None:
        return ["M has no shape; pass a LinearOperator, or A beside it"]
    n = int(M.shape[0]) if hasattr(M, "shape") else as_operator(A).n
    apply = (lambda v: M @ v) if hasattr(M, "__matmul__") else M
    messages: list[str] = []
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        u, v = rng.standard_normal((2, n))
        Mu, Mv = np.asarray(apply(u)), np.asarray(apply(v))
        if Mu.shape != (n,) or not np.all(np.isfinite(Mu)):
            return [f"M r has shape {Mu.shape} or non-finite entries for a finite r of shape ({n},)"]
        size = np.linalg.norm(Mu) + np.linalg.norm(Mv) + 1e-300
        nonlinear = np.linalg.norm(np.asarray(apply(u - 2 * v)) - Mu + 2 * Mv) > 1e-8 * size
        _say(messages, nonlinear, "M(u - 2v) != Mu - 2Mv: not linear; use a flexible method")
        _say(messages, abs(u @ Mv - v @ Mu) > 1e-8 * size * np.sqrt(n), "u'Mv != v'Mu: not symmetric")
        _say(messages, not v @ Mv > 0, f"v'Mv = {v @ Mv:.3g} for a random v: not positive definite")
    if A is not None and not messages:
        from nnla.krylov.probes import probe

        plain, better = probe(A, min(30, n)), probe(A, min(30, n), scaling=apply)
        if not better.definite:
            messages.append("M A has a negative Ritz value: M or A is not positive definite")
        elif better.lambda_max / max(better.lambda_min, 1e-300) > 10 * plain.lambda_max / max(plain.lambda_min, 1e-300):
            messages.append("the probed condition of M A is ten times that of A: M makes things worse")
    return messages


def check_recurrence(recurrence: Any, *, seed: int = 0) -> list[str]:
    """Do the scalar evaluation, the application, the stated cost and the JSON form of a recurrence agree?"""
    from nnla.polynomials.recurrence import Recurrence

    a, b = recurrence.domain
    lam = np.linspace(a, b, 17)
    count = 0

    def matvec(v: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return lam * v

    z = np.random.default_rng(seed).standard_normal(17)
    values = recurrence(lam)
    got = recurrence.apply(matvec, z)
    messages: list[str] = []
    scale = np.max(np.abs(values * z)) + 1e-300
    _say(messages, np.max(np.abs(got - values * z)) > 1e-9 * scale, "apply() is not P(A) z")
    _say(
        messages,
        count != recurrence.products,
        f"apply() cost {count} products, {recurrence.products} promised",
    )
    _say(messages, Recurrence.from_json(recurrence.to_json()) != recurrence, "JSON does not round-trip")
    return messages


def check_model(engine: Any, *, trials: int = 20, seed: int = 0) -> list[str]:
    """Does an engine give finite, scale-free, repeatable, positive answers on probes of random spectra?

    Of engines for eigenproblems, a filter that is positive at the wanted end is asked; of those for matrix functions,
    no sign. The network's own answers are judged, before any of the guards that `nnla.solve` puts after it.

    Parameters
    ----------
    engine : what `nnla.load` returns
    trials : virtual spectra

    Examples
    --------
    >>> import nnla
    >>> check_model(nnla.load("autospec-cg"), trials=3)
    []
    """
    from nnla.evaluation.engines import unguarded
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import simulate_probe
    from nnla.types import SpectralProbe

    task = getattr(engine, "task", "linear systems")
    others = {
        "eigenproblems": _check_filters,
        "matrix functions": _check_functions,
        "initial guesses": _check_guesses,
    }
    if task in others:
        return others[task](engine, trials, seed)
    rng = np.random.default_rng(seed)
    c = 2.0**30  # exact: what depends on it depends on the scale, not on rounding
    degree = int(getattr(getattr(engine, "config", None), "degree", 11))
    messages: list[str] = []
    for _ in range(trials):
        s = sample_spectrum(rng)
        alpha, beta, users = simulate_probe(s.lam, s.weight, s.measure, 40)
        probe = SpectralProbe(alpha, beta, s.n, reductions=users)
        scaled = SpectralProbe(c * alpha, c * beta, s.n, reductions=users)
        try:
            one, again, other = (unguarded(engine, p, degree, 1e-8)[0] for p in (probe, probe, scaled))
        except NNLAError as error:
            _say(messages, True, f"{type(error).__name__}: {error}")
            continue
        _say(messages, one != again, "two calls differ")
        lam = s.lam[s.lam <= probe.upper_bound]
        p, q = one(lam), c * other(c * lam)
        _say(messages, not np.allclose(p, q, rtol=1e-5, atol=0.0), "the answer depends on the scale of A")
        _say(messages, not np.all(p > 0), "a polynomial is not positive on the spectrum")
    return messages


def _check_filters(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for eigenproblems: windows of random spectra, the same in other units."""
    from nnla.eigen.filter_choice import choose_filter
    from nnla.eigen.window import Window
    from nnla.problems.eigen_spectra import eigen_spectrum

    method = "autospec" if hasattr(engine, "choose") else "autospec-paper"
    messages: list[str] = []
    for trial in range(trials):
        lam = eigen_spectrum(seed + trial)
        k, ncv, c = 5, 20, 2.0**30
        residual = 1e-4 * (lam[-1] - lam[0]) * np.ones(ncv)
        far = float(lam[-1])
        one, again = (choose_filter(Window(lam[:ncv], residual, far, lam.size, k, ncv, 60), method, 21, engine=engine)
                      for _ in range(2))  # fmt: skip
        window = Window(c * lam[:ncv], c * residual, c * far, lam.size, k, ncv, 60)
        other = choose_filter(window, method, 21, engine=engine)
        _say(messages, one.recurrence != again.recurrence, "two calls differ")
        p, q = one.recurrence(lam), other.recurrence(c * lam)
        _say(messages, not np.all(np.isfinite(p)), "a filter is not finite on the spectrum")
        _say(messages, not np.allclose(p, q, rtol=1e-5, atol=1e-8), "the answer depends on the scale of A")
        _say(messages, not p[0] > 0, "a filter is not positive at the wanted end")
    return messages


def _check_functions(engine: Any, trials: int, seed: int) -> list[str]:
    """Of an engine for the inverse square root: probes of random spectra, the same in other units."""
    from nnla.functions.design import design_function
    from nnla.functions.scalars import FUNCTIONS
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import simulate_lanczos
    from nnla.types import SpectralProbe

    rng, messages = np.random.default_rng(seed), []
    c = 2.0**30
    for _ in range(trials):
        s = sample_spectrum(rng)
        alpha, beta = simulate_lanczos(s.lam, s.weight, 40)

        def answer(unit: float, alpha: np.ndarray = alpha, beta: np.ndarray = beta, n: int = s.n) -> Any:
            probe = SpectralProbe(unit * alpha, unit * beta, n)
            if hasattr(engine, "recurrence"):
                return engine.recurrence(probe, degree=21)
            design = design_function(
                probe, FUNCTIONS["inv_sqrt"], method="autospec", rtol=1e-6, degree=21, engine=engine
            )
            return design.recurrence

        one, again, other = answer(1.0), answer(1.0), answer(c)
        _say(messages, one != again, "two calls differ")
        p, q = one(s.lam), np.sqrt(c) * other(c * s.lam)
        _say(messages, not np.all(np.isfinite(p)), "a polynomial is not finite on the spectrum")
        near = s.lam <= SpectralProbe(alpha, beta, s.n).upper_bound
        _say(messages, not np.allclose(p[near], q[near], rtol=1e-4), "the answer depends on the scale of A")
    return messages


def _check_guesses(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of initial guesses: small frames, the same in another order and other units."""
    from nnla.guesses.guess import initial_guess
    from nnla.problems.frames import frame
    from nnla.problems.geometry import Geometry

    messages: list[str] = []
    for trial in range(min(trials, 5)):
        one = frame("mini", 20_000_000 + seed + trial, style="irregular", loads=2)
        A, b, rng = one.A, one.loads[:, 1], np.random.default_rng(trial)
        order, c, d = rng.permutation(one.n), 2.0**30, 2.0**-20
        geometric = bool(getattr(model.config, "geometry", False))

        def guess(A: Any, b: Any, order: Any, one: Any = one, geometric: bool = geometric) -> np.ndarray:
            geometry = Geometry(one.dof[order], one.coordinates[order]) if geometric else None
            return initial_guess(A, b, model=model, geometry=geometry, guard=False).x

        every = np.arange(one.n)
        x, again = guess(A, b, every), guess(A, b, every)
        size = float(np.linalg.norm(x))
        _say(messages, not np.all(np.isfinite(x)), "a guess is not finite")
        _say(messages, not np.array_equal(x, again), "two calls differ")
        _say(messages, not x @ (A @ x) <= 2 * (b @ x) * (1 + 1e-9), "a guess is farther from the solution than zero")
        scaled = guess(c * A, d * b, every) * (c / d)
        _say(messages, not np.linalg.norm(scaled - x) <= 1e-5 * size, "the answer depends on the scale of A or b")
        permuted = guess(A[order][:, order], b[order], order)
        _say(
            messages, not np.linalg.norm(permuted - x[order]) <= 1e-3 * size, "the answer depends on the order of rows"
        )
    return messages


def _say(messages: list[str], wrong: bool | np.bool_, text: str) -> None:
    if wrong and text not in messages:
        messages.append(text)
