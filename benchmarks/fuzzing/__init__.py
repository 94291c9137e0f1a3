"""The parts of ``benchmarks/fuzz.py``: random calls of everything public, each judged against a reference."""
