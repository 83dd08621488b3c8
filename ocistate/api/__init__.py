"""Every public object, defined once; the loader of files."""
