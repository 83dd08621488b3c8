"""The OCI image and distribution specifications; nothing of Kubernetes."""

from ocistate.oci.open import StoreOptions, open_store

__all__ = ["StoreOptions", "open_store"]
