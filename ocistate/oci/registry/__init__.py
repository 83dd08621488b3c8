"""A registry over HTTP: requests, tokens, credentials, transfers."""
