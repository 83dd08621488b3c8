"""Who owns what a one-shot apply writes; applying itself needs an API server."""

from __future__ import annotations

from ocistate.labels import check_owner
from ocistate.ops.cluster.apply import owner_of


def test_the_same_release_has_the_same_owner() -> None:
    assert owner_of("reg.io/shop", "default", "") == owner_of("reg.io/shop", "default", "")
    assert owner_of("reg.io/shop", "default", "a") == owner_of("reg.io/moved", "default", "a")


def test_namespace_name_and_repository_tell_releases_apart() -> None:
    owners = {
        owner_of("reg.io/shop", "default", ""),
        owner_of("reg.io/shop", "other", ""),
        owner_of("reg.io/web", "default", ""),
        owner_of("reg.io/shop", "default", "green"),
    }
    assert len(owners) == 4
    for owner in owners:
        assert owner.startswith("cli-")
        check_owner(owner)
