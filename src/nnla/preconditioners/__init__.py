"""Scalings, incomplete factorisations, multigrid, deflation."""
