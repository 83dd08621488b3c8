"""Which signatures count, by flags or by a file with policies."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from ocistate.cli.common.trust import optional_trust_options, policies_of, trust_options
from ocistate.errors import ConfigError, UsageError
from tests.support.environments.shop import Shop

IDENTITY = ("issuer=https://issuer.example.com,subject=me@example.com",)


def test_keys_make_one_policy(shop: Shop) -> None:
    (policy,) = policies_of((shop.pub("art"), shop.pub("other")), None, allow_legacy=True)
    assert len(policy.keys) == 2
    assert policy.allow_legacy


def test_a_file_gives_its_policies(shop: Shop) -> None:
    (policy,) = policies_of((), shop.policy)
    assert policy.name == "shop"


def test_an_identity_makes_a_policy() -> None:
    (policy,) = policies_of((), None, identities=IDENTITY)
    assert len(policy.identities) == 1


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "no trust source given"),
        ({"keys": ("{pub}",), "policy": "{policy}"}, UsageError, "--policy cannot be combined"),
        ({"policy": "{policy}", "identities": IDENTITY}, UsageError, "--policy cannot be"),
        ({"keys": ("{pub}",), "trusted_root": "r.json"}, UsageError, "requires --identity"),
        ({"policy": "{policy}", "allow_legacy": True}, UsageError, "--allow-legacy"),
        ({"policy": "none.yaml"}, ConfigError, "none.yaml"),
        ({"identities": IDENTITY, "trusted_root": "none.json"}, ConfigError, "none.json"),
        ({"identities": ("me",)}, ConfigError, "me"),
    ],
)
def test_wrong_trust_is_refused(
    shop: Shop, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{pub}", shop.pub("art")).replace("{policy}", shop.policy)
        return tuple(map(fill, value)) if isinstance(value, tuple) else value

    values = {"keys": (), "policy": None} | {name: fill(value) for name, value in given.items()}
    with pytest.raises(error, match=said):
        policies_of(**values)


def test_trust_may_be_required_or_not() -> None:
    @click.command()
    @optional_trust_options
    def optional(policies: Any) -> None:
        click.echo(str(policies))

    @click.command()
    @trust_options
    def required(policies: Any) -> None: ...

    assert CliRunner().invoke(optional).output.strip() == "()"
    with pytest.raises(UsageError, match="no trust source given"):
        CliRunner().invoke(required, catch_exceptions=False)
