"""One worker process a library, as `tts.pool` has them; here a request is a whole sequence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tts.pool import StoppedError, Worker, commit

from seq.methods import METHODS

__all__ = ["SequencePool", "StoppedError"]


class SequenceWorker(Worker):
    """A running `seq.worker` of one library."""

    module = "seq.worker"

    def sequence(
        self, method: str, setting: dict[str, str], folder: Path, tolerance: float, limit: float
    ) -> dict[str, Any]:
        """One run: {"cpu", "wall", "residual", "iterations", "facts"} or {"error"}; raises `StoppedError`."""
        self.start()
        request = {"method": method, "setting": setting}
        label = f"{method} {sorted(setting.items())}"
        if label not in self.warm:
            self._ask({"do": "warm", **request}, 120.0)
            self.warm.add(label)
        if self.holds != folder:  # reading the matrices is not the method's time
            self._ask({"do": "load", "folder": str(folder)}, 120.0)
            self.holds = folder
        return self._ask({"do": "run", **request, "tolerance": tolerance}, limit)


class SequencePool:
    """The workers of all libraries that are wanted, and what they say of themselves."""

    def __init__(self, libraries: list[str], pythons: dict[str, str], memory: float, clock: str) -> None:
        self.workers = {
            library: SequenceWorker(library, pythons.get(library, sys.executable), 1, memory, clock)
            for library in libraries
        }
        self.versions: dict[str, dict[str, str]] = {}
        self.absent: dict[str, str] = {}
        self.offered: set[str] = set()
        for library, worker in self.workers.items():
            try:
                facts = worker.start()
            except StoppedError as error:
                facts = {"error": str(error)}
            if "error" in facts:
                self.absent[library] = facts["error"]
                worker.close()
                continue
            self.versions[library] = facts["versions"]
            self.offered |= set(facts["methods"])
            if facts.get("module"):
                self.versions[library] |= commit(Path(facts["module"]).resolve().parent)

    def key(self, method: str) -> str:
        """What a measurement is valid for."""
        versions = self.versions[METHODS[method][0]]
        return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()) if name != "commit")

    def worker(self, method: str) -> SequenceWorker:
        return self.workers[METHODS[method][0]]

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
