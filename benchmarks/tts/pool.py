"""One worker process a library, each with its own Python if need be; a solver over its time is killed with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tts.solvers import LIBRARIES, yardstick

HERE = Path(__file__).resolve().parents[1]


class StoppedError(Exception):
    """The worker did not answer in time, or died."""


class Worker:
    """A running `tts.worker` of one library; restarted by the next request after it was killed."""

    module = "tts.worker"

    def __init__(
        self, library: str, python: str, threads: int, memory: float, clock: str, source: Path | None = None
    ) -> None:
        self.library, self.python, self.clock, self.source = library, python, clock, source
        paths = [str(HERE), str(source) if source else None, os.environ.get("PYTHONPATH")]
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TTS_MEMORY_GB": str(memory),
            "PYTHONWARNINGS": "ignore",
            **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "NNLA")},
        }
        self.process: subprocess.Popen | None = None
        self.facts: dict[str, Any] = {}
        self.warm: set[str] = set()
        self.holds: Path | None = None

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [self.python, "-m", self.module], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.buffer = b""
        self.warm.clear()
        self.holds = None
        self.facts = self._ask({"do": "hello", "library": self.library}, 120.0)

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        started, spent = time.monotonic(), self._spent()
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            self.close()
            raise StoppedError("the process died") from None
        while b"\n" not in self.buffer:
            left = limit - (self._spent() - spent)
            if left > 0 and time.monotonic() - started < 20.0 * limit:
                ready, _, _ = select.select([self.process.stdout], [], [], min(left, limit / 10, 1.0) + 1e-3)
                if not ready:
                    continue
            else:
                self.close()
                raise StoppedError(f"stopped after {limit:.3g} s")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                code = self.process.wait()
                self.close()
                raise StoppedError(f"the process died (exit {code})")
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def _spent(self) -> float:
        """Seconds on the clock that is judged: another program's load must not stop a solver early."""
        if self.clock == "cpu":
            assert self.process is not None
            with contextlib.suppress(OSError, AttributeError):
                fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic()

    def start(self) -> dict[str, Any]:
        """Versions of the library, or {"error": ...} where it is absent."""
        if self.process is None:
            self._start()
        return self.facts

    def run(self, solver: str, folder: Path, setting: float, inner: int, limit: float) -> dict[str, Any]:
        """One sample: {"wall", "cpu", "residual", "facts"} or {"error"}; raises `StoppedError`."""
        self.start()
        if solver not in self.warm:
            self._ask({"do": "warm", "solver": solver}, 120.0)
            self.warm.add(solver)
        if self.holds != folder:  # reading the matrix is not the solver's time
            self._ask({"do": "load", "folder": str(folder)}, 120.0)
            self.holds = folder
        return self._ask({"do": "run", "solver": solver, "setting": setting, "inner": inner}, limit)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # what was not flushed to a dead process
                        stream.close()
            self.process = None


class Pool:
    """The workers of all libraries, and what they say of themselves.

    `sources` maps a yardstick to the folder from which its nnla is imported.
    """

    def __init__(
        self, solvers: list[str], pythons: dict[str, str], threads: int, memory: float, clock: str,
        sources: dict[str, Path],
    ) -> None:  # fmt: skip
        self.libraries = {s: library for s, library in LIBRARIES.items() if s in solvers}
        self.libraries |= dict(map(yardstick, sources))
        self.workers = {
            library: Worker(
                library, pythons.get(library, pythons.get(library.partition(":")[0], sys.executable)), threads, memory,
                clock, sources.get(library.partition(":")[2]),
            )
            for library in dict.fromkeys(self.libraries.values())
        }  # fmt: skip
        self.versions: dict[str, dict[str, str]] = {}
        self.absent: dict[str, str] = {}
        for library, worker in self.workers.items():
            try:
                facts = worker.start()
            except StoppedError as error:
                facts = {"error": str(error)}
            module = Path(facts.get("module") or ".").resolve()
            if worker.source and "error" not in facts and not module.is_relative_to(worker.source.resolve()):
                facts = {"error": f"its Python imports another nnla than that of {library}"}
            if "error" in facts:
                self.absent[library] = facts["error"]
                worker.close()
            else:
                self.versions[library] = facts["versions"]
                if facts.get("module"):
                    self.versions[library] |= commit(module.parent)

    def key(self, library: str) -> str:
        """What a cached measurement is valid for."""
        return ", ".join(
            f"{name} {version}" for name, version in sorted(self.versions[library].items()) if name != "commit"
        )

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def commit(folder: Path) -> dict[str, str]:
    """Commit and contents of a source tree: only a change of its code or of its native module makes it another."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".so", ".pyd", ".safetensors"):
            digest.update(path.read_bytes())
    try:
        words = ["git", "-C", str(folder), "rev-parse", "--short=10", "HEAD"]
        commit = subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {"commit": commit, "source": digest.hexdigest()[:10]}
