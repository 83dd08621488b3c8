"""Informers, the store of owned objects, and waiting for them. Nothing of registries."""
