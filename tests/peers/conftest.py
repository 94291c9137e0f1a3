"""The parts of the inner run are modules of their own, found by both runs of pytest, and are no tests."""

from __future__ import annotations

import sys
from pathlib import Path

collect_ignore = ["peers_plugin.py", "shims.py", "suites.py", "symmetric.py"]
sys.path.append(str(Path(__file__).resolve().parent))
