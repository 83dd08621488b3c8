"""Who holds which fields of a live object, and what to do about it."""
