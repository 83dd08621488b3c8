"""Channels: signed, numbered pointers from an environment's name to digests. No I/O here."""
