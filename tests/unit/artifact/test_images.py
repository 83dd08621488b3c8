"""Images of pod templates of any kind of workload."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.artifact.images import image_texts, images_of, is_floating

POD = {
    "initContainers": [{"image": "init:1"}],
    "containers": [{"image": "app@sha256:" + "0" * 64}, {"name": "none"}, "not a mapping"],
    "ephemeralContainers": [{"image": "debug"}],
}
IMAGES = ["init:1", "app@sha256:" + "0" * 64, "debug"]


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "Pod", "spec": POD},
        {"kind": "Rollout", "spec": {"template": {"spec": POD}}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}},
        {"kind": "PodTemplate", "template": {"spec": POD}},
    ],
)
def test_images_are_found_where_each_kind_has_its_pods(obj: dict[str, Any]) -> None:
    assert list(image_texts(obj)) == IMAGES
    assert [image.pinned for image in images_of(obj)] == [False, True, False]


@pytest.mark.parametrize("spec", [None, [], "text", {"containers": "text"}, {"containers": [1]}])
def test_other_shapes_have_no_images(spec: Any) -> None:
    assert list(images_of({"kind": "Pod", "spec": spec})) == []


def test_a_text_that_no_one_could_pull_is_no_image() -> None:
    pod = {"spec": {"containers": [{"image": "a b"}, {"image": "a\x1b"}, {"image": ""}]}}
    assert list(images_of(pod)) == []
    assert list(image_texts(pod)) == ["a b", "a\x1b"]


@pytest.mark.parametrize(
    ("image", "floating"),
    [
        ("nginx", True),
        ("nginx:latest", True),
        ("registry:5000/nginx", True),
        ("registry:5000/nginx:1.27", False),
        ("nginx@sha256:" + "0" * 64, False),
        ("nginx:latest@sha256:" + "0" * 64, False),
    ],
)
def test_which_images_can_change_without_a_change(image: str, floating: bool) -> None:
    assert is_floating(image) is floating
