"""The puller: a reconcile loop for Stacks."""
