"""The Kubernetes API: transport, kubeconfig, discovery, errors. Nothing of registries."""
