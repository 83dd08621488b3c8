"""Manifests to artifact and back: pure functions over bytes."""
