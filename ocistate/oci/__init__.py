"""The OCI image and distribution specifications; nothing of Kubernetes."""

from ocistate.oci.open import open_store
from ocistate.oci.options import ClientCertificate, Mirror, StoreOptions

__all__ = ["ClientCertificate", "Mirror", "StoreOptions", "open_store"]
