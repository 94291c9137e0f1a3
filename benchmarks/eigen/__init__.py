"""What the two judges of `nnla.eigsh` stand on: problems with known spectra, and who is right."""
