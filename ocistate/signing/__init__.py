"""Keys, signatures and who may be trusted; no network."""
