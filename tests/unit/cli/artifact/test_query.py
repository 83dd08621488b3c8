"""``ocistate query``: objects by kind, name, image and expression, in channels and tags."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--kind", "Deployment"), {"api"}),
        (("--kind", "deployment.apps"), {"api"}),
        (("--name", "a*"), {"api", "app"}),
        (("-n", "other"), set()),
        (("--image", "*/api"), {"api"}),
        (("--where", "object.spec.replicas > 3"), {"api"}),
        (("--where", "object.spec.replicas > 9"), set()),
        (("--where", "object.data.password == 'hunter'"), set()),
    ],
)
def test_objects_are_found_by_criteria(
    shop: Shop, options: tuple[str, ...], names: set[str]
) -> None:
    code = 0 if names else 1
    found = run("query", shop.store, *shop.trust, *options, "-o", "json", code=code).json
    assert {row["name"] for row in found} == names


def test_channels_are_searched_by_default_and_tags_when_asked(shop: Shop) -> None:
    kind = ("--kind", "Deployment")
    found = run("query", shop.store, *shop.trust, *kind, "--channel", "prod", "-o", "json").json
    assert [(row["digest"], row["pointers"]) for row in found] == [(shop.digests[1], ["prod@2"])]
    found = run("query", shop.store, *kind, "--tag", "v*", "-o", "json").json
    assert {(row["digest"], *row["pointers"]) for row in found} == {
        (shop.digests[1], ":v2"),
        (shop.digests[2], ":v3"),
    }


def test_a_reference_is_searched_alone(shop: Shop) -> None:
    ran = run("query", f"{shop.store}:v1", "--kind", "ConfigMap")
    assert ":v1" in ran.out
    assert "1 objects in 1 artifacts" in ran.err
    assert len(run("query", f"{shop.store}:v1", "-o", "name").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--channel", "a", "--tag", "b"), "--channel and --tag"),
        (("--where", "object.spec ="), "--where"),
    ],
)
def test_wrong_options_are_refused(shop: Shop, options: tuple[str, ...], said: str) -> None:
    assert said in run("query", shop.store, *options, code=2).err
