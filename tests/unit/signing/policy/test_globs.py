"""Globs over repositories: what they match, in which spelling, and how specific they are."""

from __future__ import annotations

import pytest

from ocistate.signing.policy.globs import canonical_name, glob_fault, matches, rank


@pytest.mark.parametrize(
    ("glob", "repository", "match"),
    [
        ("registry.example.com/shop", "registry.example.com/shop", True),
        ("registry.example.com/*", "registry.example.com/shop", True),
        ("registry.example.com/*", "registry.example.com/shop/web", False),
        ("registry.example.com/**", "registry.example.com/shop/web", True),
        ("*.example.com/shop", "eu.example.com/shop", True),
        ("registry.example.com/shop", "registry.example.com/shop2", False),
        ("registry.example.com/sh.p", "registry.example.com/shop", False),
        ("REGISTRY.example.com/shop", "registry.example.com/shop", True),
        ("registry.example.com:443/shop", "registry.example.com/shop", True),
        ("registry.example.com/shop", "registry.example.com./shop", False),
        ("docker.io/library/nginx", "docker.io/nginx", True),
    ],
)
def test_what_a_glob_matches(glob: str, repository: str, match: bool) -> None:
    assert matches(glob, repository) is match


def test_the_more_literal_glob_is_the_more_specific_one() -> None:
    globs = ["**", "registry.example.com/**", "registry.example.com/*", "registry.example.com/shop"]
    assert sorted(reversed(globs), key=rank) == globs


@pytest.mark.parametrize("glob", ["", "a//b", "a/../b", "a/./b", "a/", "ä/b", "a?b"])
def test_a_glob_that_can_never_match_has_a_fault(glob: str) -> None:
    assert glob_fault("registry.example.com/**") == ""
    assert glob_fault(glob)


def test_one_spelling_of_a_name() -> None:
    assert canonical_name("Registry.Example.com:443/shop") == "registry.example.com/shop"
