"""CG and eigensolvers simulated on a spectrum; densities of states."""
