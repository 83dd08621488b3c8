"""The OCI image and distribution specifications; nothing of Kubernetes."""
