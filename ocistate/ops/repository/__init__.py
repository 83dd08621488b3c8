"""Whole repositories: copy, list, search, clean up."""
