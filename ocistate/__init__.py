"""GitOps with an OCI registry as the state store.

A *packer* turns rendered manifests into one signed, digest-addressed artifact; a *puller* proves
who signed it and makes a cluster, or a folder, equal to it.
"""

__version__ = "0.1.0"
