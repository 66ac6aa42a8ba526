"""A tool for GradBench (github.com/gradbench/gradbench): `python -m benchmarks.gradbench`."""
