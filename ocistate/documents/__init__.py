"""What people write: YAML and JSON, read strictly and within bounds."""
