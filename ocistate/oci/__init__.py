"""The OCI image and distribution specifications; nothing of Kubernetes."""

from ocistate.oci.open import ClientCertificate, Mirror, StoreOptions, open_store

__all__ = ["ClientCertificate", "Mirror", "StoreOptions", "open_store"]
