"""Stores on disk: OCI image layouts, as folders and as archives."""
