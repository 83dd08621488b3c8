"""Benchmarks: each module's ``run(size)`` measures one thing beside its floor, in the same run.

scripts/bench WHAT [--size N] [--json]
"""
