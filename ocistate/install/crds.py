"""The CustomResourceDefinitions of Stack and TrustPolicy, as `scripts/generate` wrote them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def crds() -> list[dict[str, Any]]:
    """Both definitions, as objects to apply."""
    found: list[dict[str, Any]] = json.loads(
        files("ocistate.install").joinpath("crds.json").read_bytes()
    )
    return found
