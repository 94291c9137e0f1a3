"""Parts of benchmarks/sequences.py: the sequences, the methods, their worker, the tuning in hindsight, the page."""
