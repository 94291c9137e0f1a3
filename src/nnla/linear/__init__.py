"""`nnla.solve` and its parts."""
