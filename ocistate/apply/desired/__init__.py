"""From an artifact's resources to what one cluster shall hold."""
