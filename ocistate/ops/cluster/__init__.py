"""Apply an artifact to a cluster once, or show what it would change."""
