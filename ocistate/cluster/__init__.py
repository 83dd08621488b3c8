"""Kubernetes: client, plan, apply, health, watch; nothing of registries."""
