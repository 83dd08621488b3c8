"""Commands on clusters and Stacks."""
