"""One training loop, and for each paper its data, its loss and its recipe."""
