"""``nnla train``, ``nnla eval``, ``nnla weights`` and ``nnla doctor``."""

from __future__ import annotations

import os
import platform
import shlex
from typing import Any

import click

from nnla.cli._output import emit_json, number, progress, say, show_pairs, show_table
from nnla.errors import OptionError
from nnla.tasks import FAMILIES, resolve, task_of

__all__ = ["COMMANDS"]


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a value of the recipe; repeatable."
)
@click.option("--out", metavar="DIR", help="Folder for data, checkpoint, log and weights (default runs/NAME).")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same recipe in that folder.")
def train(recipe: str, overrides: tuple[str, ...], out: str | None, resume: bool) -> int:
    """Train a model from a recipe: a shipped one by name, or a TOML file."""
    from nnla.training.config import load_recipe
    from nnla.training.loop import train as run

    loaded = load_recipe(recipe, overrides)
    folder = out or os.path.join("runs", loaded["name"])
    try:
        with progress("") as tell:
            path = run(
                loaded,
                folder,
                resume=resume,
                progress=lambda stage, done, total, text: tell(f"{stage} {text}".strip(), done, total),
            )
    except KeyboardInterrupt:
        again = ["nnla", "train", recipe, *(part for item in overrides for part in ("--set", item))]
        again += ["--out", folder, "--resume"]
        click.echo(f"nnla: interrupted; continue with: {shlex.join(again)}", err=True)
        return 130
    say(str(path))
    return 0


@click.command("eval")
@click.argument("model", metavar="MODEL")
@click.option(
    "--on",
    "family",
    type=click.Choice(FAMILIES),
    help="suite: solve the benchmark systems (the default for linear systems); spectra: spectra that no training has "
    "drawn; frames: building frames that none has drawn, for models of initial guesses (their default); bvp: boundary "
    "value problems that none has drawn, for models of dense systems (their default).",
)
@click.option(
    "--size",
    type=click.Choice(["small", "full"]),
    help="Size of the suite, or of frames (default small).",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="Number of spectra (default 200 for linear systems), frames (default 24) or systems (default 256).",
)
@click.option("--degree", type=click.IntRange(1, 512), help="Degree of the polynomial (default 11).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def evaluate(
    model: str, family: str | None, size: str | None, count: int | None, degree: int | None, as_json: bool
) -> int:
    """Measure a model (a shipped one by name, or a weights file), against classical methods where there are some."""
    from nnla.evaluation.engines import evaluate_model
    from nnla.registry import load

    engine = load(model)
    with progress("evaluating") as tell:
        found = evaluate_model(engine, family, size=size, count=count, degree=degree, progress=tell)
    found |= {"model": model}
    if as_json:
        emit_json(found)
    else:
        show = task_of(engine).show
        show_pairs(flat(found)) if show is None else resolve(show)(found)
    unsolved = found.get("unsolved", 0)
    return 1 if (unsolved[found["method"]] if isinstance(unsolved, dict) else unsolved) else 0


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def weights(name: str | None, as_json: bool) -> int:
    """The shipped models with their training envelopes, or the card of one."""
    from nnla.registry import weights as registered

    found = registered()
    if name is not None:
        if name not in found:
            raise OptionError(f"no model {name!r}; the shipped ones are {', '.join(sorted(found))}")
        if as_json:
            emit_json({"name": name} | found[name])
        else:
            say(name)
            show_pairs(flat(found[name]))
        return 0
    if as_json:
        emit_json(found)
        return 0
    keys = sorted({key for entry in found.values() for key in entry["card"].get("envelope", {})})
    rows: list[list[str]] = []
    for key, entry in found.items():
        envelope = entry["card"].get("envelope", {})
        rows.append([key, *(_range(envelope.get(k)) for k in keys), entry["sha256"][:12]])
    show_table(("model", *(key.replace("_", " ") for key in keys), "sha256"), rows)
    say("trained for these ranges; outside them nnla falls back to a classical method and says so")
    return 0


def _range(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{number(value[0])} to {number(value[1])}"
    return "" if value is None else str(value)


def flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _range(value)))
    return pairs


@click.command()
@click.option(
    "--calibrate",
    is_flag=True,
    help="Measure instead how fast this machine is (some seconds), and keep it in the user's cache folder: "
    "method 'auto' chooses by it from then on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def doctor(calibrate: bool, as_json: bool) -> int:
    """Check the installation: versions, optional libraries, kernels, threads, weights, and a small solve."""
    if calibrate:
        return _calibrate(as_json)
    facts: dict[str, Any] = {"versions": _versions(), "optional": _optional(), "threads": _threads()}
    facts["kernels"] = _kernels()
    facts |= {"weights": _weights_ok(), "self_test": _self_test()}
    healthy = all(text == "ok" for text in facts["weights"].values()) and facts["self_test"]["ok"]
    facts["ok"] = healthy
    if as_json:
        emit_json(facts)
        return 0 if healthy else 1
    pairs = list(facts["versions"].items())
    pairs += [(key, value or "not installed") for key, value in facts["optional"].items()]
    pairs += [(key, str(value)) for key, value in facts["threads"].items() if value is not None]
    pairs += [(key, str(value)) for key, value in facts["kernels"].items() if value is not None]
    pairs += [(f"weights {key}", value) for key, value in facts["weights"].items()]
    show_pairs([*pairs, ("self-test", facts["self_test"]["text"])])
    say("all is well" if healthy else "something is wrong: see above; reinstalling nnla usually helps")
    return 0 if healthy else 1


def _calibrate(as_json: bool) -> int:
    """Measure the kernels of this machine and keep their factors."""
    from nnla.linear.calibration import factors_of, measure
    from nnla.linear.speeds import THIS_MACHINE, cache_file, write_speeds

    seconds = measure()
    factors = factors_of(seconds)
    path = cache_file()
    try:
        if path is not None:
            write_speeds(path, factors, seconds)
        kept, why = path is not None, "there is no home folder; set NNLA_CACHE"
    except OSError as error:
        kept, why = False, f"{error}; set NNLA_CACHE to a folder that can be written"
    THIS_MACHINE.forget()
    if as_json:
        emit_json({"seconds": seconds, "factors": factors, "file": str(path) if kept else None, "ok": kept})
        return 0 if kept else 1
    show_table(
        ("kernel", "seconds", "by the reference machine"),
        [[name, number(value), number(factors[name])] for name, value in seconds.items()],
    )
    say(f"kept in {path}" if kept else f"not kept: {why}")
    return 0 if kept else 1


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    import numpy
    import scipy

    from nnla import __version__

    found = {"nnla": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {"numpy": numpy.__version__, "scipy": scipy.__version__}
    return found | {name: version(name) for name in ("safetensors", "click", "rich")}


def _optional() -> dict[str, str | None]:
    """Versions of the optional libraries, read without importing them."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in ("torch", "matplotlib", "pyamg", "scikit-sparse"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _threads() -> dict[str, Any]:
    import numpy as np

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts: dict[str, Any] = {"cpus": os.cpu_count(), "cpus usable": usable}
    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        facts["blas"] = f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError):
        facts["blas"] = None
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        facts[name] = os.environ.get(name)
    return facts


def _kernels() -> dict[str, Any]:
    """Whether products run in native code, on what, and why not."""
    from nnla.kernels import native, why_not
    from nnla.kernels.machine import cache_sizes

    caches = ", ".join(f"L{level} {size >> 10} KiB" for level, size in cache_sizes().items())
    facts: dict[str, Any] = {"native kernels": "yes" if native is not None else f"no, NumPy and SciPy: {why_not}"}
    if native is not None:
        facts |= {"instruction set": native.isa(), "kernel threads": native.max_threads()}
    return facts | {"caches": caches or "unknown"}


def _weights_ok() -> dict[str, str]:
    from nnla.registry import load
    from nnla.registry import weights as registered

    found: dict[str, str] = {}
    for name in registered():
        try:
            load(name)
            found[name] = "ok"
        except Exception as error:
            found[name] = str(error)
    return found


def _self_test() -> dict[str, Any]:
    """Solve a small system by the learned polynomial and believe only the residual."""
    import time

    import numpy as np

    from nnla.linear.solve import solve
    from nnla.problems import poisson2d

    started = time.perf_counter()
    A: Any = poisson2d(60)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    try:
        x, report = solve(A, b, method="autospec")
    except Exception as error:
        return {"ok": False, "text": f"failed: {error}"}
    residual = float(np.linalg.norm(b - A @ x) / np.linalg.norm(b))
    ok = report.converged and residual <= 1.01e-8 and report.fallback is None
    seconds = time.perf_counter() - started
    text = f"{report.method}, n = {report.n}: residual {residual:.1e} in {seconds:.2f} s"
    if not ok:
        text = f"failed: {text}, status {report.status}, {report.fallback or 'no fallback'}"
    return {"ok": ok, "text": text, "seconds": seconds, "residual": residual}


COMMANDS = (train, evaluate, weights, doctor)
