"""Which policy decides on a repository."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.errors import (
    ConfigError,
    NoPolicy,
)
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import faulty_policy
from ocistate.signing.policy.select import select_policy
from tests.support.factories.signatures import policy


@pytest.mark.parametrize(
    ("glob", "repository", "matches"),
    [
        ("host/shop", "host/shop", True),
        ("host/shop", "host/shop-evil", False),
        ("host/shop", "evil/host/shop", False),
        ("host/shop", "host/shop/sub", False),
        ("host/shop/*", "host/shop/web", True),
        ("host/shop/*", "host/shop/web/deep", False),
        ("host/shop/**", "host/shop/web/deep", True),
        ("host/shop*", "host/shop-evil", True),
        ("host:5000/shop", "host/shop", False),
        ("host/s.op", "host/shop", False),
        ("host/[a-z]hop", "host/shop", False),
        ("*/shop", "host/shop", True),
        ("*/shop", "host/team/shop", False),
        ("**", "anything/at:1/all", True),
        ("host/shop", "HOST/shop", True),
        ("Host/shop", "host/shop", True),
        ("host/shop", "host:443/shop", True),
        ("host:443/shop", "host/shop", True),
        ("host/shop", "host:80/shop", False),
        ("host/shop", "host:4430/shop", False),
        ("host/shop", "host/SHOP", False),
        ("/srv/good/*", "/srv/good/../evil", False),
        ("/srv/evil", "/srv/good/../evil", True),
        ("/srv/good/**", "/srv/good/./x", True),
        ("store/good/*", "store/good/../evil", False),
        ("store", "./store", True),
    ],
)
def test_globs_match_whole_names_and_stars_stop_at_slashes(
    glob: str, repository: str, matches: bool
) -> None:
    policies = [policy(repositories=[glob])]
    if matches:
        assert select_policy(policies, repository) is policies[0]
    else:
        with pytest.raises(NoPolicy):
            select_policy(policies, repository)


def test_the_most_specific_policy_decides() -> None:
    wide, narrow = policy("wide", repositories=["host/**"]), policy("n", repositories=["host/a/*"])
    exact = policy("exact", repositories=["host/a/web"])
    assert select_policy([wide, narrow, exact], "host/a/web") is exact
    assert select_policy([wide, narrow], "host/a/web") is narrow
    assert select_policy([wide, narrow, exact], "host/b") is wide
    # By its letters first, then by how few stars it has.
    stars, star = policy("s", repositories=["host/*/*"]), policy("t", repositories=["host/*"])
    assert select_policy([stars, narrow], "host/a/web") is narrow
    assert select_policy([wide, star], "host/b") is star


def test_a_tie_is_an_error_that_names_both() -> None:
    with pytest.raises(ConfigError, match="one and two"):
        select_policy([policy("one"), policy("two")], "host/x")


def test_a_policy_named_must_exist_and_speak_of_the_repository() -> None:
    policies = [policy("wide"), policy("other", repositories=["host/other"])]
    assert select_policy(policies, "host/x", "wide") is policies[0]
    with pytest.raises(NoPolicy, match="'other' does not decide on host/x: wide does"):
        select_policy(policies, "host/x", "other")
    with pytest.raises(NoPolicy, match="there is no TrustPolicy 'missing'"):
        select_policy(policies, "host/x", "missing")


def test_no_policy_at_all_refuses() -> None:
    with pytest.raises(NoPolicy):
        select_policy([], "host/x")


def faulty(globs: Any, name: str = "broken") -> TrustPolicy:
    obj = {"metadata": {"name": name}, "spec": {"repositories": globs, "treshold": 2}}
    return faulty_policy(obj, ConfigError("spec.treshold: is not a known field"))


def test_a_policy_that_cannot_be_read_refuses_what_it_would_have_decided() -> None:
    wide = policy("wide", repositories=["**"], mode="off")
    strict = faulty(["host/shop"])
    with pytest.raises(ConfigError, match="treshold"):
        select_policy([wide, strict], "host/shop")
    assert select_policy([wide, strict], "host/other") is wide
    # No one knows what it was meant for: nothing passes until it is fixed.
    for globs in (None, [], "host/shop", ["host/shop", 7], ["host/\u0455hop"]):
        with pytest.raises(ConfigError, match="treshold"):
            select_policy([wide, faulty(globs)], "host/other")
    with pytest.raises(ConfigError, match="treshold"):
        select_policy([wide, faulty(["**"], name="again")], "x/y", "again")


def test_a_name_chooses_between_equals_and_never_a_wider_policy() -> None:
    wide, narrow = policy("wide", mode="warn"), policy("narrow", repositories=["host/shop"])
    with pytest.raises(NoPolicy, match="narrow does"):
        select_policy([wide, narrow], "host/shop", "wide")
    other = policy("other", repositories=["host/shop"])
    assert select_policy([wide, narrow, other], "host/shop", "other") is other
    with pytest.raises(ConfigError, match="narrow and other"):
        select_policy([wide, narrow, other], "host/shop")


@pytest.mark.parametrize(
    ("glob", "repository"),
    [
        ("host/shop", "h\u043est/shop"),
        ("host/shop", "host/sh\u043ep"),
        ("host/shop", "host\uff0fshop"),
        ("host/shop", "host./shop"),
        ("host/shop", "user@host/shop"),
        ("host/shop", "host/shop\n"),
        ("host/shop", "host/shop/../shop-evil"),
        ("host:5000/shop", "host:50000/shop"),
        ("[::1]:5000/shop", "[::2]:5000/shop"),
        ("*.example.com/shop", "example.com/shop"),
        ("*.example.com/shop", "evil.com/x.example.com/shop"),
        ("host/team-*/shop", "host/team-a/evil/shop"),
    ],
)
def test_what_only_looks_like_a_repository_does_not_match_its_glob(
    glob: str, repository: str
) -> None:
    with pytest.raises(NoPolicy):
        select_policy([policy(repositories=[glob])], repository)
