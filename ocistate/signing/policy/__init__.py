"""Trust policies: whom to trust for what. No I/O."""
