"""Workloads of scalar autograd, each on every implementation that is installed.

pytest benchmarks                   # pytest-benchmark: one group a workload and step
python -m benchmarks.report         # interleaved comparison; writes docs/benchmarks.*, README.md
python -m benchmarks.report --render  # only rewrites the tables from docs/benchmarks.json
"""
