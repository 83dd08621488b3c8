"""Where Stacks come from: a cluster's objects, or files."""
