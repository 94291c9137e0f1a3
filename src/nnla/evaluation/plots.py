"""Pictures of a solve and of a spectrum. Needs Matplotlib; no pyplot, no global state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnla._files import atomic_file
from nnla.errors import MissingDependencyError, OptionError
from nnla.evaluation.comparison import Row
from nnla.types import Report, SpectralProbe

__all__ = ["SUFFIXES", "plot_convergence", "plot_spectrum", "require_matplotlib", "save_figure"]

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's palette; methods that share a colour differ in their line style.
_STYLES: dict[str, dict[str, Any]] = {
    "autospec": {"color": "#D55E00", "linewidth": 2.4, "zorder": 5},
    "autospec-paper": {"color": "#D55E00", "linestyle": (0, (2, 1)), "zorder": 4},
    "chebyshev": {"color": "#0072B2"},
    "chebyshev4": {"color": "#0072B2", "linestyle": (0, (5, 2))},
    "rule": {"color": "#009E73"},
    "dos": {"color": "#009E73", "linestyle": (0, (5, 2))},
    "ic": {"color": "#CC79A7"},
    "amg": {"color": "#E69F00"},
    "cg": {"color": "#999999"},
    "jacobi": {"color": "#000000"},
}
_OTHER = {"color": "#56B4E9", "linestyle": (0, (1, 1))}
_LEARNED, _CLASSICAL, _RULE = (_STYLES[name]["color"] for name in ("autospec", "chebyshev", "rule"))


def require_matplotlib() -> Any:
    """Matplotlib's Figure class.

    Raises
    ------
    MissingDependencyError
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need Matplotlib; install it with: pip install 'nnla[plot]'") from error
    return Figure


def plot_convergence(
    runs: Report | Sequence[Row],
    *,
    name: str = "",
    probe: SpectralProbe | None = None,
    degree: int | None = None,
) -> Any:
    """Residuals against products and against reductions, and the polynomials over the spectrum.

    Parameters
    ----------
    runs : one report, or the rows of `nnla.evaluation.comparison.compare`
    name : of the system, for the title
    probe : probe of the scaled operator; without it, or if it is not definite, the last panel is left out
    degree : of the polynomials drawn where none was run

    Returns
    -------
    matplotlib.figure.Figure
        With three axes, or two without a definite probe.

    Raises
    ------
    MissingDependencyError

    Notes
    -----
    The curves are CG's recursive residuals, one marker at the end is the true one. What `Report` does
    not say of a run that switched methods is drawn at the price of the polynomial first.
    """
    figure_class = require_matplotlib()
    reports = _distinct(runs)
    spectrum = probe is not None and probe.definite
    figure = figure_class(figsize=(15.5 if spectrum else 10.5, 5.2), layout="constrained")
    axes = figure.subplots(1, 3 if spectrum else 2, width_ratios=(1, 1, 1.1) if spectrum else None)
    some = next(iter(reports.values()))
    entries = "" if some.nnz is None else f", nnz = {some.nnz:,}"
    figure.suptitle(f"{name or 'system'}:  n = {some.n:,}{entries},  tolerance {some.rtol:.0e}", fontsize=12)
    extra = " and ".join(key for key in ("ic", "amg") if key in reports)
    extra = f"\n(the work of {extra} between products is not on this axis)" if extra else ""
    _residuals(axes[0], reports, f"products with A, probe included{extra}", _products)
    _residuals(
        axes[1],
        reports,
        "global reductions\n(the probe: one an iteration, polynomials: one or two, others: two)",
        _reductions,
    )
    most = max(r.reductions for r in reports.values())
    if most > 8 * min((r.reductions for r in reports.values() if r.residual_history), default=most):
        axes[1].set(xscale="log", xlim=(1, 1.2 * most))
    axes[0].set_ylabel("relative residual  ||b - A x|| / ||b||")
    axes[0].legend(fontsize=8, framealpha=0.9)
    if probe is not None and spectrum:
        _polynomials(axes[2], reports, probe, degree)
    return figure


def plot_spectrum(
    probe: SpectralProbe, *, name: str = "", nnz: int | None = None, degree: int = 11, rtol: float = 1e-8
) -> Any:
    """What a probe saw: Ritz values with residual bars, the spectral distribution, the chosen intervals.

    Parameters
    ----------
    probe : SpectralProbe
    name, nnz : for the title
    degree, rtol : what the intervals are chosen for

    Returns
    -------
    matplotlib.figure.Figure
        With two axes that share lambda.

    Raises
    ------
    MissingDependencyError
    """
    figure = require_matplotlib()(figsize=(9.5, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    theta, weight, residual = probe.ritz_values, probe.ritz_weights, probe.ritz_residuals
    entries = "" if nnz is None else f", nnz = {nnz:,}"
    over = "" if probe.scaling == "none" else f", {probe.scaling} scaling"
    figure.suptitle(f"{name or 'operator'}:  n = {probe.n:,}{entries},  {probe.steps} Lanczos steps{over}", fontsize=12)
    positive = bool(theta[0] > 0)
    low = theta - residual
    if positive:
        upper.set_xscale("log")
        low = np.maximum(low, 1e-3 * theta[0])  # a bar that reaches zero leaves the axis
        upper.set_xlim(0.2 * theta[0], 1.6 * probe.upper_bound)
    index = np.arange(1, theta.size + 1)
    upper.errorbar(
        theta,
        index,
        xerr=[theta - low, residual],
        fmt="o",
        markersize=4,
        color="black",
        ecolor="#999999",
        elinewidth=1.2,
        capsize=2,
        label="Ritz value, an eigenvalue is within the bar",
    )
    upper.set_ylabel("number, from below")
    cumulative = np.cumsum(weight)
    lower.step(theta, cumulative, where="post", color="black", linewidth=1.6)
    lower.plot(theta, cumulative, "o", color="black", markersize=3)
    lower.set_yscale("log")
    lower.set_ylim(max(1e-17, 0.3 * cumulative[0]), 3.0)
    lower.set_ylabel("sum of Gauss weights up to lambda")
    lower.set_xlabel("eigenvalue lambda" + ("" if probe.scaling == "none" else f" of the {probe.scaling}-scaled A"))
    if probe.definite and positive:
        for label, (a, _), color, style in _intervals(probe, degree, rtol):
            for axis in (upper, lower):
                axis.axvline(a, color=color, linestyle=style, linewidth=1.8, label=f"{label}: a = {a:.3g}")
        b = probe.upper_bound
        for axis in (upper, lower):
            axis.axvline(b, color="#999999", linestyle="-.", linewidth=1.2, label=f"upper bound b = {b:.4g}")
    else:
        upper.set_title("not positive definite", color=_LEARNED, fontsize=10)
    upper.legend(fontsize=8, loc="upper left", framealpha=0.9)
    for axis in (upper, lower):
        axis.grid(alpha=0.25, which="major")
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure so that the file is there whole or not at all.

    Raises
    ------
    OptionError
        A suffix other than .png, .svg and .pdf, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path}: cannot draw this format; use a name that ends in {', '.join(SUFFIXES)}")
    try:
        with atomic_file(path) as stream:
            figure.savefig(stream, format=path.suffix.lower()[1:], dpi=130)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError(f"{path}: cannot be written ({reason}); choose another place") from None


# -- panels -------------------------------------------------------------------------------------------


def _distinct(runs: Report | Sequence[Row]) -> dict[str, Report]:
    """Label -> report of what ran; "auto" only when it is not a copy of another row."""
    if isinstance(runs, Report):
        return {runs.method: runs}
    reports: dict[str, Report] = {}
    for row in runs:
        if row.report is None or (row.method == "auto" and row.report.method in reports):
            continue
        reports["auto: " + row.report.method if row.method == "auto" else row.method] = row.report
    if not reports:
        raise OptionError("there is nothing to draw: no method ran")
    return reports


def _style(label: str) -> dict[str, Any]:
    return {"linewidth": 1.5} | _STYLES.get(label.removeprefix("auto: "), _OTHER)


def _products(r: Report) -> np.ndarray:
    """Products with A up to each entry of the history."""
    return _so_far(r, "products")


def _reductions(r: Report) -> np.ndarray:
    """Global reductions up to each entry of the history."""
    return _so_far(r, "reductions")


def _so_far(r: Report, figure: str) -> np.ndarray:
    """A phase's figure in equal parts for each of its iterations, and what phases without any have taken."""
    each: list[np.ndarray] = []
    waiting = 0.0
    for phase in r.phases:
        amount = getattr(phase, figure)
        if phase.iterations == 0 or phase.method == "direct":  # refinements of a direct solution are no CG steps
            waiting += amount
            continue
        each.append(np.full(phase.iterations, amount / phase.iterations))
        each[-1][0] += waiting
        waiting = 0.0
    total = np.cumsum(np.concatenate(each)).round(6) if each else np.zeros(0)
    return total if total.size == len(r.residual_history) else np.arange(1.0, len(r.residual_history) + 1)


def _residuals(axis: Any, reports: dict[str, Report], label: str, position: Any) -> None:
    some = next(iter(reports.values()))
    shaded = False
    for key, r in reports.items():
        if not r.residual_history:
            axis.plot([], [], " ", label=f"{key}: {r.seconds.get('total', 0):.2g} s, no iterations")
            continue
        x = np.concatenate([[0.0], position(r)])
        y = np.concatenate([[1.0], r.residual_history])
        style = _style(key)
        mark = {"color": style["color"], "zorder": style.get("zorder", 3)}
        axis.plot(x, np.maximum(y, 1e-18), label=key, **style)
        axis.plot(x[-1], max(r.relative_residual, 1e-18), "o" if r.converged else "X", markersize=5, **mark)
        if r.probe_iterations and r.degree is not None and not shaded:
            shaded = True
            axis.axvspan(0, x[min(r.probe_iterations, x.size - 1)], color="#56B4E9", alpha=0.18, linewidth=0)
    if shaded:
        axis.plot([], [], color="#56B4E9", alpha=0.3, linewidth=7, label="probe: CG steps that count")
    axis.axhline(some.rtol, color="black", linestyle=":", linewidth=1, label=f"tolerance {some.rtol:.0e}")
    axis.set_yscale("log")
    axis.set_xlim(left=0)
    axis.set_xlabel(label)
    axis.grid(alpha=0.25)


def _polynomials(axis: Any, reports: dict[str, Report], probe: SpectralProbe, degree: int | None) -> None:
    from nnla.errors import NNLAError
    from nnla.polynomials.design import design_polynomial
    from nnla.polynomials.recurrence import chebyshev

    ran = next((r for r in reports.values() if r.degree is not None), None)
    rtol = next(iter(reports.values())).rtol
    degree = ran.degree if ran is not None and ran.degree is not None else (degree or 11)
    intervals: dict[str, tuple[float, float]] = {}
    for method in ("chebyshev", "autospec"):
        r = reports.get(method)
        if r is not None and r.method == method and r.interval is not None and r.degree == degree:
            intervals[method] = r.interval
            continue
        try:
            design = design_polynomial(probe, method=method, degree=degree, rtol=rtol)
        except NNLAError:
            continue
        if design.method == method:
            intervals[method] = design.interval
    top = probe.upper_bound
    low = 0.3 * min([max(probe.lambda_min, 1e-12 * top), *(a for a, _ in intervals.values())])
    x = np.unique(np.concatenate([np.geomspace(low, 1.4 * top, 800), np.linspace(0.1 * top, 1.1 * top, 60 * degree)]))
    for method, (a, b) in intervals.items():
        values = x * chebyshev(a, b, degree)(x)
        values[x > a + b] = np.nan  # no promise there
        axis.plot(x, values, label=f"{method}: [a, b] = [{a:.3g}, {b:.3g}]", **_style(method))
        axis.axvline(a, color=_style(method)["color"], linestyle=":", linewidth=1.2)
    if "autospec" in intervals:
        axis.axvspan(*intervals["autospec"], color=_LEARNED, alpha=0.07, linewidth=0)
    axis.axvline(top, color="#999999", linestyle="-.", linewidth=1.2)
    axis.plot(
        probe.ritz_values,
        np.full(probe.steps, -0.1),
        "|",
        color="black",
        markersize=9,
        label=f"{probe.steps} Ritz values of the probe",
    )
    axis.axhline(1.0, color="#999999", linewidth=0.8)
    axis.axhline(0.0, color="#999999", linewidth=0.8)
    over = "" if probe.scaling == "none" else f" of the {probe.scaling}-scaled A"
    axis.set(xscale="log", xlim=(x[0], x[-1]), ylim=(-0.2, 2.6))
    axis.set(xlabel=f"eigenvalue lambda{over}", ylabel="lambda P(lambda):  A as CG sees it, 1 is ideal")
    axis.set_title(f"polynomials of degree {degree}", fontsize=10)
    axis.legend(fontsize=8, loc="upper left", framealpha=0.9)
    axis.grid(alpha=0.25)


def _intervals(probe: SpectralProbe, degree: int, rtol: float) -> list[tuple[str, tuple[float, float], str, str]]:
    """The engine's interval (unless it declines), and the rule's."""
    from nnla.errors import NNLAError
    from nnla.polynomials.design import design_polynomial

    found: list[tuple[str, Any, str, str]] = []
    for method, color, style in (("autospec", _LEARNED, "-"), ("rule", _RULE, "--")):
        try:
            design = design_polynomial(probe, method=method, degree=degree, rtol=rtol)
        except NNLAError:
            continue
        if design.method == method:
            found.append((method, design.interval, color, style))
    return found or [("chebyshev", (max(probe.lambda_min, 0.0), probe.upper_bound), _CLASSICAL, "-")]
