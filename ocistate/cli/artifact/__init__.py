"""Commands on artifacts and repositories."""
