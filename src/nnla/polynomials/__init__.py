"""Recurrences, classical and designed from a probe."""
