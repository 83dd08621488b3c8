"""Where objects go: clusters and folders."""
