"""Extremal eigenpairs by filtered Lanczos: probe, filter, thick restarts, verification."""

from nnla.eigen.report import EigenReport
from nnla.eigen.solver import eigsh

__all__ = ["EigenReport", "eigsh"]
