"""Commands on keys, signatures and attestations."""
