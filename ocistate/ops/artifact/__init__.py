"""From files to a stored artifact and back."""
