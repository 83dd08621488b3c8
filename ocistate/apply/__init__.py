"""Desired objects, the plan, its execution and pruning. Nothing of registries."""
