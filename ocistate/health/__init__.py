"""Whether an object is healthy: pure rules from a live object to a verdict."""
