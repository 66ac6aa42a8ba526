"""Benchmarks that others defined, with their problems, data and constants, and our own code of them."""
