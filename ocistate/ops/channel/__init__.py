"""Read and move channels in a store, and report on them."""
