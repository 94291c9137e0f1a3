"""`nnla.solve` and `nnla.prepare`: the methods, what each will cost, the phases of a solve, its report."""
