"""Every public object of ocistate, defined once.

From one msgspec struct come the strict reader (`decode`), the structural schema of the
CustomResourceDefinition (`schema`) and the field reference of the docs (`reference`). A field is
written down in one place: its name, type, default, bounds and what it means.
"""
