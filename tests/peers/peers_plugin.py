"""Plugin of the inner pytest run: puts the shims into the installed test modules and keeps what concerns nnla.

    python -m pytest -p peers_plugin --pyargs scipy.sparse.linalg._isolve.tests.test_iterative ...

Writes outcome and reason of each test to the JSON file that NNLA_PEERS_OUT names.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import shims
from suites import SUITES
from symmetric import numpy_drawing_symmetric, scipy_drawing_symmetric

_outcomes: dict[str, tuple[str, str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    # the lists of solvers of this module are made when it is imported
    import scipy.sparse.linalg._isolve as isolve

    isolve.cg = shims.cg


def _suite(item: Any) -> Any:
    return SUITES.get(item.module.__name__)


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    kept, dropped, seen = [], [], set()
    for item in items:
        suite = _suite(item)
        if suite is None:
            continue
        if item.module not in seen:
            seen.add(item.module)
            for name, shim in suite.names.items():
                assert hasattr(item.module, name), f"{item.module.__name__} has no {name} any more"
                setattr(item.module, name, getattr(shims, shim))
            if suite.symmetric:
                for name, stand_in in (("np", numpy_drawing_symmetric), ("scipy", scipy_drawing_symmetric)):
                    if hasattr(item.module, name):
                        setattr(item.module, name, stand_in())
        (kept if _concerned(item, suite) else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _concerned(item: Any, suite: Any) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    solver = parameters.get("solver", getattr(parameters.get("case"), "solver", shims.cg))
    name = item.nodeid.split("::", 1)[1]
    return solver is shims.cg and any(name.startswith(start) for start in suite.tests)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    report = (yield).get_result()
    if report.when == "call" or report.outcome != "passed":
        reason = "" if report.outcome == "passed" else str(call.excinfo.value if call.excinfo else report.longrepr)
        name = f"{item.module.__name__}::{item.nodeid.split('::', 1)[1]}"
        _outcomes[name] = (report.outcome if not hasattr(report, "wasxfail") else "skipped", reason[:400])


def pytest_sessionfinish(session: Any) -> None:
    if out := os.environ.get("NNLA_PEERS_OUT"):
        with open(out, "w", encoding="utf-8") as stream:
            json.dump(_outcomes, stream)
