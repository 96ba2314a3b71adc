"""Exact one-sample SGD: as a plain loop, in blocks at the speed of matrix products, and on a GPU."""
