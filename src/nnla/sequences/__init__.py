"""Sequences of systems: a solver that remembers what earlier systems have taught it."""
