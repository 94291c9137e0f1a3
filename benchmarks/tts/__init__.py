"""The parts of `benchmarks/time_to_solution.py`."""
