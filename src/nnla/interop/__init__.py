"""Doors to other libraries: PETSc, torch, JAX; imported lazily, one file each."""
