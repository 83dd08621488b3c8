"""Which agent has which Stack: leases."""
