"""Container images named in pod templates of any kind of workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ocistate.artifact.inventory import Image

_POD_SPECS: Final = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("template", "spec"),  # a PodTemplate
)
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


def images_of(obj: Mapping[str, Any]) -> Iterator[Image]:
    """The images an object's pods would run, wherever the kind keeps its pod template.

    Custom workloads (Rollouts, Knative Services) keep it where the built-in ones do.
    """
    for image in image_texts(obj):
        # With a space or a control character it is no image that anything could pull.
        if image.isprintable() and " " not in image:
            yield Image(name=image, pinned="@sha256:" in image)


def image_texts(obj: Mapping[str, Any]) -> Iterator[str]:
    """The text where an image's name belongs, whether it is one or not."""
    for path in _POD_SPECS:
        spec: Any = obj
        for key in path:
            spec = spec.get(key) if isinstance(spec, Mapping) else None
        if isinstance(spec, Mapping):
            yield from _containers(spec)


def is_floating(image: str) -> bool:
    """Whether tomorrow's pull may bring something else without anyone saying so: no tag, or latest.

    A tag other than ``latest`` can move as well, but is at least meant to name a version.
    """
    if "@" in image:
        return False
    last = image.rsplit("/", 1)[-1]
    name, colon, tag = last.partition(":")
    return bool(name) and (not colon or tag == "latest")


def _containers(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in _CONTAINERS:
        containers = spec.get(field)
        if not isinstance(containers, list):
            continue
        for container in containers:
            image = container.get("image") if isinstance(container, Mapping) else None
            if isinstance(image, str) and image:
                yield image
