"""One pass for one Stack: resolve, verify, fetch, apply, health, status."""
