"""Fused, cache-blocked kernels, native where the package was built with a C++ compiler."""
